"""Asking for a variant and each setting: on a terminal, or from piped lines; the end of input takes what is left."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from difflib import get_close_matches

from xpukit.core.errors import UsageError
from xpukit.facts.recipes import Recipe, Setting, SettingValue
from xpukit.images.render import check_base_image
from xpukit.images.settings import check_value, describe_allowed, refuse_secret, write_value

AT_MOST_TRIES = 5
# An answer that empties a text or a list whose default is not empty.
NOTHING = "-"
ReadLine = Callable[[str], str]
Say = Callable[[str], None]


def ask_variant(recipe: Recipe, *, read_line: ReadLine, say: Say) -> str:
    """The name of a variant, "" for the recipe's own defaults. Raises UsageError after five bad answers."""
    say(f"variants of {recipe.name}, each a set of settings; an empty answer takes the defaults:")
    names = [variant.name for variant in recipe.variants]
    for variant in recipe.variants:
        say(f"    {variant.name}: {variant.summary}")
    for _ in range(AT_MOST_TRIES):
        try:
            answer = read_line("    variant []: ").strip()
        except EOFError:
            return ""
        if not answer or answer in names:
            return answer
        near = get_close_matches(answer, names, n=1)
        say(f"    there is no variant {answer!r}" + (f" (did you mean {near[0]}?)" if near else ""))
    raise UsageError(f"no variant in {AT_MOST_TRIES} answers", hint=f"variants: {', '.join(names)}")


def ask_settings(
    recipe: Recipe, values: Mapping[str, SettingValue], *, read_line: ReadLine, say: Say
) -> dict[str, SettingValue]:
    """Every setting, asked with `values` as the defaults; an empty answer takes the default, "-" means nothing.

    `read_line` shows a prompt and raises EOFError at the end of input. Raises UsageError after five bad answers.
    """
    chosen = dict(values)
    for key, setting in recipe.settings.items():
        say(f"{key}: {setting.summary}")
        say(f"    {describe_allowed(setting)}" + (f"; {NOTHING} for none" if _can_be_empty(setting, key) else ""))
        try:
            chosen[key] = _ask_one(key, setting, chosen[key], read_line, say)
        except EOFError:
            say("end of input: the rest stays as it is")
            break
    return chosen


def write_command(
    recipe: str, variant: str, before: Mapping[str, SettingValue], after: Mapping[str, SettingValue]
) -> str:
    """The command that chooses the same without asking; `before` are the settings as the variant has them."""
    words = ["xpukit", "build-image", recipe]
    if variant:
        words += ["--variant", variant]
    for key, value in after.items():
        if before.get(key) != value:
            words += ["--set", f"{key}={write_value(value)}"]
    return shlex.join(words)


def _ask_one(key: str, setting: Setting, default: SettingValue, read_line: ReadLine, say: Say) -> SettingValue:
    for _ in range(AT_MOST_TRIES):
        answer = read_line(f"    {key} [{write_value(default)}]: ").strip()
        if not answer:
            return default
        try:
            refuse_secret(key, answer, source="answer")
            empty = answer == NOTHING and _can_be_empty(setting, key)
            value = check_value(setting, key, "" if empty else answer, source="answer")
            if key.endswith("_image"):
                check_base_image(str(value), what=key)
            return value
        except UsageError as err:
            say(f"    {err.message} ({err.hint})")
    raise UsageError(f"{key}: no allowed value in {AT_MOST_TRIES} answers", hint=describe_allowed(setting))


def _can_be_empty(setting: Setting, key: str) -> bool:
    try:
        return setting.type in ("string", "list") and check_value(setting, key, "", source="") in ("", ())
    except UsageError:
        return False
