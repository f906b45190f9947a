"""A kernel or compute runtime (NEO) too old for the device, older than what was tested, or known to be broken."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.core.machine import Device
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.hardware import SYS, list_cards, list_serving_cards
from xpukit.facts.stack_versions import (
    VersionFacts,
    find_driver,
    is_kernel_older,
    is_older,
    list_versions,
    parse_version,
)

# The runtime's packages count by year since 2019; before, and in Intel's data centre packages, by Level Zero's 1.x.
_FIRST_YEAR = 19
_RUNTIME_PARTS = ("Level Zero GPU driver", "OpenCL GPU driver")


def look_at_versions(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Kernel, then compute runtime."""
    release = patient.find_software("kernel")
    cards = list_cards(patient)
    for device in cards:
        if not device.driver:
            yield from _judge_kernel(device, release)
    yield from _compare_with_tested(list_serving_cards(patient), release)
    yield from _find_unseen(patient)
    yield from _find_broken_runtime(patient)


def _judge_kernel(device: Device, release: str) -> Iterable[Finding]:
    """A driver that is bound proves that the kernel is new enough, so this is about devices without one."""
    facts = find_driver(device.vendor_id, device.device_id)
    if facts is None or not facts.kernel or not is_kernel_older(release, facts.kernel):
        return
    yield Finding(
        id="XPK-KERNEL-TOO-OLD",
        severity="critical",
        summary=f"Linux {release} is too old for {device.name} at {device.bdf}: {facts.usual} drives it from "
        f"Linux {facts.kernel} on",
        evidence=(
            Evidence(source="/proc/sys/kernel/osrelease", value=release),
            Evidence(source=f"{SYS}/{device.bdf}/device", value=device.device_id),
            Evidence(source=facts.source, value=facts.note),
        ),
        explanation="a kernel binds only devices whose ids it knows. Without a driver no program can use the GPU, "
        "whatever else is installed.",
        concerns=f"{', '.join(facts.platforms)} devices; distributions sometimes take support back to older kernels",
        remedy=(
            f"install Linux {facts.kernel} or newer and reboot; on Ubuntu 24.04 the hardware-enablement kernel below "
            "is newer than the one it came with",
        ),
        commands=("sudo apt-get install linux-generic-hwe-24.04",) if _is_ubuntu_24_04(release) else (),
        links=(facts.link,),
        subject=device.bdf,
    )


def _is_ubuntu_24_04(release: str) -> bool:
    return release.startswith("6.8.") and release.endswith("-generic")


def _compare_with_tested(cards: list[Device], release: str) -> Iterable[Finding]:
    rows: dict[str, tuple[VersionFacts, list[Device]]] = {}
    for device in cards:
        for facts in list_versions(device.vendor_id, device.device_id, "kernel"):
            if facts.kind == "tested":
                rows.setdefault(facts.version, (facts, []))[1].append(device)
    for facts, devices in rows.values():
        tested = f"{facts.version}-{facts.flavour}" if facts.flavour else facts.version
        if not is_kernel_older(release, facts.version, facts.flavour):
            continue
        names = ", ".join(sorted({device.name for device in devices}))
        yield Finding(
            id="XPK-KERNEL-OLDER-THAN-TESTED",
            severity="warning",
            summary=f"kernel {release} is older than the one tested with {names}: {tested}",
            evidence=(
                Evidence(source="/proc/sys/kernel/osrelease", value=release),
                Evidence(source=facts.source, value=tested),
            ),
            explanation="fixes for hangs, resets and SR-IOV of these cards came with the kernel; an error that nobody "
            "else sees is often an older xe driver.",
            concerns=f"{names}: {facts.note}",
            remedy=(
                f"install the tested kernel ({tested}, from Intel's offline installer or the linux-intel packages) or "
                "a newer one, and reboot",
            ),
            links=(facts.link,),
        )


