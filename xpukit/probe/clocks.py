"""Frequencies and throttle reasons of each GT, and the tiles they belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from xpukit.core.machine import Gt
from xpukit.facts.devices import lookup_device
from xpukit.host.door import Host
from xpukit.probe.drm import find_nodes
from xpukit.probe.question import PciFunction, Question
from xpukit.probe.sysfs import read_int, read_text

_TILE = re.compile(r"tile(\d+)")
_GT = re.compile(r"gt(\d+)")
_I915_PREFIX = "throttle_reason_"


def read_clocks(host: Host, function: PciFunction, so_far: Mapping[str, Any]) -> dict[str, Any]:
    """The GTs of a device under xe (tile*/gt*) or i915 (card's gt/gt*)."""
    if function.driver == "xe":
        gts, tiles = _read_xe(host, function)
        source = f"{function.sys_path}/tile*/gt*/freq0"
    elif function.driver == "i915":
        facts = lookup_device(function.vendor_id, function.device_id)
        gts, tiles = _read_i915(host, function, (facts.tiles if facts else None) or 1)
        source = "i915 gt/gt*/rps_*"
    else:
        return {}
    if not gts:
        return {}
    found: dict[str, Any] = {"gts": gts, "sources": {"gts": source}}
    if tiles:
        found["tiles"] = tiles
        found["sources"]["tiles"] = source
    return found


def _read_xe(host: Host, function: PciFunction) -> tuple[tuple[Gt, ...], int]:
    gts = []
    tiles = [match for match in map(_TILE.fullmatch, host.list(function.sys_path).names) if match]
    for tile in tiles:
        below = f"{function.sys_path}/{tile[0]}"
        for match in map(_GT.fullmatch, host.list(below).names):
            if match:
                gts.append(_read_xe_gt(host, f"{below}/{match[0]}", int(tile[1]), int(match[1])))
    return _sort(gts), len(tiles)


def _read_xe_gt(host: Host, path: str, tile: int, gt: int) -> Gt:
    name = read_text(host, f"{path}/gtidle/name") or ""
    return Gt(
        tile=tile,
        gt=gt,
        # gtidle/name is "gt0-rc" for a render/compute GT and "gt1-mc" for a media GT.
        kind={"rc": "main", "mc": "media"}.get(name.rpartition("-")[2], ""),
        min_mhz=read_int(host, f"{path}/freq0/min_freq"),
        max_mhz=read_int(host, f"{path}/freq0/max_freq"),
        current_mhz=read_int(host, f"{path}/freq0/cur_freq"),
        actual_mhz=read_int(host, f"{path}/freq0/act_freq"),
        throttle_reasons=_read_reasons(host, f"{path}/freq0/throttle", "status", "reason_"),
    )


def _read_reasons(host: Host, directory: str, status: str, prefix: str) -> tuple[str, ...]:
    """The reasons that are set; "unknown" when only the status says that there is one."""
    names = [name for name in host.list(directory).names if name.startswith(prefix) and name != status]
    reasons = tuple(name.removeprefix(prefix) for name in names if read_int(host, f"{directory}/{name}"))
    return reasons or (("unknown",) if read_int(host, f"{directory}/{status}") else ())


def _read_i915(host: Host, function: PciFunction, tiles_expected: int) -> tuple[tuple[Gt, ...], int]:
    card = find_nodes(host, function).card_sys_path
    if not card:
        return (), 0
    matches = [match for match in map(_GT.fullmatch, host.list(f"{card}/gt").names) if match]
    if not matches:
        return _read_i915_single(host, card), 1
    # i915 has no tile level: on a card with several tiles each GT is one; otherwise gt1 is the media GT.
    several = tiles_expected > 1
    gts = []
    for match in matches:
        number, path = int(match[1]), f"{card}/gt/{match[0]}"
        gts.append(
            Gt(
                tile=number if several else 0,
                gt=number,
                kind="main" if several or number == 0 else "media",
                min_mhz=read_int(host, f"{path}/rps_min_freq_mhz"),
                max_mhz=read_int(host, f"{path}/rps_max_freq_mhz"),
                current_mhz=read_int(host, f"{path}/rps_cur_freq_mhz"),
                actual_mhz=read_int(host, f"{path}/rps_act_freq_mhz"),
                throttle_reasons=_read_reasons(host, path, f"{_I915_PREFIX}status", _I915_PREFIX),
            )
        )
    return _sort(gts), len(matches) if several else 1


def _read_i915_single(host: Host, card: str) -> tuple[Gt, ...]:
    """Kernels before 5.18 have one set of files for the whole card."""
    values = {
        field: read_int(host, f"{card}/gt_{name}_freq_mhz")
        for field, name in (("min", "min"), ("max", "max"), ("current", "cur"), ("actual", "act"))
    }
    if all(value is None for value in values.values()):
        return ()
    return (
        Gt(
            tile=0,
            gt=0,
            kind="main",
            min_mhz=values["min"],
            max_mhz=values["max"],
            current_mhz=values["current"],
            actual_mhz=values["actual"],
        ),
    )


def _sort(gts: list[Gt]) -> tuple[Gt, ...]:
    return tuple(sorted(gts, key=lambda gt: (gt.tile, gt.gt)))


QUESTION = Question(
    name="clocks",
    scope="device",
    order=70,
    summary="frequencies, throttle reasons and tiles",
    read_device=read_clocks,
)
