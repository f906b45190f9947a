"""First findings about the machine as a whole; each rule looks at the joined readings only and asks nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from xpukit.core.finding import Evidence, Finding
from xpukit.core.machine import Device, Link
from xpukit.host.door import Host
from xpukit.probe import selectors
from xpukit.probe.no_gpu import find_no_gpu
from xpukit.probe.question import Question
from xpukit.probe.situation import Rule, Situation

COMPUTE_DRIVERS = ("xe", "i915")
PASSTHROUGH_DRIVERS = ("vfio-pci", "xe-vfio-pci", "xe-vfio", "pci-stub")


def find_no_render_node(at: Situation) -> Iterable[Finding]:
    """A compute driver is bound, but there is nothing to open."""
    for device in at.devices:
        if device.driver in COMPUTE_DRIVERS and not device.render_node:
            yield Finding(
                id="XPK-PROBE-NO-RENDER-NODE",
                severity="critical",
                summary=f"{device.name} at {device.bdf} has driver {device.driver} but no render node",
                evidence=(
                    Evidence(source=f"/sys/bus/pci/devices/{device.bdf}/drm", value=device.card_node or "no node"),
                ),
                remedy=(
                    f"look for the driver's error: dmesg | grep -iE '{device.driver}|guc|firmware'",
                    "missing firmware is the usual reason: install firmware-intel-graphics (Debian) or linux-firmware",
                ),
                subject=device.bdf,
            )


def find_passthrough(at: Situation) -> Iterable[Finding]:
    """A device kept for virtual machines."""
    for device in at.devices:
        if device.driver in PASSTHROUGH_DRIVERS:
            yield Finding(
                id="XPK-PROBE-RESERVED-FOR-VM",
                severity="info",
                summary=f"{device.name} at {device.bdf} is kept for virtual machines (driver {device.driver})",
                evidence=(Evidence(source=f"/sys/bus/pci/devices/{device.bdf}/driver", value=device.driver),),
                remedy=(
                    "to use it here: unbind it from that driver and bind xe (or i915), "
                    "or take its id out of vfio-pci.ids on the kernel command line",
                ),
                subject=device.bdf,
            )


def find_guessed_node(at: Situation) -> Iterable[Finding]:
    """The firmware does not say which NUMA node a GPU hangs on, and there is more than one."""
    if len(at.numa) < 2:
        return
    for device in at.devices:
        if not device.numa_rule or device.numa_rule == "device":
            continue
        known = device.numa_node is not None
        got = f"node {device.numa_node} by rule '{device.numa_rule}'" if known else "no node could be found"
        yield Finding(
            id="XPK-PROBE-NUMA-GUESSED",
            severity="info" if known else "warning",
            summary=f"{device.bdf}: the firmware does not say its NUMA node; {got}",
            evidence=(
                Evidence(source=f"/sys/bus/pci/devices/{device.bdf}/numa_node", value="-1"),
                Evidence(source="rule", value=device.numa_rule),
            ),
            remedy=(
                "in the BIOS switch NUMA (or 'SRAT') on and update it"
                if not at.is_vm
                else "give the virtual machine a PCI bridge per node (QEMU: pxb-pcie with numa_node)",
                "compare transfers from each node: xpukit evaluate --only transfer",
            ),
            subject=device.bdf,
        )


def find_degraded_link(at: Situation) -> Iterable[Finding]:
    """The card's link runs below what both of its ends can do."""
    for device in at.devices:
        link = device.link
        if link is None or not link.degraded:
            continue
        # xe and i915 let an idle link fall to a lower speed; fewer lanes never come back by themselves.
        is_narrow = bool(link.current_width and link.max_width and link.current_width < link.max_width)
        yield Finding(
            id="XPK-PROBE-LINK-DEGRADED",
            severity="warning" if is_narrow else "info",
            summary=f"{device.bdf}: its PCIe link runs at {_describe(link.current_speed_gts, link.current_width)} "
            f"instead of {_describe(link.max_speed_gts, link.max_width)}",
            evidence=(
                Evidence(
                    source=f"/sys/bus/pci/devices/{link.read_at}/current_link_speed, current_link_width",
                    value=_describe(link.current_speed_gts, link.current_width),
                ),
                Evidence(source="possible at both ends", value=_describe(link.max_speed_gts, link.max_width)),
                *_describe_limit(link),
            ),
            remedy=(
                "seat the card and its riser again; try another slot; check the slot's lanes in the board's manual"
                if is_narrow
                else "read it again under load: an idle link may run slower",
                "in the BIOS set the slot's link speed to Auto or its highest generation",
            ),
            subject=device.bdf,
        )


