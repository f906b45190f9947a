"""Programs without a package for a bundle: from an unpacked offline installer, in the folders that the stack names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from xpukit.core.errors import OutputError
from xpukit.core.json_document import now_utc
from xpukit.facts.stacks import StackFacts
from xpukit.install.bundle.manifest import TOOLS_DIR, BundleFile, describe_file

if TYPE_CHECKING:
    from xpukit.install.bundle.create import Order


def take_tools(stack: StackFacts, order: Order, tree: Path, say: Callable[[str], None]) -> list[BundleFile]:
    """Copy the files of the stack's rows into the tree, as they lie in the installer. Raises OutputError."""
    shutil.rmtree(tree / TOOLS_DIR, ignore_errors=True)
    chosen = {*order.options, *stack.default_options}
    files = []
    for row in stack.copies:
        if row.option and row.option not in chosen:
            continue
        found = sorted(path for path in order.tools.glob(row.pattern) if path.is_file()) if order.tools else []
        if not found:
            why = (
                f"{order.tools} has no {row.pattern}" if order.tools else "give the unpacked installer with --tools DIR"
            )
            say(f"{row.name}: left out: {why}")
        for path in found:
            assert order.tools is not None
            place = str(path.relative_to(order.tools))
            try:
                (tree / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, tree / place)
            except OSError as err:
                raise OutputError(f"{err.filename or path}: {err.strerror}", hint="check the folder") from err
            files.append(describe_file(tree, place, "tool", name=row.name, origin=str(path), date=now_utc()))
    return files
