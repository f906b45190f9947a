"""What a machine has: one file per question, read through the host door (`machine.probe_machine`)."""
