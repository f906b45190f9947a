"""Firmware files of a stack, taken from a folder laid out as /lib/firmware, each with the hash that the stack names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from xpukit.core.errors import UsageError
from xpukit.core.json_document import now_utc
from xpukit.facts.stacks import StackFacts
from xpukit.install.bundle.manifest import FIRMWARE_DIR, BundleFile, describe_file, hash_file

if TYPE_CHECKING:
    from xpukit.install.bundle.create import Order

_PLACES = ("/usr/lib/firmware/", "/lib/firmware/")


def take_firmware(stack: StackFacts, order: Order, tree: Path, say: Callable[[str], None]) -> list[BundleFile]:
    """Copy the stack's firmware into the tree. Raises UsageError for a file with another hash."""
    chosen = {*order.options, *stack.default_options}
    rows = [row for row in stack.firmware if not row.option or row.option in chosen]
    if order.firmware is None:
        if rows:
            say(f"{len(rows)} firmware files of the stack are left out: give their folder with --firmware DIR")
        return []
    files = []
    for row in rows:
        name = name_firmware(row.path)
        source = order.firmware / name
        if not source.is_file():
            say(f"{source}: not there, left out")
            continue
        digest, _ = hash_file(source)
        if digest != row.sha256:
            raise UsageError(
                f"{source}: SHA-256 is {digest}, the stack names {row.sha256}",
                hint=f"get version {row.version or 'of the stack'} of it",
            )
        path = f"{FIRMWARE_DIR}/{name}"
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, tree / path)
        files.append(
            describe_file(
                tree, path, "firmware", name=name, version=row.version, origin=str(order.firmware), date=now_utc()
            )
        )
    return files


def name_firmware(path: str) -> str:
    """ "xe/bmg_guc_70.bin" of "/lib/firmware/xe/bmg_guc_70.bin"."""
    for place in _PLACES:
        if path.startswith(place):
            return path.removeprefix(place)
    return path.lstrip("/")
