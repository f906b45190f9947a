"""`lock.toml`: every file, wheel and base image of an offline build with its SHA-256, and the check against it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import BadFactsError, UsageError
from xpukit.core.toml import load_toml
from xpukit.images.build import Rendered
from xpukit.images.context import hash_file

SCHEMA = "xpukit.lock/1"
LOCK_FILE = "lock.toml"
FILES_DIR = "files"
WHEELS_DIR = "wheels"
DEBS_DIR = "debs"
BASE_FILE = "base.tar"


class LockItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that a build needs. `file` is relative to the lock; a base image has none, and its `sha256` is the id
    that the daemon gave it ("" where no daemon was asked); the image itself is the item of kind "image". "index" is the
    list of the Debian packages, which apt reads. `date` is when it was fetched.
    """

    kind: Literal["file", "wheel", "deb", "index", "image", "base"]
    name: str
    url: str = ""
    file: str = ""
    sha256: str = ""
    size_bytes: int = 0
    date: str = ""


class Lock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was fetched for one recipe. `wheels` are the requirements that the wheels answer, `apt_packages` those of
    the Debian packages; `apt_absent` are those among them that could not be had: they come from --apt-repo.
    """

    schema: str = SCHEMA
    recipe: str
    created: str
    wheels: tuple[str, ...] = ()
    apt_packages: tuple[str, ...] = ()
    apt_absent: tuple[str, ...] = ()
    item: tuple[LockItem, ...] = ()

    def of_kind(self, kind: str) -> tuple[LockItem, ...]:
        return tuple(item for item in self.item if item.kind == kind)


def write_lock(path: Path, lock: Lock) -> None:
    """Write the lock. Raises OutputError."""
    lines = [
        "# Made by `xpukit build-image --fetch`; `--lock` builds only from what is named here.",
        f"schema = {_quote(lock.schema)}",
        f"recipe = {_quote(lock.recipe)}",
        f"created = {_quote(lock.created)}",
        f"wheels = [{', '.join(map(_quote, lock.wheels))}]",
        f"apt_packages = [{', '.join(map(_quote, lock.apt_packages))}]",
        f"apt_absent = [{', '.join(map(_quote, lock.apt_absent))}]",
    ]
    for item in lock.item:
        lines += ["", "[[item]]"]
        for name, value in msgspec.to_builtins(item).items():
            if value or name in ("kind", "name"):
                lines.append(f"{name} = {value if isinstance(value, int) else _quote(value)}")
    write_atomic(path, ("\n".join(lines) + "\n").encode())


def load_lock(path: Path) -> Lock:
    """Read a lock. Raises BadFactsError."""
    raw = load_toml(path)
    if raw.get("schema") != SCHEMA:
        raise BadFactsError(f"{path}: schema is {raw.get('schema')!r}, not {SCHEMA!r}")
    try:
        return msgspec.convert(raw, Lock)
    except msgspec.ValidationError as err:
        raise BadFactsError(f"{path}: {err}", hint="make it again with --fetch") from err


def check_files(lock: Lock, folder: Path) -> None:
    """Compare every file beside the lock with it. Raises UsageError that names those changed or missing."""
    wrong = []
    for item in lock.item:
        if not item.file:
            continue
        path = folder / item.file
        if not path.is_file():
            wrong.append(f"{item.file} is missing")
        elif hash_file(path)[0] != item.sha256:
            wrong.append(f"{item.file} was changed (its SHA-256 is not that of the lock)")
    if wrong:
        raise UsageError(
            f"{folder}: does not match its lock: {'; '.join(wrong)}",
            hint="fetch again with --fetch into the same folder: what is whole is kept",
        )


def check_covers(lock: Lock, rendered: Rendered, *, own_apt_repo: bool = False) -> None:
    """Whether the lock was made for this recipe with these packages. Raises UsageError that names what it lacks.

    With `own_apt_repo` the Debian packages come from elsewhere.
    """
    if lock.recipe != rendered.recipe:
        raise UsageError(f"the lock is for recipe {lock.recipe}, not {rendered.recipe}", hint="name its own lock")
    names = {item.name for item in lock.item}
    lacking = [*sorted(set(rendered.wheels) - set(lock.wheels)), *sorted(set(rendered.downloads) - names)]
    if rendered.base_image and rendered.base_image not in names:
        lacking.append(f"base image {rendered.base_image}")
    if not own_apt_repo:
        lacking += sorted(set(rendered.apt_packages) - set(lock.apt_packages))
    if lacking:
        raise UsageError(f"the lock does not cover: {', '.join(lacking)}", hint="fetch again with the same settings")
    absent = () if own_apt_repo else sorted(set(rendered.apt_packages) & set(lock.apt_absent))
    if absent:
        raise UsageError(
            f"the lock names Debian packages that were not fetched: {', '.join(absent)}",
            hint="name a repository that has all Debian packages of the recipe: --apt-repo DIR|URL",
        )


def check_base(lock: Lock, base_image: str, image_id: str, *, folder: Path = Path()) -> None:
    """Whether this host's base image is the locked one; a lock without an id holds nothing to compare with."""
    saved = next((f"docker load -i {folder / item.file}" for item in lock.of_kind("image")), "")
    for item in lock.of_kind("base"):
        if item.name != base_image or not item.sha256 or item.sha256 == image_id:
            continue
        if not image_id:
            raise UsageError(
                f"base image {base_image} is not on this host", hint=saved or "load the one that was locked"
            )
        raise UsageError(
            f"base image {base_image} was changed: its id is {image_id}, in the lock {item.sha256}",
            hint=saved or "load the image that was locked, or fetch again",
        )


def find_debs(lock: Lock, folder: Path) -> Path | None:
    """The repository of the fetched Debian packages; None where none was made."""
    return folder / DEBS_DIR if lock.of_kind("index") and not lock.apt_absent else None


def hashes_of(lock: Lock) -> dict[str, str]:
    """Checksums of the recipe's files by name."""
    return {item.name: item.sha256 for item in lock.of_kind("file")}


def wheel_names(lock: Lock) -> tuple[str, ...]:
    """File names of the wheels."""
    return tuple(Path(item.file).name for item in lock.of_kind("wheel"))


def _quote(text: str) -> str:
    # A JSON string is a TOML basic string, but for DEL and for characters beyond \uFFFF written as two escapes.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def sort_items(items: Sequence[LockItem]) -> tuple[LockItem, ...]:
    """Items in the order in which a lock is written."""
    return tuple(sorted(items, key=lambda item: (item.kind, item.name, item.file)))
