"""Checking a bundle: first its signature, then every file against the signed manifest. Nothing is believed before."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from xpukit.core.errors import ExternalError, OutputError, UsageError
from xpukit.host.door import Host
from xpukit.install.bundle.archive import BrokenArchiveError, Member, read_archive, read_tree
from xpukit.install.bundle.manifest import HEAD_FILES, KEY, MANIFEST, SIGNATURE, Manifest, decode_manifest
from xpukit.install.bundle.openpgp import (
    check_signature,
    format_fingerprint,
    normalize_fingerprint,
    read_fingerprint,
)
from xpukit.install.bundle.parts import PartReader, find_files
from xpukit.install.bundle.refusal import RefusedBundleError

_HEAD_LIMIT_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 20


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """Whose signature counts: a fingerprint that came by another way than the bundle, and where it came from.

    Empty: nobody's is known, and a signature only shows that the bundle is whole.
    """

    fingerprint: str = ""
    origin: str = ""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that is whole. `trusted_by` says how its key is known here, "" when it is not."""

    manifest: Manifest
    manifest_sha256: str
    fingerprint: str
    trusted_by: str = ""
    parts: tuple[str, ...] = ()


def make_trust(host: Host, *, fingerprint: str = "", key_file: str = "") -> Trust:
    """From what a user gave. Raises UsageError for what is no fingerprint or no key."""
    named = normalize_fingerprint(fingerprint)
    if fingerprint and not named:
        raise UsageError(f"{fingerprint!r} is no fingerprint", hint="40 hex digits, as `install bundle create` prints")
    if not key_file:
        return Trust(fingerprint=named, origin="--fingerprint" if named else "")
    answer = host.read(key_file)
    if answer.error:
        raise UsageError(f"{key_file}: cannot be read: {answer.error}", hint="name the key file that came with --key")
    found, why = read_fingerprint(answer.data)
    if not found:
        raise UsageError(f"{key_file}: {why}", hint="gpg --export FINGERPRINT > key.gpg")
    if named and named != found:
        raise UsageError(f"{key_file} has another fingerprint than --fingerprint", hint="give one of the two")
    return Trust(fingerprint=found, origin=f"--key {key_file}")


def verify_bundle(
    host: Host,
    path: Path,
    trust: Trust,
    *,
    sink: Callable[[str], IO[bytes]] | None = None,
    judge: Callable[[Manifest, str], tuple[str, ...]] | None = None,
    on_bytes: Callable[[int, int], None] | None = None,
) -> Verified:
    """Check a bundle (a file, any of its parts, or a directory it was unpacked to), all of it.

    `sink` opens a place for each file, which is written while it is hashed; what it holds counts only when this
    returns. `judge` may object to the signed manifest before anything else is read. Raises RefusedBundleError with
    every problem by its file's name, UsageError when there is no such bundle, ExternalError without gpgv and sqv.
    """
    if path.is_dir():
        parts: tuple[str, ...] = ()
        return _verify_members(host, str(path), _guard_tree(path), trust, sink, judge, parts)
    files, missing = find_files(path)
    if missing and missing.startswith(str(path)):
        raise UsageError(missing, hint="name the bundle's file, or its first part (.001)")
    if missing:
        raise RefusedBundleError(path.name, (missing,), hint="copy all parts into one directory")
    reader = PartReader(files)
    if on_bytes is not None:
        total, tell = reader.total_bytes, on_bytes
        reader = PartReader(files, lambda done: tell(done, total))
    with reader:
        names = tuple(file.name for file in files)
        return _verify_members(host, path.name, read_archive(reader), trust, sink, judge, names)


def _guard_tree(path: Path) -> Iterator[Member]:
    try:
        yield from read_tree(path)
    except OSError as err:
        raise BrokenArchiveError(f"{err.filename}: cannot be read: {err.strerror}") from err


