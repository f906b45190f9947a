"""Reading a table of facts (data/FOLDER/NAME.toml or .json) into its type."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.core.json_document import BAD_JSON
from xpukit.core.toml import load_toml
from xpukit.facts.paths import data_dir

# Tables load in several threads. msgspec works a type out when it is first converted to, and crashes the interpreter
# when a second thread comes in between (seen with 0.22.0 on Python 3.11: a segfault in one of thirty runs).
_ONE_AT_A_TIME = threading.Lock()


class Table(Protocol):
    """What every file of facts holds."""

    @property
    def schema(self) -> str: ...


_Kind = TypeVar("_Kind", bound=Table)


def read_table(folder: str, name: str, kind: type[_Kind], schema: str) -> _Kind:
    """The table in FOLDER/NAME.toml. Raises BadFactsError when it is missing, malformed or of another schema."""
    path = data_dir() / folder / f"{name}.toml"
    raw = load_toml(path)
    return _check(path, schema, lambda: msgspec.convert(raw, kind))


def read_json_table(folder: str, name: str, kind: type[_Kind], schema: str) -> _Kind:
    """The table in FOLDER/NAME.json. Raises BadFactsError when it is missing, malformed or of another schema."""
    path = data_dir() / folder / f"{name}.json"
    return _check(path, schema, lambda: msgspec.json.decode(path.read_bytes(), type=kind))


def _check(path: Path, schema: str, convert: Callable[[], _Kind]) -> _Kind:
    try:
        with _ONE_AT_A_TIME:
            table = convert()
    except (OSError, *BAD_JSON) as err:
        raise damaged(path, err) from err
    if table.schema != schema:
        raise damaged(path, f"schema {table.schema!r} is not {schema!r}")
    return table


def damaged(path: Path | str, what: object) -> BadFactsError:
    """The error for a file of ours that is not as it was shipped."""
    return BadFactsError(f"{path}: {what}", hint="the installation is damaged: install xpukit again")
