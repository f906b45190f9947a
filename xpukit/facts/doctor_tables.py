"""Reads one data file of the doctor (data/doctor/*.toml) into its type."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.core.toml import load_toml
from xpukit.facts.paths import data_dir

T = TypeVar("T", bound=msgspec.Struct)


def load_table(name: str, kind: type[T]) -> T:
    """`data/doctor/<name>.toml`, whose schema is `xpukit.doctor-<name>/1`. Raises BadFactsError."""
    path = data_dir() / "doctor" / f"{name}.toml"
    raw = load_toml(path)
    schema = f"xpukit.doctor-{name}/1"
    if raw.get("schema") != schema:
        raise BadFactsError(f"{path}: schema is {raw.get('schema')!r}, not {schema!r}", hint="reinstall xpukit")
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as err:
        raise BadFactsError(f"{path}: {err}", hint="correct the named entry") from err


def split_version(text: str) -> tuple[int, ...]:
    """The numbers that a version begins with: '0.21.0-b3' is (0, 21, 0), 'latest' is ()."""
    match = re.match(r"v?(\d{1,9}(?:\.\d{1,9})*)", text.strip())
    return tuple(int(part) for part in match.group(1).split(".")) if match else ()