def _find_unseen(patient: Patient) -> Iterable[Finding]:
    """A GPU that the kernel drives and this user may open, and that a working Level Zero does not list."""
    machine = patient.machine
    hidden = {"ZE_AFFINITY_MASK", "ZE_ENABLE_PCI_ID_DEVICE_ORDER"} & set(machine.level_zero.get("environment", {}))
    if machine.level_zero.get("status") != "ok" or hidden:
        return
    runtime = _find_runtime(patient)
    for device in list_serving_cards(patient):
        access = device.extra.get("node_access", {}).get("render", {})
        if device.level_zero_index is not None or not (access.get("readable") and access.get("writable")):
            continue
        yield Finding(
            id="XPK-NEO-DEVICE-UNSEEN",
            severity="critical",
            summary=f"Level Zero works but does not list {device.name} at {device.bdf}: "
            "the compute runtime (NEO) is too old for it or does not know its driver",
            evidence=(
                Evidence(source="Level Zero", value=f"{machine.level_zero.get('status')}, device not listed"),
                Evidence(source=f"{SYS}/{device.bdf}/driver", value=device.driver),
                *((Evidence(source="compute runtime", value=runtime),) if runtime else ()),
            ),
            explanation="each release of the compute runtime knows a fixed list of device ids and kernel drivers. A "
            "GPU outside of it is not there for SYCL, PyTorch and oneCCL, though the kernel drives it.",
            concerns="GPUs newer than the installed compute runtime; Alchemist under xe",
            remedy=(
                "install the newest compute runtime (packages libze-intel-gpu1 and intel-opencl-icd) from the source "
                "that your distribution or Intel offers",
            ),
            commands=("sudo apt-get install --only-upgrade libze-intel-gpu1 intel-opencl-icd libigc2 libigdgmm12",),
            links=(
                "https://github.com/intel/compute-runtime/releases",
                "https://github.com/intel/compute-runtime/issues/905",
            ),
            subject=device.bdf,
        )


def _find_runtime(patient: Patient) -> str:
    """The compute runtime's own version (year.week.build), "" where packages do not say it."""
    for part in _RUNTIME_PARTS:
        version = patient.find_software(part)
        numbers = parse_version(version)
        if numbers and numbers[0] >= _FIRST_YEAR:
            return version
    return ""


def _find_broken_runtime(patient: Patient) -> Iterable[Finding]:
    runtime = _find_runtime(patient)
    rows: dict[str, tuple[VersionFacts, list[Device]]] = {}
    for device in list_serving_cards(patient):
        for facts in list_versions(device.vendor_id, device.device_id, "NEO"):
            if facts.kind == "broken" and _is_between(runtime, facts):
                rows.setdefault(facts.version, (facts, []))[1].append(device)
    for facts, devices in rows.values():
        if facts.several_devices and len(devices) < 2:
            continue
        yield Finding(
            id="XPK-NEO-KNOWN-BAD",
            severity="warning",
            summary=f"compute runtime {runtime} is one of the releases with a known defect: {facts.note}",
            evidence=(
                Evidence(source="compute runtime", value=runtime),
                Evidence(source="GPUs concerned", value=", ".join(device.bdf for device in devices)),
                Evidence(source=facts.source, value=f"from {facts.version} to {facts.until}"),
            ),
            explanation="programs that use several GPUs start on fewer of them or fail when they make a context.",
            concerns=f"compute runtime {facts.version} to {facts.until}, {', '.join(facts.platforms)} devices",
            remedy=(f"install a compute runtime newer than {facts.until}",),
            commands=("sudo apt-get install --only-upgrade libze-intel-gpu1 intel-opencl-icd",),
            links=(facts.link,),
        )


def _is_between(version: str, facts: VersionFacts) -> bool:
    return is_older(version, facts.version) is False and is_older(facts.until, version) is False


CHECK = Check(
    name="driver_version",
    summary="kernel and compute runtime are new enough for the device, and free of known defects",
    ids=(
        "XPK-KERNEL-TOO-OLD",
        "XPK-KERNEL-OLDER-THAN-TESTED",
        "XPK-NEO-DEVICE-UNSEEN",
        "XPK-NEO-KNOWN-BAD",
    ),
    look=look_at_versions,
    concerns="Battlemage, Alchemist; any GPU that Level Zero should list",
    order=110,
)
