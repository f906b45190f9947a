"""Errors, units, versions and the types that the rooms speak with. Imports nothing of ours."""
