"""Why Level Zero did not start, and what to do about it."""

from __future__ import annotations

import ctypes as c
import os

from xpukit.host.level_zero.api import DRIVER_NAMES, INSUFFICIENT_PERMISSIONS
from xpukit.host.level_zero.names import name_result
from xpukit.host.level_zero.snapshot import LevelZeroAnswer, Status

INSTALL_LOADER = "Install the Level Zero loader: Debian and Ubuntu package libze1 (Intel's: level-zero)."
INSTALL_DRIVER = (
    "Install the GPU's Level Zero driver: package libze-intel-gpu1 (older releases: intel-level-zero-gpu); for an NPU "
    "intel-driver-compiler-npu and intel-level-zero-npu."
)
JOIN_GROUP = (
    "Give this user the device nodes: add it to their group (`sudo usermod -aG render $USER`, then log in again), or "
    "start the container with --device /dev/dri and the group's number in --group-add."
)
LOOK_AT_KERNEL = (
    "See `dmesg | grep -iE 'xe|i915'` for the kernel's side; check that driver and kernel are of a matching release."
)
SURVIVABILITY = (
    "The card asks for new firmware (survivability mode): flash it with the vendor's tool, then power-cycle."
)

_Judgement = tuple[Status, str, str]


def judge_unloadable(loader: str, said: str, environment: dict[str, str]) -> LevelZeroAnswer:
    """The answer for a loader that the dynamic linker refused with `said`."""
    status: Status = "denied" if "ermission denied" in said else "no-loader"
    is_absent = said.startswith(f"{loader}: ") and "No such file" in said
    remedy = INSTALL_LOADER if is_absent else f"{loader} is there but cannot be loaded: repair what is named above."
    return LevelZeroAnswer(status=status, detail=said, remedy=remedy, environment=environment)


def judge_start(core_code: int | None, *, devices: int, sysman_works: bool) -> _Judgement:
    """Status, detail and remedy from zeInit's result and what was then listed."""
    if core_code == 0:
        if devices:
            return "ok", "", ""
        refused = list_refused_nodes()
        if refused:
            return "denied", f"no device: {', '.join(refused)} may not be opened by this user", JOIN_GROUP
        return "ok", "the drivers list no device", ""
    code = (
        "zeInit is not in this loader" if core_code is None else f"zeInit: 0x{core_code:08x} {name_result(core_code)}"
    )
    if devices and sysman_works:
        code += "; sysman (zesInit) works and lists the devices"
    if core_code == INSUFFICIENT_PERMISSIONS:
        return "denied", code, JOIN_GROUP
    problems = try_drivers()
    if not devices and not any(said == "" for said in problems.values()):
        broken = [said for said in problems.values() if said != "absent"]
        if broken:
            return "init-failed", f"{code}; {'; '.join(broken)}", "Install the library named above."
        return "no-driver", f"{code}; none of {', '.join(problems)} is installed", INSTALL_DRIVER
    refused = list_refused_nodes()
    if refused:
        return "denied", f"{code}; {', '.join(refused)} may not be opened by this user", JOIN_GROUP
    remedy = SURVIVABILITY if "SURVIVABILITY" in code else LOOK_AT_KERNEL
    return "init-failed", code, remedy


def try_drivers() -> dict[str, str]:
    """For each driver library the loader would try: "" (loads), "absent", or what the dynamic linker says."""
    named = [name for name in os.environ.get("ZE_ENABLE_ALT_DRIVERS", "").split(",") if name]
    found = {}
    for name in named or DRIVER_NAMES:
        try:
            c.CDLL(name)
        except OSError as err:
            said = str(err)
            is_absent = said.startswith(f"{name}: ") and "No such file" in said
            found[name] = "absent" if is_absent else said
        else:
            found[name] = ""
    return found


def list_refused_nodes(directory: str = "/dev/dri") -> list[str]:
    """Render nodes, when there are some and this user may open none of them."""
    try:
        nodes = [f"{directory}/{name}" for name in sorted(os.listdir(directory)) if name.startswith("renderD")]
    except OSError:
        return []
    return [] if any(os.access(node, os.R_OK | os.W_OK) for node in nodes) else nodes
