"""Limits on open files and locked memory, where serving needs more."""

from __future__ import annotations

import re
from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.core.units import format_bytes
from xpukit.doctor.check import Check, Patient
from xpukit.facts.doctor_limits import find_limit

_PATH = "/proc/self/limits"


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Open files on any machine with GPUs; locked memory only where RDMA registers it."""
    if not patient.machine.devices:
        return
    answer = patient.host.read(_PATH)
    if answer.error:
        if answer.error not in ("UNRECORDED", "ENOENT"):
            yield Unchecked(check="limits", why=f"{_PATH}: {answer.error}")
        return
    limits = read_limits(answer.text)
    yield from judge_open_files(limits)
    yield from judge_locked_memory(limits, patient)


def judge_open_files(limits: dict[str, tuple[int | None, int | None]]) -> Iterable[Finding]:
    """Engines raise the soft limit themselves, up to the hard one."""
    _, hard = limits.get("Max open files", (None, None))
    wanted = find_limit("open_files")
    if hard is None or hard >= wanted.value:
        return
    number = int(wanted.value)
    yield Finding(
        id="XPK-LIMIT-OPEN-FILES",
        severity="info",
        summary=f"programs of this user may open {hard} files; vLLM wants {number}",
        evidence=(Evidence(source=f"{_PATH}: Max open files", value=f"hard limit {hard}"),),
        explanation="Every connection, every shared buffer and every mapped file of weights takes one. At the limit "
        "requests fail with 'Too many open files'. Containers have limits of their own (--ulimit nofile).",
        remedy=("raise the hard limit for this user, then log in again",),
        commands=(f'echo "$USER hard nofile {number}" | sudo tee /etc/security/limits.d/90-nofile.conf',),
        links=(wanted.link,),
    )


def judge_locked_memory(limits: dict[str, tuple[int | None, int | None]], patient: Patient) -> Iterable[Finding]:
    """RDMA registers buffers by locking them; without RDMA nothing here locks much."""
    _, hard = limits.get("Max locked memory", (None, None))
    adapters = patient.host.list("/sys/class/infiniband").names
    if hard is None or not adapters:
        return
    yield Finding(
        id="XPK-LIMIT-LOCKED-MEMORY",
        severity="warning",
        summary=f"programs of this user may lock {format_bytes(hard)} of memory; RDMA needs all that it transfers",
        evidence=(
            Evidence(source=f"{_PATH}: Max locked memory", value=f"hard limit {hard} bytes"),
            Evidence(source="/sys/class/infiniband", value=" ".join(adapters[:8])),
        ),
        explanation="Serving over several machines registers its buffers with the network adapter, which locks them. "
        "At the limit registration fails, or a slower way is taken silently.",
        remedy=("lift the limit for this user, then log in again; for containers --ulimit memlock=-1",),
        commands=('echo "$USER - memlock unlimited" | sudo tee /etc/security/limits.d/90-memlock.conf',),
        links=("https://docs.kernel.org/infiniband/user_verbs.html",),
    )


def read_limits(text: str) -> dict[str, tuple[int | None, int | None]]:
    """/proc/PID/limits as {name: (soft, hard)}; None is unlimited."""
    found = {}
    for line in text.splitlines():
        match = re.match(r"^(Max [a-z- ]+?)\s{2,}(unlimited|\d{1,20})\s+(unlimited|\d{1,20})\b", line)
        if match:
            soft, hard = (None if word == "unlimited" else int(word) for word in match.groups()[1:])
            found[match.group(1)] = (soft, hard)
    return found


CHECK = Check(
    name="limits",
    summary="limits on open files and locked memory",
    ids=("XPK-LIMIT-OPEN-FILES", "XPK-LIMIT-LOCKED-MEMORY"),
    look=look,
    concerns="machines with an Intel GPU",
    order=551,
)