def _describe(speed_gts: float | None, width: int | None) -> str:
    return f"{'?' if speed_gts is None else f'{speed_gts:g}'} GT/s x{'?' if width is None else width}"


def _describe_limit(link: Link) -> tuple[Evidence, ...]:
    return (Evidence(source="limited by", value=link.limited_by),) if link.limited_by else ()


def find_unknown_id(at: Situation) -> Iterable[Finding]:
    """A device that our table does not name."""
    for device in at.devices:
        if not device.known:
            yield Finding(
                id="XPK-PROBE-UNKNOWN-ID",
                severity="info",
                summary=f"device id {device.vendor_id}:{device.device_id} at {device.bdf} is not in xpukit's table",
                evidence=(Evidence(source=f"/sys/bus/pci/devices/{device.bdf}/device", value=device.device_id),),
                remedy=(
                    "everything is measured all the same; there is no reference to judge by",
                    "update xpukit, or report the id with the output of: lspci -nn -s " + device.bdf,
                ),
                subject=device.bdf,
            )


_LEVEL_ZERO: dict[str, tuple[str, str]] = {
    "no-loader": ("XPK-PROBE-LEVEL-ZERO-MISSING", "the Level Zero loader is not installed"),
    "no-driver": ("XPK-PROBE-LEVEL-ZERO-MISSING", "Level Zero has no GPU driver"),
    "init-failed": ("XPK-PROBE-LEVEL-ZERO-FAILED", "Level Zero does not start"),
    "denied": ("XPK-PROBE-LEVEL-ZERO-DENIED", "this user may not use Level Zero"),
    "crashed": ("XPK-PROBE-LEVEL-ZERO-CRASHED", "the Level Zero driver crashes"),
    "timeout": ("XPK-PROBE-LEVEL-ZERO-HANGS", "the Level Zero driver does not answer"),
    "garbled": ("XPK-PROBE-LEVEL-ZERO-FAILED", "Level Zero ended the process that asked it"),
}


# For an answer that came without advice of its own (Level Zero's own reading has more to go by).
_LEVEL_ZERO_REMEDIES: dict[str, tuple[str, ...]] = {
    "no-loader": (
        "Debian, Ubuntu: sudo apt-get install libze1 libze-intel-gpu1",
        "Fedora: sudo dnf install oneapi-level-zero intel-level-zero; SUSE: sudo zypper install level-zero",
    ),
    "no-driver": (
        "Debian, Ubuntu: sudo apt-get install libze-intel-gpu1 (older releases: intel-level-zero-gpu)",
        "Fedora: sudo dnf install intel-level-zero",
    ),
    "init-failed": (
        "see the kernel's side: sudo dmesg | grep -iE 'xe|i915'",
        "update kernel and user-space driver together: both must know the device",
    ),
    "denied": (
        'sudo usermod -aG render "$USER", then log in again',
        "in a container: start it with --device /dev/dri and the group's number in --group-add",
    ),
    "crashed": (
        "look for a second, older driver library: ldconfig -p | grep -E 'ze_intel|ze_loader|igc|igdgmm'",
        "update or reinstall the driver: sudo apt-get install --reinstall libze-intel-gpu1 libigc2 libigdgmm12",
    ),
    "timeout": (
        "the device may be wedged: sudo dmesg | grep -iE 'xe|i915|guc|reset'",
        "end what uses it (sudo fuser -v /dev/dri/*), else reboot",
    ),
    "garbled": ("see what the driver said: python3 -m xpukit.host.level_zero", "reinstall the user-space driver"),
}
_NO_CHILD = "the child could not be started"


def _advise_level_zero(table: Mapping[str, Any]) -> tuple[str, ...]:
    given = str(table.get("remedy") or "")
    if given:
        return (given,)
    if str(table.get("detail") or "").startswith(_NO_CHILD):
        return ("let this user run the Python that runs xpukit, or install xpukit where this user may read it",)
    return _LEVEL_ZERO_REMEDIES[table["status"]]


