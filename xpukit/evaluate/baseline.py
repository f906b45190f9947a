"""Reference files: writing and merging."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import BadFactsError, OutputError
from xpukit.core.json_document import BAD_JSON, build_document, encode_json
from xpukit.evaluate.baseline_record import make_rows
from xpukit.evaluate.baseline_result import RecordFile, Recording
from xpukit.evaluate.report_csv import format_params
from xpukit.facts.reference_files import read_reference_text
from xpukit.facts.references import COLUMNS, ReferenceRow, parse_reference_csv

RECORD_SCHEMA = "xpukit.baseline-record/1"


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: the side file's body and time, the number of rows, notes on the merge."""

    body: RecordFile
    created: str
    rows: int
    notes: tuple[str, ...]


def write_reference_csv(rows: Sequence[ReferenceRow]) -> str:
    """The text of a reference file, as `facts/references.py` reads it. Values keep every digit that they have."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(
            (
                row.device,
                row.benchmark,
                row.metric,
                format_params(row.written_params),
                f"{row.value!r}".removesuffix(".0"),
                row.unit,
                "higher" if row.higher_is_better else "lower",
                row.kind,
                f"{row.tolerance:g}",
                row.source,
                row.date,
            )
        )
    return out.getvalue()


def merge_rows(
    existing: Sequence[ReferenceRow], new: Sequence[ReferenceRow]
) -> tuple[tuple[ReferenceRow, ...], tuple[str, ...]]:
    """Existing rows, then new ones, each with its own source; a row that is there already is not added again.

    Returns the rows and what a reader must know.
    """

    def identify(row: ReferenceRow) -> tuple[object, ...]:
        return (row.device, row.benchmark, row.metric, row.params, row.link, row.kind, row.source)

    there = {identify(row) for row in existing}
    added = [row for row in new if identify(row) not in there]
    about = {identify(row)[:4] for row in existing}
    both = sum(1 for row in added if identify(row)[:4] in about)
    notes = [f"{len(existing)} rows kept, {len(added)} added"]
    if both:
        notes.append(f"{both} metrics now have two sources or more; the newest of the same kind is used")
    if len(added) < len(new):
        notes.append(f"{len(new) - len(added)} rows of the same source stood there already")
    return (*existing, *added), tuple(notes)


def side_path(out: Path) -> Path:
    """Where the whole provenance goes."""
    return out.with_name(out.name.removesuffix(".csv") + ".provenance.json")


def load_side_file(csv_path: Path) -> tuple[Recording, ...]:
    """The recordings that an existing file's rows are from; none where it has no (readable) file beside it."""
    try:
        return msgspec.json.decode(side_path(csv_path).read_bytes(), type=RecordFile).recordings
    except (OSError, *BAD_JSON):
        return ()


def save_recording(recording: Recording, out: Path, *, merge: Path | None = None) -> Saved:
    """Write the CSV and, beside it, the provenance; each is there whole or not at all, and reads back as it was meant.

    `merge`: a reference file whose rows (and provenance) are kept before the new ones. Raises BadFactsError for one
    that breaks its schema, OutputError for what cannot be written.
    """
    rows = make_rows(recording)
    recordings: tuple[Recording, ...] = (recording,)
    notes: tuple[str, ...] = ()
    if merge is not None:
        existing = parse_reference_csv(read_reference_text(merge), origin=merge.name)
        rows, notes = merge_rows(existing, rows)
        recordings = (*(item for item in load_side_file(merge) if item != recording), recording)
    text = write_reference_csv(rows)
    _check_readable(text, rows, out)
    body = RecordFile(recordings=recordings)
    created = max(run.created for item in recordings for run in item.runs)
    write_atomic(side_path(out), encode_json(build_document(RECORD_SCHEMA, "", body, created=created)).encode())
    write_atomic(out, text.encode())
    return Saved(body=body, created=created, rows=len(rows), notes=notes)


def _check_readable(text: str, rows: Sequence[ReferenceRow], out: Path) -> None:
    try:
        read = parse_reference_csv(text, origin="")
    except BadFactsError as err:
        raise OutputError(
            f"{out}: would not be readable: {err.message}", hint="correct the file given to --merge"
        ) from err
    differ = [row for row, again in zip(rows, read, strict=True) if replace(again, origin=row.origin) != row]
    if differ:
        raise OutputError(f"{out}: {differ[0].benchmark} {differ[0].metric} would not read back as it is")
