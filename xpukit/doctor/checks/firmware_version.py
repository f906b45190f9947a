"""GuC, HuC and DMC: loaded, as new as the driver wants, as new as what was tested; their files where none is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.core.machine import Device, Firmware
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.hardware import explain, is_container, list_cards, list_found, list_serving_cards
from xpukit.facts.doctor_firmware_packages import find_firmware_package
from xpukit.facts.stack_versions import Component, find_driver, is_older, list_versions

# Of the drivers' words for the state; SELECTED, AVAILABLE and LOADABLE are seen on a GPU that sleeps.
_BAD = ("MISSING", "ERROR", "INIT FAIL", "LOAD FAIL", "DISABLED", "NOT LOADED")
_WANTED = re.compile(r"(?:wanted release version|version: wanted) (\d+(?:\.\d+)+)")
_COMPONENTS: dict[str, Component] = {"GuC": "GuC", "HuC": "HuC", "DMC": "DMC"}
_ENDINGS = ("", ".zst", ".xz")
_FIRMWARE_GIT = "https://git.kernel.org/pub/scm/linux/kernel/git/firmware/linux-firmware.git"
_UPDATE = "update the firmware package, rebuild the initial file system, then reboot"
_WHY: dict[str, str] = {
    "GuC": "the GuC schedules all work of the GPU. Without it nothing runs; an older one brings back engine resets, "
    "hangs under load and lost devices that a newer one has fixed.",
    "HuC": "the HuC helps to decode video. Serving text does not need it; models that read video do.",
    "DMC": "the DMC switches display power. Compute runs without it, but the card cannot save power at idle.",
}


def look_at_firmware(patient: Patient) -> Iterable[Finding | Unchecked]:
    """By device: what is loaded, else which files are missing."""
    for found in list_found(patient, "XPK-PROBE-SURVIVABILITY"):
        yield explain(
            found,
            explanation="after damage to its flash memory the card starts only far enough to be written anew; it "
            "cannot compute.",
            concerns="Battlemage under xe",
            links=("https://docs.kernel.org/gpu/xe/index.html",),
        )
    for device in list_cards(patient):
        if not device.driver or (device.driver in ("xe", "i915") and not device.render_node):
            yield from _find_missing_files(patient, device)
    for device in list_serving_cards(patient):
        loaded = [item for item in device.firmware if item.name in _COMPONENTS]
        if not loaded:
            yield from _report_unread(device)
        for item in loaded:
            yield from _judge_firmware(patient, device, item)


def _judge_firmware(patient: Patient, device: Device, item: Firmware) -> Iterable[Finding]:
    if not _is_running(item):
        yield Finding(
            id="XPK-FIRMWARE-NOT-LOADED",
            severity="critical" if item.name == "GuC" else "info",
            summary=f"{device.bdf}: the {item.name} firmware is not running (it says: {item.status})",
            evidence=(Evidence(source=item.source, value=f"status: {item.status}"),),
            explanation=_WHY[item.name],
            concerns="discrete GPUs under xe or i915",
            remedy=(f"see why: sudo dmesg | grep -iE '{item.name}|firmware'", *_say_update(patient)),
            commands=_name_commands(patient),
            links=(_FIRMWARE_GIT,),
            subject=device.bdf,
        )
        return
    wanted = _WANTED.search(patient.host.read(item.source).text) if item.source.startswith("/") else None
    if wanted and is_older(item.version, wanted[1]):
        yield Finding(
            id="XPK-FIRMWARE-OLDER-THAN-WANTED",
            severity="warning" if item.name == "GuC" else "info",
            summary=f"{device.bdf}: {item.name} {item.version} is older than the {wanted[1]} that the driver wants",
            evidence=(
                Evidence(source=item.source, value=f"found {item.version}"),
                Evidence(source=item.source, value=f"wanted {wanted[1]}"),
            ),
            explanation=_WHY[item.name],
            concerns="kernel newer than the firmware package",
            remedy=_say_update(patient),
            commands=_name_commands(patient),
            links=(_FIRMWARE_GIT,),
            subject=device.bdf,
        )
    yield from _compare_with_tested(patient, device, item)


def _say_update(patient: Patient) -> tuple[str, ...]:
    package = find_firmware_package(patient.find_software("distribution"))
    return (_UPDATE,) if package is None else (package.remedy, _UPDATE)


def _name_commands(patient: Patient) -> tuple[str, ...]:
    """For distributions whose package is known: a wrong command in a script stops it."""
    package = find_firmware_package(patient.find_software("distribution"))
    return () if package is None else package.commands


def _is_running(item: Firmware) -> bool:
    return not item.status.upper().startswith(_BAD)


def _compare_with_tested(patient: Patient, device: Device, item: Firmware) -> Iterable[Finding]:
    for facts in list_versions(device.vendor_id, device.device_id, _COMPONENTS[item.name]):
        if facts.kind != "tested" or not is_older(item.version, facts.version):
            continue
        yield Finding(
            id="XPK-FIRMWARE-OLDER-THAN-TESTED",
            severity="warning" if item.name == "GuC" else "info",
            summary=f"{device.bdf}: {item.name} {item.version} is older than the {facts.version} tested with "
            f"{device.name}",
            evidence=(
                Evidence(source=item.source, value=item.version),
                Evidence(source=facts.source, value=facts.version),
            ),
            explanation=_WHY[item.name],
            concerns=f"{device.name}: {facts.note}",
            remedy=_say_update(patient),
            commands=_name_commands(patient),
            links=(facts.link, _FIRMWARE_GIT),
            subject=device.bdf,
        )


def _find_missing_files(patient: Patient, device: Device) -> Iterable[Finding]:
    """For a GPU whose driver did not start: are the files there that it would load? In a container they never are."""
    facts = find_driver(device.vendor_id, device.device_id)
    if facts is None or not facts.firmware_files or is_container(patient):
        return
    missing = [
        name
        for name in facts.firmware_files
        if all(patient.host.stat(f"/lib/firmware/{name}{ending}").error == "ENOENT" for ending in _ENDINGS)
    ]
    if not missing:
        return
    yield Finding(
        id="XPK-FIRMWARE-FILE-MISSING",
        severity="critical" if any("guc" in name for name in missing) else "info",
        summary=f"firmware of {device.name} at {device.bdf} is not installed: {', '.join(missing)}",
        evidence=tuple(Evidence(source=f"/lib/firmware/{name}[.zst|.xz]", value="no such file") for name in missing),
        explanation="the driver loads these files when it starts; without the GuC it gives the device up.",
        concerns=", ".join(facts.platforms),
        remedy=_say_update(patient),
        commands=_name_commands(patient),
        links=("https://github.com/lxc/incus-os/issues/891", _FIRMWARE_GIT),
        subject=device.bdf,
    )


def _report_unread(device: Device) -> Iterable[Unchecked]:
    row = next((row for row in device.unread if row.what.startswith("/sys/kernel/debug")), None)
    why = f"{row.what}: {row.why}" if row else "the driver names no firmware in debugfs"
    yield Unchecked(
        check="firmware_version",
        why=f"firmware versions of {device.bdf}: {why}",
        remedy=row.remedy if row and row.remedy else "run as root: debugfs tells which GuC and HuC run",
    )


CHECK = Check(
    name="firmware_version",
    summary="GuC, HuC and DMC run, and are as new as the driver wants and the vendor tested",
    ids=(
        "XPK-PROBE-SURVIVABILITY",
        "XPK-FIRMWARE-NOT-LOADED",
        "XPK-FIRMWARE-OLDER-THAN-WANTED",
        "XPK-FIRMWARE-OLDER-THAN-TESTED",
        "XPK-FIRMWARE-FILE-MISSING",
    ),
    look=look_at_firmware,
    concerns="discrete GPUs",
    order=120,
)
