"""Clocks, temperatures and power of the GPUs at the moment of the probe, one line each."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.cli.render import print_table
from xpukit.core.machine import Device

# By the names that hwmon and Level Zero's sysman give, best first: package and memory of the card.
_TEMPERATURES = (("", ("temp pkg", "temperature gpu", "temp 1")), ("memory ", ("temp vram", "temperature memory")))
_POWER_LIMITS = ("power card max", "power pkg max", "power 1 max")
# xe's and i915's throttle reasons in words (Intel's names for limits over seconds, milliseconds and at once).
_REASONS = {
    "pl1": "power limit (pl1)",
    "pl2": "power limit (pl2)",
    "pl4": "power limit (pl4)",
    "ratl": "average temperature limit (ratl)",
    "thermal": "temperature",
    "prochot": "signal from the board (prochot)",
    "vr_tdc": "current of the voltage regulator (vr_tdc)",
    "vr_thermalert": "temperature of the voltage regulator",
}


def print_state(devices: Sequence[Device], *, color: bool) -> None:
    """A row for each GPU that says anything about its state."""
    rows = [(str(device.index), *cells) for device in devices if any(cells := _show_state(device))]
    if rows:
        columns = ("#", "clock", "throttled by", "temperature", "power limit", "fan")
        print_table("State now", columns, [[cell or "-" for cell in row] for row in rows], color=color)


def _show_state(device: Device) -> tuple[str, ...]:
    main = [gt for gt in device.gts if gt.kind in ("main", "")]
    clocks = [f"{gt.actual_mhz:.0f}" for gt in main if gt.actual_mhz is not None]
    tops = {gt.max_mhz for gt in main if gt.max_mhz is not None}
    clock = " ".join(clocks) + (f" of {max(tops):.0f}" if tops and clocks else "") + (" MHz" if clocks else "")
    reasons = dict.fromkeys(_REASONS.get(reason, reason) for gt in device.gts for reason in gt.throttle_reasons)
    values = {sensor.name: sensor.value for sensor in reversed(device.sensors)}
    temperatures = [f"{label}{values[name]:.0f} °C" for label, names in _TEMPERATURES for name in _first(values, names)]
    limit = next((f"{values[name]:.0f} W" for name in _first(values, _POWER_LIMITS)), "")
    fans = [f"{sensor.value:.0f}" for sensor in device.sensors if sensor.unit == "RPM"]
    return (clock, ", ".join(reasons), ", ".join(temperatures), limit, " ".join(fans) + " RPM" * bool(fans))


def _first(values: dict[str, float], names: Sequence[str]) -> list[str]:
    return [name for name in names if name in values][:1]
