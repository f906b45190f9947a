"""Undo: every change in force taken back, newest first, unless someone changed it since."""

from __future__ import annotations

import time

import msgspec

from xpukit.core.errors import ExternalError, XpukitError
from xpukit.install.apply import Outcome, open_work, recover, run_refreshes
from xpukit.install.handler import Entry
from xpukit.install.journal import Journal, JournalState, load_journal
from xpukit.install.lock import hold_lock
from xpukit.install.registry import find_handler, list_steps
from xpukit.install.reporter import Reporter
from xpukit.install.site import Site
from xpukit.install.work import Work


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why an entry is not taken back."""

    seq: int
    what: str
    why: str


class UndoOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What an undo did, or why it did not begin (`refused`)."""

    outcome: Outcome | None = None
    refused: tuple[Refusal, ...] = ()
    left: tuple[str, ...] = ()


def undo_stack(
    site: Site, reporter: Reporter, *, force: bool = False, lock_wait_s: float = 120.0, pid: int = 0
) -> UndoOutcome:
    """Take everything back. Nothing is touched when something stands in the way, unless `force`."""
    with hold_lock(site, "install undo", wait_s=lock_wait_s, pid=pid, say=reporter.say):
        journal = Journal(site)
        state = journal.load()
        if not state.in_force and not state.stale:
            return UndoOutcome(outcome=Outcome(run=""))
        work = open_work(site, "undo", lock_wait_s=lock_wait_s, force=force, reporter=reporter)
        recover(work, state)
        refused = () if force else list_refusals(work, state)
        if refused:
            return UndoOutcome(refused=refused)
        run = journal.begin("undo", state.stack, {"log": str(work.log), "force": force})
        try:
            undone = [_undo_entry(work, journal, entry, reporter) for entry in reversed(state.in_force)]
            refreshed = run_refreshes(work, journal, reporter)
        except XpukitError:
            journal.end("failed")
            raise
        except KeyboardInterrupt:
            journal.end("interrupted")
            raise
        journal.end("done")
    done = Outcome(run=run, changes=tuple(undone), refreshed=tuple(refreshed), log=str(work.log))
    return UndoOutcome(outcome=done)


def list_refusals(work: Work, state: JournalState) -> tuple[Refusal, ...]:
    """Entries that someone changed since or came to depend on. Only the newest about a thing is looked at."""
    seen: set[str] = set()
    refused = []
    for entry in reversed(state.in_force):
        handler = find_handler(entry.change)
        subjects = set(handler.subjects(entry.change))
        hidden = bool(subjects & seen)
        seen |= subjects
        if hidden:
            continue
        what = handler.describe(entry.change)
        position = handler.locate(work.site, entry)
        if position.standing == "drifted":
            refused.append(Refusal(seq=entry.seq, what=what, why=position.note))
        elif handler.hindrances is not None and position.standing == "after":
            refused.extend(Refusal(seq=entry.seq, what=what, why=why) for why in handler.hindrances(work, entry))
    return tuple(refused)


def _undo_entry(work: Work, journal: Journal, entry: Entry, reporter: Reporter) -> str:
    handler = find_handler(entry.change)
    text = f"take back: {handler.describe(entry.change)}"
    started = time.monotonic()
    reporter.begin_change(text)
    work.note(f"== {text}")
    refreshes = next((step.refreshes for step in list_steps() if step.name == entry.step), ())
    journal.undoing(entry, refreshes)
    handler.undo(work, entry)
    position = handler.locate(work.site, entry)
    if position.standing not in ("before", "both"):
        why = position.note or "it is still as it was applied"
        raise ExternalError(f"{text}: {why}", hint=f"see the log: {work.log}")
    journal.undone(entry)
    reporter.finish_change(text, time.monotonic() - started)
    return text


def is_clean(site: Site) -> bool:
    """Whether nothing of ours is in force."""
    return not load_journal(site).in_force
