"""A config.json's keys under their many names, as numbers, flags and texts; what is odd counts as not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from xpukit.serve.model_types import Guess

_LIMIT = 1 << 48  # a size beyond this is damage, not a model


class ConfigReader:
    """Reads one table; a key that is not in it is looked for in `fallback`, then in `defaults` (of the model's type).

    A key that is there and null has no default. Collects what had to be guessed, and the defaults that were used.
    """

    def __init__(
        self,
        table: Mapping[str, Any],
        fallback: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self._tables = (table,) if fallback is None or fallback is table else (table, fallback)
        self._defaults = defaults or {}
        self.guesses: list[Guess] = []
        self.taken: dict[str, Any] = {}

    def guess(self, what: str, value: str, why: str) -> None:
        """Note a value that no source gave."""
        self.guesses.append(Guess(what=what, value=value, why=why))

    def has(self, *names: str) -> bool:
        """Whether one of the keys is there and not null."""
        return self._find(names) is not None

    def integer(self, *names: str, default: int = 0) -> int:
        """The first of the keys that is a number; of a list its first."""
        found = self.integers(*names)
        return found[0] if found else default

    def integers(self, *names: str) -> tuple[int, ...]:
        """The first of the keys that holds numbers, as a tuple."""
        for value in self._list(names):
            values = value if isinstance(value, list | tuple) else (value,)
            numbers = tuple(int(item) for item in values if _is_size(item))
            if numbers:
                return numbers
        return ()

    def number(self, *names: str) -> float:
        """The first of the keys that is a number, 0.0 where none is."""
        for name in names:
            value = self._find((name,))
            if isinstance(value, int | float) and not isinstance(value, bool):
                return float(value)
        return 0.0

    def flag(self, *names: str) -> bool:
        """Whether one of the keys is true."""
        return any(value is True for value in self._list(names))

    def text(self, *names: str) -> str:
        """The first of the keys that is a text."""
        for name in names:
            value = self._find((name,))
            if isinstance(value, str) and value:
                return value.removeprefix("torch.")
        return ""

    def texts(self, *names: str) -> tuple[str, ...]:
        """The first of the keys that is a list of texts."""
        for name in names:
            value = self._find((name,))
            if isinstance(value, list | tuple):
                return tuple(item for item in value if isinstance(item, str))
        return ()

    def table(self, *names: str) -> ConfigReader:
        """The first of the keys that is a table; an empty one where none is."""
        for name in names:
            value = self._find((name,))
            if isinstance(value, Mapping):
                return ConfigReader(value)
        return ConfigReader({})

    def tables(self, *names: str) -> tuple[ConfigReader, ...]:
        """The first of the keys that is a list of tables."""
        for name in names:
            value = self._find((name,))
            if isinstance(value, list | tuple):
                return tuple(ConfigReader(item) for item in value if isinstance(item, Mapping))
        return ()

    def all_tables(self) -> tuple[ConfigReader, ...]:
        """Every table that it holds."""
        return tuple(ConfigReader(item) for item in self._tables[0].values() if isinstance(item, Mapping))

    def _find(self, names: tuple[str, ...]) -> Any:
        return next(self._list(names), None)

    def _list(self, names: tuple[str, ...]) -> Iterator[Any]:
        """The values of the keys that are not null, then the defaults of those that no table has."""
        for table in self._tables:
            for name in names:
                value = table.get(name)
                if value is not None:
                    yield value
        if any(name in table for table in self._tables for name in names):
            return
        for name in names:
            if name in self._defaults:
                self.taken[name] = self._defaults[name]
                yield self._defaults[name]


def _is_size(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LIMIT
