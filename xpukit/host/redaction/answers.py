"""Text replaced inside an answer, whatever its type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

A = TypeVar("A", bound=msgspec.Struct)


def replace_in_answer(answer: A, replace: Callable[[str], str]) -> A:
    """The answer with every text and every run of bytes in it changed by `replace`; names of fields stay."""
    plain = msgspec.to_builtins(answer, builtin_types=(bytes,))
    return msgspec.convert(_walk(plain, replace), type(answer), builtin_types=(bytes,))


def _walk(value: Any, replace: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return replace(value)
    if isinstance(value, bytes):
        return replace(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    if isinstance(value, list | tuple):
        return [_walk(item, replace) for item in value]
    if isinstance(value, dict):
        return {key: _walk(item, replace) for key, item in value.items()}
    return value
