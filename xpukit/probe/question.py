"""The shape of a question: one file of this room that defines `QUESTION` adds one to `xpukit probe`.

A device question is asked once for each Intel GPU function, a machine question once, after all devices. Both return
the fields they found out, by the field names of `Device` and `Machine`; a name that is no field goes to `extra`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from xpukit.core.machine import Device, Unread
from xpukit.host.door import Host

Scope = Literal["device", "machine"]


class PciFunction(msgspec.Struct, frozen=True, kw_only=True):
    """One PCI function as udev lists it. Ids and class are lower-case hex without 0x.

    `path` are the addresses of the bridges above it, the one at the root first; `sys_path` its directory in sysfs.
    `subsystem_id` is "vendor:device" of the board.
    """

    bdf: str
    sys_path: str
    vendor_id: str
    device_id: str
    subsystem_id: str = ""
    revision: str = ""
    pci_class: str = ""
    driver: str = ""
    path: tuple[str, ...] = ()


# A device question: (host, the function, what earlier questions found about it) -> fields of Device.
ReadDevice = Callable[[Host, PciFunction, Mapping[str, Any]], dict[str, Any]]
# A machine question: (host, the devices as read so far, what earlier machine questions found) -> fields of Machine.
# The key "devices" may be among them: a tuple of Device in the same order and number, with fields filled in;
# "others" replaces those found so far.
ReadMachine = Callable[[Host, tuple[Device, ...], Mapping[str, Any]], dict[str, Any]]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question. `order` sorts questions of a scope (lower first); leave gaps of ten.

    `read_device` or `read_machine` is set, as the scope says. Fields that several questions add to are joined:
    tuples (`unread`, `sensors`, `findings` …) are concatenated, dicts (`sources`, `extra` …) merged, anything else
    is overwritten by the later question. `findings` of a device question go to the machine. The host keeps every
    answer during a probe, so asking again costs nothing.
    """

    name: str
    scope: Scope
    order: int
    summary: str
    read_device: ReadDevice | None = None
    read_machine: ReadMachine | None = None


def conform_error(question: Question) -> str:
    """What is wrong with a question's shape, "" when nothing is."""
    wanted, other = (
        (question.read_device, question.read_machine)
        if question.scope == "device"
        else (question.read_machine, question.read_device)
    )
    if wanted is None or other is not None:
        return f"{question.name}: scope {question.scope} needs read_{question.scope} and nothing else"
    if not question.name.isidentifier() or not question.summary:
        return f"{question.name!r}: needs a name that is an identifier and a summary"
    return ""


class ReadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked of a probe; a machine question finds it in `so_far["options"]`."""

    include_all: bool = False


def explain_error(error: str) -> tuple[str, str]:
    """(why, remedy) for the error of a host answer."""
    known = {
        "EACCES": ("permission denied", "run as root"),
        "EPERM": ("permission denied", "run as root"),
        "ENOENT": ("not there", ""),
        "ETIMEDOUT": ("reading it took too long", "the driver may hang: see the kernel log (dmesg)"),
        "ENODEV": ("the device does not answer", "see the kernel log (dmesg); the device may have been reset"),
        "EIO": ("input/output error", "see the kernel log (dmesg)"),
        "UNRECORDED": ("the recording does not hold it", "record again with this version of xpukit"),
    }
    return known.get(error, (error, ""))


def describe_unread(what: str, error: str) -> Unread:
    """An `Unread` row for the error of a host answer."""
    why, remedy = explain_error(error)
    return Unread(what=what, why=why, remedy=remedy)
