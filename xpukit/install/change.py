"""Changes: what a step wants done, as plain values. A handler of the same kind does them and takes them back."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec


class FileChange(msgspec.Struct, frozen=True, kw_only=True, tag="file"):
    """A file that shall have this content; `sha256` "" for one that shall be gone.

    The content comes along (`content`) or lies on the machine (`copy_from`, checked against `sha256` before and after).
    `mode` None keeps the mode of the file that is there (0644 for a new one).
    """

    path: str
    why: str
    sha256: str = ""
    content: bytes | None = None
    copy_from: str = ""
    mode: int | None = None


class PackageAction(msgspec.Struct, frozen=True, kw_only=True):
    """One package that comes or changes. `before` "" when it is not installed, `origin` as apt names it."""

    name: str
    architecture: str
    before: str
    after: str
    origin: str = ""
    download_bytes: int | None = None
    asked_for: bool = False


class PackagesChange(msgspec.Struct, frozen=True, kw_only=True, tag="packages"):
    """Packages installed in one go: `request` are apt's words (name or name=version), `actions` what comes of them.

    `apt_options` select the sources (only the given one, on a machine without a network).
    """

    request: tuple[str, ...]
    actions: tuple[PackageAction, ...]
    apt_options: tuple[str, ...] = ()
    disk_bytes: int = 0


class ListsChange(msgspec.Struct, frozen=True, kw_only=True, tag="lists"):
    """apt's lists of one file of sources, read anew."""

    source_file: str
    why: str


class HoldChange(msgspec.Struct, frozen=True, kw_only=True, tag="hold"):
    """A package that apt shall leave as it is."""

    package: str
    why: str


class GroupChange(msgspec.Struct, frozen=True, kw_only=True, tag="group"):
    """A system group that shall exist."""

    group: str
    why: str


class MemberChange(msgspec.Struct, frozen=True, kw_only=True, tag="member"):
    """A user that shall be in a group."""

    user: str
    group: str
    why: str


ServiceWant = Literal["enabled", "disabled", "masked"]


class ServiceChange(msgspec.Struct, frozen=True, kw_only=True, tag="service"):
    """A systemd unit that shall be started at boot, not, or never."""

    unit: str
    want: ServiceWant
    why: str


Change = FileChange | PackagesChange | ListsChange | HoldChange | GroupChange | MemberChange | ServiceChange


def hash_bytes(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def make_file_change(path: str, content: bytes | str, why: str, *, mode: int | None = None) -> FileChange:
    """A change that writes `content`."""
    data = content.encode() if isinstance(content, str) else content
    return FileChange(path=path, why=why, sha256=hash_bytes(data), content=data, mode=mode)


def kind_of(change: Change) -> str:
    """The tag, which is also the handler's name."""
    tag = change.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


def pack_change(change: Change) -> dict[str, Any]:
    """As the journal keeps it: without a file's content, whose hash is enough to know it again."""
    if isinstance(change, FileChange):
        change = msgspec.structs.replace(change, content=None)
    packed: dict[str, Any] = msgspec.to_builtins(change)
    return packed


def unpack_change(packed: dict[str, Any]) -> Change:
    """The change of a journal line. Raises msgspec.ValidationError."""
    return msgspec.convert(packed, Change)  # type: ignore[no-any-return]
