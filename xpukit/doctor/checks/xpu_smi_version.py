"""xpu-smi 2 does not take what scripts of its first generation write."""

from __future__ import annotations

import re
from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.facts.doctor_tables import split_version
from xpukit.facts.doctor_versions import RemovedOption, load_versions

# Where Intel's installer and administrators keep scripts that call it.
_SCRIPT_DIRS = (
    "/opt/intel/multi-arc/scripts",
    "/opt/intel/multi-arc/scripts/evaluation",
    "/opt/intel/multi-arc/scripts/debug",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/etc/cron.d",
)
_SCRIPT_LIMIT = 60
_READ_BYTES = 256 << 10


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """What changed, and the scripts here that still say it the old way."""
    version = patient.find_software("xpu-smi")
    if split_version(version)[:1] < (2,) or not patient.machine.devices:
        return
    rows = load_versions().removed
    uses = find_uses(patient, rows)
    changes = "; ".join(f"{row.what} (now: {row.instead})" for row in rows)
    yield Finding(
        id="XPK-XPU-SMI-2",
        severity="warning" if uses else "info",
        summary=f"xpu-smi {version} does not take what scripts for 1.x write"
        + (f": {len(uses)} lines here do" if uses else ""),
        evidence=(
            Evidence(source="xpu-smi -v", value=version),
            *(Evidence(source=place, value=line) for place, line in uses[:8]),
        ),
        explanation=f"Gone in 2.0: {changes}. A script that goes on after the error works with empty values.",
        remedy=("write the new form into scripts; xpukit reads both",),
        links=tuple(dict.fromkeys(row.link for row in rows)),
        concerns="xpu-smi 2.0 and newer",
    )


def find_uses(patient: Patient, rows: tuple[RemovedOption, ...]) -> tuple[tuple[str, str], ...]:
    """(file:line, the call) of what the new version refuses, in scripts of the usual places."""
    paths = []
    for directory in _SCRIPT_DIRS:
        for name in patient.host.list(directory).names:
            if name.endswith((".sh", ".py")) or directory == "/etc/cron.d":
                paths.append(f"{directory}/{name}")
    found = []
    for path in paths[:_SCRIPT_LIMIT]:
        text = patient.host.read(path, limit_bytes=_READ_BYTES).text
        for number, line in enumerate(text.splitlines(), 1):
            match = next((hit for row in rows if (hit := re.search(row.pattern, line))), None)
            if match is not None and not line.lstrip().startswith("#"):
                found.append((f"{path}:{number}", match.group(0)[:120]))
    return tuple(found)


CHECK = Check(
    name="xpu_smi_version",
    summary="scripts for xpu-smi 1.x under xpu-smi 2",
    ids=("XPK-XPU-SMI-2",),
    look=look,
    concerns="xpu-smi 2.0 and newer",
    order=525,
)
