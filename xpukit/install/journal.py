"""The journal: every change is written down before it begins and again when it is done; lines are only ever added.

It lies on the machine it is about (`/var/lib/xpukit/install/journal.jsonl`). A line is on the disk before what it
speaks of starts, so a run that is killed anywhere leaves a journal from which the next knows what may have happened.
"""

from __future__ import annotations

from typing import Any

import msgspec

from xpukit import __version__
from xpukit.core.errors import CouldNotJudgeError
from xpukit.core.json_document import BAD_JSON, now_utc
from xpukit.install.change import Change, pack_change, unpack_change
from xpukit.install.handler import Entry, State
from xpukit.install.site import STATE_DIR, Site
from xpukit.install.work import fail_errno

JOURNAL = f"{STATE_DIR}/journal.jsonl"
FORMAT = "xpukit.install-journal/1"


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One apply or undo. `result` "" while it runs, and for ever when it was killed."""

    id: str
    mode: str
    stack: str
    begun: str
    result: str = ""


class JournalState(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal says. `in_force`: changes begun and not taken back, oldest first."""

    runs: tuple[RunRecord, ...] = ()
    in_force: tuple[Entry, ...] = ()
    stale: tuple[str, ...] = ()
    next_seq: int = 1
    damaged_lines: int = 0

    @property
    def interrupted(self) -> RunRecord | None:
        """The last run, when it never came to its end."""
        last = self.runs[-1] if self.runs else None
        return last if last is not None and not last.result else None

    @property
    def stack(self) -> str:
        """The stack last applied, "" when nothing is in force."""
        if not self.in_force:
            return ""
        return next((run.stack for run in reversed(self.runs) if run.mode == "apply"), "")


class Journal:
    """Reads and adds to the journal of a site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._path = site.locate(JOURNAL)
        self._run = ""
        self._seq = 0

    def load(self) -> JournalState:
        """What the journal says now. A line torn by a crash is counted and passed over. Raises CouldNotJudgeError."""
        return load_journal(self._site)

    def begin(self, mode: str, stack: str, detail: dict[str, Any] | None = None) -> str:
        """Open a run; its id."""
        state = self.load()
        self._seq = state.next_seq
        self._run = f"{now_utc().replace(':', '').replace('-', '')}-{len(state.runs) + 1}"
        self._add(
            {
                "event": "begin",
                "format": FORMAT,
                "run": self._run,
                "mode": mode,
                "stack": stack,
                "xpukit_version": __version__,
                **(detail or {}),
            }
        )
        return self._run

    def doing(self, step: str, change: Change, before: State, refreshes: tuple[str, ...]) -> Entry:
        """A change is about to begin; on the disk when this returns."""
        entry = Entry(seq=self._seq, run=self._run, step=step, change=change, before=before)
        self._seq += 1
        self._add(
            {
                "event": "doing",
                "seq": entry.seq,
                "run": self._run,
                "step": step,
                "change": pack_change(change),
                "before": before,
                "refreshes": list(refreshes),
            }
        )
        return entry

    def done(self, entry: Entry, after: State) -> None:
        """A change was made and seen."""
        self._add({"event": "done", "seq": entry.seq, "after": after})

    def undoing(self, entry: Entry, refreshes: tuple[str, ...]) -> None:
        self._add({"event": "undoing", "seq": entry.seq, "refreshes": list(refreshes)})

    def undone(self, entry: Entry) -> None:
        """A change was taken back and seen to be."""
        self._add({"event": "undone", "seq": entry.seq})

    def refreshed(self, name: str) -> None:
        self._add({"event": "refreshed", "name": name})

    def end(self, result: str) -> None:
        """Close the run: "done", "failed" or "interrupted"."""
        self._add({"event": "end", "run": self._run, "result": result})

    def _add(self, record: dict[str, Any]) -> None:
        data = msgspec.json.encode({**record, "at": now_utc()}) + b"\n"
        if error := self._site.changer.append_synced(self._path, data):
            raise fail_errno(f"{self._path}: the journal cannot be written, so nothing more is done", error)


def load_journal(site: Site) -> JournalState:
    """Read the journal of a site, also of a recorded one. Raises CouldNotJudgeError when it cannot be read."""
    answer = site.read(JOURNAL)
    if answer.error in ("ENOENT", "ENOTDIR", "UNRECORDED"):
        return JournalState()
    if answer.error:
        raise CouldNotJudgeError(
            f"{JOURNAL}: cannot be read: {answer.error}", hint="the journal belongs to root: run as root"
        )
    return read_journal(answer.data)


def read_journal(data: bytes) -> JournalState:
    """What journal lines say. Never raises: damaged lines are counted."""
    runs: dict[str, RunRecord] = {}
    entries: dict[int, Entry] = {}
    stale: dict[str, None] = {}
    damaged = 0
    highest = 0
    for line in data.splitlines():
        if not line.strip():
            continue
        try:
            record = msgspec.json.decode(line)
            event = record["event"]
            if event == "begin":
                runs[record["run"]] = RunRecord(
                    id=record["run"], mode=record["mode"], stack=record["stack"], begun=record["at"]
                )
            elif event == "end":
                runs[record["run"]] = msgspec.structs.replace(runs[record["run"]], result=record["result"])
            elif event == "doing":
                highest = max(highest, record["seq"])
                entries[record["seq"]] = Entry(
                    seq=record["seq"],
                    run=record["run"],
                    step=record["step"],
                    change=unpack_change(record["change"]),
                    before=record["before"],
                )
                stale.update(dict.fromkeys(record["refreshes"]))
            elif event == "done":
                entries[record["seq"]] = msgspec.structs.replace(entries[record["seq"]], after=record["after"])
            elif event == "undoing":
                stale.update(dict.fromkeys(record["refreshes"]))
            elif event == "undone":
                entries.pop(record["seq"], None)
            elif event == "refreshed":
                stale.pop(record["name"], None)
        except (KeyError, TypeError, AttributeError, *BAD_JSON):
            damaged += 1
    return JournalState(
        runs=tuple(runs.values()),
        in_force=tuple(entries[seq] for seq in sorted(entries)),
        stale=tuple(stale),
        next_seq=highest + 1,
        damaged_lines=damaged,
    )
