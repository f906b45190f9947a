"""Joins the sources: each device gets all of its numbers, and where sources disagree that is a finding."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from xpukit.core.finding import Evidence, Finding
from xpukit.core.machine import Device
from xpukit.core.units import format_bytes
from xpukit.host.door import Host
from xpukit.probe.question import Question
from xpukit.probe.sighting import Sighting, find_device

MEMORY_TOLERANCE = 0.05
DRIVERS = ("xe", "i915")
_LISTS = ("level-zero", "xpu-smi")
_REMEDY = {
    "level-zero": (
        "check that the user may open the device's render node (groups render and video)",
        "update the user-space driver (libze-intel-gpu1, older: intel-level-zero-gpu): it may not know the device",
        "look for messages about the device: dmesg | grep -iE 'xe|i915'",
    ),
    "xpu-smi": ("update xpu-smi: it may not know the device", "run it as root once and compare"),
}


def read_machine(host: Host, devices: tuple[Device, ...], so_far: Mapping[str, Any]) -> dict[str, Any]:
    """Indices of xpu-smi and SYCL for each device, and disagreements."""
    sightings: tuple[Sighting, ...] = so_far.get("sightings", ())
    asked: Mapping[str, str] = so_far.get("asked", {})
    joined = assign_indices(devices, sightings, so_far.get("level_zero", {}))
    return {"devices": joined, "findings": tuple(find_disagreements(joined, sightings, asked))}


def assign_indices(
    devices: tuple[Device, ...], sightings: Sequence[Sighting], level_zero: Mapping[str, Any]
) -> tuple[Device, ...]:
    """`xpu_smi_index` by address or UUID; `sycl_index` by UUID, else by Level Zero's order, which SYCL keeps."""
    joined = list(devices)
    for seen in sightings:
        if seen.source == "xpu-smi" and seen.index is not None:
            place, _ = find_device(joined, bdf=seen.bdf, uuid=seen.uuid)
            if place is not None and joined[place].xpu_smi_index is None:
                joined[place] = _learn(joined[place], "xpu_smi_index", seen.index, "xpu-smi")
    for place, index, rule in _place_sycl(joined, sightings, level_zero):
        if joined[place].sycl_index is None:
            joined[place] = _learn(joined[place], "sycl_index", index, rule)
    return tuple(joined)


def _learn(device: Device, field: str, value: int, source: str) -> Device:
    return msgspec.structs.replace(device, **{field: value}, sources={**device.sources, field: source})


def list_sycl_gpus(sightings: Sequence[Sighting]) -> tuple[str, list[Sighting]]:
    """(source, GPUs of SYCL's Level Zero backend in its order), from sycl-ls or else from dpctl."""
    for source in ("sycl-ls", "dpctl"):
        gpus = [
            seen
            for seen in sightings
            if seen.source == source and seen.label.startswith("level_zero") and seen.index is not None
        ]
        if gpus:
            return source, sorted(gpus, key=lambda seen: seen.index or 0)
    return "", []


def _place_sycl(
    devices: Sequence[Device], sightings: Sequence[Sighting], level_zero: Mapping[str, Any]
) -> Iterable[tuple[int, int, str]]:
    source, gpus = list_sycl_gpus(sightings)
    by_order = [find_device(devices, bdf=bdf)[0] for bdf in _list_order(level_zero, len(gpus))]
    for number, seen in enumerate(gpus):
        place, rule = find_device(devices, uuid=seen.uuid)
        if place is None and number < len(by_order):
            place, rule = by_order[number], "Level Zero's order"
        if place is not None and seen.index is not None:
            yield place, seen.index, f"{source} ({rule})"


def _list_order(level_zero: Mapping[str, Any], count: int) -> list[str]:
    """PCI addresses in the order of a SYCL list of `count` devices: whole cards, or their tiles; [] if neither fits."""
    cards = [
        device for device in level_zero.get("devices", ()) if device["type"] == "gpu" and device["index"] is not None
    ]
    whole = [device["bdf"] or "?" for device in cards]
    tiles = [device["bdf"] or "?" for device in cards for _ in range(max(1, len(device["tiles"])))]
    return whole if len(whole) == count else tiles if len(tiles) == count else []


def find_disagreements(
    devices: Sequence[Device], sightings: Sequence[Sighting], asked: Mapping[str, str]
) -> Iterable[Finding]:
    """All findings of comparing the sources. A source that gave no answer is not compared."""
    seen_of: dict[str, list[Sighting]] = {device.bdf: [] for device in devices}
    strangers: dict[str, list[Sighting]] = {}
    for seen in sightings:
        place, _ = find_device(devices, bdf=seen.bdf, uuid=seen.uuid)
        if place is not None:
            seen_of[devices[place].bdf].append(seen)
        elif seen.source in _LISTS and (seen.bdf or not devices):
            strangers.setdefault(seen.bdf or f"number {seen.label}", []).append(seen)
    yield from (_describe_stranger(where, seen_there) for where, seen_there in sorted(strangers.items()))
    for device in devices:
        seen_here = seen_of[device.bdf]
        yield from _find_missing(device, seen_here, asked)
        yield from _compare_ids(device, seen_here)
        yield from _compare_names(device, seen_here)
        yield from _compare_memory(device, seen_here)
        yield from _compare_tiles(device, seen_here)
    yield from _compare_sycl(devices, sightings, asked)
    yield from _compare_drivers(sightings)


