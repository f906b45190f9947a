"""What a plan must say about the machine before anything is changed: findings, worst first."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.errors import ExternalError
from xpukit.core.finding import Evidence, Finding
from xpukit.facts.stack_versions import find_driver, is_kernel_older
from xpukit.install.apt_view import read_packages
from xpukit.install.detect import read_release
from xpukit.install.site import Site
from xpukit.install.step import Scene

_SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
# Debian's names of what the kernel calls otherwise.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_OTHER_VENDORS = {
    "/proc/driver/nvidia/version": "NVIDIA's driver",
    "/sys/module/nvidia": "NVIDIA's driver",
    "/sys/module/amdgpu": "AMD's driver",
    "/sys/module/i915_prelim": "Intel's out-of-tree i915",
}
# dpkg's states (dpkg-query(1)): half-installed, unpacked, half-configured, and waiting for a trigger.
_HALVES = ("H", "U", "F", "W", "t")
_PINS = "/etc/apt/preferences.d"
_READ_ONLY_TRIED = ("/usr", "/etc", "/var")


def look_around(scene: Scene) -> tuple[Finding, ...]:
    """All of them. Nothing here stops a plan; `apply` stops at critical ones unless told to go on."""
    looks = (
        find_unsupported_release,
        find_other_architecture,
        find_secure_boot,
        find_read_only,
        find_other_vendors,
        find_old_kernel,
        find_pins,
        find_interrupted_dpkg,
    )
    return tuple(finding for look in looks for finding in look(scene))


def find_unsupported_release(scene: Scene) -> Iterable[Finding]:
    """A stack for another distribution or release than the machine's."""
    stack, release = scene.stack, read_release(scene.site)
    if not stack.distribution or (release.id == stack.distribution and release.version in stack.releases):
        return
    yield Finding(
        id="XPK-INSTALL-RELEASE-UNSUPPORTED",
        severity="critical",
        summary=f"stack {stack.name} is not for this machine: {release.name or 'unknown release'}",
        evidence=(Evidence(source="/etc/os-release", value=f"ID={release.id} VERSION_ID={release.version}"),),
        remedy=("choose a stack that fits: xpukit install plan --stack …", "or user space only: --stack container"),
    )


def find_other_architecture(scene: Scene) -> Iterable[Finding]:
    """A machine whose processor the stack's packages are not for."""
    machine = scene.site.host.identity().machine if scene.site.is_whole else ""
    if not machine or _ARCHITECTURES.get(machine, machine) in scene.stack.architectures:
        return
    yield Finding(
        id="XPK-INSTALL-ARCHITECTURE",
        severity="critical",
        summary=f"stack {scene.stack.name} is for {', '.join(scene.stack.architectures)}, this machine is {machine}",
        evidence=(Evidence(source="uname -m", value=machine),),
    )


def find_secure_boot(scene: Scene) -> Iterable[Finding]:
    """Only signed kernels and modules load."""
    if not scene.site.is_whole or scene.stack.scope != "machine":
        return
    answer = scene.site.read(_SECURE_BOOT)
    # Four bytes of attributes, then the value.
    if answer.error or answer.data[4:5] != b"\x01":
        return
    yield Finding(
        id="XPK-INSTALL-SECURE-BOOT",
        severity="warning",
        summary="Secure Boot is on: a kernel or module that is not signed by a known key will not start",
        evidence=(Evidence(source=_SECURE_BOOT, value="1"),),
        remedy=("take signed kernels only (linux-image-unsigned-* and modules of DKMS need an enrolled key)",),
    )


def find_read_only(scene: Scene) -> Iterable[Finding]:
    """Parts of the tree that are mounted read-only (an image-based system, a live medium)."""
    for path, said in (_list_read_only if scene.site.is_whole else _try_writing)(scene.site):
        yield Finding(
            id="XPK-INSTALL-READ-ONLY",
            severity="critical",
            summary=f"{path} is mounted read-only: nothing can be installed there",
            evidence=(said,),
            remedy=("install in the image that the machine boots from, or mount it writable",),
            subject=path,
        )


def _list_read_only(site: Site) -> Iterable[tuple[str, Evidence]]:
    lines = {line.split()[1]: line for line in site.read("/proc/mounts").text.splitlines() if len(line.split()) >= 4}
    # Of several on one directory the last counts.
    for path in ("/", *_READ_ONLY_TRIED):
        if path in lines and "ro" in lines[path].split()[3].split(","):
            yield path, Evidence(source="/proc/mounts", value=lines[path])


