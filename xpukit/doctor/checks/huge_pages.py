"""Huge pages that are reserved and lie idle: their memory is missing for everything else."""

from __future__ import annotations

import re
from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.core.units import format_bytes
from xpukit.doctor.check import Check, Patient
from xpukit.facts.doctor_limits import find_limit


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Serving on these GPUs uses no reserved huge pages, so only a large idle reservation matters."""
    if not patient.machine.devices:
        return
    answer = patient.host.read("/proc/meminfo")
    found = read_meminfo(answer.text)
    total, free, size = found.get("HugePages_Total", 0), found.get("HugePages_Free", 0), found.get("Hugepagesize", 0)
    memory = found.get("MemTotal", 0)
    limit = find_limit("huge_page_share")
    if not memory or free * size < limit.value * memory:
        return
    yield Finding(
        id="XPK-HUGE-PAGES-IDLE",
        severity="warning",
        summary=f"{format_bytes(free * size)} of {format_bytes(memory)} are reserved as huge pages that nobody uses",
        evidence=(
            Evidence(source="/proc/meminfo: HugePages_Total, HugePages_Free", value=f"{total}, {free} free"),
            Evidence(source="/proc/meminfo: Hugepagesize", value=format_bytes(size)),
        ),
        explanation="The kernel gives reserved pages to programs that ask for huge pages only (virtual machines, "
        "DPDK). Engines that serve models do not: weights on their way to the GPUs find less memory.",
        remedy=(
            "unless a program here needs them: give them back, and take them out of sysctl and kernel command line",
        ),
        commands=("sudo sysctl -w vm.nr_hugepages=0",),
        links=(limit.link,),
    )


def read_meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo: sizes in bytes, counts as they are."""
    found = {}
    for name, number, unit in re.findall(r"^(\w+):\s+(\d{1,18})( kB)?\s*$", text, re.MULTILINE):
        found[name] = int(number) << 10 if unit else int(number)
    return found


CHECK = Check(
    name="huge_pages",
    summary="no large idle reservation of huge pages",
    ids=("XPK-HUGE-PAGES-IDLE",),
    look=look,
    concerns="machines with an Intel GPU",
    order=550,
)
