"""xpu-smi: how Intel's management tool numbers and describes the devices. JSON first, its table where JSON fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from xpukit.core.machine import Device, SoftwareItem, Unread
from xpukit.host.answers import Ran
from xpukit.host.door import Host
from xpukit.probe.parsers.xpu_smi import (
    XpuSmiDevice,
    XpuSmiListing,
    parse_discovery_json,
    parse_discovery_table,
    parse_version,
)
from xpukit.probe.question import Question
from xpukit.probe.sighting import Sighting, explain_run

PROGRAM = "xpu-smi"
LIST_TIMEOUT_S = 20.0
DETAIL_TIMEOUT_S = 10.0
VERSION_TIMEOUT_S = 5.0
# Each detail call initialises the whole tool again; past this much time the rest is left out, and said so.
DETAIL_BUDGET_S = 30.0
INSTALL = "install xpu-smi from Intel's GPU package repository (package xpu-smi; newer releases: xpumanager)"


def read_machine(host: Host, devices: tuple[Device, ...], so_far: Mapping[str, Any]) -> dict[str, Any]:
    """Sightings of each device, the tool's version and what could not be had."""
    listing, unread = list_devices(host)
    if listing is None:
        why = unread[0].why if unread else "gave no list"
        return {
            "asked": {PROGRAM: why},
            "software": (SoftwareItem(name=PROGRAM, source="PATH", note=why),),
            "unread": unread,
        }
    version, version_unread = read_version(host)
    detailed, detail_unread = read_details(host, listing.devices)
    notes = tuple(f"line {note.line}: {note.text}" if note.line else note.text for note in listing.notes)
    return {
        "asked": {PROGRAM: "ok"},
        "sightings": tuple(describe_sighting(device) for device in detailed),
        "software": (
            SoftwareItem(name=PROGRAM, version=version, source=f"{PROGRAM} -v", note="; ".join(notes[:3]), found=True),
        ),
        "extra": {"xpu_smi": {"devices": msgspec.to_builtins(detailed), "notes": list(notes)}},
        "unread": (*unread, *version_unread, *detail_unread, *_explain_states(detailed)),
    }


def list_devices(host: Host) -> tuple[XpuSmiListing | None, tuple[Unread, ...]]:
    """The list of devices, or None and the reason. A hang is not tried twice."""
    ran = host.run([PROGRAM, "discovery", "-j"], timeout_s=LIST_TIMEOUT_S)
    listing = parse_discovery_json(ran.out)
    if listing.devices or (listing.found and not listing.error and ran.ok):
        return listing, _note_bad_end(ran)
    if ran.failure in ("not-found", "denied", "timeout", "UNRECORDED"):
        return None, (_explain(ran),)
    table_ran = host.run([PROGRAM, "discovery"], timeout_s=LIST_TIMEOUT_S)
    table = parse_discovery_table(table_ran.out)
    if table.found and (table.devices or not listing.error):
        return table, _note_bad_end(table_ran)
    said = listing.error or table.error or parse_discovery_json(ran.err).error
    if not ran.ok and not said:
        return None, (_explain(ran),)
    why = f"{ran.command}: exit {ran.rc}, {said}" if said else _describe_rubbish(ran, listing)
    return None, (Unread(what=PROGRAM, why=why, remedy=_advise(said)),)


def _describe_rubbish(ran: Ran, listing: XpuSmiListing) -> str:
    first = f" ({listing.notes[0].text[:80]})" if listing.notes else ""
    return f"{ran.command}: exit {ran.rc}, {len(ran.out)} bytes that are no list of devices{first}"


def _advise(said: str) -> str:
    lowered = said.lower()
    if "level zero" in lowered or "zeinit" in lowered or "78000001" in lowered:
        return "Level Zero does not start: see what is said about level-zero"
    if "permission" in lowered or "privilege" in lowered:
        return "run as root, or add the user to the groups render and video"
    return f"run `{PROGRAM} discovery` by hand; reinstall the tool if it prints no table"


