"""What one source says about one device, and which device that is: each counts and names in its own way."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xpukit.core.machine import Device, Unread
from xpukit.host.answers import Ran
from xpukit.probe.question import describe_unread


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """A device as one source (level-zero, xpu-smi, sycl-ls, dpctl) lists it. Empty: the source does not say.

    `index` is the source's own number, `label` what one types to name the device there; `evidence` where it was read.
    """

    source: str
    evidence: str
    index: int | None = None
    label: str = ""
    bdf: str = ""
    uuid: str = ""
    name: str = ""
    device_id: str = ""
    memory_bytes: int | None = None
    tiles: int | None = None
    driver_version: str = ""
    joined_by: str = ""


# An Intel GPU's UUID: vendor, device, revision and PCI domain as little-endian 16-bit numbers, then bus, device,
# function, reserved bytes and the sub-device (compute-runtime, DeviceUuid). Tools print the bytes forwards (SYCL),
# backwards (xpu-smi, Level Zero's tests) or as decimal numbers without separators (sycl-ls of 2024).
_INTEL = bytes((0x86, 0x80))


def read_uuid(text: str) -> bytes | None:
    """The 16 bytes in memory order from hex text, turned round when Intel's vendor id stands at the end."""
    digits = text.replace("-", "").strip().lower()
    if len(digits) != 32:
        return None
    try:
        uuid = bytes.fromhex(digits)
    except ValueError:
        return None
    return uuid[::-1] if uuid[:2] != _INTEL and uuid[::-1][:2] == _INTEL else uuid


def format_uuid(uuid: bytes) -> str:
    """As xpu-smi and Level Zero's tools print it: last byte first."""
    digits = uuid[::-1].hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def is_same_uuid(one: str, other: str) -> bool:
    """Whether two printed UUIDs are the same device's, however they were printed."""
    left, right = read_uuid(one), read_uuid(other)
    if left is not None and right is not None:
        return left == right and any(left)
    if left is None and right is None:
        return False
    known, decimal = (left, other) if left is not None else (right, one)
    return known is not None and any(known) and decimal.strip() == "".join(str(byte) for byte in known)


def find_device(devices: Sequence[Device], *, bdf: str = "", uuid: str = "") -> tuple[int | None, str]:
    """(place in `devices`, rule) by PCI address, else by UUID; (None, "") when nothing fits."""
    if bdf:
        for place, device in enumerate(devices):
            if device.bdf == bdf:
                return place, "bdf"
        return None, ""
    if uuid:
        places = [place for place, device in enumerate(devices) if is_same_uuid(device.uuid, uuid)]
        if len(places) == 1:
            return places[0], "uuid"
    return None, ""


def explain_run(what: str, ran: Ran, *, install: str, wedged: str = "") -> Unread:
    """Why a program gave no answer. `install` is how one gets it."""
    if ran.failure == "not-found":
        return Unread(what=what, why="not installed", remedy=install)
    if ran.failure == "denied":
        return Unread(what=what, why=ran.describe_failure(), remedy="check the file's permissions (chmod +x)")
    if ran.failure == "UNRECORDED":
        return describe_unread(what, ran.failure)
    remedy = "see the kernel log: dmesg | grep -iE 'xe|i915|drm'"
    if ran.failure == "timeout":
        remedy = wedged or f"the driver may hang; {remedy}"
    return Unread(what=what, why=ran.describe_failure(), remedy=remedy)
