"""Which reference and which known limit belong to a metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from xpukit.core.measurement import Measurement, MetricKey, Target
from xpukit.evaluate.ceilings import Ceiling, find_ceiling
from xpukit.evaluate.link_reference import find_shape_reference, normalize_reference
from xpukit.evaluate.link_way import Links, Way
from xpukit.evaluate.result import ReferenceUsed
from xpukit.facts.metrics import load_metrics
from xpukit.facts.references import ReferenceRow

# Where several rows apply, what was measured on such a device is worth more than what was printed about it.
_KIND_RANK = {"measured": 0, "published": 1, "spec": 2}


def rank_row(row: ReferenceRow) -> tuple[object, ...]:
    """Rows that apply to one metric in order of preference: the user's layers before ours, measured before published
    before specified, the one that names more parameters, the newest, then by place."""
    digits = row.date.replace("-", "")
    day = int(digits) if digits.isascii() and digits.isdigit() else 0
    file, _, line = row.origin.rpartition(":")
    place = (file, int(line)) if line.isascii() and line.isdigit() else (row.origin, 0)
    return (-row.layer, _KIND_RANK[row.kind], -len(row.params), -day, place)


def pci_id_of(target: Target) -> str:
    """'8086:e211' for a GPU, '' for the CPU."""
    return f"8086:{target.device_id.lower().removeprefix('0x')}" if target.kind == "gpu" and target.device_id else ""


class ReferenceBook:
    """Reference rows for the devices of a run, and the ceilings that the run measured itself."""

    def __init__(
        self,
        rows: Sequence[ReferenceRow],
        targets: Sequence[Target],
        ceilings: Sequence[Measurement] = (),
        ceiling_tolerance: float = 0.25,
        links: Links | None = None,
    ) -> None:
        self._rows = tuple(rows)
        self._targets = tuple(targets)
        self._pci_ids = {target.label: pci_id_of(target) for target in targets}
        self._cpus = {target.label for target in targets if target.kind == "cpu"}
        self._ceilings = tuple(ceilings)
        self._ceiling_tolerance = ceiling_tolerance
        self._links = links
        self._by_metric: dict[tuple[str, str, str], list[ReferenceRow]] = {}
        for row in rows:
            self._by_metric.setdefault((row.device, row.benchmark, row.metric), []).append(row)

    def with_ceilings(self, measurements: Sequence[Measurement], tolerance: float) -> ReferenceBook:
        """The same book, with this run's measured ceilings for the CPU device."""
        ceilings = [m for m in measurements if m.key.benchmark.endswith("_ceiling") and m.verified is not False]
        return ReferenceBook(self._rows, self._targets, ceilings, tolerance, self._links)

    def with_links(self, links: Links) -> ReferenceBook:
        """The same book, which scales references to the links of this machine."""
        return ReferenceBook(self._rows, self._targets, self._ceilings, self._ceiling_tolerance, links)

    def find_way(self, key: MetricKey) -> Way | None:
        """What copies of the metric cross, when that is known and matters to it."""
        facts = load_metrics().get((key.benchmark, key.metric))
        if self._links is None or not (key.benchmark == "collectives" or (facts is not None and facts.bound == "link")):
            return None
        return self._links.find_way(key)

    def find(self, key: MetricKey) -> ReferenceUsed | None:
        """The reference for a metric: a row of the device's file, or on the CPU this run's ceiling."""
        if key.devices and set(key.devices) <= self._cpus:
            return self._find_ceiling(key)
        pci_ids = {self._pci_ids.get(label, "") for label in key.devices}
        if len(pci_ids) != 1:
            return None
        params = dict(key.params)
        candidates = [
            row
            for row in self._by_metric.get((pci_ids.pop(), key.benchmark, key.metric), ())
            if all(params.get(name) == value for name, value in row.params)
        ]
        way = self.find_way(key)
        shape = find_shape_reference(key, way, self._links.machine) if way is not None and self._links else None
        if not candidates:
            return shape
        best = min(candidates, key=rank_row)
        used = ReferenceUsed(
            value=best.value, kind=best.kind, source=f"{best.source} ({best.origin})", tolerance=best.tolerance
        )
        if way is not None and best.higher_is_better:
            used = normalize_reference(used, best.link, way)
            # A known shape of ours stands back behind what the user says of this very machine.
            if shape is not None and best.layer == 0 and shape.value < used.value:
                return shape
        return used

    def _find_ceiling(self, key: MetricKey) -> ReferenceUsed | None:
        ceiling: Ceiling | None = find_ceiling(key, self._ceilings)
        if ceiling is None:
            return None
        return ReferenceUsed(
            value=ceiling.value, kind="measured-here", source=ceiling.source, tolerance=self._ceiling_tolerance
        )


class DeviceLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a device can do at most, each with who says so. Units as in the names."""

    memory_gbps: tuple[float, str] | None = None
    link_gbps: tuple[float, str] | None = None
    peak_by_dtype: dict[str, tuple[float, str]] = {}


class Limits:
    """Known limits by device label."""

    def __init__(self, limits: Mapping[str, DeviceLimits]) -> None:
        self._limits = dict(limits)

    def find(self, key: MetricKey) -> tuple[float, str] | None:
        """The limit that bounds this metric, with its source; None when none is known."""
        facts = load_metrics().get((key.benchmark, key.metric))
        bound = _BOUNDS.get(facts.bound) if facts is not None else None
        if bound is None or _stays_inside(key):
            return None
        found = [
            limit
            for label in key.devices
            if (device := self._limits.get(label)) is not None and (limit := bound(device, key)) is not None
        ]
        return min(found) if len(found) == len(key.devices) and found else None


def _stays_inside(key: MetricKey) -> bool:
    """Between tiles of one card: not over its PCIe link."""
    return len(key.devices) > 1 and len({label.partition("/")[0] for label in key.devices}) == 1


def _bound_by_memory(device: DeviceLimits, key: MetricKey) -> tuple[float, str] | None:
    return device.memory_gbps


def _bound_by_link(device: DeviceLimits, key: MetricKey) -> tuple[float, str] | None:
    params = dict(key.params)
    if params.get("direction") in ("d2d", "h2h"):
        return None
    if device.link_gbps is None:
        return None
    both_ways = 2 if params.get("direction") == "bi" else 1
    return device.link_gbps[0] * both_ways, device.link_gbps[1]


def _bound_by_peak(device: DeviceLimits, key: MetricKey) -> tuple[float, str] | None:
    return device.peak_by_dtype.get(str(dict(key.params).get("dtype", "")))


_BOUNDS: dict[str, Callable[[DeviceLimits, MetricKey], tuple[float, str] | None]] = {
    "peak": _bound_by_peak,
    "memory": _bound_by_memory,
    "link": _bound_by_link,
}
