"""The compute runtime's parts: Level Zero and OpenCL driver come from one release and belong together."""

from __future__ import annotations

import re
from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.versions import find_item

_LEVEL_ZERO, _OPENCL = "Level Zero GPU driver", "OpenCL GPU driver"


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Packages of different builds, and a loaded driver that is none of the installed ones."""
    if not patient.machine.devices:
        return
    level_zero, opencl = find_item(patient, _LEVEL_ZERO), find_item(patient, _OPENCL)
    builds = {item.name: read_build(item.version) for item in (level_zero, opencl) if item is not None}
    if level_zero and opencl and all(builds.values()) and len(set(builds.values())) > 1:
        yield Finding(
            id="XPK-NEO-MIXED",
            severity="warning",
            summary=f"the Level Zero driver ({builds[_LEVEL_ZERO]}) and the OpenCL driver ({builds[_OPENCL]}) are of "
            "different releases",
            evidence=tuple(Evidence(source=item.source, value=item.version) for item in (level_zero, opencl)),
            explanation="Both are parts of one compute runtime and share its compiler (libigc) and memory library "
            "(libigdgmm): of two releases one runs with libraries that it was not built for.",
            remedy=("install both from one repository, in one version",),
            commands=("sudo apt-get install --reinstall intel-opencl-icd libze-intel-gpu1",)
            if level_zero.source == "dpkg libze-intel-gpu1"
            else (),
            links=("https://github.com/intel/compute-runtime/releases",),
        )
    for item in patient.machine.software:
        loaded = re.fullmatch(r"Level Zero driver \d+ \(loaded\)", item.name) and read_build(item.version)
        installed = builds.get(_LEVEL_ZERO, "")
        if level_zero and loaded and installed and loaded != installed:
            yield Finding(
                id="XPK-NEO-OTHER-LOADED",
                severity="warning",
                summary=f"programs load Level Zero driver build {loaded}, but {installed} is installed",
                evidence=(
                    Evidence(source=item.source, value=item.version),
                    Evidence(source=level_zero.source, value=level_zero.version),
                ),
                explanation="Another copy of the driver comes first on the search path, so an update of the package "
                "changes nothing for programs.",
                remedy=("look for other copies: find / -name 'libze_intel_gpu.so*' ; see LD_LIBRARY_PATH",),
                links=("https://github.com/intel/compute-runtime/releases",),
                subject=item.name,
            )


def read_build(version: str) -> str:
    """The build number that every name of a release carries: '38646' of '26.22.38646.4-1~24.04' and '1.3.38646'."""
    match = re.search(r"(?<!\d)(\d{5})(?!\d)", version)
    return match.group(1) if match else ""


CHECK = Check(
    name="driver_libraries",
    summary="Level Zero and OpenCL driver of one release",
    ids=("XPK-NEO-MIXED", "XPK-NEO-OTHER-LOADED"),
    look=look,
    concerns="machines with an Intel GPU",
    order=521,
)
