"""Counters that never run backwards, whatever the driver's counter does."""

from __future__ import annotations

from collections.abc import Hashable

import msgspec


class _Series(msgspec.Struct):
    raw: float
    base: float = 0.0
    suspect: float | None = None


class SteadyCounters:
    """Turns raw counters into ones that only grow.

    A lower value is first taken for a bad reading and the old total repeated; when the next one is low too, the
    counter began anew (driver reloaded, device reset) and counting goes on from the old total.
    """

    def __init__(self) -> None:
        self._series: dict[Hashable, _Series] = {}

    def advance(self, key: Hashable, raw: float) -> float:
        """The total for this raw value."""
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series(raw=raw)
        elif raw >= series.raw:
            series.raw, series.suspect = raw, None
        elif series.suspect is not None and raw >= series.suspect:
            series.base, series.raw, series.suspect = series.base + series.raw, raw, None
        else:
            series.suspect = raw
        return series.base + series.raw
