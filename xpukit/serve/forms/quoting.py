"""Words for shells: quoted, but `${NAME}` left for the shell to fill in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from xpukit.serve.plan_types import Flag, Variable

REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


def quote_word(word: str) -> str:
    """The word as a shell reads it back.

    References to variables stay references, and the shell stops where one is unset: a key that is silently empty would
    leave a server open.
    """
    if not REFERENCE.search(word):
        return shlex.quote(word)
    parts = []
    end = 0
    for match in REFERENCE.finditer(word):
        if before := word[end : match.start()]:
            parts.append(shlex.quote(before))
        parts.append(f'"{match[0][:-1]}:?}}"')
        end = match.end()
    if rest := word[end:]:
        parts.append(shlex.quote(rest))
    return "".join(parts)


def join_words(words: Iterable[str]) -> str:
    """Words on one line."""
    return " ".join(quote_word(word) for word in words)


def list_lines(program: Sequence[str], flags: Sequence[Flag]) -> list[str]:
    """The program with a positional model on the first line, then one flag a line."""
    first = list(program)
    rest = list(flags)
    if rest and not rest[0].words[0].startswith("-"):
        first.extend(rest.pop(0).words)
    return [join_words(first), *(join_words(flag.words) for flag in rest)]


def continue_lines(lines: Sequence[str], indent: str = "  ") -> str:
    """Lines of one command, joined with backslashes, all but the first indented."""
    return f" \\\n{indent}".join(lines)


def assign(variable: Variable) -> str:
    """NAME=value for the front of a command."""
    return assign_value(variable.name, variable.value)


def assign_value(name: str, value: str) -> str:
    """NAME=value, references left to the shell."""
    return f"{name}={quote_word(value)}"


def comment_variable(variable: Variable) -> str:
    """Why a variable is set, on one line."""
    text = f"{variable.name}: {variable.why}"
    if variable.source:
        text += f" ({variable.source})"
    if variable.expires:
        text += f"; not needed from version {variable.expires} on"
    if variable.link:
        text += f" {variable.link}"
    return " ".join(text.split())
