"""The driver stack: planned, applied, checked, and taken back."""
