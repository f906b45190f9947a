"""How many requests an engine has, from its own metrics: names by engine and version are facts."""

from __future__ import annotations

import math
import re
from functools import cache

from xpukit.facts.exporter_engines import load_engine_meanings

_MEANINGS = ("engine:requests_running:sum", "engine:requests_waiting:sum")
_SAMPLE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{.*\})?[ \t]+(\S+)")


@cache
def _names() -> tuple[frozenset[str], ...]:
    """The names of each meaning."""
    by_record = {meaning.record: meaning for meaning in load_engine_meanings()}
    return tuple(frozenset(name.name for name in by_record[record].names) for record in _MEANINGS)


def count_requests(text: str) -> int | None:
    """Requests that run or wait, summed over models and ranks; None where the text does not say. Never raises.

    `text`: what /metrics answers, in Prometheus' format.
    """
    sums: list[float | None] = [None] * len(_MEANINGS)
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match is None:
            continue
        for place, names in enumerate(_names()):
            if match[1] in names and (value := _read_number(match[2])) is not None:
                sums[place] = (sums[place] or 0.0) + value
    known = [value for value in sums if value is not None]
    # Without the requests that run there is nothing to go by; some versions do not tell of those that wait.
    return None if sums[0] is None else math.ceil(sum(known))


def _read_number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
