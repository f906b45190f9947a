"""A bounded, resumable load that goes on until something gets worse."""
