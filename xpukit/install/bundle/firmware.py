"""Firmware for a bundle: files of a folder laid out as /lib/firmware, with the hash that stack or SHA256SUMS names."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import OutputError, UsageError
from xpukit.core.json_document import now_utc
from xpukit.facts.firmware import load_firmware_search
from xpukit.facts.stacks import StackFacts
from xpukit.host.door import Host
from xpukit.install.bundle.manifest import FIRMWARE_DIR, BundleFile, describe_file, hash_file
from xpukit.install.firmware_source import MANIFEST, collect_offers, name_of, parse_manifest
from xpukit.install.site import Site

if TYPE_CHECKING:
    from xpukit.install.bundle.create import Order


def take_firmware(
    host: Host, stack: StackFacts, order: Order, tree: Path, say: Callable[[str], None]
) -> list[BundleFile]:
    """Copy firmware into the tree and check it there as the target will.

    Raises UsageError for a folder without any that is named, ExternalError for a file with another hash.
    """
    chosen = {*order.options, *stack.default_options}
    rows = [row for row in stack.firmware if not row.option or row.option in chosen]
    place = tree / FIRMWARE_DIR
    shutil.rmtree(place, ignore_errors=True)
    if order.firmware is None:
        if rows:
            count = len({name_of(row.path) for row in rows})
            say(f"{count} firmware files of the stack are left out: give their folder with --firmware DIR")
        return []
    wanted = _list_summed(order.firmware)
    for name in dict.fromkeys(name_of(row.path) for row in rows):
        found = [f"{name}{ending}" for ending in load_firmware_search().endings]
        there = next((path for path in found if (order.firmware / path).is_file()), "")
        if there:
            wanted.append(there)
        else:
            say(f"{order.firmware}: has no {name}: left out")
    if not wanted:
        raise UsageError(
            f"{order.firmware}: has no {MANIFEST}, and nothing that the stack names",
            hint=f"say what to take: cd {order.firmware} && sha256sum xe/FILE.bin > {MANIFEST}",
        )
    for path in dict.fromkeys(wanted):
        _copy(order.firmware / path, place / path)
    versions = {offer.path: offer.version for offer in collect_offers(Site(host), str(tree), rows)}
    _write_sums(place, [path for path in dict.fromkeys(wanted) if path != MANIFEST])
    return [
        describe_file(
            tree, f"{FIRMWARE_DIR}/{path}", "firmware", name=path, version=versions.get(str(place / path), ""),
            origin=str(order.firmware), date=now_utc(),
        )
        for path in dict.fromkeys([*wanted, MANIFEST])
    ]  # fmt: skip


def _write_sums(place: Path, paths: Sequence[str]) -> None:
    """SHA256SUMS over what was taken, as sha256sum(1) writes it: the folder vouches for itself on the target."""
    lines = [f"{hash_file(place / path)[0]}  {path}\n" for path in sorted(paths)]
    write_atomic(place / MANIFEST, "".join(lines).encode())


def _list_summed(folder: Path) -> list[str]:
    """SHA256SUMS and the files that it names; none where it is not there."""
    path = folder / MANIFEST
    if not path.is_file():
        return []
    lines, bad = parse_manifest(path.read_text(encoding="utf-8", errors="replace"))
    if bad:
        raise UsageError(f"{path}: {bad[0]}", hint="make it anew with sha256sum")
    return [MANIFEST, *(line.path for line in lines)]


def _copy(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    except OSError as err:
        raise OutputError(f"{err.filename or source}: {err.strerror}", hint="check the folder and free space") from err
