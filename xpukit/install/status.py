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
    """The journal against the machine. `drift` counts entries that do not stand as they were left.

    `interrupted`: the last run was killed or failed, so that something may be half done.
    """

    stack: str
    interrupted: bool
    runs: tuple[RunRecord, ...]
    entries: tuple[EntryStatus, ...]
    drift: int = 0
    stale: tuple[str, ...] = ()
    damaged_lines: int = 0


def read_status(site: Site) -> Status:
    """Raises CouldNotJudgeError when the journal cannot be read."""
    state = load_journal(site)
    entries = _list_entries(site, state)
    return Status(
        stack=state.stack,
        interrupted=bool(state.runs) and state.runs[-1].result != "done",
        runs=state.runs,
        entries=entries,
        drift=sum(1 for entry in entries if entry.note or entry.standing in ("before", "drifted", "unknown")),
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
