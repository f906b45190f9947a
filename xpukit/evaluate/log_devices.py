"""Which devices a log is about: their numbers, names and PCI ids, as far as the log says them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from xpukit.core.errors import UsageError
from xpukit.core.measurement import Target
from xpukit.evaluate.log_slices import LogSlice
from xpukit.evaluate.parsers.lines import split_lines
from xpukit.evaluate.parsers.ze_peak import PeakOutput
from xpukit.facts.devices import list_devices, lookup_device

_CELL = re.compile(r"\|? *(\d{1,4})? *\|? *(Device Name|SOC UUID|UUID): +(.*?) *\|?")
# Intel's UUIDs end in the device id and the vendor id.
_UUID_ID = re.compile(r"([0-9a-f]{4})8086$")
_SYCL = re.compile(
    r"\[(?:ext_oneapi_)?level_zero:gpu(?::(\d{1,4}))?\](?:\[level_zero:(\d{1,4})\])? ?[^,]*, ([^\[]*(?:\[0x[^\]]*\])?)"
)
_ID_IN_NAME = re.compile(r"\[0x([0-9a-f]{4})\]", re.IGNORECASE)
_MARKS = re.compile(r"\((?:R|TM|C)\)", re.IGNORECASE)


class KnownDevice(msgspec.Struct, frozen=True, kw_only=True):
    """`device_id`: four hex digits, '' where nothing says it. `said_by`: the tool that named it."""

    number: int
    name: str = ""
    device_id: str = ""
    said_by: str = ""


def read_device_id(text: str) -> str:
    """The PCI device id that '8086:e211', '0xe211', 'e211' or a device's name means.

    Raises UsageError for what no Intel GPU of our table is called, or several are.
    """
    wanted = text.strip().lower()
    plain = wanted.removeprefix("8086:").removeprefix("0x")
    if re.fullmatch(r"[0-9a-f]{4}", plain):
        return plain
    found = [facts for facts in list_devices() if _word(facts.name) == _word(wanted)]
    if not found:
        found = [facts for facts in list_devices() if set(_word(wanted).split()) <= set(_word(facts.name).split())]
    if len(found) == 1:
        return found[0].id
    if not found:
        raise UsageError(f"--device {text}: no such GPU", hint="give the PCI id, as in 8086:e211 (lspci -nn shows it)")
    names = ", ".join(f"{facts.id} ({facts.name})" for facts in found[:6])
    raise UsageError(f"--device {text}: several GPUs are called that", hint=f"give one of the ids: {names}")


def _word(name: str) -> str:
    words = _MARKS.sub(" ", name.lower()).replace("graphics", " ").replace("intel", " ")
    return " ".join(words.split())


def guess_device_id(name: str) -> str:
    """The id that a printed device name means: in brackets, or the only device of exactly that name; else ''."""
    bracketed = _ID_IN_NAME.search(name)
    if bracketed:
        return bracketed[1].lower()
    if not name:
        return ""
    found = [facts.id for facts in list_devices() if _word(facts.name) == _word(name)]
    return found[0] if len(found) == 1 else ""


def list_listed_devices(slices: Sequence[LogSlice]) -> list[KnownDevice]:
    """Devices that `xpu-smi discovery` and `sycl-ls` list, by their numbers there."""
    found: list[KnownDevice] = []
    for piece in slices:
        if piece.tool == "xpu-smi discovery":
            found += _read_discovery(piece.text)
        elif piece.tool == "sycl-ls":
            found += _read_sycl(piece.text)
    return found


def _read_discovery(text: str) -> list[KnownDevice]:
    devices: dict[int, KnownDevice] = {}
    number = -1
    for line in split_lines(text):
        cell = _CELL.fullmatch(line.text.strip())
        if cell is None:
            continue
        number = int(cell[1]) if cell[1] else number
        if number < 0:
            continue
        known = devices.get(number, KnownDevice(number=number, said_by="xpu-smi discovery"))
        if cell[2] == "Device Name":
            devices[number] = msgspec.structs.replace(known, name=cell[3])
        elif match := _UUID_ID.search(cell[3].lower()):
            devices[number] = msgspec.structs.replace(known, device_id=match[1])
    return [
        device if device.device_id else msgspec.structs.replace(device, device_id=guess_device_id(device.name))
        for device in devices.values()
    ]


def _read_sycl(text: str) -> list[KnownDevice]:
    devices: list[KnownDevice] = []
    for line in split_lines(text):
        match = _SYCL.match(line.text.strip())
        if match and (number := match[2] or match[1]):
            # Behind the name stands the version of its architecture.
            name = re.sub(r" +\d+\.\d+(?:\.\d+)*$", "", match[3].strip())
            device_id = guess_device_id(name)
            devices.append(KnownDevice(number=int(number), name=name, device_id=device_id, said_by="sycl-ls"))
    return devices


def list_peak_devices(parsed: PeakOutput) -> list[tuple[str, KnownDevice]]:
    """The device of each block of ze_peak, with what tells it from others (UUID)."""
    return [
        (
            device.uuid or f"{device.device_id} {device.name}",
            KnownDevice(
                number=-1,
                name=device.name,
                device_id=device.device_id if re.fullmatch(r"[0-9a-f]{4}", device.device_id) else "",
                said_by="ze_peak",
            ),
        )
        for device in parsed.devices
    ]


def settle_devices(
    numbers: Iterable[int], known: Sequence[KnownDevice], targets: Sequence[Target], asked_id: str
) -> tuple[list[Target], list[str]]:
    """A target for each device number of the log, and remarks on what was assumed.

    What the log says goes first, then `targets` (of a recorded machine, in the order of the tools' numbers), then
    `asked_id`. A number that nothing identifies is taken for what all the others are, when they are all the same.
    """
    remarks: list[str] = []
    settled: list[Target] = []
    ids = {device.device_id for device in known if device.device_id}
    for number in sorted(set(numbers)):
        said = [device for device in known if device.number == number]
        name = next((device.name for device in said if device.name), "")
        device_id = next((device.device_id for device in said if device.device_id), "")
        label = f"device{number}"
        here = targets[number] if number < len(targets) else None
        if here is not None and here.kind == "gpu":
            if device_id and here.device_id and device_id != _plain(here.device_id):
                remarks.append(f"{label} is {device_id} in the log and {here.device_id} in the recording: not the same")
            else:
                settled.append(here)
                continue
        if device_id and asked_id and device_id != asked_id:
            remarks.append(f"{label}: the log says {device_id}, --device {asked_id} is left aside")
        if not device_id and asked_id:
            device_id = asked_id
        elif not device_id and len(ids) == 1:
            device_id = next(iter(ids))
            remarks.append(f"{label}: the log does not say what it is; taken for {device_id} like the others")
        facts = lookup_device("8086", device_id) if device_id else None
        settled.append(Target(label=label, kind="gpu", name=name or (facts.name if facts else ""), device_id=device_id))
    return settled, remarks


def _plain(device_id: str) -> str:
    return device_id.lower().removeprefix("0x")
