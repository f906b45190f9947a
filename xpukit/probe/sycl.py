"""SYCL's view (sycl-ls and dpctl) and OpenCL's (clinfo) of the devices, all asked in child processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from xpukit.core.machine import Device, SoftwareItem, Unread
from xpukit.host.answers import Ran
from xpukit.host.door import Host
from xpukit.probe.parsers.dpctl_list import DeviceListing, parse_clinfo, parse_dpctl
from xpukit.probe.parsers.sycl_ls import SyclDevice, SyclListing, parse_sycl_ls
from xpukit.probe.question import Question
from xpukit.probe.selectors import NAMES
from xpukit.probe.sighting import Sighting, explain_run

TIMEOUT_S = 15.0
ONEAPI_COMPILER = "/opt/intel/oneapi/compiler/latest"
INSTALL = "install the oneAPI compiler (package intel-oneapi-compiler-dpcpp-cpp)"


def read_machine(host: Host, devices: tuple[Device, ...], so_far: Mapping[str, Any]) -> dict[str, Any]:
    """Sightings by sycl-ls and dpctl, OpenCL's list, and what hides devices."""
    answer: dict[str, Any] = {"asked": {}, "sightings": (), "software": (), "unread": (), "extra": {}}
    # Asked without what hides devices from SYCL programs, so that numbers are the machine's.
    hiding = {name: value for name in NAMES if (value := host.env(name).value)}
    for update in (_ask_sycl_ls(host, hiding), _ask_dpctl(host, hiding), _ask_clinfo(host)):
        for name, value in update.items():
            answer[name] = {**answer[name], **value} if isinstance(value, dict) else answer[name] + value
    if hiding:
        answer["extra"]["device_selectors"] = hiding
    return answer


def _wrap(argv: list[str], hiding: Mapping[str, str]) -> list[str]:
    """The command without the variables that hide devices."""
    return ["env", *(part for name in hiding for part in ("-u", name)), *argv] if hiding else argv


def _ask_sycl_ls(host: Host, hiding: Mapping[str, str]) -> dict[str, Any]:
    path = host.which("sycl-ls").value
    env: dict[str, str] = {}
    if path is None and host.exists(f"{ONEAPI_COMPILER}/bin/sycl-ls"):
        # Installed, but setvars.sh was not sourced.
        path = f"{ONEAPI_COMPILER}/bin/sycl-ls"
        roots = (ONEAPI_COMPILER, "/opt/intel/oneapi/umf/latest", "/opt/intel/oneapi/tcm/latest")
        env = {"LD_LIBRARY_PATH": ":".join(f"{root}/lib" for root in roots)}
    if path is None:
        return _report("sycl-ls", Unread(what="sycl-ls", why="not installed", remedy=INSTALL))
    ran = host.run(_wrap([path, "--verbose"], hiding), timeout_s=TIMEOUT_S, env=env)
    listing = parse_sycl_ls(ran.out, ran.err)
    problem = judge_sycl_ls(ran, listing)
    if problem is not None and not listing.devices:
        return _report("sycl-ls", problem)
    notes = [f"line {note.line}: {note.text}" if note.line else note.text for note in listing.notes]
    return {
        "asked": {"sycl-ls": "ok"},
        "sightings": tuple(_describe_sycl(device) for device in listing.devices if device.type == "gpu"),
        "software": (
            SoftwareItem(name="sycl-ls", source=path, note=f"{len(listing.devices)} SYCL devices", found=True),
        ),
        "extra": {"sycl": {"devices": msgspec.to_builtins(listing.devices), "notes": notes}},
        "unread": (problem,) if problem is not None else (),
    }


def judge_sycl_ls(ran: Ran, listing: SyclListing) -> Unread | None:
    """What went wrong; None when the list can be trusted. sycl-ls exits 0 for most errors."""
    if listing.error:
        remedy = "correct the selector variable" if "SELECTOR" in listing.error else INSTALL
        return Unread(what="sycl-ls", why=listing.error, remedy=remedy)
    if not ran.ok:
        return explain_run("sycl-ls", ran, install=INSTALL)
    if not listing.found:
        first = f": {listing.notes[0].text}" if listing.notes else ""
        return Unread(what="sycl-ls", why=f"exit {ran.rc}, but no list of devices{first}", remedy=INSTALL)
    return None


