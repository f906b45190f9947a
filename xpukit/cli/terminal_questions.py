"""Questions with numbered answers on a plain terminal: asked on standard error, answered on standard input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from xpukit.core.errors import InterruptedRunError, UsageError
from xpukit.serve.questions import Option

_SHOWN = 20


class Back(Exception):
    """The question before, please: an answer, no error."""


def say(text: str = "") -> None:
    """Talk. Standard output is kept for the result."""
    print(text, file=sys.stderr, flush=True)


def read_answer(prompt: str) -> str:
    """One line. Raises Back for `b`, InterruptedRunError for `q` and the end of the input."""
    print(prompt, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        say()
    if not line or line.strip().lower() in ("q", "quit"):
        raise InterruptedRunError("left before the end; nothing was changed")
    if line.strip().lower() in ("b", "back"):
        raise Back
    return line.strip()


def ask(
    title: str,
    options: Sequence[Option],
    *,
    default: str = "",
    other: Callable[[str], str] | None = None,
    help: str = "",
) -> str:
    """The value of the option chosen by number or value; an empty answer takes `default`.

    `other` reads an answer that is none of them, and raises UsageError for one that it does not like.
    """
    say()
    say(title)
    possible = [one for one in options if one.possible]
    _list_options(options, possible, default)
    while True:
        answer = read_answer(_make_prompt(possible, options, default, help))
        if not answer:
            if default or not possible or any(one.value == "" for one in possible):
                return default
            say("  choose one of them")
            continue
        if answer.isdigit() and 1 <= int(answer) <= len(possible):
            return possible[int(answer) - 1].value
        taken = next((one for one in options if answer.lower() in (one.value.lower(), one.label.lower())), None)
        if taken is not None and taken.possible:
            return taken.value
        if taken is not None:
            say(f"  {taken.label} is not possible here: {taken.note}")
            continue
        if other is None:
            say(f"  {answer!r} is none of them")
            continue
        try:
            return other(answer)
        except UsageError as err:
            say(f"  {err.message}")
            if err.hint:
                say(f"    {err.hint}")


def ask_yes(title: str, *, default: bool) -> bool:
    """Yes or no."""
    options = (Option(value="yes", label="yes"), Option(value="no", label="no"))
    answer = ask(title, options, default="yes" if default else "no", other=_read_yes)
    return answer == "yes"


def _read_yes(text: str) -> str:
    if text.lower() in ("y", "j", "ja", "true"):
        return "yes"
    if text.lower() in ("n", "nein", "false"):
        return "no"
    raise UsageError(f"{text!r} is neither yes nor no")


def _list_options(options: Sequence[Option], possible: Sequence[Option], default: str) -> None:
    width = max((len(one.label) for one in options[:_SHOWN]), default=0)
    number = 0
    for one in options[:_SHOWN]:
        mark = "-"
        if one.possible:
            number += 1
            mark = str(number)
        star = "*" if one.possible and one.value == default else " "
        note = one.note if one.possible else f"not possible: {one.note}"
        say(f" {star}{mark:>3}  {one.label:<{width}}  {note}".rstrip())
    if len(options) > _SHOWN:
        say(f"      ... and {len(options) - _SHOWN} more: type a part of the name")


def _make_prompt(possible: Sequence[Option], options: Sequence[Option], default: str, help: str) -> str:
    what = f"1-{min(len(possible), _SHOWN)}" if len(possible) > 1 else "1" if possible else ""
    words = ", ".join(word for word in (what, help, "b: back, q: leave") if word)
    shown = next((one.label for one in options if one.value == default), default)
    return f"({words}) [{shown}]: " if shown else f"({words}): "
