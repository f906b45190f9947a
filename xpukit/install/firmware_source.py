"""Firmware that a stack or a source directory offers: files with the hash that they must have.

Hashes come from the stack's rows, or from SHA256SUMS in the source's `firmware` directory, as sha256sum(1) writes it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from xpukit.core.errors import ExternalError
from xpukit.facts.firmware import load_firmware_search
from xpukit.facts.stacks import FirmwareFacts
from xpukit.install.change import hash_bytes
from xpukit.install.firmware_files import CONTENT_LIMIT_BYTES, compare_versions, decompress, read_version
from xpukit.install.site import Site

DIRECTORY = "firmware"
MANIFEST = "SHA256SUMS"
_LINE = re.compile(r"^(?P<hash>[0-9a-fA-F]{64}) [ *](?P<path>\S.*)$")
_ROOTS = ("/usr/lib/firmware/", "/lib/firmware/")


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A file for the name that drivers ask for ("xe/bmg_guc_70.bin"). `sha256` is of the uncompressed content.

    `path` on the machine, "" where no source has it; `data` the content; `version` "" where nothing says it.
    """

    name: str
    sha256: str = ""
    version: str = ""
    path: str = ""
    data: bytes = b""

    @property
    def at_hand(self) -> bool:
        return bool(self.path)


class ManifestLine(msgspec.Struct, frozen=True, kw_only=True):
    """A file below the source's firmware directory and the hash of it as it lies there."""

    path: str
    sha256: str


def parse_manifest(text: str) -> tuple[tuple[ManifestLine, ...], tuple[str, ...]]:
    """The lines of SHA256SUMS, and those that are none, in words. Never raises."""
    lines, bad = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.match(line)
        path = match["path"].removeprefix("./") if match else ""
        if match is None or explain_name(path):
            bad.append(f"line {number}: {explain_name(path) if match else 'is no line of sha256sum'}")
        else:
            lines.append(ManifestLine(path=path, sha256=match["hash"].lower()))
    return tuple(lines), tuple(bad)


def explain_name(path: str) -> str:
    """Why a path below a firmware directory is not taken, "" when it is."""
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return f"{path!r} does not stay below its directory"
    if parts[0] not in load_firmware_search().families or len(parts) < 2:
        return f"{path!r} is no firmware of a GPU driver ({', '.join(load_firmware_search().families)})"
    return ""


def name_of(path: str) -> str:
    """What a driver asks for: a path below /lib/firmware without the ending of a compressed file."""
    for root in _ROOTS:
        path = path.removeprefix(root)
    path = path.removeprefix("updates/")
    for ending in load_firmware_search().endings:
        if ending and path.endswith(ending):
            return path.removesuffix(ending)
    return path


def collect_offers(site: Site, directory: str, rows: Sequence[FirmwareFacts]) -> tuple[Offer, ...]:
    """All files on offer, their hashes checked. Raises ExternalError naming the first that is not what it must be."""
    base = f"{directory.rstrip('/')}/{DIRECTORY}" if directory else ""
    offers = {offer.name: offer for offer in (_offer_row(site, base, row) for row in rows)}
    for line in _read_manifest(site, base):
        offer = _offer_line(site, base, line)
        known = offers.get(offer.name)
        if known is None:
            offers[offer.name] = offer
        elif known.sha256 != offer.sha256:
            raise ExternalError(
                f"{base}/{line.path}: SHA-256 {offer.sha256} in {MANIFEST}, {known.sha256} in the stack",
                hint="source and stack do not belong together; nothing was changed",
            )
    return tuple(offers.values())


def _read_manifest(site: Site, base: str) -> tuple[ManifestLine, ...]:
    answer = site.read(f"{base}/{MANIFEST}") if base else None
    if answer is None or answer.error in ("ENOENT", "ENOTDIR", "UNRECORDED"):
        return ()
    if answer.error:
        raise ExternalError(f"{base}/{MANIFEST}: cannot be read: {answer.error}", hint="check the source directory")
    lines, bad = parse_manifest(answer.data.decode("utf-8", errors="replace"))
    if bad:
        raise ExternalError(f"{base}/{MANIFEST}: {bad[0]}", hint="make it anew with sha256sum; nothing was changed")
    return lines


def _offer_row(site: Site, base: str, row: FirmwareFacts) -> Offer:
    name = name_of(row.path)
    if why := explain_name(name):
        raise ExternalError(f"firmware of the stack: {why}", hint="correct the stack's [[firmware]] row")
    wanted = Offer(name=name, sha256=row.sha256.lower(), version=row.version)
    for ending in load_firmware_search().endings if base else ():
        path = f"{base}/{name}{ending}"
        if site.exists(path):
            _raw, data = _read(site, path)
            return _complete(wanted, path, data)
    return wanted


def _offer_line(site: Site, base: str, line: ManifestLine) -> Offer:
    path = f"{base}/{line.path}"
    raw, data = _read(site, path)
    if hash_bytes(raw) != line.sha256:
        raise ExternalError(
            f"{path}: SHA-256 is {hash_bytes(raw)}, {MANIFEST} says {line.sha256}",
            hint="the file is changed or damaged: get it again; nothing was changed",
        )
    return _complete(Offer(name=name_of(line.path), sha256=hash_bytes(data)), path, data)


def _read(site: Site, path: str) -> tuple[bytes, bytes]:
    """A file as it lies there, and what it holds."""
    answer = site.read(path, limit_bytes=CONTENT_LIMIT_BYTES)
    if answer.error or answer.truncated:
        raise ExternalError(f"{path}: cannot be read: {answer.error or 'too large'}", hint="check the source directory")
    data, error = decompress(answer.data, path)
    if error:
        raise ExternalError(f"{path}: {error}", hint="the file is damaged: get it again; nothing was changed")
    return answer.data, data


def _complete(wanted: Offer, path: str, data: bytes) -> Offer:
    if hash_bytes(data) != wanted.sha256:
        raise ExternalError(
            f"{path}: SHA-256 is {hash_bytes(data)}, it must be {wanted.sha256}",
            hint="the file is changed, damaged or another version: get it again; nothing was changed",
        )
    stated = read_version(data)
    if stated and wanted.version and compare_versions(stated, wanted.version):
        raise ExternalError(
            f"{path}: the file says version {stated}, the stack says {wanted.version}",
            hint="correct the stack's [[firmware]] row",
        )
    return msgspec.structs.replace(wanted, path=path, data=data, version=stated or wanted.version)
