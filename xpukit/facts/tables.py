"""Reading a table of facts (data/FOLDER/NAME.toml) into its type."""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.core.toml import load_toml
from xpukit.facts.paths import data_dir

_HINT = "restore the file from the package"


class _Table(Protocol):
    @property
    def schema(self) -> str: ...


_Kind = TypeVar("_Kind", bound=_Table)


def read_table(folder: str, name: str, kind: type[_Kind], schema: str) -> _Kind:
    """The table. Raises BadFactsError when it is missing, malformed or of another schema."""
    path = data_dir() / folder / f"{name}.toml"
    try:
        table = msgspec.convert(load_toml(path), kind)
    except msgspec.ValidationError as err:
        raise BadFactsError(f"{path}: {err}", hint=_HINT) from err
    if table.schema != schema:
        raise BadFactsError(f"{path}: schema {table.schema!r} is not {schema!r}", hint=_HINT)
    return table
