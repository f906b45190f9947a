"""`manifest.json` of a bundle: every file with size, SHA-256 and where it came from. Its signature covers them all."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Literal

import msgspec

from xpukit.core.errors import OutputError
from xpukit.core.json_document import BAD_JSON, encode_json

SCHEMA = "xpukit.install-bundle/1"
MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"
KEY = "key.gpg"
# What is not in the manifest's list: the manifest itself, its signature, and the key that one is checked with.
HEAD_FILES = (MANIFEST, SIGNATURE, KEY)
DEBS_DIR = "debs"
WHEELS_DIR = "wheels"
FIRMWARE_DIR = "firmware"
IMAGES_DIR = "images"
TOOLS_DIR = "tools"
STACK_FILE = "stack.toml"

Kind = Literal["deb", "index", "wheel", "firmware", "tool", "image", "stack"]
_CHUNK_BYTES = 1 << 20
_SAFE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9.+~_@%=,-]*")
_MAX_PATH = 240


class BundleFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file. `name` and `version` are the package's; `origin` the address or path it came from, `date` when, UTC."""

    path: str
    kind: Kind
    size_bytes: int
    sha256: str
    name: str = ""
    version: str = ""
    origin: str = ""
    date: str = ""


class BundleTarget(msgspec.Struct, frozen=True, kw_only=True):
    """The machine that a bundle was resolved for.

    `packages_known` False: only part of its packages was known (a support bundle), so more was packed than it may need.
    `python_version` is the "3.11" that the wheels are for.
    """

    described: str
    distribution: str = ""
    release: str = ""
    architecture: str = "amd64"
    packages_known: bool = True
    python_version: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says of itself.

    `pins` are the versions of the stack's own packages, `absent` what no source had.
    """

    schema: str
    xpukit_version: str
    stack: str
    created: str
    target: BundleTarget
    pins: dict[str, str] = {}
    options: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    files: tuple[BundleFile, ...] = ()

    @property
    def size_bytes(self) -> int:
        """All listed files together."""
        return sum(file.size_bytes for file in self.files)

    def of_kind(self, kind: Kind) -> tuple[BundleFile, ...]:
        return tuple(file for file in self.files if file.kind == kind)


def encode_manifest(manifest: Manifest) -> bytes:
    """As it is signed: indented JSON, files in the order of their paths."""
    ordered = tuple(sorted(manifest.files, key=lambda file: file.path))
    return encode_json(msgspec.structs.replace(manifest, files=ordered)).encode()


def decode_manifest(data: bytes) -> tuple[Manifest | None, str]:
    """The manifest, or None and what is wrong with it."""
    try:
        raw: Any = msgspec.json.decode(data)
        schema = raw.get("schema") if isinstance(raw, dict) else None
        if schema != SCHEMA:
            return None, f"{MANIFEST}: schema is {schema!r}, not {SCHEMA!r}"
        manifest = msgspec.convert(raw, Manifest)
    except BAD_JSON as err:
        return None, f"{MANIFEST}: {err}"
    seen: set[str] = set()
    for file in manifest.files:
        if not is_safe_path(file.path) or file.path in HEAD_FILES:
            return None, f"{MANIFEST}: names {file.path!r}, which no bundle may hold"
        if file.path in seen:
            return None, f"{MANIFEST}: names {file.path} twice"
        seen.add(file.path)
    return manifest, ""


def is_safe_path(path: str) -> bool:
    """Whether a path is relative, goes nowhere else and has plain characters only."""
    parts = path.split("/")
    return len(path) <= _MAX_PATH and all(_SAFE_PART.fullmatch(part) and part not in (".", "..") for part in parts)


def hash_file(path: Path) -> tuple[str, int]:
    """SHA-256 in hex and size in bytes of a file of ours. Raises OutputError when it cannot be read."""
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
    except OSError as err:
        raise OutputError(f"{path}: cannot be read: {err.strerror or err}", hint="check the path") from err
    return digest.hexdigest(), size


def describe_file(
    tree: Path, path: str, kind: Kind, *, name: str = "", version: str = "", origin: str = "", date: str = ""
) -> BundleFile:
    """A line of the manifest for a file under `tree`, hashed now."""
    digest, size = hash_file(tree / path)
    return BundleFile(
        path=path, kind=kind, size_bytes=size, sha256=digest, name=name, version=version, origin=origin, date=date
    )
