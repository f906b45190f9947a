"""One file a check; each defines `CHECK`. Found by directory scan (`doctor/registry.py`)."""
