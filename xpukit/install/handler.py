"""The shape of a handler: how one kind of change is done, seen to be done, and taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from xpukit.install.change import Change
from xpukit.install.site import Site
from xpukit.install.work import Work

State = dict[str, Any]
Standing = Literal["before", "after", "both", "drifted"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A change in the journal. `after` None: the run ended before it was seen to be done."""

    seq: int
    run: str
    step: str
    change: Change
    before: State
    after: State | None = None


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where the machine stands towards an entry: as before it, as after it, both (it was no change), or elsewhere."""

    standing: Standing
    note: str = ""


class Handler(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of change.

    `capture` notes what is there and keeps what an undo needs; it runs before the journal says that the change begins,
    and again (`observe`) when it is done. `do` and `undo` may be cut short anywhere and are then run again: they start
    from what they find. `undo` brings back `entry.before`, whether the change was made wholly, partly or not at all.
    `locate` says where the machine stands towards an entry. All raise ExternalError for what went wrong.
    """

    kind: str
    capture: Callable[[Work, Change], State]
    observe: Callable[[Site, Change], State]
    do: Callable[[Work, Change], None]
    undo: Callable[[Work, Entry], None]
    locate: Callable[[Site, Entry], Position]
    describe: Callable[[Change], str]
    # What the change is about (paths, packages): a later entry about the same hides an earlier one.
    subjects: Callable[[Change], tuple[str, ...]]
    # What stands in the way of taking an entry back, in words: someone else came to rely on it.
    hindrances: Callable[[Work, Entry], tuple[str, ...]] | None = None
    # Put right what a run that was killed in the middle of such a change left behind; done before anything else.
    recover: Callable[[Work], None] | None = None