def _explain(ran: Ran) -> Unread:
    return explain_run(PROGRAM, ran, install=INSTALL)


def _note_bad_end(ran: Ran) -> tuple[Unread, ...]:
    """A list that came from a run that ended badly is used, and said."""
    if ran.ok:
        return ()
    return (Unread(what=f"{PROGRAM}: clean end", why=f"{ran.describe_failure()} (its list was used)"),)


def read_version(host: Host) -> tuple[str, tuple[Unread, ...]]:
    """The tool's version; `-v` in every generation."""
    ran = host.run([PROGRAM, "-v"], timeout_s=VERSION_TIMEOUT_S)
    version = parse_version(ran.out)
    found = version.cli or version.service
    if found:
        return found, ()
    why = ran.describe_failure() if not ran.ok else f"{ran.command}: no version in {len(ran.out)} bytes"
    return "", (Unread(what=f"{PROGRAM}: version", why=why),)


def read_details(host: Host, listed: tuple[XpuSmiDevice, ...]) -> tuple[tuple[XpuSmiDevice, ...], tuple[Unread, ...]]:
    """Memory, firmware, tiles and driver of each device, which only `discovery -d N` tells."""
    spent_s = 0.0
    detailed: list[XpuSmiDevice] = []
    unread: list[Unread] = []
    for device in listed:
        what = f"{PROGRAM}: details of device {device.index}"
        if spent_s > DETAIL_BUDGET_S:
            unread.append(Unread(what=what, why=f"left out: the calls before took {spent_s:.0f} s"))
            detailed.append(device)
            continue
        ran = host.run([PROGRAM, "discovery", "-d", str(device.index), "-j"], timeout_s=DETAIL_TIMEOUT_S)
        spent_s += ran.seconds
        listing = parse_discovery_json(ran.out)
        error = listing.error
        if not listing.devices and ran.failure != "timeout":
            listing = parse_discovery_table(ran.out)
        same = [found for found in listing.devices if found.index == device.index and found.bdf in ("", device.bdf)]
        if same:
            detailed.append(_merge(device, same[0]))
            continue
        if ran.failure == "timeout":
            spent_s = DETAIL_BUDGET_S + 1
        why = ran.describe_failure() if not ran.ok else error or listing.error or "no such device in the answer"
        unread.append(Unread(what=what, why=why))
        detailed.append(device)
    return tuple(detailed), tuple(unread)


def _merge(brief: XpuSmiDevice, full: XpuSmiDevice) -> XpuSmiDevice:
    """The detailed record with what only the list said."""
    gaps = {
        name: getattr(brief, name)
        for name in XpuSmiDevice.__struct_fields__
        if not getattr(full, name) and getattr(brief, name)
    }
    return msgspec.structs.replace(full, **gaps)


def describe_sighting(device: XpuSmiDevice) -> Sighting:
    """One device as xpu-smi sees it."""
    return Sighting(
        source=PROGRAM,
        evidence=f"{PROGRAM} discovery -d {device.index} -j",
        index=device.index,
        label=str(device.index),
        bdf=device.bdf,
        uuid=device.uuid,
        name=device.name,
        device_id=device.device_id,
        memory_bytes=device.memory_bytes,
        tiles=device.tiles,
        driver_version=device.driver_version,
    )


def _explain_states(devices: tuple[XpuSmiDevice, ...]) -> tuple[Unread, ...]:
    return tuple(
        Unread(
            what=f"{PROGRAM}: device {device.index} ({device.bdf or 'no PCI address'})",
            why=f"xpu-smi calls its state {device.state!r}",
            remedy="compare with Level Zero's answer: xpu-smi 2.x is known to report survivability mode falsely",
        )
        for device in devices
        if device.state and device.state.lower() not in ("normal", "ok", "healthy")
    )


QUESTION = Question(
    name="xpu_smi",
    scope="machine",
    order=210,
    summary="devices as xpu-smi numbers them, with memory, firmware and driver",
    read_machine=read_machine,
)
