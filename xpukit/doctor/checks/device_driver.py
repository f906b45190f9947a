"""A GPU without driver, under the wrong one, under two different ones, or without a node to open."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.core.machine import Device
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.hardware import COMPUTE_DRIVERS, SYS, explain, find_device, list_cards, list_found
from xpukit.facts.stack_versions import DriverFacts, find_driver, is_kernel_older

_PASSTHROUGH = ("vfio-pci", "xe-vfio-pci", "xe-vfio", "xe_vfio_pci", "pci-stub")


def look_at_driver(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Explains what probe found about drivers, and finds drivers that do not suit the device."""
    for found in list_found(patient, "XPK-PROBE-NO-DRIVER"):
        yield _explain_unbound(patient, found)
    for found in list_found(patient, "XPK-PROBE-RESERVED-FOR-VM"):
        yield explain(
            found,
            explanation="a device bound to a VFIO driver belongs to a virtual machine: no program of this host, and no "
            "container on it, can open it. That is right on a virtualization host and a leftover elsewhere.",
            concerns="GPUs under vfio-pci, xe-vfio-pci or pci-stub",
            remedy=(
                "which virtual machine has it: sudo lsof /dev/vfio/* ; what asks for the binding: "
                "grep -r vfio /etc/modprobe.d /proc/cmdline",
            ),
            links=("https://docs.kernel.org/driver-api/vfio.html",),
        )
    for found in list_found(patient, "XPK-PROBE-MIXED-DRIVERS"):
        yield explain(
            found,
            explanation="xe and i915 share no memory with each other: tensor parallelism over GPUs of both falls back "
            "to copies over the host or fails, and Level Zero numbers them as two drivers.",
            concerns="machines with several discrete GPUs",
            links=("https://docs.kernel.org/gpu/xe/index.html",),
        )
    for found in list_found(patient, "XPK-PROBE-NO-RENDER-NODE"):
        device = find_device(patient, found.subject)
        yield explain(
            found,
            explanation="Level Zero and OpenCL open the render node (/dev/dri/renderD*). A driver that is bound "
            "without one has given up while it started, most often over missing or too old firmware.",
            concerns="GPUs under xe or i915",
            commands=(f"sudo dmesg | grep -iE '{device.driver if device else 'xe|i915'}|guc|firmware'",),
        )
    for device in list_cards(patient):
        facts = find_driver(device.vendor_id, device.device_id)
        if not device.driver or device.driver in _PASSTHROUGH:
            continue
        if device.driver not in (facts.possible if facts else COMPUTE_DRIVERS):
            yield _report_wrong(device, facts)
        elif facts and device.driver != facts.usual:
            yield _report_unusual(device, facts)


def _explain_unbound(patient: Patient, found: Finding) -> Finding:
    device = find_device(patient, found.subject)
    facts = find_driver(device.vendor_id, device.device_id) if device else None
    usual = facts.usual if facts else "xe"
    loaded = patient.host.stat(f"/sys/module/{usual}")
    evidence = [Evidence(source=f"/sys/module/{usual}", value="not loaded" if loaded.error else "loaded")]
    told = patient.host.read("/proc/cmdline")
    # A module that is blocked on the command line stays out whatever else is done.
    blocked = [
        word
        for word in told.text.split()
        if word.startswith(("modprobe.blacklist=", "module_blacklist=", "vfio-pci.ids="))
        or word in ("nomodeset", f"{usual}.modeset=0")
    ]
    if blocked:
        evidence.append(Evidence(source="/proc/cmdline", value=" ".join(blocked)))
    too_old = (
        facts is not None and bool(facts.kernel) and is_kernel_older(patient.find_software("kernel"), facts.kernel)
    )
    commands: tuple[str, ...] = ()
    # Where the module is loaded and did not bind, or does not know the device, loading it changes nothing.
    if not loaded.error:
        commands = (f"sudo dmesg | grep -iE '{found.subject}|{usual}'",)
    elif not too_old:
        commands = (f"sudo modprobe {usual}",)
    return explain(
        found,
        explanation="without a kernel driver the GPU has no device node: Level Zero, OpenCL, SYCL and PyTorch do not "
        "see it, and every serving engine starts on fewer GPUs or on none.",
        concerns=f"{facts.note}" if facts else "any Intel GPU",
        commands=commands,
        evidence=evidence,
        remedy=(
            *((f"take off the kernel command line: {' '.join(blocked)}",) if blocked else ()),
            *((f"the driver of this device is {usual}, part of Linux {facts.kernel} and newer",) if facts else ()),
        ),
        links=(facts.link,) if facts else (),
    )


def _report_wrong(device: Device, facts: DriverFacts | None) -> Finding:
    usual = facts.usual if facts else "xe"
    return Finding(
        id="XPK-DRIVER-WRONG",
        severity="critical",
        summary=f"{device.name} at {device.bdf} is bound to {device.driver}, which cannot compute on it: "
        f"it needs {usual}",
        evidence=(Evidence(source=f"{SYS}/{device.bdf}/driver", value=device.driver),),
        explanation="only the driver that knows the device gives it a render node that Level Zero can use; under any "
        "other one programs do not see the GPU.",
        concerns=facts.note if facts else "any Intel GPU",
        remedy=(
            f"unbind it and bind it to {usual} (below); for good: take the other driver's force_probe option or "
            "alias out of /etc/modprobe.d and the kernel command line",
        ),
        commands=(
            f"echo {device.bdf} | sudo tee {SYS}/{device.bdf}/driver/unbind",
            f"sudo modprobe {usual}",
            f"echo {device.bdf} | sudo tee /sys/bus/pci/drivers/{usual}/bind",
        ),
        links=(facts.link,) if facts else (),
        subject=device.bdf,
    )


def _report_unusual(device: Device, facts: DriverFacts) -> Finding:
    return Finding(
        id="XPK-DRIVER-UNUSUAL",
        severity="info",
        summary=f"{device.name} at {device.bdf} runs under {device.driver}; its usual driver is {facts.usual}",
        evidence=(
            Evidence(source=f"{SYS}/{device.bdf}/driver", value=device.driver),
            *(
                (Evidence(source=f"/sys/module/{device.driver}/parameters/force_probe", value=forced),)
                if (forced := device.driver_parameters.get("force_probe", ""))
                else ()
            ),
        ),
        explanation=f"{facts.note}. It may work with a compute runtime that was built for it; it is not what the "
        "vendor tests.",
        concerns=f"{', '.join(facts.platforms)} devices",
        remedy=(
            f"if programs do not see the GPU: boot with {device.driver}.force_probe=!{device.device_id} "
            f"{facts.usual}.force_probe={device.device_id}",
        ),
        links=(facts.link,),
        subject=device.bdf,
    )


CHECK = Check(
    name="device_driver",
    summary="a compute driver that suits the device is bound, and gives it a render node",
    ids=(
        "XPK-PROBE-NO-DRIVER",
        "XPK-PROBE-RESERVED-FOR-VM",
        "XPK-PROBE-MIXED-DRIVERS",
        "XPK-PROBE-NO-RENDER-NODE",
        "XPK-DRIVER-WRONG",
        "XPK-DRIVER-UNUSUAL",
    ),
    look=look_at_driver,
    concerns="any Intel GPU",
    order=100,
)
