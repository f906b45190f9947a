"""What we conclude from what a machine said."""

from __future__ import annotations

from typing import Literal

import msgspec

Severity = Literal["info", "warning", "critical"]
SEVERITY_ORDER: dict[str, int] = {"critical": 0, "warning": 1, "info": 2}


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """A file or command and the value it gave."""

    source: str
    value: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A conclusion with its evidence. `id` is stable (`XPK-…`); `remedy` are steps in words or commands, in order.

    `explanation` says why it matters; `concerns` which devices or versions it is about ("" for all); `commands` are
    the exact shell lines that put it right, complete and in order (`doctor --fix` prints them), none where a person
    has to decide; `install_step` names the step of `xpukit install` that does the same.
    """

    id: str
    severity: Severity
    summary: str
    evidence: tuple[Evidence, ...] = ()
    remedy: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    subject: str = ""
    explanation: str = ""
    concerns: str = ""
    commands: tuple[str, ...] = ()
    install_step: str = ""


class Unchecked(msgspec.Struct, frozen=True, kw_only=True):
    """Something that should have been checked and could not be: which check, what was missing, what would help."""

    check: str
    why: str
    remedy: str = ""


def sort_findings(findings: list[Finding]) -> tuple[Finding, ...]:
    """Worst first, then by id and subject."""
    return tuple(sorted(findings, key=lambda f: (SEVERITY_ORDER[f.severity], f.id, f.subject, f.summary)))
