"""A config.json's keys under their many names, as numbers, flags and texts; what is odd counts as not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xpukit.serve.model_types import Guess

_LIMIT = 1 << 48  # a size beyond this is damage, not a model


class ConfigReader:
    """Reads one table; a key that is not in it is looked for in `fallback`. Collects what had to be guessed."""

    def __init__(self, table: Mapping[str, Any], fallback: Mapping[str, Any] | None = None) -> None:
        self._tables = (table,) if fallback is None or fallback is table else (table, fallback)
        self.guesses: list[Guess] = []

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
        for name in names:
            value = self._find((name,))
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
        return any(self._find((name,)) is True for name in names)

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

    def _find(self, names: tuple[str, ...]) -> Any:
        for table in self._tables:
            for name in names:
                value = table.get(name)
                if value is not None:
                    return value
        return None


def _is_size(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LIMIT
