"""Words for systemd's units, which Quadlet's files share: quoting, `%` and `$`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./$-]+")
_NAMED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def quote_command_word(word: str) -> str:
    """A word of ExecStart=: nothing in it is a specifier or a variable."""
    return _quote(word.replace("%", "%%").replace("$", "$$"))


def quote_setting_word(word: str) -> str:
    """A word of Environment= and the like, where `$` means nothing."""
    return _quote(word.replace("%", "%%"))


def _quote(word: str) -> str:
    if _SAFE.fullmatch(word):
        return word
    return (
        '"'
        + "".join(_NAMED.get(one) or (one if one >= " " and one != "\x7f" else f"\\x{ord(one):02x}") for one in word)
        + '"'
    )


def continue_unit_lines(lines: Sequence[str]) -> str:
    """One setting over several lines."""
    return " \\\n  ".join(lines)


def join_command(words: Iterable[str]) -> str:
    """Words of ExecStart= on one line."""
    return " ".join(quote_command_word(word) for word in words)


def escape_text(text: str) -> str:
    """Free text, as of Description=."""
    return " ".join(text.split()).replace("%", "%%")
