"""Pseudonyms: the same name gets the same stand-in everywhere, and the host that keeps the map can put it back.

The map holds only what may be put back (names, addresses, serial numbers), never a secret.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import msgspec

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import OutputError
from xpukit.core.json_document import BAD_JSON

SCHEMA = "xpukit.redaction-map/1"
# Nobody has a map of this size; a damaged or foreign file must not cost minutes.
_MAP_LIMIT_BYTES = 32 << 20

# kind -> what is written for the number-th name of that kind; `text` is the name as it stood.
Render = Callable[[int, str], str]


class _StoredMap(msgspec.Struct, frozen=True, kw_only=True):
    schema: str
    id: str
    names: dict[str, dict[str, str]]


class PseudonymMap:
    """kind -> name as it stood in the text -> pseudonym. `id` is random and stands in the bundles made with it."""

    def __init__(self, *, id: str = "", names: dict[str, dict[str, str]] | None = None) -> None:
        self.id = id or secrets.token_hex(16)
        self.names: dict[str, dict[str, str]] = {kind: dict(known) for kind, known in (names or {}).items()}
        self._real: dict[str, str] = {
            pseudonym: name for known in self.names.values() for name, pseudonym in known.items()
        }
        # (kind, canonical form) -> its number: two spellings of one address get spellings of one pseudonym.
        self._numbers: dict[tuple[str, str], int] = {}
        self._next: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._real)

    def find(self, kind: str, name: str) -> str | None:
        """The pseudonym of a name that has one."""
        return self.names.get(kind, {}).get(name)

    def is_pseudonym(self, text: str) -> bool:
        """Whether the text is a stand-in of this map: it must not get one of its own."""
        return text in self._real

    def assign(self, kind: str, name: str, render: Render, canonical: str = "") -> str:
        """The pseudonym of `name`, new if need be; names of one `canonical` form share a number if spellings allow."""
        known = self.names.setdefault(kind, {})
        if name in known:
            return known[name]
        if name in self._real:
            return name
        key = (kind, canonical or name)
        number = self._find_number(key, known, render)
        pseudonym = render(number, name)
        while pseudonym in self._real:
            number += 1
            pseudonym = render(number, name)
        self._numbers.setdefault(key, number)
        self._next[kind] = max(self._next.get(kind, 0), number)
        known[name] = pseudonym
        self._real[pseudonym] = name
        self.__dict__.pop("_putting_back", None)
        return pseudonym

    def _find_number(self, key: tuple[str, str], known: dict[str, str], render: Render) -> int:
        if key in self._numbers:
            return self._numbers[key]
        # A map read from a file knows the spelling that was seen: the canonical one, if any.
        kind, canonical = key
        for name, pseudonym in known.items():
            if name.lower().replace("-", "").replace(":", "") == canonical:
                for number in range(1, len(known) + 2):
                    if render(number, name) == pseudonym:
                        return number
        return self._next.get(kind, len(known)) + 1

    def put_back(self, text: str) -> str:
        """The text with the real names in the place of the pseudonyms."""
        if not self._real or ("-" not in text and ":" not in text and not any(c.isdigit() for c in text)):
            return text
        return self._putting_back.sub(lambda match: self._real[match.group()], text)

    @cached_property
    def _putting_back(self) -> re.Pattern[str]:
        # Longest first: user-1 must not be found inside user-12.
        words = sorted(self._real, key=lambda word: (-len(word), word))
        return re.compile(r"(?<![A-Za-z0-9])(?:" + "|".join(re.escape(word) for word in words) + r")(?![A-Za-z0-9])")


def default_map_path() -> Path:
    """Where this user's map lies: XDG_STATE_HOME, ~/.local/state, for root /var/lib."""
    if os.geteuid() == 0 and not os.environ.get("XDG_STATE_HOME"):
        return Path("/var/lib/xpukit/redaction-map.json")
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return base / "xpukit" / "redaction-map.json"


def load_map(path: Path) -> PseudonymMap | None:
    """The map in a file; None when there is none, or none that can be used."""
    try:
        if path.stat().st_size > _MAP_LIMIT_BYTES:
            return None
        stored = msgspec.json.decode(path.read_bytes(), type=_StoredMap)
    except (OSError, *BAD_JSON):
        return None
    if stored.schema != SCHEMA or not stored.id:
        return None
    return PseudonymMap(id=stored.id, names=stored.names)


def save_map(path: Path, names: PseudonymMap) -> None:
    """Write the map, mode 0600, its directory 0700. Raises OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as err:
        raise OutputError(
            f"{path.parent}: cannot be made: {err.strerror}", hint="set XDG_STATE_HOME to a directory you may write"
        ) from err
    stored = _StoredMap(schema=SCHEMA, id=names.id, names=names.names)
    write_atomic(path, msgspec.json.format(msgspec.json.encode(stored), indent=1) + b"\n", mode=0o600)
    with contextlib.suppress(OSError):
        path.chmod(0o600)
