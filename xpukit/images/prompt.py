"""Asking for each setting: on a terminal, or from piped lines; the end of input takes the defaults that are left."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from xpukit.core.errors import UsageError
from xpukit.facts.recipes import Recipe, Setting, SettingValue
from xpukit.images.settings import check_value, describe_allowed, write_value

AT_MOST_TRIES = 5


def ask_settings(
    recipe: Recipe,
    values: Mapping[str, SettingValue],
    *,
    read_line: Callable[[str], str],
    say: Callable[[str], None],
) -> dict[str, SettingValue]:
    """Every setting, asked with `values` as the defaults; an empty answer takes the default.

    `read_line` shows a prompt and raises EOFError at the end of input. Raises UsageError after five bad answers.
    """
    chosen = dict(values)
    for key, setting in recipe.settings.items():
        say(f"{key}: {setting.summary}")
        say(f"    {describe_allowed(setting)}")
        try:
            chosen[key] = _ask_one(key, setting, chosen[key], read_line, say)
        except EOFError:
            say("end of input: the rest stays as it is")
            break
    return chosen


def _ask_one(
    key: str, setting: Setting, default: SettingValue, read_line: Callable[[str], str], say: Callable[[str], None]
) -> SettingValue:
    for _ in range(AT_MOST_TRIES):
        answer = read_line(f"    {key} [{write_value(default)}]: ").strip()
        if not answer:
            return default
        try:
            return check_value(setting, key, answer, source="answer")
        except UsageError as err:
            say(f"    {err.message} ({err.hint})")
    raise UsageError(f"{key}: no allowed value in {AT_MOST_TRIES} answers", hint=describe_allowed(setting))
