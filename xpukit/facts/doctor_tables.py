"""Reads one data file of the doctor (data/doctor/*.toml) into its type."""

from __future__ import annotations

import re
from typing import TypeVar

from xpukit.facts.tables import Table, read_table

T = TypeVar("T", bound=Table)


def load_table(name: str, kind: type[T]) -> T:
    """`data/doctor/<name>.toml`, whose schema is `xpukit.doctor-<name>/1`. Raises BadFactsError."""
    return read_table("doctor", name, kind, f"xpukit.doctor-{name}/1")


def split_version(text: str) -> tuple[int, ...]:
    """The numbers that a version begins with: '0.21.0-b3' is (0, 21, 0), 'latest' is ()."""
    match = re.match(r"v?(\d{1,9}(?:\.\d{1,9})*)", text.strip())
    return tuple(int(part) for part in match.group(1).split(".")) if match else ()
