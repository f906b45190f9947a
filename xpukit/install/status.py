"""Status: what is in force, and where the machine has drifted from it."""

from __future__ import annotations

import msgspec

from xpukit.core.errors import ExternalError
from xpukit.install.handler import Standing
from xpukit.install.journal import JournalState, RunRecord, load_journal
from xpukit.install.registry import find_handler
from xpukit.install.site import Site


class EntryStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A change in force. `standing` "unknown" when it could not be looked at."""

    seq: int
    run: str
    step: str
    what: str
    standing: Standing | str
    note: str = ""
    finished: bool = True


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The journal against the machine. `drift` counts entries that do not stand as they were left."""

    stack: str
    interrupted: bool
    runs: tuple[RunRecord, ...]
    entries: tuple[EntryStatus, ...]
    stale: tuple[str, ...] = ()
    damaged_lines: int = 0

    @property
    def drift(self) -> int:
        return sum(1 for entry in self.entries if entry.note or entry.standing in ("before", "drifted", "unknown"))


def read_status(site: Site) -> Status:
    """Raises ExternalError when the journal cannot be read."""
    state = load_journal(site)
    return Status(
        stack=state.stack,
        interrupted=state.interrupted is not None,
        runs=state.runs,
        entries=_list_entries(site, state),
        stale=state.stale,
        damaged_lines=state.damaged_lines,
    )


def _list_entries(site: Site, state: JournalState) -> tuple[EntryStatus, ...]:
    seen: set[str] = set()
    found = []
    for entry in reversed(state.in_force):
        handler = find_handler(entry.change)
        subjects = set(handler.subjects(entry.change))
        standing: str = "after"
        note = ""
        if not subjects & seen:
            try:
                position = handler.locate(site, entry)
                standing, note = position.standing, position.note
                if standing == "before" and not note:
                    note = "it is as it was before"
            except ExternalError as err:
                standing, note = "unknown", err.message
        seen |= subjects
        found.append(
            EntryStatus(
                seq=entry.seq,
                run=entry.run,
                step=entry.step,
                what=handler.describe(entry.change),
                standing=standing,
                note=note,
                finished=entry.after is not None,
            )
        )
    return tuple(reversed(found))
