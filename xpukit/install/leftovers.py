"""What packages' own scripts leave when they are purged: groups, and files that no package owns.

Taken back only where the journal says that it came with the packages, and where nothing uses it: a group without
members, users and files; a file whose content is still what came.
"""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.facts.leftovers import load_leftovers
from xpukit.install.accounts import read_accounts, read_groups
from xpukit.install.change import hash_bytes
from xpukit.install.handler import Entry, State
from xpukit.install.site import Site
from xpukit.install.work import Work

# File systems of the machine's own: a group's number means nothing on those that it shares with others.
_LOCAL = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "reiserfs", "nilfs2")
_LOOK_LIMIT_S = 300.0


def observe_leftovers(site: Site, packages: Iterable[str]) -> State:
    """Groups with their numbers, and the hash of each file that these packages may write ("" for none)."""
    names = set(packages)
    paths = [row.path for row in load_leftovers().files if row.package in names]
    answers = {path: site.read(path) for path in paths}
    return {
        "group_ids": {name: group.gid for name, group in sorted(read_groups(site).items())},
        "left_files": {
            path: "" if answer.error else hash_bytes(answer.data)
            for path, answer in answers.items()
            if answer.error in ("", "ENOENT") and not answer.truncated
        },
    }


def remove_leftovers(work: Work, entry: Entry) -> None:
    """What came with the packages of an entry and was left goes, unless it is used; what stays is said."""
    before, after = entry.before, entry.after or {}
    for path, digest in after.get("left_files", {}).items():
        if digest and before.get("left_files", {}).get(path) == "":
            _remove_file(work, path, digest)
    groups, came = read_groups(work.site), after.get("group_ids", {})
    known = before.get("group_ids", before.get("groups"))
    for name in sorted(set(came) - set(known)) if known is not None else ():
        if name in groups and groups[name].gid == came[name]:
            _remove_group(work, name)


def _remove_file(work: Work, path: str, digest: str) -> None:
    answer = work.site.read(path)
    if answer.error == "ENOENT":
        return
    if answer.error or hash_bytes(answer.data) != digest:
        work.say(f"{path} came with a package and was changed since: it stays")
        return
    work.site.changer.remove_file(work.site.locate(path, follow=False))
    work.note(f"removed {path}, which came with a package")


def _remove_group(work: Work, name: str) -> None:
    why = _explain_use(work, name)
    if not why and not work.run(("groupdel", name), timeout_s=60).ok:
        why = "groupdel refuses"
    if why:
        work.say(f"a package's own script made the group {name}: it stays, because {why} (groupdel {name} removes it)")


def _explain_use(work: Work, name: str) -> str:
    """Why a group may be in use, "" where it is not."""
    group = read_groups(work.site)[name]
    users = sorted(account.name for account in read_accounts(work.site).values() if account.gid == group.gid)
    if used_by := [*group.members, *users]:
        return f"it has {', '.join(used_by)}"
    ran = work.run(
        ("find", *_list_places(work.site), "-xdev", "-gid", str(group.gid), "-print", "-quit"), timeout_s=_LOOK_LIMIT_S
    )
    if found := ran.text.splitlines():
        return f"{found[0]} belongs to it"
    return f"it is not known whether files belong to it ({ran.failure})" if ran.failure else ""


def _list_places(site: Site) -> tuple[str, ...]:
    """Where the machine's own files lie."""
    if not site.is_whole:
        return ("/",)
    mounts = [line.split() for line in site.read("/proc/mounts").text.splitlines()]
    # Blanks in a path are written as \040.
    local = [words[1].encode().decode("unicode_escape") for words in mounts if len(words) > 2 and words[2] in _LOCAL]
    return tuple(dict.fromkeys(("/", *local)))
