"""Serving benchmarks: read what engines' own print, measure with our own client, judge both."""
