"""Does this host have what an image needs? What is not known is said, never assumed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from xpukit.core.errors import ExternalError
from xpukit.core.machine import Device, Machine
from xpukit.facts.devices import lookup_device
from xpukit.facts.recipes import HostNeeds
from xpukit.facts.stack_versions import is_kernel_older, is_older, parse_version

Verdict = Literal["pass", "fail", "unknown", "not-applicable"]
_NVIDIA = "10de"
# Loader versions begin with 1; the GPU driver's with the year.
_LOADER_MAJOR = 1


class CompatRow(msgspec.Struct, frozen=True, kw_only=True):
    """One need. `found` is what the host has, `reason` why that passes, fails or is not known."""

    need: str
    wanted: str
    found: str
    verdict: Verdict
    reason: str = ""


class Compatibility(msgspec.Struct, frozen=True, kw_only=True):
    """All needs of an image against one host: refused when one fails, unknown when one could not be compared."""

    verdict: Literal["pass", "refused", "unknown"]
    rows: tuple[CompatRow, ...]
    source: str = ""

    @property
    def reasons(self) -> tuple[str, ...]:
        """The needs that fail, in words."""
        return tuple(f"{row.need}: {row.reason}" for row in self.rows if row.verdict == "fail")


def judge_compatibility(needs: HostNeeds, machine: Machine, *, bdfs: Iterable[str] = ()) -> Compatibility:
    """Compare an image's needs with a probed machine; `bdfs` limits it to the GPUs that the image is to use."""
    wanted = set(bdfs)
    devices = tuple(device for device in machine.devices if not wanted or device.bdf in wanted)
    rows = [_judge_vendor(needs, machine, devices)]
    if needs.vendor == "intel" and devices:
        rows += _judge_families(needs, devices)
        rows += _judge_drivers(needs, devices)
        rows += _judge_guc(needs, devices)
    if needs.min_kernel:
        rows.append(_judge_kernel(needs, machine))
    if needs.min_level_zero:
        rows.append(_judge_level_zero(needs, machine))
    verdicts = {row.verdict for row in rows}
    verdict: Literal["pass", "refused", "unknown"] = "pass"
    if "fail" in verdicts:
        verdict = "refused"
    elif "unknown" in verdicts:
        verdict = "unknown"
    return Compatibility(verdict=verdict, rows=tuple(rows), source=needs.source)


def require_compatible(image: str, found: Compatibility, *, force: bool) -> None:
    """Raise ExternalError with the reasons when the host cannot run the image, unless `force`."""
    if found.verdict == "refused" and not force:
        raise ExternalError(
            f"{image} is not for this host: {'; '.join(found.reasons)}", hint="--force goes on all the same"
        )


def _judge_vendor(needs: HostNeeds, machine: Machine, devices: tuple[Device, ...]) -> CompatRow:
    row = CompatRow(need="GPU", wanted=needs.vendor, found="", verdict="pass")
    if needs.vendor == "any":
        return msgspec.structs.replace(row, verdict="not-applicable", reason="it runs on any machine")
    if needs.vendor == "nvidia":
        count = sum(other.vendor_id.lower().removeprefix("0x") == _NVIDIA for other in machine.others)
        if count:
            return msgspec.structs.replace(row, found=f"{count} NVIDIA devices")
        return msgspec.structs.replace(row, found="none", verdict="fail", reason="there is no NVIDIA GPU here")
    if devices:
        return msgspec.structs.replace(row, found=f"{len(devices)} Intel GPUs")
    return msgspec.structs.replace(row, found="none", verdict="fail", reason="there is no Intel GPU here")


def _name_families(device: Device) -> tuple[str, ...]:
    facts = lookup_device(device.vendor_id, device.device_id)
    names = [device.family, device.codename]
    if facts is not None:
        names += [facts.platform, facts.architecture, facts.codename]
    return tuple(dict.fromkeys(name for name in names if name))


def _judge_families(needs: HostNeeds, devices: tuple[Device, ...]) -> Iterator[CompatRow]:
    if not needs.families:
        return
    wanted = ", ".join(needs.families)
    for device in devices:
        names = _name_families(device)
        row = CompatRow(need=f"family of {device.bdf}", wanted=wanted, found=", ".join(names), verdict="pass")
        if not names:
            reason = f"{device.name} is not in our device table"
            yield msgspec.structs.replace(row, verdict="unknown", reason=reason)
        elif not any(_matches_family(name, family) for name in names for family in needs.families):
            reason = f"the image is for {wanted}, this is {device.name} ({names[0]})"
            yield msgspec.structs.replace(row, verdict="fail", reason=reason)
        else:
            yield row


def _matches_family(name: str, family: str) -> bool:
    one, other = name.lower(), family.lower()
    return one == other or one.startswith((f"{other} ", f"{other}-"))


def _judge_drivers(needs: HostNeeds, devices: tuple[Device, ...]) -> Iterator[CompatRow]:
    if not needs.drivers:
        return
    wanted = " or ".join(needs.drivers)
    for device in devices:
        row = CompatRow(need=f"driver of {device.bdf}", wanted=wanted, found=device.driver or "none", verdict="pass")
        if device.driver not in needs.drivers:
            reason = f"bound to {device.driver}, not to {wanted}" if device.driver else "no driver is bound to it"
            row = msgspec.structs.replace(row, verdict="fail", reason=reason)
        yield row


def _judge_guc(needs: HostNeeds, devices: tuple[Device, ...]) -> Iterator[CompatRow]:
    if not needs.min_guc:
        return
    for device in devices:
        version = next((part.version for part in device.firmware if part.name == "GuC"), "")
        row = CompatRow(need=f"GuC of {device.bdf}", wanted=f"{needs.min_guc} or newer", found=version, verdict="pass")
        older = is_older(version, needs.min_guc)
        if older is None:
            reason = "its version could not be read (debugfs needs root)"
            row = msgspec.structs.replace(row, found=version or "unknown", verdict="unknown", reason=reason)
        elif older:
            row = msgspec.structs.replace(row, verdict="fail", reason=f"GuC {version} is older than {needs.min_guc}")
        yield row


def _find_version(machine: Machine, *names: str) -> str:
    versions = {item.name: item.version for item in machine.software if item.version}
    return next((versions[name] for name in names if name in versions), "")


def _judge_kernel(needs: HostNeeds, machine: Machine) -> CompatRow:
    release = _find_version(machine, "kernel")
    row = CompatRow(need="kernel", wanted=f"{needs.min_kernel} or newer", found=release or "unknown", verdict="pass")
    older = is_kernel_older(release, needs.min_kernel)
    if older is None:
        return msgspec.structs.replace(row, verdict="unknown", reason="its release could not be read")
    if older:
        reason = f"{release} is older than {needs.min_kernel}"
        return msgspec.structs.replace(row, verdict="fail", reason=reason)
    return row


def _judge_level_zero(needs: HostNeeds, machine: Machine) -> CompatRow:
    loader = parse_version(needs.min_level_zero)[:1] == (_LOADER_MAJOR,)
    names = ("Level Zero loader (loaded)", "Level Zero loader") if loader else ("Level Zero GPU driver",)
    version = _find_version(machine, *names)
    row = CompatRow(
        need=names[-1], wanted=f"{needs.min_level_zero} or newer", found=version or "unknown", verdict="pass"
    )
    older = is_older(version, needs.min_level_zero)
    if older is None:
        return msgspec.structs.replace(row, verdict="unknown", reason="probe found no version of it on the host")
    if older:
        reason = f"{version} is older than {needs.min_level_zero}"
        return msgspec.structs.replace(row, verdict="fail", reason=reason)
    return row
