"""Users in groups."""

from __future__ import annotations

from xpukit.install.accounts import is_member, read_groups, read_shadow_groups
from xpukit.install.change import Change, MemberChange
from xpukit.install.handler import Entry, Handler, Position, State
from xpukit.install.site import Site
from xpukit.install.work import Work


def observe_member(site: Site, change: Change) -> State:
    assert isinstance(change, MemberChange)
    return {"member": is_member(site, change.user, change.group)}


def capture_member(work: Work, change: Change) -> State:
    return observe_member(work.site, change)


def do_member(work: Work, change: Change) -> None:
    assert isinstance(change, MemberChange)
    if not is_member(work.site, change.user, change.group):
        work.must_with_lock(("gpasswd", "-a", change.user, change.group), timeout_s=60)


def undo_member(work: Work, entry: Entry) -> None:
    change = entry.change
    assert isinstance(change, MemberChange)
    found = read_groups(work.site).get(change.group)
    listed = found is not None and change.user in found.members
    if not entry.before["member"] and (listed or _is_left(work.site, change)):
        work.must_with_lock(("gpasswd", "-d", change.user, change.group), timeout_s=60)


def _is_left(site: Site, change: MemberChange) -> bool:
    """Whether an undo that was killed left the user in /etc/gshadow, in a group that is there."""
    return change.group in read_groups(site) and change.user in read_shadow_groups(site).get(change.group, ())


def locate_member(site: Site, entry: Entry) -> Position:
    assert isinstance(entry.change, MemberChange)
    member = observe_member(site, entry.change)["member"]
    if entry.before["member"]:
        return Position(standing="both")
    note = "" if member or entry.after is None else f"{name_member(entry.change)[0]}: no longer"
    return Position(standing="after" if member or _is_left(site, entry.change) else "before", note=note)


def describe_member(change: Change) -> str:
    assert isinstance(change, MemberChange)
    return f"put user {change.user} into group {change.group}"


def name_member(change: Change) -> tuple[str, ...]:
    assert isinstance(change, MemberChange)
    return (f"user {change.user} in group {change.group}",)


HANDLER = Handler(
    kind="member",
    capture=capture_member,
    observe=observe_member,
    do=do_member,
    undo=undo_member,
    locate=locate_member,
    describe=describe_member,
    subjects=name_member,
)
