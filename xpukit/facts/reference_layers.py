"""Reference rows in layers: what we ship, then the user's files in the order given. A higher layer wins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from xpukit.facts.reference_files import read_reference_text
from xpukit.facts.references import ReferenceRow, load_references, parse_reference_csv
from xpukit.facts.references_upstream import is_upstream, parse_upstream


def load_layers(
    paths: Sequence[Path], *, devices: Sequence[str] = (), shipped: bool = True
) -> tuple[ReferenceRow, ...]:
    """All rows, `layer` 0 for ours and 1, 2 … for `paths`: tidy files, or upstream's four columns.

    `devices` are the PCI ids ('8086:e211') that a file which names none is for; without them its name must say.
    Raises BadFactsError for a file that breaks its schema.
    """
    rows = list(load_references()) if shipped else []
    for layer, path in enumerate(paths, 1):
        text = read_reference_text(path)
        if is_upstream(text):
            own = parse_upstream(text, origin=str(path), devices=devices)
        else:
            own = parse_reference_csv(text, origin=str(path))
        rows.extend(msgspec.structs.replace(row, layer=layer) for row in own)
    return tuple(rows)
