"""What `xpukit sysinfo diff` says (`xpukit.sysinfo-diff/1`)."""

from __future__ import annotations

from typing import Literal

import msgspec

from xpukit.core.finding import Finding, Unchecked
from xpukit.core.machine import Machine
from xpukit.host.mediated import Question

Area = Literal["stack", "settings", "devices", "findings", "hardware"]
AREAS: tuple[Area, ...] = ("stack", "settings", "devices", "findings", "hardware")
# unread: one side says it and the other could not, or may not, look: nothing is known of the difference.
Kind = Literal["changed", "added", "removed", "unread"]


class SideInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Which machine was looked at, when and by which xpukit. `source` "" is this machine, now."""

    source: str
    host: str = ""
    created: str = ""
    xpukit_version: str = ""
    complete: bool = True
    live: bool = False


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not the same. `old` is that of A, `new` that of B; "" where it is not there.

    `subject` is a PCI address, a package or a file ("" for the machine), `what` the name of the thing.
    """

    area: Area
    kind: Kind
    what: str
    old: str = ""
    new: str = ""
    subject: str = ""


class AnswerDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A file or command that answered otherwise, beyond the known noise: lines only in A and only in B.

    `sample` has the first of them behind "-" and "+".
    """

    question: str
    lines_a: int
    lines_b: int
    sample: tuple[str, ...] = ()


class SysinfoDiff(msgspec.Struct, frozen=True, kw_only=True):
    """Differences by importance, then raw answers. `same`: there is neither, apart from kind "unread".

    `answers_compared` of the questions that both sides answered; `only_in_a` and `only_in_b` were asked on one side
    only, which says nothing of the machines. `notes` say what limits the comparison.
    """

    same: bool
    a: SideInfo
    b: SideInfo
    differences: tuple[Difference, ...] = ()
    answers: tuple[AnswerDifference, ...] = ()
    answers_compared: int = 0
    only_in_a: int = 0
    only_in_b: int = 0
    notes: tuple[str, ...] = ()


class AnswerText(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine answered, as text. `error`: why there is no answer ("ENOENT", "not-found"), "" when there is."""

    text: str = ""
    error: str = ""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two machines: readings, findings and answers by question."""

    info: SideInfo
    machine: Machine
    findings: tuple[Finding, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()
    answers: dict[Question, AnswerText] = {}
