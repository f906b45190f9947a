"""System groups."""

from __future__ import annotations

from xpukit.install.accounts import read_groups, read_shadow_groups
from xpukit.install.change import Change, GroupChange, MemberChange
from xpukit.install.handler import Entry, Handler, Position, State
from xpukit.install.journal import load_journal
from xpukit.install.site import Site
from xpukit.install.work import Work


def observe_group(site: Site, change: Change) -> State:
    assert isinstance(change, GroupChange)
    found = read_groups(site).get(change.group)
    return {"gid": None if found is None else found.gid}


def capture_group(work: Work, change: Change) -> State:
    return observe_group(work.site, change)


def do_group(work: Work, change: Change) -> None:
    assert isinstance(change, GroupChange)
    if change.group not in read_groups(work.site):
        work.must_with_lock(("groupadd", "--system", change.group), timeout_s=60)


def undo_group(work: Work, entry: Entry) -> None:
    assert isinstance(entry.change, GroupChange)
    group = entry.change.group
    if entry.before["gid"] is not None:
        return
    if group not in read_groups(work.site):
        if group not in read_shadow_groups(work.site):
            return
        # What a killed groupdel left in /etc/gshadow goes with the group only.
        work.must_with_lock(("groupadd", "--system", group), timeout_s=60)
    work.must_with_lock(("groupdel", group), timeout_s=60)


def locate_group(site: Site, entry: Entry) -> Position:
    gid = observe_group(site, entry.change)["gid"]
    if entry.before["gid"] is not None:
        return Position(standing="both")
    assert isinstance(entry.change, GroupChange)
    if gid is None and entry.change.group in read_shadow_groups(site):
        return Position(standing="after", note=f"{name_group(entry.change)[0]} is left in /etc/gshadow only")
    if gid is None:
        note = "" if entry.after is None else f"{name_group(entry.change)[0]} is gone"
        return Position(standing="before", note=note)
    return Position(standing="after")


def find_members(work: Work, entry: Entry) -> tuple[str, ...]:
    """Members that are left when ours are taken out: someone put them in."""
    assert isinstance(entry.change, GroupChange)
    group = entry.change.group
    found = read_groups(work.site).get(group)
    if entry.before["gid"] is not None or found is None:
        return ()
    changes = [other.change for other in load_journal(work.site).in_force]
    ours = {change.user for change in changes if isinstance(change, MemberChange) and change.group == group}
    left = [name for name in found.members if name not in ours]
    return (f"group {group} has members: {', '.join(left)}",) if left else ()


def describe_group(change: Change) -> str:
    assert isinstance(change, GroupChange)
    return f"add system group {change.group}"


def name_group(change: Change) -> tuple[str, ...]:
    assert isinstance(change, GroupChange)
    return (f"group {change.group}",)


HANDLER = Handler(
    kind="group",
    capture=capture_group,
    observe=observe_group,
    do=do_group,
    undo=undo_group,
    locate=locate_group,
    describe=describe_group,
    subjects=name_group,
    hindrances=find_members,
)
