"""The longest request that really serves: tried, read, adjusted, verified."""
