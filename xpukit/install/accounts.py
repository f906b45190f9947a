"""Groups and users as the machine's own files name them. Directory services are not asked."""

from __future__ import annotations

import msgspec

from xpukit.install.site import Site


class Group(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    gid: int
    members: tuple[str, ...] = ()


class Account(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    uid: int
    gid: int


def read_groups(site: Site) -> dict[str, Group]:
    """/etc/group by name; lines that are none are passed over."""
    found = {}
    for line in site.read("/etc/group").text.splitlines():
        fields = line.split(":")
        if len(fields) >= 4 and fields[2].isdigit():
            members = tuple(name for name in fields[3].split(",") if name)
            found[fields[0]] = Group(name=fields[0], gid=int(fields[2]), members=members)
    return found


def read_shadow_groups(site: Site) -> dict[str, tuple[str, ...]]:
    """Members by group as /etc/gshadow has them; {} where it cannot be read (it takes root) or is not there.

    Shadow's tools write /etc/group first: one that was killed leaves a group or a member in /etc/gshadow only.
    """
    lines = [line.split(":") for line in site.read("/etc/gshadow").text.splitlines()]
    return {fields[0]: tuple(name for name in fields[3].split(",") if name) for fields in lines if len(fields) >= 4}


def read_accounts(site: Site) -> dict[str, Account]:
    """/etc/passwd by name."""
    found = {}
    for line in site.read("/etc/passwd").text.splitlines():
        fields = line.split(":")
        if len(fields) >= 7 and fields[2].isdigit() and fields[3].isdigit():
            found[fields[0]] = Account(name=fields[0], uid=int(fields[2]), gid=int(fields[3]))
    return found


def is_member(site: Site, user: str, group: str) -> bool:
    """Whether a user is in a group, as a member or by the user's own group."""
    entry = read_groups(site).get(group)
    if entry is None:
        return False
    account = read_accounts(site).get(user)
    return user in entry.members or (account is not None and account.gid == entry.gid)
