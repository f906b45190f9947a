"""Level Zero asked through the real loader with our own declarations, always in a child process."""
