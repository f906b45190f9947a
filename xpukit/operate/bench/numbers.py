"""Numbers as benchmarks write them: "12.50", "1e3", "inf", "None", "100.00"."""

from __future__ import annotations

import math

# Beyond this a text is no figure of a benchmark; it also keeps Python's limit on digits out of reach.
_MOST_DIGITS = 40


def read_float(given: object) -> float | None:
    """A finite number, from a number or a text; else None."""
    if isinstance(given, bool) or given is None:
        return None
    if isinstance(given, str) and len(given) > _MOST_DIGITS:
        return None
    if isinstance(given, str | int | float):
        try:
            value = float(given)
        except (ValueError, OverflowError):
            return None
        return value if math.isfinite(value) else None
    return None


def read_count(given: object) -> int | None:
    """A whole number of at least 0 (benchmarks print 100.00 for 100 too); else None."""
    value = read_float(given)
    return int(value) if value is not None and value >= 0 and value == int(value) else None


def read_limit(given: object) -> int | None:
    """A limit on requests at a time: None and 0 are no limit."""
    return read_count(given) or None
