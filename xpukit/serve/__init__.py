"""Serving: a launch that fits, is pinned, and that the engine's version accepts."""
