"""Which devices a run measures."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from xpukit.core.errors import UsageError
from xpukit.core.machine import Device, Machine
from xpukit.core.measurement import Target

CPU_LABEL = "cpu"


def list_targets(machine: Machine) -> tuple[Target, ...]:
    """Every GPU that Level Zero can reach (each tile of a tiled one), or the CPU when there is none."""
    targets: list[Target] = []
    for device in machine.devices:
        if device.level_zero_index is not None:
            targets.extend(_split_tiles(device))
    return tuple(targets) or (build_cpu_target(machine),)


def build_cpu_target(machine: Machine) -> Target:
    """The CPU as a device."""
    return Target(label=CPU_LABEL, kind="cpu", name=machine.cpu.model or "CPU", memory_bytes=machine.memory_bytes)


def _split_tiles(device: Device) -> list[Target]:
    tiles = device.tiles or 1

    def make(label: str, tile: int | None) -> Target:
        return Target(
            label=label,
            kind="gpu",
            name=device.name,
            bdf=device.bdf,
            device_id=device.device_id,
            level_zero_index=device.level_zero_index,
            tile=tile,
            numa_node=device.numa_node,
            memory_bytes=device.memory_bytes // tiles if device.memory_bytes else None,
        )

    if tiles == 1:
        return [make(device.bdf, None)]
    return [make(f"{device.bdf}/tile{tile}", tile) for tile in range(tiles)]


def choose_targets(machine: Machine, patterns: Sequence[str]) -> tuple[Target, ...]:
    """The targets that the user named: probe index ("0"), tile ("0/1"), BDF, name glob or "cpu"; all without a name.

    Raises UsageError for a name that nothing answers to, with what there is.
    """
    available = list_targets(machine)
    if not patterns:
        return available
    candidates = list(available)
    if all(target.kind != "cpu" for target in candidates):
        candidates.append(build_cpu_target(machine))
    indices = {device.bdf: str(device.index) for device in machine.devices}
    chosen: list[Target] = []
    for pattern in patterns:
        matched = [target for target in candidates if _matches(target, pattern, indices.get(target.bdf, ""))]
        if not matched:
            raise UsageError(
                f"--device {pattern}: no such device", hint=_describe_choice(machine, candidates, indices, pattern)
            )
        chosen.extend(target for target in matched if target not in chosen)
    return tuple(sorted(chosen, key=candidates.index))


def _matches(target: Target, pattern: str, index: str) -> bool:
    wanted = pattern.lower()
    if target.kind == "cpu":
        return wanted == CPU_LABEL
    bdf = target.bdf.lower()
    names = {index, bdf, bdf.removeprefix("0000:"), target.label.lower()}
    if target.tile is not None:
        names |= {f"{index}/{target.tile}", f"{index}.{target.tile}"}
    return wanted in names or fnmatch.fnmatch(target.name.lower(), wanted) or fnmatch.fnmatch(bdf, wanted)


def _describe_choice(machine: Machine, candidates: list[Target], indices: dict[str, str], pattern: str) -> str:
    for device in machine.devices:
        if pattern in (str(device.index), device.bdf) and device.level_zero_index is None:
            return f"{device.bdf} is there, but Level Zero does not show it: see xpukit probe"
    shown = [f"{indices[target.bdf]} ({target.label})" if target.bdf else target.label for target in candidates]
    return "one of " + ", ".join(shown)
