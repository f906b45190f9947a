"""Secrets out of what is shown: a token in a container's command must not stand in a terminal's scrollback or a CI log.

Names stay: whoever sits at the machine wants to read them (`--redact` replaces those too).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from xpukit.host.answers import IdentityAnswer
from xpukit.host.redaction.redactor import Redactor, list_rules

S = TypeVar("S", bound=msgspec.Struct)


@lru_cache(maxsize=1)
def _open_mask() -> Redactor:
    # One for the process: a value seen beside its name once is known where it stands alone.
    names = frozenset(rule.name for rule in list_rules() if rule.removes == "name")
    return Redactor(IdentityAnswer(hostname="", username=""), without=names)


def mask_secrets(text: str) -> str:
    """The text with `[REDACTED:rule]` in the place of each secret; names and addresses stay."""
    return _open_mask()(text)


def mask_struct(value: S) -> S:
    """The same with every text masked. A value beside its name (`source`, `what`) is judged by that name too."""
    return msgspec.convert(_mask_plain(msgspec.to_builtins(value)), type(value))


def _mask_plain(value: Any) -> Any:
    if isinstance(value, str):
        return mask_secrets(value)
    if isinstance(value, list | tuple):
        if value and all(isinstance(item, str) for item in value):
            return list(_open_mask().scrub_words(value))
        return [_mask_plain(item) for item in value]
    if isinstance(value, dict):
        name = str(value.get("source") or value.get("what") or "")
        last = name.rpartition(" ")[2]
        return {
            key: _open_mask().scrub_value(last, item)
            if last and isinstance(item, str) and key in ("value", "old", "new")
            else _mask_plain(item)
            for key, item in value.items()
        }
    return value
