"""Kinds of change, one file each (`HANDLER = Handler(...)`); found by directory scan."""
