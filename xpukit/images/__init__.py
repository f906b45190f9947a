"""Serving images: recipes rendered, built, tested and accounted for."""
