"""apt's lists of the source that the repository step added: read anew, and removed again."""

from __future__ import annotations

from xpukit.core.errors import ExternalError
from xpukit.install.apt_locks import wait_for_apt
from xpukit.install.apt_sources import LISTS, only_options
from xpukit.install.apt_view import STRICT, UPDATE_LIMIT_S
from xpukit.install.change import Change, ListsChange
from xpukit.install.handler import Entry, Handler, Position, State
from xpukit.install.site import Site
from xpukit.install.work import Work, describe_failure


def observe_lists(site: Site, change: Change) -> State:
    """The names of all lists."""
    names = site.list(LISTS).names
    return {
        "lists": [name for name in names if name not in ("lock", "partial", "auxfiles")],
        "auxfiles": "auxfiles" in names,
    }


def capture_lists(work: Work, change: Change) -> State:
    return observe_lists(work.site, change)


def do_lists(work: Work, change: Change) -> None:
    """`apt-get update` of one file of sources; the lists of the others stay."""
    assert isinstance(change, ListsChange)
    wait_for_apt(work)
    options = (*only_options(change.source_file), "-o", "APT::Get::List-Cleanup=0", *STRICT)
    ran = work.run(("apt-get", "-q", *options, "update"), timeout_s=UPDATE_LIMIT_S)
    if not ran.ok or any(line.startswith("E:") for line in ran.err_text.splitlines()):
        raise ExternalError(describe_failure(ran), hint="put the source right, then run the same command again")


def undo_lists(work: Work, entry: Entry) -> None:
    """Remove the lists that came, and apt's caches, which hold them."""
    before, after = set(entry.before["lists"]), (entry.after or observe_lists(work.site, entry.change))["lists"]
    came = set(after) - before
    for name in sorted(came):
        work.site.changer.remove_file(work.site.locate(f"{LISTS}/{name}", follow=False))
    if not entry.before["auxfiles"]:
        work.site.changer.remove_directory(work.site.locate(f"{LISTS}/auxfiles"))
    for cache in ("pkgcache.bin", "srcpkgcache.bin"):
        work.site.changer.remove_file(work.site.locate(f"/var/cache/apt/{cache}"))


def locate_lists(site: Site, entry: Entry) -> Position:
    """Lists are apt's own to renew: they never count as changed by someone."""
    there = set(observe_lists(site, entry.change)["lists"])
    came = set((entry.after or {}).get("lists", there)) - set(entry.before["lists"])
    if entry.after is not None and not came:
        return Position(standing="both")
    return Position(standing="after" if came & there else "before")


def describe_lists(change: Change) -> str:
    assert isinstance(change, ListsChange)
    return f"read the lists of {change.source_file}"


def name_lists(change: Change) -> tuple[str, ...]:
    assert isinstance(change, ListsChange)
    return (f"lists {change.source_file}",)


HANDLER = Handler(
    kind="lists",
    capture=capture_lists,
    observe=observe_lists,
    do=do_lists,
    undo=undo_lists,
    locate=locate_lists,
    describe=describe_lists,
    subjects=name_lists,
)
