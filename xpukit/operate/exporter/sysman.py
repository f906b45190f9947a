"""What Level Zero's system management says, as samples. Files of the driver come first; this fills in the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from xpukit.facts.exporter_metrics import load_exporter_sources
from xpukit.host.level_zero.snapshot import EngineGroup, LevelZeroAnswer, PciState, Sysman
from xpukit.operate.exporter.sample import Sample, gpu_labels, make_labels


class _Activity(msgspec.Struct, frozen=True):
    """Engines of a class in a tile: time that they worked, added up, and the driver's clock at that time."""

    active_us: int
    clock_us: int
    engines: int


class EngineLedger:
    """Remembers the reading before, for the share of time between two readings."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str, str], _Activity] = {}

    def list_samples(self, bdf: str, groups: Sequence[EngineGroup]) -> Iterator[Sample]:
        """Time of each class and tile; and from the second reading on, the share since the one before."""
        for (name, tile), now in sorted(_sum_activity(groups).items()):
            labels = gpu_labels(bdf, engine_class=name, **({"tile": tile} if tile else {}))
            yield Sample("hw_gpu_engine_active_seconds_total", labels, now.active_us / 1e6)
            before = self._last.get((bdf, name, tile))
            self._last[(bdf, name, tile)] = now
            if before is None or before.engines != now.engines:
                continue
            passed_us, worked_us = now.clock_us - before.clock_us, now.active_us - before.active_us
            # A driver that was loaded anew counts from zero again.
            if passed_us > 0 and worked_us >= 0:
                share = min(1.0, worked_us / (passed_us * now.engines))
                yield Sample("hw_gpu_utilization_ratio", labels, share)


def _sum_activity(groups: Sequence[EngineGroup]) -> dict[tuple[str, str], _Activity]:
    """By class and tile. Groups of all engines count only where single ones are not told: they hold the same time."""
    facts = load_exporter_sources().engine_groups
    found: dict[tuple[str, str], _Activity] = {}
    for names in (facts.single, facts.all):
        level: dict[tuple[str, str], _Activity] = {}
        for group in groups:
            name = names.get(group.kind)
            if name is None or group.active_us is None or not group.clock_us:
                continue
            place = (name, "" if group.tile is None else str(group.tile))
            had = level.get(place, _Activity(0, 0, 0))
            level[place] = _Activity(
                had.active_us + group.active_us, max(had.clock_us, group.clock_us), had.engines + group.count
            )
        found = {**level, **found}
    return found


def list_sysman_samples(answer: LevelZeroAnswer, ledger: EngineLedger) -> list[Sample]:
    """Samples of every device whose PCI address is known. What the driver refused is left out."""
    samples: list[Sample] = []
    for device in answer.devices:
        sysman = device.sysman
        bdf = sysman.pci.bdf if sysman is not None and sysman.pci is not None else None
        if sysman is not None and bdf:
            samples += _list_device(bdf, sysman)
            samples += ledger.list_samples(bdf, sysman.engines or ())
    return samples


def _list_device(bdf: str, sysman: Sysman) -> Iterator[Sample]:
    yield from _list_memory(bdf, sysman)
    if sysman.pci is not None:
        yield from _list_traffic(bdf, sysman.pci)
    for number, temperature in enumerate(sysman.temperatures or ()):
        if temperature.celsius is not None:
            place = temperature.sensor + _name_tile(temperature.tile)
            labels = make_labels(
                hw_id=f"{bdf}/sysman{number}", hw_type="temperature", hw_parent=bdf, hw_sensor_location=place
            )
            yield Sample("hw_temperature_celsius", labels, temperature.celsius)
    for domain in sysman.power or ():
        if domain.energy_uj is not None:
            place = (domain.domain or "card") + _name_tile(domain.tile)
            yield Sample("hw_energy_joules_total", gpu_labels(bdf, hw_sensor_location=place), domain.energy_uj / 1e6)
    for clock in sysman.frequencies or ():
        if clock.actual_mhz is not None and clock.actual_mhz >= 0:
            labels = gpu_labels(bdf, tile=str(clock.tile or 0), gt_kind=clock.domain)
            yield Sample("hw_gpu_speed_hertz", labels, clock.actual_mhz * 1e6)
    for errors in sysman.ras or ():
        for category, count in (errors.counts or {}).items():
            kind = f"ras_{errors.kind}_{category}{_name_tile(errors.tile)}".replace(" ", "_").lower()
            yield Sample("hw_errors_total", gpu_labels(bdf, error_type=kind), count)
    if sysman.ecc is not None and sysman.ecc.available and sysman.ecc.current is not None:
        yield Sample("hw_gpu_ecc_enabled", gpu_labels(bdf), float(sysman.ecc.current == "enabled"))
    if sysman.reset_needed is not None:
        yield Sample("hw_gpu_reset_required", gpu_labels(bdf, reason="any"), float(bool(sysman.reset_needed)))
        for reason in sysman.reset_needed:
            yield Sample("hw_gpu_reset_required", gpu_labels(bdf, reason=reason), 1.0)


def _list_traffic(bdf: str, pci: PciState) -> Iterator[Sample]:
    for direction, count in (("receive", pci.received_bytes), ("transmit", pci.sent_bytes)):
        if count is not None:
            yield Sample("hw_gpu_io_bytes_total", gpu_labels(bdf, network_io_direction=direction), count)
    if pci.replays is not None:
        yield Sample("hw_gpu_pcie_replays_total", gpu_labels(bdf), pci.replays)


def _list_memory(bdf: str, sysman: Sysman) -> Iterator[Sample]:
    """The sum over the modules in the card, where all of them tell."""
    modules = [module for module in sysman.memories or () if module.location != "system"]
    sizes = [(module.size_bytes, module.free_bytes) for module in modules]
    if not sizes or any(size is None or free is None for size, free in sizes):
        return
    total = sum(size or 0 for size, _ in sizes)
    used = total - sum(free or 0 for _, free in sizes)
    if total > 0 and 0 <= used <= total:
        yield Sample("hw_gpu_memory_limit_bytes", gpu_labels(bdf), total)
        yield Sample("hw_gpu_memory_usage_bytes", gpu_labels(bdf, source="level-zero"), used)


def _name_tile(tile: int | None) -> str:
    return "" if tile is None else f" tile{tile}"
