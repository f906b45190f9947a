"""What files held before: every content by its hash, and the very first state of each path, kept for ever."""

from __future__ import annotations

from xpukit.core.errors import ExternalError
from xpukit.install.change import hash_bytes
from xpukit.install.site import STATE_DIR, Site
from xpukit.install.work import fail_errno

CONTENTS = f"{STATE_DIR}/backups/contents"
FIRST = f"{STATE_DIR}/backups/first"


def make_directories(site: Site, path: str) -> tuple[str, ...]:
    """Make a directory with its parents; those that were made, outermost first. Raises ExternalError."""
    made: list[str] = []
    wanted: list[str] = []
    current = path
    while current not in ("", "/") and not site.exists(current):
        wanted.append(current)
        current = current.rsplit("/", 1)[0]
    for directory in reversed(wanted):
        mode = 0o700 if directory.startswith(STATE_DIR) else 0o755
        error = site.changer.make_directory(site.locate(directory), mode=mode)
        if error and error != "EEXIST":
            raise fail_errno(f"{directory}: cannot be made", error)
        if not error:
            made.append(directory)
    return tuple(made)


def keep_content(site: Site, data: bytes) -> str:
    """Keep a content; its hash. Raises ExternalError."""
    digest = hash_bytes(data)
    path = f"{CONTENTS}/{digest}"
    if not site.exists(path):
        make_directories(site, CONTENTS)
        if error := site.changer.write_file(site.locate(path), data, mode=0o600):
            raise fail_errno(f"{path}: the backup cannot be written, so nothing is changed", error)
    return digest


def keep_first(site: Site, path: str, data: bytes) -> None:
    """Keep a file as it was before xpukit first touched it; a later state never replaces it. Raises ExternalError."""
    kept = f"{FIRST}{path}"
    if site.exists(kept):
        return
    make_directories(site, kept.rsplit("/", 1)[0])
    if error := site.changer.write_file(site.locate(kept), data, mode=0o600):
        raise fail_errno(f"{kept}: the backup cannot be written, so nothing is changed", error)


def fetch_content(site: Site, digest: str) -> bytes:
    """A kept content, its hash checked. Raises ExternalError."""
    path = f"{CONTENTS}/{digest}"
    answer = site.read(path)
    if answer.error:
        raise ExternalError(f"{path}: the backup cannot be read: {answer.error}", hint=f"see also {FIRST}")
    if hash_bytes(answer.data) != digest:
        raise ExternalError(f"{path}: the backup is damaged (its hash differs)", hint=f"see also {FIRST}")
    return answer.data
