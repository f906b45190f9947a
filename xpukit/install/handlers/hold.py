"""Packages held with apt-mark."""

from __future__ import annotations

from xpukit.install.apt_locks import wait_for_apt
from xpukit.install.apt_view import read_packages
from xpukit.install.change import Change, HoldChange
from xpukit.install.handler import Entry, Handler, Position, State
from xpukit.install.site import Site
from xpukit.install.work import Work


def observe_hold(site: Site, change: Change) -> State:
    assert isinstance(change, HoldChange)
    return {"held": any(state.name == change.package and state.held for state in read_packages(site).values())}


def capture_hold(work: Work, change: Change) -> State:
    return observe_hold(work.site, change)


def do_hold(work: Work, change: Change) -> None:
    assert isinstance(change, HoldChange)
    wait_for_apt(work)
    work.must(("apt-mark", "hold", change.package), timeout_s=60)


def undo_hold(work: Work, entry: Entry) -> None:
    assert isinstance(entry.change, HoldChange)
    if not entry.before["held"]:
        wait_for_apt(work)
        work.must(("apt-mark", "unhold", entry.change.package), timeout_s=60)


def locate_hold(site: Site, entry: Entry) -> Position:
    """A hold that somebody lifted is no reason to refuse an undo."""
    held = observe_hold(site, entry.change)["held"]
    if entry.before["held"]:
        return Position(standing="both")
    note = "" if held or entry.after is None else f"{name_hold(entry.change)[0]} was lifted"
    return Position(standing="after" if held else "before", note=note)


def describe_hold(change: Change) -> str:
    assert isinstance(change, HoldChange)
    return f"hold package {change.package}"


def name_hold(change: Change) -> tuple[str, ...]:
    assert isinstance(change, HoldChange)
    return (f"hold of {change.package}",)


HANDLER = Handler(
    kind="hold",
    capture=capture_hold,
    observe=observe_hold,
    do=do_hold,
    undo=undo_hold,
    locate=locate_hold,
    describe=describe_hold,
    subjects=name_hold,
)