def _try_writing(site: Site) -> Iterable[tuple[str, Evidence]]:
    """In another root the mounts have other names: root may write all but what is read-only."""
    for path in _READ_ONLY_TRIED:
        ran = site.ask(("test", "-w", path))
        if ran.rc == 1 and not ran.failure:
            yield path, Evidence(source=f"test -w {path}", value="no")


def find_other_vendors(scene: Scene) -> Iterable[Finding]:
    """Drivers that share the machine; they stay as they are."""
    said = set()
    for path, name in _OTHER_VENDORS.items():
        if scene.site.is_whole and name not in said and scene.site.exists(path):
            said.add(name)
            yield Finding(
                id="XPK-INSTALL-OTHER-DRIVER",
                severity="info",
                summary=f"{name} is loaded too: it is left as it is",
                evidence=(Evidence(source=path, value="there"),),
                explanation="a new kernel needs its module built for it as well (DKMS), or those GPUs are lost.",
                subject=name,
            )


def find_old_kernel(scene: Scene) -> Iterable[Finding]:
    """A running kernel that does not drive the GPU that is there."""
    if not scene.site.is_whole or scene.stack.scope != "machine":
        return
    running = scene.site.read("/proc/sys/kernel/osrelease").text
    for device in scene.devices:
        driver = find_driver(device.vendor_id, device.device_id)
        if driver is None or not driver.kernel or device.driver or not running:
            continue
        if is_kernel_older(running, driver.kernel):
            kernel = scene.stack.kernel
            remedy = (
                f"install {kernel.package} ({kernel.why}), or --with kernel" if kernel else "install a newer kernel"
            )
            yield Finding(
                id="XPK-INSTALL-KERNEL-OLD",
                severity="warning",
                summary=f"kernel {running} does not drive {device.bdf}: Linux {driver.kernel} is the first that does",
                evidence=(Evidence(source="/proc/sys/kernel/osrelease", value=running),),
                remedy=(remedy,),
                explanation=driver.source,
                subject=device.bdf,
            )


def find_pins(scene: Scene) -> Iterable[Finding]:
    """Pins of the user's or of a third party: they decide which versions apt takes."""
    names = [f"{_PINS}/{name}" for name in scene.site.list(_PINS).names if not name.startswith(".")]
    wanted = {row.name for row in scene.stack.packages}
    for path in ["/etc/apt/preferences", *names]:
        text = scene.site.read(path).text
        for line in text.splitlines():
            key, _, value = line.partition(":")
            if key.strip().lower() != "package":
                continue
            hit = [word for word in value.split() if word in wanted or "*" in word]
            if hit:
                yield Finding(
                    id="XPK-INSTALL-PIN",
                    severity="info",
                    summary=f"a pin in {path} decides about {' '.join(hit)}",
                    evidence=(Evidence(source=path, value=line.strip()),),
                    subject=f"{path} {' '.join(hit)}",
                )


def find_interrupted_dpkg(scene: Scene) -> Iterable[Finding]:
    """dpkg was stopped in the middle, or a package's own script failed: the next apt run goes on with it."""
    try:
        states = tuple(read_packages(scene.site).values())
    except ExternalError:
        states = ()  # the packages' own step says so
    halves = sorted(state.name for state in states if state.status[1:2] in _HALVES)
    if halves:
        named = ", ".join(halves[:5]) + (f" and {len(halves) - 5} more" if len(halves) > 5 else "")
        yield Finding(
            id="XPK-INSTALL-DPKG-HALF",
            severity="warning",
            summary=f"not wholly installed: {named}: apt will try to finish that first, and may stop there",
            evidence=(Evidence(source="dpkg-query", value=named),),
            remedy=("sudo dpkg --configure -a",),
            commands=("dpkg --configure -a",),
        )
    left = [name for name in scene.site.list("/var/lib/dpkg/updates").names if name.isdigit()]
    if left:
        yield Finding(
            id="XPK-INSTALL-DPKG-INTERRUPTED",
            severity="warning",
            summary="dpkg was interrupted and has not finished",
            evidence=(Evidence(source="/var/lib/dpkg/updates", value=f"{len(left)} unfinished entries"),),
            remedy=("sudo dpkg --configure -a",),
            commands=("dpkg --configure -a",),
        )
