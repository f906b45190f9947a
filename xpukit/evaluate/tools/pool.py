"""Readings gathered by metric: what is measured again becomes another sample of the same metric."""

from __future__ import annotations

import msgspec

from xpukit.core.measurement import Measurement, MetricKey


class MeasurementPool:
    """Measurements in the order in which their metrics first came."""

    def __init__(self) -> None:
        self._found: dict[MetricKey, Measurement] = {}

    def add(
        self,
        key: MetricKey,
        unit: str,
        value: float,
        *,
        higher_is_better: bool = True,
        verified: bool | None = None,
        verify_detail: str = "",
        note: str = "",
    ) -> None:
        """One reading. Wrong data in one of several makes the metric wrong."""
        self.merge(
            Measurement(
                key=key,
                unit=unit,
                samples=(value,),
                higher_is_better=higher_is_better,
                verified=verified,
                verify_detail=verify_detail,
                note=note,
            )
        )

    def merge(self, more: Measurement) -> None:
        """Further samples of a metric that may already be here."""
        known = self._found.get(more.key)
        if known is None:
            self._found[more.key] = more
            return
        worse = known if known.verified is False or more.verified is None else more
        if more.verified is False and known.verified is not False:
            worse = more
        notes = dict.fromkeys(note for note in (known.note, more.note) if note)
        self._found[more.key] = msgspec.structs.replace(
            known,
            samples=known.samples + more.samples,
            verified=worse.verified,
            verify_detail=worse.verify_detail,
            note="; ".join(notes),
        )

    def add_peaks(self, metric: str, peak_metric: str, *, from_bytes: int = 0, of: str = "bytes") -> None:
        """For each set of readings of `metric` that differ only in `of`, its best as `peak_metric`.

        With `from_bytes`, sizes below it do not count (a cache could have served them).
        """
        best: dict[MetricKey, Measurement] = {}
        for key, found in self._found.items():
            params = dict(key.params)
            which = params.pop(of, None)
            too_small = from_bytes and not (isinstance(which, int) and which >= from_bytes)
            if key.metric != metric or which is None or too_small:
                continue
            peak = MetricKey(
                benchmark=key.benchmark,
                metric=peak_metric,
                devices=key.devices,
                params=tuple(sorted(params.items())),
            )
            if peak not in best or max(found.samples) > max(best[peak].samples):
                note = f"at {which} bytes" if of == "bytes" else f"with {which}"
                best[peak] = msgspec.structs.replace(found, key=peak, note=note)
        for key, found in best.items():
            self._found.setdefault(key, found)

    def done(self) -> tuple[Measurement, ...]:
        return tuple(self._found.values())
