"""The shape of a check: one file under `checks/` that defines `CHECK` adds one to `xpukit doctor`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from xpukit.core.finding import Finding, Unchecked
from xpukit.core.machine import Machine
from xpukit.host.door import Host


class Patient(msgspec.Struct, frozen=True, kw_only=True):
    """What a check looks at: the machine as `probe` read it, and the host to ask what probe did not.

    The host keeps every answer (asked once), so two checks that need the same answer cost one question.
    """

    machine: Machine
    host: Host

    def find_software(self, name: str) -> str:
        """The version of a part of the stack as probe found it, "" when it is not there or says none."""
        return next((item.version for item in self.machine.software if item.name == name), "")


# Yields findings, and an `Unchecked` for what it should have looked at and could not. Never raises for what the
# machine says; asks through `patient.host` only, and only what helps this very machine (no GPU: no GPU questions).
Look = Callable[[Patient], Iterable[Finding | Unchecked]]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check. `ids` are the ids of all findings it can give: stable, `XPK-` and upper-case words.

    `concerns` says in words which machines and versions it is about.
    """

    name: str
    summary: str
    ids: tuple[str, ...]
    look: Look
    concerns: str = "any machine"
    order: int = 500


def conform_error(check: Check) -> str:
    """What is wrong with a check's shape, "" when nothing is."""
    if not check.name.isidentifier() or not check.summary:
        return f"{check.name!r}: needs a name that is an identifier and a summary"
    bad = [name for name in check.ids if not name.startswith("XPK-") or name != name.upper() or not name.isascii()]
    if bad or not check.ids:
        return f"{check.name}: finding ids are XPK- and upper-case words: {bad or 'none given'}"
    if len(set(check.ids)) < len(check.ids) or not callable(check.look):
        return f"{check.name}: an id twice, or nothing to call"
    return ""