def _report(name: str, unread: Unread) -> dict[str, Any]:
    return {
        "asked": {name: unread.why},
        "software": (SoftwareItem(name=unread.what, source="PATH", note=unread.why),),
        "unread": (unread,),
    }


def _describe_sycl(device: SyclDevice) -> Sighting:
    number = "" if device.index is None else f":{device.index}"
    return Sighting(
        source="sycl-ls",
        evidence="sycl-ls --verbose",
        index=device.index,
        label=f"{device.backend}{number}",
        uuid=device.uuid,
        name=device.name,
        driver_version=device.driver,
    )


def _ask_dpctl(host: Host, hiding: Mapping[str, str]) -> dict[str, Any]:
    identity = host.identity()
    installed = any(
        "dpctl" in host.list(directory).names for directory in identity.site_packages if identity.executable
    )
    if not installed:
        why = "not installed beside xpukit"
        return {"asked": {"dpctl": why}, "software": (SoftwareItem(name="dpctl list", source="python", note=why),)}
    # dpctl finds the CPU's OpenCL driver of its own wheels only when told where it is.
    prefix = identity.executable.rpartition("/bin/")[0]
    driver = f"{prefix}/lib/libintelocl.so"
    env = {"OCL_ICD_FILENAMES": driver} if host.env("OCL_ICD_FILENAMES").value is None and host.exists(driver) else {}
    ran = host.run(_wrap([identity.executable, "-m", "dpctl", "-f"], hiding), timeout_s=TIMEOUT_S, env=env)
    listing = parse_dpctl(ran.out)
    if not ran.ok:
        return _report("dpctl", explain_run("dpctl list", ran, install="pip install 'xpukit[embedded]'"))
    return {
        "asked": {"dpctl": "ok"},
        "sightings": _describe_dpctl(listing),
        "software": (
            SoftwareItem(
                name="dpctl list",
                source="python -m dpctl -f",
                note=f"{len(listing.devices)} SYCL devices",
                found=True,
            ),
        ),
        "extra": {"dpctl": {"devices": msgspec.to_builtins(listing.devices)}},
    }


def _describe_dpctl(listing: DeviceListing) -> tuple[Sighting, ...]:
    sightings = []
    for device in listing.devices:
        backend, _, rest = device.selector.partition(":")
        kind, _, number = rest.partition(":")
        if kind == "gpu":
            sightings.append(
                Sighting(
                    source="dpctl",
                    evidence="python -m dpctl -f",
                    index=int(number) if number.isdecimal() and len(number) < 7 else None,
                    label=f"{backend}:{number}",
                    name=device.name,
                    driver_version=device.driver,
                )
            )
    return tuple(sightings)


def _ask_clinfo(host: Host) -> dict[str, Any]:
    ran = host.run(["clinfo", "-l", "--raw"], timeout_s=TIMEOUT_S)
    if not ran.ok:
        unread = explain_run("clinfo", ran, install="apt install clinfo")
        answer = _report("clinfo", unread)
        # Nobody needs clinfo: missing is a row, only a crash or hang of it is worth a warning.
        return answer if ran.failure != "not-found" else {**answer, "unread": ()}
    listing = parse_clinfo(ran.out)
    platforms = sorted({device.platform for device in listing.devices})
    note = f"{len(listing.devices)} OpenCL devices" + (f" of {', '.join(platforms)}" if platforms else "")
    return {
        "asked": {"clinfo": "ok"},
        "software": (SoftwareItem(name="clinfo", source="clinfo -l --raw", note=note, found=True),),
        "extra": {"opencl": {"devices": msgspec.to_builtins(listing.devices)}},
    }


QUESTION = Question(
    name="sycl",
    scope="machine",
    order=220,
    summary="devices as SYCL and OpenCL programs see them",
    read_machine=read_machine,
)
