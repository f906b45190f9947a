"""The file that the oneCCL benchmark writes with -o; for its versions see oneccl_benchmark.py."""

from __future__ import annotations

import re

import msgspec

from xpukit.evaluate.parsers.lines import Diary, Line, split_lines
from xpukit.evaluate.parsers.oneccl_columns import FIELDS, read_counts, read_times
from xpukit.evaluate.parsers.oneccl_rows import CclOutput, CclRow, add_bandwidths


def parse_csv(text: str, collectives: tuple[str, ...] = ()) -> CclOutput:
    """The file of -o. `collectives`: what the command named, if known.

    Without it, several collectives in one run are found by their rows: one after the other with the same times to the
    last digit. A single row cannot tell.
    """
    diary = Diary()
    names: list[str] = []
    rows: list[CclRow] = []
    for line in split_lines(text):
        if line.text.startswith("#ranks,"):
            names = line.text.split(",") if line.is_whole else []
            if unknown := [name for name in names if name not in FIELDS]:
                diary.note(line.number, f"columns not known, left out: {' '.join(unknown)}")
        elif line.text.strip():
            row = _read_csv_row(line, names, diary)
            if row is not None:
                rows.append(row)
    has_own_times = "time" in names
    sums = [] if has_own_times else _find_sums(rows)
    together = collectives if len(collectives) > 1 and not has_own_times else ()
    single: list[CclRow] = []
    summed: list[CclRow] = []
    remarks: dict[str, int] = {}
    for place, row in enumerate(rows):
        group = together or next((group for span, group in sums if place in span), ())
        if len(group) > 1:
            summed.append(msgspec.structs.replace(row, collectives=group))
            remarks.setdefault(f"times are the sum over {', '.join(group)}: none of them has its own", row.line)
            continue
        full, remark = add_bandwidths(row, 0.0)
        single.append(full)
        if remark:
            remarks.setdefault(remark, row.line)
    for remark, number in remarks.items():
        diary.note(number, remark)
    if not names:
        diary.note(0, "no table")
    return CclOutput(
        readings=tuple(single),
        summed=tuple(summed),
        is_finished=bool(rows),
        notes=diary.notes,
        problems=diary.problems,
    )


def _read_csv_row(line: Line, names: list[str], diary: Diary) -> CclRow | None:
    cells = line.text.split(",")
    if not names:
        diary.note_unread(line, "before the names of the columns")
    elif not line.is_whole:
        diary.note_unread(line, "the line is cut off")
    elif len(cells) != len(names):
        diary.note_unread(line, f"{len(cells)} values under {len(names)} columns")
    else:
        named = {FIELDS[name]: cell for name, cell in zip(names, cells, strict=True) if name in FIELDS}
        counts = read_counts(named, ("ranks", "item_bytes", "elements", "message_bytes", "buffers", "repetitions"))
        if counts is None or not {"ranks", "item_bytes", "elements", "buffers"} <= counts.keys():
            diary.note_unread(line, "a count is missing or is none")
            return None
        message = counts["elements"] * counts["item_bytes"]
        if counts.get("message_bytes", message) != message or counts["buffers"] < 1:
            diary.note_unread(line, "message_size is not #elements/buffer times dtype_size, or no buffers")
            return None
        collective = named.get("collective", "").strip()
        times = read_times(named, line, diary)
        if times is None or not re.fullmatch(r"\w{1,40}", collective):
            return None
        row = CclRow(
            line=line.number,
            collectives=(collective,),
            ranks=counts["ranks"],
            datatype=named.get("datatype", "").strip(),
            reduction=named.get("reduction", "").strip(),
            total_bytes=message * counts["buffers"],
            buffers=counts["buffers"],
            message_bytes=message,
            elements=counts["elements"],
            repetitions=counts.get("repetitions"),
            t_avg_us=times["t_avg_us"],
        )
        return msgspec.structs.replace(row, **times)
    return None


def _find_sums(rows: list[CclRow]) -> list[tuple[range, tuple[str, ...]]]:
    """Spans of rows that repeat one time under several names. A last span that was cut off counts like the others."""
    sums: list[tuple[range, tuple[str, ...]]] = []
    start = 0
    for place in range(1, len(rows) + 1):
        if place < len(rows) and _is_same_time(rows[start], rows[place]):
            continue
        group = tuple(dict.fromkeys(row.collectives[0] for row in rows[start:place]))
        if len(group) > 1:
            sums.append((range(start, place), group))
        start = place
    if sums and sums[-1][0].stop < len(rows):
        known = sums[-1][1]
        if all(row.collectives[0] in known for row in rows[sums[-1][0].stop :]):
            sums.append((range(sums[-1][0].stop, len(rows)), known))
    return sums


def _is_same_time(a: CclRow, b: CclRow) -> bool:
    def identity(row: CclRow) -> tuple[object, ...]:
        return (row.ranks, row.datatype, row.elements, row.buffers, row.t_avg_us, row.t_min_us, row.t_max_us)

    return identity(a) == identity(b) and a.collectives != b.collectives
