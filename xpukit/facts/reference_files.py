"""Reading files of reference values, whatever their columns: text, and its rows with where each stands."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from xpukit.core.errors import BadFactsError


def read_reference_text(path: Path) -> str:
    """The text of a reference file. Raises BadFactsError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as err:
        raise BadFactsError(f"{path}: cannot be read: {err.strerror or err}", hint="check the path") from err
    except UnicodeDecodeError as err:
        raise BadFactsError(f"{path}: not UTF-8 text: {err.reason}", hint="save it as UTF-8") from err


def iterate_rows(text: str, columns: Sequence[str], *, origin: str) -> Iterator[tuple[dict[str, str | None], str]]:
    """Each line by column, and where it stands. Raises BadFactsError for a missing column or what is no CSV."""
    reader = csv.DictReader(io.StringIO(text))
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        raise BadFactsError(f"{origin}: no column {', '.join(missing)}", hint=f"columns are {','.join(columns)}")
    try:
        for raw in reader:
            yield raw, f"{origin}:{reader.line_num}"
    except csv.Error as err:
        raise BadFactsError(f"{origin}:{reader.line_num}: not CSV: {err}") from err
