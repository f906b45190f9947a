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
    by_name: dict[str, list[FirmwareFacts]] = {}
    for row in rows:
        by_name.setdefault(_check_name(row), []).append(row)
    summed = {offer.name: offer for offer in (_offer_line(site, base, line) for line in _read_manifest(site, base))}
    offers = {name: _offer_rows(site, base, name, known) for name, known in by_name.items() if name not in summed}
    for name, offer in summed.items():
        _compare_with_rows(base, offer, by_name.get(name, []))
    return (*offers.values(), *summed.values())


def _check_name(row: FirmwareFacts) -> str:
    name = name_of(row.path)
    if why := explain_name(name):
        raise ExternalError(f"firmware of the stack: {why}", hint="correct the stack's [[firmware]] row")
    return name


def _compare_with_rows(base: str, offer: Offer, rows: Sequence[FirmwareFacts]) -> None:
    """A file that the source vouches for may be newer than what the stack knows, but neither older than all of it nor
    another file of a version that it knows. Raises ExternalError."""
    if not rows or any(row.sha256.lower() == offer.sha256 for row in rows):
        return
    orders = [compare_versions(offer.version or "0", row.version or "0") for row in rows]
    same = next((row for row, order in zip(rows, orders, strict=True) if order == 0 or not row.version), None)
    if same is None and offer.version and max(orders) > 0:
        return
    about = f" (version {offer.version})" if offer.version else ""
    known = ", ".join(f"{row.version} {row.sha256}".strip() for row in rows if same in (None, row))
    raise ExternalError(
        f"{base}/{offer.name}: SHA-256 {offer.sha256}{about} in {MANIFEST}, the stack has {known}",
        hint="source and stack do not belong together; nothing was changed",
    )


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


def _offer_rows(site: Site, base: str, name: str, rows: Sequence[FirmwareFacts]) -> Offer:
    """The file of the source, which must be one of those that the stack knows; else the oldest of them, not at hand."""
    known = [Offer(name=name, sha256=row.sha256.lower(), version=row.version) for row in rows]
    known.sort(key=lambda offer: [int(part) for part in offer.version.split(".") if part.isdigit()])
    for ending in load_firmware_search().endings if base else ():
        path = f"{base}/{name}{ending}"
        if site.exists(path):
            _raw, data = _read(site, path)
            digest = hash_bytes(data)
            return _complete(next((offer for offer in known if offer.sha256 == digest), known[-1]), path, data)
    return known[0]


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
