"""One file per kind of measurement; the worker finds them by name."""