def _verify_members(
    host: Host,
    source: str,
    members: Iterator[Member],
    trust: Trust,
    sink: Callable[[str], IO[bytes]] | None,
    judge: Callable[[Manifest, str], tuple[str, ...]] | None,
    parts: tuple[str, ...],
) -> Verified:
    head, first = _read_head(source, members)
    manifest, fingerprint = _check_head(host, source, head, trust)
    digest = hashlib.sha256(head[MANIFEST]).hexdigest()
    if judge is not None and (objections := judge(manifest, digest)):
        raise RefusedBundleError(source, objections, hint="see: docs/install-bundle.md")
    if sink is not None:
        for name, data in head.items():
            _write(sink, name, iter((data,)))
    problems: list[str] = []
    broken = False
    listed = {file.path: file for file in manifest.files}
    seen: set[str] = set()
    try:
        for member in itertools.chain(first, members):
            file = listed.get(member.path)
            if file is None:
                problems.append(f"{member.path}: extra file, not in the manifest")
            elif member.odd:
                seen.add(member.path)
                problems.append(f"{member.path}: {member.odd}")
            elif member.path in seen:
                problems.append(f"{member.path}: comes twice")
            else:
                seen.add(member.path)
                found, size = _hash_member(member, sink if not problems else None)
                if size != file.size_bytes:
                    problems.append(f"{member.path}: changed: {size} bytes instead of {file.size_bytes}")
                elif found != file.sha256:
                    problems.append(f"{member.path}: changed: its SHA-256 is not the manifest's")
    except BrokenArchiveError as err:
        broken = True
        problems.append(str(err))
        if len(parts) > 1:
            problems.append(f"{parts[-1]}: the last part here: is it whole, and is none after it missing?")
    missing = [file.path for file in manifest.files if file.path not in seen]
    if broken and len(missing) > 1:
        problems.append(f"{missing[0]}: missing, with the {len(missing) - 1} files after it")
    else:
        problems += [f"{name}: missing" for name in missing]
    if problems:
        raise RefusedBundleError(source, problems)
    return Verified(
        manifest=manifest, manifest_sha256=digest, fingerprint=fingerprint, trusted_by=trust.origin, parts=parts
    )


def _read_head(source: str, members: Iterator[Member]) -> tuple[dict[str, bytes], tuple[Member, ...]]:
    """The head files, and the first member after them, whose content is still to be read. Raises RefusedBundleError."""
    head: dict[str, bytes] = {}
    after: tuple[Member, ...] = ()
    problems: list[str] = []
    try:
        for member in members:
            if member.path not in HEAD_FILES or member.path in head:
                after = (member,)
                break
            if member.odd or member.size_bytes > _HEAD_LIMIT_BYTES:
                problems.append(f"{member.path}: {member.odd or 'too large'}")
                break
            head[member.path] = member.read()
            if len(head) == len(HEAD_FILES):
                break
    except BrokenArchiveError as err:
        problems.append(str(err))
    problems += [f"{name}: missing, or not at the bundle's start" for name in HEAD_FILES if name not in head]
    if problems:
        raise RefusedBundleError(source, problems, hint="this is no whole bundle of `xpukit install bundle create`")
    return head, after


def _check_head(host: Host, source: str, head: dict[str, bytes], trust: Trust) -> tuple[Manifest, str]:
    fingerprint, why = read_fingerprint(head[KEY])
    if not fingerprint:
        raise RefusedBundleError(source, (f"{KEY}: {why}",))
    if trust.fingerprint and fingerprint != trust.fingerprint:
        words = f"signed by {format_fingerprint(fingerprint)}, not by {format_fingerprint(trust.fingerprint)}"
        raise RefusedBundleError(
            source,
            (f"{KEY}: foreign key: {words} ({trust.origin})",),
            hint="if the maker really has a new key, give its fingerprint as they tell it to you: --fingerprint",
        )
    if why := check_signature(host, keyring=head[KEY], signature=head[SIGNATURE], data=head[MANIFEST]):
        raise RefusedBundleError(source, (f"{SIGNATURE}: not a signature of {MANIFEST} by {KEY}: {why}",))
    manifest, why = decode_manifest(head[MANIFEST])
    if manifest is None:
        raise RefusedBundleError(source, (why,), hint="a bundle of a newer xpukit? use the xpukit that came with it")
    return manifest, fingerprint


def _hash_member(member: Member, sink: Callable[[str], IO[bytes]] | None) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0

    def read() -> Iterator[bytes]:
        nonlocal size
        while chunk := member.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            yield chunk

    if sink is None:
        for _ in read():
            pass
    else:
        _write(sink, member.path, read())
    return digest.hexdigest(), size


def _write(sink: Callable[[str], IO[bytes]], name: str, chunks: Iterator[bytes]) -> None:
    try:
        with sink(name) as file:
            for chunk in chunks:
                file.write(chunk)
    except OSError as err:
        if err.errno is None:
            raise ExternalError(f"{name}: {err}", hint="check the bundle's medium") from err
        raise OutputError(
            f"{name}: cannot be unpacked: {err.strerror}", hint="check free space; nothing was installed"
        ) from err
