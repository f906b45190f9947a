"""The columns of the oneCCL benchmark's table and of its CSV, by the names that its versions give them."""

from __future__ import annotations

import re

from xpukit.evaluate.parsers.lines import Diary, Line, read_number

FIELDS = {
    "#bytes": "bytes",
    "#elem_count": "elements",
    "#repetitions": "repetitions",
    "t_min[usec]": "t_min_us",
    "t_max[usec]": "t_max_us",
    "t_avg[usec]": "t_avg_us",
    "stddev[%]": "stddev_percent",
    "wait_t_avg[usec]": "wait_avg_us",
    "algbw[GB/s]": "printed_algbw",
    "busbw[GB/s]": "printed_busbw",
    # 2021.1 to 2021.3
    "avg[usec]": "t_avg_us",
    "avg_per_buf[usec]": "t_per_buffer_us",
    # the CSV only
    "#ranks": "ranks",
    "collective": "collective",
    "reduction": "reduction",
    "dtype": "datatype",
    "type": "datatype",
    "dtype_size": "item_bytes",
    "typesize": "item_bytes",
    "#elements/buffer": "elements",
    "message_size": "message_bytes",
    "#buffers": "buffers",
    "time": "t_avg_us",
}
_OPTIONAL = ("t_min_us", "t_max_us", "stddev_percent", "wait_avg_us", "printed_algbw", "printed_busbw")
COUNT = re.compile(r"[0-9]{1,18}")


def read_counts(named: dict[str, str], fields: tuple[str, ...]) -> dict[str, int] | None:
    """The counts among `fields` that are there; None if one of them is not a count."""
    counts = {}
    for field in fields:
        if field in named:
            text = named[field].strip()
            if COUNT.fullmatch(text) is None:
                return None
            counts[field] = int(text)
    return counts


def read_times(named: dict[str, str], line: Line, diary: Diary) -> dict[str, float] | None:
    """t_avg_us and what else can be read; None without t_avg."""
    average, reason = read_number(named.get("t_avg_us", ""))
    if average is None:
        diary.note_unread(line, f"t_avg: {reason}")
        return None
    times = {"t_avg_us": average}
    for field in _OPTIONAL:
        if field in named:
            value, reason = read_number(named[field])
            if value is None:
                diary.note(line.number, f"{field}: {reason}: {named[field].strip()}")
            else:
                times[field] = value
    return times
