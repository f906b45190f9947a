"""Bundles made in a test, without gpg: a signature is the data's own hash under the key, and a host that checks that."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.unit.install.step_case import TreeHost
from xpukit.host.answers import FoundAnswer, Ran
from xpukit.install.bundle.manifest import (
    HEAD_FILES,
    KEY,
    MANIFEST,
    SCHEMA,
    SIGNATURE,
    BundleTarget,
    Manifest,
    describe_file,
    encode_manifest,
)
from xpukit.install.bundle.openpgp import read_fingerprint

CONTENTS = {
    "Packages": b"Package: one\n",
    "Release": b"SHA256:\n",
    "InRelease": b"signed\n",
    "debs/one_1_amd64.deb": b"\x00\x01" * 4000,
    "wheels/two-1-py3-none-any.whl": b"PK" * 300,
}


def make_key(seed: bytes) -> bytes:
    """A public key packet of version 4, as far as its fingerprint needs it, and a user id."""
    body = b"\x04" + hashlib.sha256(seed).digest()
    name = b"made for a test"
    return bytes([0x98, len(body)]) + body + bytes([0xB4, len(name)]) + name


def sign(key: bytes, data: bytes) -> bytes:
    return hashlib.sha256(key + data).digest()


class VerifyingHost(TreeHost):
    """Has gpgv (and, where asked, only sqv), which takes the signatures of `sign`."""

    def __init__(self, commands: Any = None, *, tools: Sequence[str] = ("gpgv",)) -> None:
        super().__init__(commands or {})
        self.tools = tuple(tools)

    def which(self, name: str) -> FoundAnswer:
        return FoundAnswer(value=f"/usr/bin/{name}" if name in self.tools else None)

    def run(self, argv: Sequence[str], **settings: Any) -> Ran:
        if argv[0] not in ("gpgv", "sqv"):
            return super().run(argv, **settings)
        self.ran.append(tuple(argv))
        keyring, signature, data = (Path(word).read_bytes() for word in (argv[argv.index("--keyring") + 1], *argv[-2:]))
        good = sign(keyring, data) == signature
        return Ran(argv=tuple(argv), rc=0 if good else 1, err=b"" if good else b"gpgv: BAD signature")


class BundleCase:
    """A bundle's tree that can be spoiled, signed again and packed."""

    def __init__(self, place: Path, *, seed: bytes = b"maker", created: str = "2026-11-21T10:00:00Z") -> None:
        self.place = place
        self.tree = place / "tree"
        self.key = make_key(seed)
        self.created = created
        self.fingerprint = read_fingerprint(self.key)[0]
        for path, data in CONTENTS.items():
            (self.tree / path).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / path).write_bytes(data)
        self.sign()

    def sign(self, **changes: Any) -> None:
        paths = sorted(str(path.relative_to(self.tree)) for path in self.tree.rglob("*") if path.is_file())
        files = [describe_file(self.tree, path, "deb") for path in paths if path not in HEAD_FILES]
        values: dict[str, Any] = {
            "schema": SCHEMA,
            "xpukit_version": "1",
            "stack": "container",
            "created": self.created,
            "target": BundleTarget(described="here", distribution="debian", release="12"),
            "pins": {"one": "1"},
            "files": tuple(files),
            **changes,
        }
        self.sign_data(encode_manifest(Manifest(**values)))

    def sign_data(self, data: bytes) -> None:
        (self.tree / MANIFEST).write_bytes(data)
        (self.tree / SIGNATURE).write_bytes(sign(self.key, data))
        (self.tree / KEY).write_bytes(self.key)

    def pack(self, name: str = "bundle.tar", order: Sequence[str] | None = None) -> Path:
        names = [head for head in HEAD_FILES if (self.tree / head).exists()]
        names += sorted(str(path.relative_to(self.tree)) for path in self.tree.rglob("*") if not path.is_dir())
        with tarfile.open(self.place / name, "w", format=tarfile.GNU_FORMAT) as archive:
            for path in order or dict.fromkeys(names):
                archive.add(self.tree / path, arcname=path, recursive=False)
        return self.place / name
