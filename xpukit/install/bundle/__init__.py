"""Everything that an air-gapped machine needs, in one signed file: made, checked, and opened for an apply."""
