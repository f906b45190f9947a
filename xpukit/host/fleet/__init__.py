"""What runs outside xpukit's own Python to reach many machines."""