def _describe_stranger(where: str, seen: Sequence[Sighting]) -> Finding:
    sources = " and ".join(sorted({sighting.source for sighting in seen}))
    name = next((sighting.name for sighting in seen if sighting.name), "a device")
    return Finding(
        id="XPK-PROBE-NOT-ON-PCI",
        severity="warning",
        summary=f"PCI shows no Intel GPU at {where}, where {sources} list{'s' * (' and ' not in sources)} {name}",
        evidence=tuple(
            Evidence(source=sighting.evidence, value=f"{sighting.name} {where}".strip()) for sighting in seen
        ),
        remedy=(
            "in a container or WSL the PCI list can be hidden: run xpukit on the host",
            "otherwise the device left the bus after the driver started: dmesg | grep -iE 'pcieport|xe|i915'",
        ),
        subject=seen[0].bdf,
    )


def _find_missing(device: Device, seen: Sequence[Sighting], asked: Mapping[str, str]) -> Iterable[Finding]:
    if device.driver not in DRIVERS:
        return
    for source in _LISTS:
        if asked.get(source) != "ok" or any(sighting.source == source for sighting in seen):
            continue
        if source == "xpu-smi" and device.virtual_function:
            continue
        yield Finding(
            id=f"XPK-PROBE-NOT-IN-{source.upper()}",
            severity="warning",
            summary=f"{source} does not list {device.name} at {device.bdf}, which has driver {device.driver}",
            evidence=(
                Evidence(source=f"/sys/bus/pci/devices/{device.bdf}/driver", value=device.driver),
                Evidence(source=source, value="no device with this PCI address or UUID"),
            ),
            remedy=_REMEDY[source],
            subject=device.bdf,
        )


def _compare_ids(device: Device, seen: Sequence[Sighting]) -> Iterable[Finding]:
    for sighting in seen:
        if sighting.device_id and sighting.device_id != device.device_id.lower().removeprefix("0x"):
            yield Finding(
                id="XPK-PROBE-ID-DIFFERS",
                severity="warning",
                summary=f"{device.bdf} is {device.device_id} on PCI and {sighting.device_id} to {sighting.source}",
                evidence=(
                    Evidence(source=f"/sys/bus/pci/devices/{device.bdf}/device", value=device.device_id),
                    Evidence(source=sighting.evidence, value=sighting.device_id),
                ),
                remedy=("look for an override in the environment: env | grep -E 'NEO|ForceDeviceId'",),
                subject=device.bdf,
            )


_FILLER = frozenset({"intel", "graphics", "gpu", "r", "tm", "corporation", "series", "data", "center"})


def _read_name(name: str) -> frozenset[str]:
    """The words of a name that tell products apart; empty for "Intel(R) Graphics [0xe211]", which names none."""
    if "[0x" in name.lower() or "unknown" in name.lower():
        return frozenset()
    return frozenset(re.findall(r"[a-z0-9]+", name.lower())) - _FILLER


def _compare_names(device: Device, seen: Sequence[Sighting]) -> Iterable[Finding]:
    claims = [(sighting.evidence, sighting.name) for sighting in seen if sighting.source in _LISTS]
    if device.known:
        claims.insert(0, (f"PCI id {device.device_id} in xpukit's table", device.name))
    words = [(evidence, name, _read_name(name)) for evidence, name in claims]
    telling = [claim for claim in words if claim[2]]
    for evidence, name, tokens in telling[1:]:
        first = telling[0]
        if tokens <= first[2] or first[2] <= tokens:
            continue
        yield Finding(
            id="XPK-PROBE-NAME-DIFFERS",
            severity="info",
            summary=f"{device.bdf} has two names: {first[1]!r} and {name!r}",
            evidence=(Evidence(source=first[0], value=first[1]), Evidence(source=evidence, value=name)),
            remedy=("go by the PCI device id; please report the id if xpukit's name is wrong",),
            subject=device.bdf,
        )
        return


def _compare_memory(device: Device, seen: Sequence[Sighting]) -> Iterable[Finding]:
    if device.discrete is False:
        return  # an integrated GPU shares main memory; each source counts another part of it
    claims = [(sighting.evidence, sighting.memory_bytes) for sighting in seen if sighting.memory_bytes]
    source = device.sources.get("memory_bytes", "")
    if device.memory_bytes and source != "level-zero":
        claims.insert(0, (source or "sysfs", device.memory_bytes))
    if len(claims) < 2:
        return
    sizes = [size for _, size in claims if size]
    if max(sizes) - min(sizes) <= MEMORY_TOLERANCE * max(sizes):
        return
    yield Finding(
        id="XPK-PROBE-MEMORY-DIFFERS",
        severity="warning",
        summary=f"{device.bdf}: sources disagree on its memory, from {format_bytes(min(sizes))} "
        f"to {format_bytes(max(sizes))}",
        evidence=tuple(Evidence(source=evidence, value=f"{size} bytes") for evidence, size in claims),
        remedy=(
            "if the card has tiles, one source may count one tile only",
            "otherwise look for failed memory or a wrong firmware: dmesg | grep -iE 'vram|lmem', xpu-smi health",
        ),
        subject=device.bdf,
    )


