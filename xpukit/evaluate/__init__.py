"""Measure devices, judge what was measured, report it."""
