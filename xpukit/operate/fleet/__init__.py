"""Many machines by Ray, MPI and ssh: xpukit on each, collectives among them, and a look before a launch."""
