"""One file a collector; each defines `COLLECTOR`. Found by directory scan (`sysinfo/registry.py`)."""
