"""Which kernel driver has the GPU, its version and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xpukit.core.finding import Evidence, Finding
from xpukit.core.machine import Unread
from xpukit.host.door import Host
from xpukit.probe.question import PciFunction, Question, describe_unread
from xpukit.probe.sysfs import is_absent, read_text

COMPUTE_DRIVERS = frozenset({"xe", "i915", "intel_vpu"})
PASSTHROUGH_DRIVERS = frozenset({"vfio-pci", "xe-vfio-pci", "xe_vfio_pci", "pci-stub"})
_RELEASE = "/proc/sys/kernel/osrelease"


def read_driver(host: Host, function: PciFunction, so_far: Mapping[str, Any]) -> dict[str, Any]:
    """The bound driver; for the module version "kernel RELEASE" where the module has none of its own."""
    if not function.driver:
        return {"driver": "", "findings": (_report_unbound(host, function),)}
    module = f"/sys/module/{function.driver.replace('-', '_')}"
    listing = host.list(module)
    found: dict[str, Any] = {"driver": function.driver, "sources": {"driver": "udev"}}
    facts: dict[str, Any] = {
        "passthrough": function.driver in PASSTHROUGH_DRIVERS,
        # A loadable module has its state there; what is built into the kernel has not.
        "builtin": None if listing.error else "initstate" not in listing.names,
    }
    version = read_text(host, f"{module}/version") if "version" in listing.names else None
    if version:
        found["driver_version"] = version
        found["sources"]["driver_version"] = f"{module}/version"
    else:
        release = read_text(host, _RELEASE)
        found["driver_version"] = f"kernel {release}" if release else ""
        found["sources"]["driver_version"] = _RELEASE
    if "srcversion" in listing.names:
        facts["srcversion"] = read_text(host, f"{module}/srcversion")
    parameters, unread = _read_parameters(host, f"{module}/parameters", "parameters" in listing.names)
    found["driver_parameters"] = parameters
    if listing.error and not is_absent(listing.error):
        unread += (describe_unread(module, listing.error),)
    if unread:
        found["unread"] = unread
    return found | {"extra": {"driver_module": facts}}


def _read_parameters(host: Host, directory: str, present: bool) -> tuple[dict[str, str], tuple[Unread, ...]]:
    if not present:
        return {}, ()
    names = host.list(directory)
    if names.error:
        return {}, (describe_unread(directory, names.error),)
    values: dict[str, str] = {}
    denied: dict[str, list[str]] = {}
    for name in names.names:
        answer = host.read(f"{directory}/{name}")
        if answer.ok:
            values[name] = answer.text
        elif not is_absent(answer.error):
            denied.setdefault(answer.error, []).append(name)
    rows = (describe_unread(f"{directory}: {', '.join(who)}", error) for error, who in denied.items())
    return values, tuple(rows)


def _report_unbound(host: Host, function: PciFunction) -> Finding:
    override = read_text(host, f"{function.sys_path}/driver_override") or ""
    evidence = [Evidence(source=f"{function.sys_path}/driver", value="no such link")]
    remedy = [
        "sudo modprobe xe (or i915), then look at: sudo dmesg | grep -iE 'xe|i915'",
        "the kernel may be too old for this device: see 'xpukit doctor'",
    ]
    if override and override != "(null)":
        evidence.append(Evidence(source=f"{function.sys_path}/driver_override", value=override))
        remedy.insert(0, f"driver_override is {override!r}: load that driver or write an empty line to it")
    return Finding(
        id="XPK-PROBE-NO-DRIVER",
        severity="critical",
        summary=f"no driver is bound to {function.bdf} ({function.vendor_id}:{function.device_id})",
        evidence=tuple(evidence),
        remedy=tuple(remedy),
        subject=function.bdf,
    )


QUESTION = Question(
    name="driver",
    scope="device",
    order=30,
    summary="bound kernel driver, its version and module parameters",
    read_device=read_driver,
)
