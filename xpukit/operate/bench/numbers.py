"""Numbers as benchmarks write them: "12.50", "1e3", "inf", "None", "100.00"."""

from __future__ import annotations

import math
import re

# Beyond this a text is no figure of a benchmark; it also keeps Python's limit on digits out of reach.
_MOST_DIGITS = 40
_THOUSANDS = re.compile(r"\d{1,3}(?:\.\d{3})+")


def read_float(given: object) -> float | None:
    """A finite number of at least 0, from a number or a text; else None: what benchmarks measure is never less, and
    tools write -1 for what they did not measure.
    """
    if isinstance(given, bool) or given is None:
        return None
    if isinstance(given, str) and len(given) > _MOST_DIGITS:
        return None
    if isinstance(given, str | int | float):
        try:
            value = float(given)
        except (ValueError, OverflowError):
            return None
        return value if math.isfinite(value) and value >= 0 else None
    return None


def read_count(given: object) -> int | None:
    """A whole number of at least 0 (benchmarks print 100.00 for 100 too); else None.

    "1.000" may be one, or a thousand as some languages write it: None.
    """
    if isinstance(given, str) and _THOUSANDS.fullmatch(given.strip()):
        return None
    value = read_float(given)
    return int(value) if value is not None and value == int(value) else None


def read_limit(given: object) -> int | None:
    """A limit on requests at a time: None and 0 are no limit."""
    return read_count(given) or None