def _compare_tiles(device: Device, seen: Sequence[Sighting]) -> Iterable[Finding]:
    claims = [(sighting.evidence, sighting.tiles) for sighting in seen if sighting.tiles]
    if device.tiles and device.sources.get("tiles") != "level-zero":
        claims.insert(0, (device.sources.get("tiles", "sysfs"), device.tiles))
    if len({tiles for _, tiles in claims}) < 2:
        return
    counts = " and ".join(f"{tiles} ({evidence})" for evidence, tiles in claims)
    yield Finding(
        id="XPK-PROBE-TILES-DIFFER",
        severity="warning",
        summary=f"{device.bdf}: sources count different numbers of tiles: {counts}",
        evidence=tuple(Evidence(source=evidence, value=str(tiles)) for evidence, tiles in claims),
        remedy=("a tile may be disabled or failed: dmesg | grep -iE 'tile|xe|i915', xpu-smi health",),
        subject=device.bdf,
    )


def _compare_sycl(
    devices: Sequence[Device], sightings: Sequence[Sighting], asked: Mapping[str, str]
) -> Iterable[Finding]:
    """SYCL's Level Zero backend against Level Zero itself, by count: SYCL often gives neither address nor UUID."""
    sources = [source for source in ("sycl-ls", "dpctl") if asked.get(source) == "ok"]
    cards = [seen for seen in sightings if seen.source == "level-zero" and seen.index is not None]
    tiles = sum(seen.tiles or 1 for seen in cards)
    for source in sources if cards and devices else ():
        here = [seen for seen in sightings if seen.source == source]
        gpus = [seen for seen in here if seen.label.startswith("level_zero")]
        if len(gpus) in (len(cards), tiles):
            continue
        yield Finding(
            id="XPK-PROBE-SYCL-DIFFERS",
            severity="warning",
            summary=f"Level Zero lists {len(cards)} GPU{'s' * (len(cards) != 1)} with {tiles} tiles, "
            f"{source} {len(gpus) or 'none'} on that backend",
            evidence=(
                Evidence(source="level-zero", value=", ".join(seen.bdf or seen.name for seen in cards)),
                Evidence(source=source, value=", ".join(f"{seen.label} {seen.name}" for seen in here) or "no GPU"),
            ),
            remedy=(
                "the oneAPI runtime may lack its Level Zero adapter or need a newer loader: "
                "update intel-oneapi-runtime-dpcpp-cpp and libze1",
                "SYCL_UR_TRACE=1 sycl-ls says which adapters are loaded",
            ),
        )


def _read_build(seen: Sighting) -> str:
    """The driver's build number, the one part that all sources print: 38646 of 17012470 and of 1.3.38646."""
    if seen.source == "level-zero" or re.fullmatch(r"[0-9]{7,9}", seen.driver_version):
        return str(int(seen.driver_version) & 0xFFFF) if seen.driver_version.isdecimal() else ""
    is_level_zero = seen.source == "xpu-smi" or seen.label.startswith("level_zero")
    match = re.match(r"[0-9]{1,2}\.[0-9]{1,3}\.([0-9]{4,6})(?![0-9])", seen.driver_version)
    return match.group(1) if match and is_level_zero else ""


def _compare_drivers(sightings: Sequence[Sighting]) -> Iterable[Finding]:
    builds: dict[str, list[Sighting]] = {}
    for seen in sightings:
        build = _read_build(seen)
        if build.strip("0"):
            builds.setdefault(build, []).append(seen)
    # Two drivers within one source are two kinds of device; across sources they are two installations.
    sources = [{seen.source for seen in group} for group in builds.values()]
    everywhere = set().union(*sources) if sources else set()
    if len(builds) < 2 or any(group == everywhere for group in sources):
        return
    yield Finding(
        id="XPK-PROBE-DRIVER-DIFFERS",
        severity="warning",
        summary=f"programs here load different Level Zero drivers: builds {', '.join(sorted(builds))}",
        evidence=tuple(
            Evidence(source=group[0].evidence, value=group[0].driver_version) for _, group in sorted(builds.items())
        ),
        remedy=(
            "look for a second libze_intel_gpu.so.1: ldconfig -p | grep ze_intel; echo $LD_LIBRARY_PATH",
            "keep one: the distribution's or Intel's repository, not both",
        ),
    )


QUESTION = Question(
    name="join",
    scope="machine",
    order=300,
    summary="one row per device with the numbers that each tool gives it, and where tools disagree",
    read_machine=read_machine,
)