def find_level_zero(at: Situation) -> Iterable[Finding]:
    """Level Zero missing, failing, crashing or hanging, where there is a GPU that needs it."""
    known = _LEVEL_ZERO.get(at.level_zero.get("status", "ok"))
    if known is None:
        return
    # Without a GPU to drive, an absent driver is no fault; a crashing or hanging one is.
    has_gpu = any(device.driver in COMPUTE_DRIVERS for device in at.devices)
    is_absent = at.level_zero["status"] in ("no-loader", "no-driver")
    if not has_gpu and is_absent:
        return
    identifier, summary = known
    yield Finding(
        id=identifier,
        severity="critical" if has_gpu else "warning",
        summary=f"{summary}: compute programs do not see the GPUs" if has_gpu else summary,
        evidence=(Evidence(source="level-zero", value=at.level_zero.get("detail") or at.level_zero["status"]),),
        remedy=_advise_level_zero(at.level_zero),
    )


def find_vm(at: Situation) -> Iterable[Finding]:
    """GPUs inside a virtual machine: some readings are the hypervisor's, not the hardware's."""
    if not (at.is_vm and at.devices):
        return
    yield Finding(
        id="XPK-PROBE-VM",
        severity="info",
        summary=f"this is a virtual machine ({at.platform.get('hypervisor') or 'unknown hypervisor'}) with "
        f"{len(at.devices)} GPU{'s' * (len(at.devices) != 1)} passed through",
        evidence=(Evidence(source="platform", value=str(at.platform.get("vm_evidence") or "")),),
        remedy=(
            "PCIe links, NUMA nodes and the topology are what the hypervisor shows; probe the host for the real ones",
        ),
    )


def find_mixed_drivers(at: Situation) -> Iterable[Finding]:
    """Discrete GPUs of one machine under different compute drivers."""
    bound: dict[str, list[str]] = {}
    for device in at.devices:
        if device.driver in COMPUTE_DRIVERS and device.discrete is not False:
            bound.setdefault(device.driver, []).append(device.bdf)
    if len(bound) < 2:
        return
    yield Finding(
        id="XPK-PROBE-MIXED-DRIVERS",
        severity="warning",
        summary="the GPUs of this machine are bound to different drivers: " + " and ".join(sorted(bound)),
        evidence=tuple(
            Evidence(source=f"/sys/bus/pci/drivers/{driver}", value=", ".join(bdfs))
            for driver, bdfs in sorted(bound.items())
        ),
        remedy=(
            "P2P and IPC do not work across drivers: bind all to one",
            "for example on the kernel command line: xe.force_probe=ID i915.force_probe=!ID",
        ),
    )


def find_hidden_devices(at: Situation) -> Iterable[Finding]:
    """Variables of this environment that hide or renumber devices for programs started from it."""
    environment = {**at.selectors, **at.level_zero.get("environment", {})}
    hiding = {
        name: value
        for name, value in environment.items()
        if name in selectors.NAMES and selectors.may_hide(name, value, at.devices)
    }
    if hiding and at.devices:
        yield Finding(
            id="XPK-PROBE-DEVICES-HIDDEN",
            severity="info",
            summary=f"programs started here may not see all devices: {', '.join(sorted(hiding))} set",
            evidence=tuple(Evidence(source=f"${name}", value=value) for name, value in sorted(hiding.items())),
            remedy=(f"to see all: unset {' '.join(sorted(hiding))}",),
        )


RULES: tuple[Rule, ...] = (
    find_no_gpu,
    find_no_render_node,
    find_passthrough,
    find_guessed_node,
    find_degraded_link,
    find_unknown_id,
    find_level_zero,
    find_vm,
    find_mixed_drivers,
    find_hidden_devices,
)


def judge(situation: Situation) -> tuple[Finding, ...]:
    """What all rules say."""
    return tuple(finding for rule in RULES for finding in rule(situation))


def read_machine(host: Host, devices: tuple[Device, ...], so_far: Mapping[str, Any]) -> dict[str, Any]:
    """Findings from what all other questions read."""
    sees_bus = bool(so_far.get("functions"))
    situation = Situation(
        sees_bus=sees_bus,
        render_nodes=() if sees_bus else _list_render_nodes(host),
        devices=devices,
        others=so_far.get("others", ()),
        numa=so_far.get("numa", ()),
        platform=dict(so_far.get("platform", {})),
        level_zero=dict(so_far.get("level_zero", {})),
        selectors=dict(so_far.get("extra", {}).get("device_selectors", {})),
    )
    return {"findings": judge(situation)}


def _list_render_nodes(host: Host) -> tuple[str, ...]:
    return tuple(f"/dev/dri/{name}" for name in host.list("/dev/dri").names if name.startswith("renderD"))


QUESTION = Question(
    name="findings",
    scope="machine",
    order=950,
    summary="what the readings say about the machine as a whole",
    read_machine=read_machine,
)
