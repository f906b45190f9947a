"""Files: written whole, the content before kept, put back as they were."""

from __future__ import annotations

from xpukit.core.errors import ExternalError
from xpukit.install.backups import fetch_content, keep_content, keep_first, make_directories
from xpukit.install.change import Change, FileChange, hash_bytes
from xpukit.install.handler import Entry, Handler, Position, State
from xpukit.install.site import Site
from xpukit.install.work import Work, fail_errno

_ABSENT = ("ENOENT", "ENOTDIR")


def _read_state(site: Site, path: str) -> tuple[State, bytes]:
    answer = site.read(path)
    if answer.error in _ABSENT:
        return {"kind": "absent"}, b""
    if answer.error or answer.truncated:
        raise ExternalError(
            f"{path}: cannot be read: {answer.error or 'too large'}", hint="nothing is changed that cannot be put back"
        )
    stat = site.stat(path)
    state = {"kind": "file", "sha256": hash_bytes(answer.data), "mode": stat.mode, "uid": stat.uid, "gid": stat.gid}
    return state, answer.data


def observe_file(site: Site, change: Change) -> State:
    """What is there now."""
    assert isinstance(change, FileChange)
    return _read_state(site, change.path)[0]


def capture_file(work: Work, change: Change) -> State:
    """What is there now, its content kept; and which parent directories are missing."""
    assert isinstance(change, FileChange)
    state, data = _read_state(work.site, change.path)
    if state["kind"] == "file":
        keep_content(work.site, data)
        keep_first(work.site, change.path, data)
    missing = []
    parent = change.path.rsplit("/", 1)[0]
    while parent and not work.site.exists(parent):
        missing.append(parent)
        parent = parent.rsplit("/", 1)[0]
    return {**state, "missing_directories": missing}


def do_file(work: Work, change: Change) -> None:
    """Write or remove."""
    assert isinstance(change, FileChange)
    site = work.site
    if not change.sha256:
        _remove(site, change.path)
        return
    data = change.content
    if data is None:
        answer = site.read(change.copy_from)
        if answer.error:
            raise ExternalError(f"{change.copy_from}: cannot be read: {answer.error}", hint="check the source")
        data = answer.data
    if hash_bytes(data) != change.sha256:
        raise ExternalError(
            f"{change.copy_from or change.path}: the content has another hash than it must have",
            hint="get the file again from where it came; nothing was written",
        )
    make_directories(site, change.path.rsplit("/", 1)[0])
    old = site.stat(change.path)
    mode = change.mode if change.mode is not None else (0o644 if old.error else old.mode)
    uid, gid = (0, 0) if old.error else (old.uid, old.gid)
    _write(site, change.path, data, mode=mode, uid=uid, gid=gid)
    work.note(f"wrote {change.path} ({len(data)} bytes, sha256 {change.sha256})")


def undo_file(work: Work, entry: Entry) -> None:
    """Put back content, mode and owner; directories that were made for it go when they are empty."""
    change = entry.change
    assert isinstance(change, FileChange)
    site, before = work.site, entry.before
    if before["kind"] == "file":
        data = fetch_content(site, before["sha256"])
        make_directories(site, change.path.rsplit("/", 1)[0])
        _write(site, change.path, data, mode=before["mode"], uid=before["uid"], gid=before["gid"])
        work.note(f"put back {change.path}")
        return
    _remove(site, change.path)
    work.note(f"removed {change.path}")
    for directory in before.get("missing_directories", ()):
        site.changer.remove_directory(site.locate(directory))


def locate_file(site: Site, entry: Entry) -> Position:
    """By content and mode; the owner alone is no reason to call it changed."""
    change = entry.change
    assert isinstance(change, FileChange)
    now = _read_state(site, change.path)[0]
    as_before = _key(now) == _key(entry.before)
    done = entry.after is not None
    as_after = _key(now) == _key(entry.after or {}) if done else now.get("sha256", "") == change.sha256
    if as_before:
        return Position(standing="both" if as_after else "before")
    if as_after:
        return Position(standing="after")
    found = "it is gone" if now["kind"] == "absent" else "its content or mode is another"
    return Position(standing="drifted", note=f"{change.path}: changed since by someone else: {found}")


def _key(state: State) -> tuple[object, ...]:
    return (state.get("kind"), state.get("sha256"), state.get("mode"))


def describe_file(change: Change) -> str:
    assert isinstance(change, FileChange)
    return f"{'write' if change.sha256 else 'remove'} {change.path}"


def name_file(change: Change) -> tuple[str, ...]:
    assert isinstance(change, FileChange)
    return (change.path,)


def _write(site: Site, path: str, data: bytes, *, mode: int, uid: int, gid: int) -> None:
    if error := site.changer.write_file(_resolve(site, path), data, mode=mode, uid=uid, gid=gid):
        raise fail_errno(f"{path}: cannot be written", error)


def _remove(site: Site, path: str) -> None:
    if error := site.changer.remove_file(site.locate(path, follow=False)):
        raise fail_errno(f"{path}: cannot be removed", error)


def _resolve(site: Site, path: str) -> str:
    """A link stays a link: what it leads to is written."""
    located = site.locate(path)
    if site.is_whole:
        answer = site.host.resolve(located)
        return located if answer.error else answer.target
    return located


HANDLER = Handler(
    kind="file",
    capture=capture_file,
    observe=observe_file,
    do=do_file,
    undo=undo_file,
    locate=locate_file,
    describe=describe_file,
    subjects=name_file,
)
