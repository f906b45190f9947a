"""YAML with comments: what Compose and Kubernetes read, in the order given."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

# Read as text by YAML 1.1 and 1.2 alike; "on", "1e3" and the like are quoted.
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@-]*(:[A-Za-z0-9_./@-]+)*")
_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"))


class Noted(msgspec.Struct, frozen=True):
    """A value with comment lines above it."""

    value: Any
    notes: tuple[str, ...] = ()


def dump_yaml(value: Any) -> str:
    """A document of mappings, lists, texts, numbers, booleans and None (an empty value)."""
    return "\n".join(_dump(value, 0)) + "\n"


def quote_text(text: str) -> str:
    """A text as YAML reads it back."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(character if _is_printable(character) else _escape(character) for character in quoted)


def _is_printable(character: str) -> bool:
    return character.isprintable() and character != "\ufeff"


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _dump(value: Any, depth: int) -> list[str]:
    if isinstance(value, Mapping):
        return [line for key, one in value.items() for line in _dump_entry(quote_text(str(key)) + ":", one, depth)]
    if isinstance(value, str | bool | int) or value is None:
        return [f"{'  ' * depth}{_scalar(value)}"]
    return [line for one in value for line in _dump_item(one, depth)]


def _dump_entry(key: str, given: Any, depth: int) -> list[str]:
    value, lines = _take_notes(given, depth)
    pad = "  " * depth
    if isinstance(value, Mapping) or _is_list(value):
        if not value:
            return [*lines, f"{pad}{key} {'{}' if isinstance(value, Mapping) else '[]'}"]
        return [*lines, f"{pad}{key}", *_dump(value, depth + 1)]
    return [*lines, f"{pad}{key}" if value is None else f"{pad}{key} {_scalar(value)}"]


def _dump_item(given: Any, depth: int) -> list[str]:
    value, lines = _take_notes(given, depth)
    pad = "  " * depth
    if isinstance(value, Mapping) or _is_list(value):
        if not value:
            return [*lines, f"{pad}- {'{}' if isinstance(value, Mapping) else '[]'}"]
        # Its own first comments go above the dash: behind it there is no room for them.
        inner = _dump(value, depth + 1)
        above = next((index for index, line in enumerate(inner) if not line.lstrip().startswith("#")), 0)
        lines += [line[2:] for line in inner[:above]]
        return [*lines, f"{pad}- {inner[above].lstrip()}", *inner[above + 1 :]]
    return [*lines, f"{pad}- {_scalar(value)}"]


def _take_notes(given: Any, depth: int) -> tuple[Any, list[str]]:
    if isinstance(given, Noted):
        return given.value, [f"{'  ' * depth}# {_clean(note)}" for note in given.notes]
    return given, []


def _clean(note: str) -> str:
    return "".join(one if _is_printable(one) else "?" for one in " ".join(note.split()))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    return str(value) if isinstance(value, int) else quote_text(value)
