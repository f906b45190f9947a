"""Asks all questions of a machine and joins the answers. Never raises for what a machine says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from xpukit.core.finding import Finding, sort_findings
from xpukit.core.machine import Device, Machine, OtherDevice, Unread
from xpukit.facts.devices import name_unknown
from xpukit.host.asked_once import AskedOnceHost
from xpukit.host.door import Host
from xpukit.probe import pci
from xpukit.probe.question import PciFunction, Question, ReadOptions
from xpukit.probe.registry import list_scope

_DEVICE_FIELDS = frozenset(Device.__struct_fields__)
_MACHINE_FIELDS = frozenset(Machine.__struct_fields__)


def probe_machine(host: Host, *, include_all: bool = False) -> Machine:
    """Everything that can be read of a machine; devices are sorted by BDF and numbered in that order.

    `include_all` lists NICs and NVMe drives among `others` too, so that the topology shows them.
    """
    host = AskedOnceHost(host)
    listing = pci.list_functions(host)
    found: dict[str, Any] = {
        "options": ReadOptions(include_all=include_all),
        "functions": listing.functions,
        "others": pci.list_others(host, listing, include_all=include_all),
        "unread": listing.unread,
        "findings": (),
    }
    read = [_read_device(host, index, function, listing) for index, function in enumerate(listing.intel_gpus)]
    devices = tuple(device for device, _ in read)
    for _, findings in read:
        found["findings"] += findings
    for question in list_scope("machine"):
        update = _ask_machine(question, host, devices, found)
        changed = update.pop("devices", devices)
        if [device.bdf for device in changed] == [device.bdf for device in devices]:
            devices = tuple(changed)
        else:
            why = "it named other devices than were asked about"
            _join(found, {"unread": (Unread(what=question.name, why=why),)})
        _join(found, update)
    return _build_machine(devices, found)


def _read_device(
    host: Host, index: int, function: PciFunction, listing: pci.Listing
) -> tuple[Device, tuple[Finding, ...]]:
    found: dict[str, Any] = {"index": index, "functions": listing.functions}
    for question in list_scope("device"):
        _join(found, _ask_device(question, host, function, found))
    findings: tuple[Finding, ...] = found.pop("findings", ())
    found.pop("functions")
    basics: dict[str, Any] = {
        "bdf": function.bdf,
        "vendor_id": function.vendor_id,
        "device_id": function.device_id,
        "name": name_unknown(function.device_id),
        "known": False,
        "path": function.path,
        "driver": function.driver,
    }
    found = {**basics, **found}
    extra = dict(found.get("extra", {}))
    for name in sorted(set(found) - _DEVICE_FIELDS):
        extra[name] = found.pop(name)
    return Device(**{**found, "extra": extra}), findings


def _build_machine(devices: tuple[Device, ...], found: dict[str, Any]) -> Machine:
    fields = {name: value for name, value in found.items() if name not in ("options", "functions")}
    extra = dict(fields.get("extra", {}))
    for name in sorted(set(fields) - _MACHINE_FIELDS):
        extra[name] = fields.pop(name)
    others: tuple[OtherDevice, ...] = fields["others"]
    fields |= {
        "devices": devices,
        "others": tuple(sorted(others, key=lambda other: other.bdf)),
        "findings": sort_findings(list(fields["findings"])),
        "extra": extra,
    }
    return Machine(**fields)


def _ask_device(question: Question, host: Host, function: PciFunction, found: Mapping[str, Any]) -> dict[str, Any]:
    read = question.read_device
    return _guard(question, lambda: read(host, function, found) if read else {})


def _ask_machine(
    question: Question, host: Host, devices: tuple[Device, ...], found: Mapping[str, Any]
) -> dict[str, Any]:
    read = question.read_machine
    return _guard(question, lambda: read(host, devices, found) if read else {})


def _guard(question: Question, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A question's fields. A defect in one question costs its own answer, and the report says so."""
    try:
        answered = read()
        # What JSON cannot hold must show here, as this question's defect, not when the report is written.
        msgspec.to_builtins(answered)
    except Exception as err:
        unread = Unread(
            what=question.name,
            why=f"defect in xpukit: {type(err).__name__}: {err}",
            remedy="please report it with a recording (xpukit --record DIR probe)",
        )
        return {"unread": (unread,)}
    return answered


def _join(found: dict[str, Any], update: Mapping[str, Any]) -> None:
    """Add an answer: tuples are concatenated, dicts merged, anything else (and `others`) replaced."""
    for name, value in update.items():
        before = found.get(name)
        if isinstance(before, tuple) and isinstance(value, tuple) and name != "others":
            found[name] = before + value
        elif isinstance(before, Mapping) and isinstance(value, Mapping):
            found[name] = {**before, **value}
        else:
            found[name] = value
