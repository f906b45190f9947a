"""A recipe's settings: defaults, then the variant's, then a file's, then the command line's; all checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from xpukit.core.errors import UsageError
from xpukit.core.toml import load_toml
from xpukit.facts.recipes import Recipe, Setting, SettingValue

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_SECRET_HINT = "give it when the container starts (run-image --env NAME=...), or mount it as a file"


def resolve_settings(
    recipe: Recipe, *, variant: str = "", file: Path | None = None, given: Sequence[str] = ()
) -> dict[str, SettingValue]:
    """Every setting of the recipe with its value, in the recipe's order.

    `given` are `key=value` texts. Raises UsageError for an unknown key (with the nearest name) or a bad value.
    """
    values = {
        key: check_value(setting, key, setting.default, source=f"recipe {recipe.name}: default")
        for key, setting in recipe.settings.items()
    }
    layers: list[tuple[str, Mapping[str, Any]]] = []
    if variant:
        layers.append((f"variant {variant}", recipe.find_variant(variant).settings))
    if file is not None:
        layers.append((str(file), load_toml(file)))
    layers.append(("--set", _split_given(given)))
    for source, layer in layers:
        for key, value in layer.items():
            setting = find_setting(recipe, key, source)
            refuse_secret(key, value, source=source)
            values[key] = check_value(setting, key, value, source=source)
    return values


def refuse_secret(key: str, value: object, *, source: str, hint: str = _SECRET_HINT) -> None:
    """Raise UsageError for a token, a password or an address with one, without saying it: settings are labels of the
    image and lines of its history, for everyone who gets it.
    """
    from xpukit.host.redaction.mask_secrets import mask_secrets
    from xpukit.host.redaction.named_values import is_secret_name

    texts = [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]
    named = is_secret_name(key) and any(texts)
    if named or any(mask_secrets(text) != text for text in texts):
        raise UsageError(
            f"{source}: {key} is or holds a secret, and settings can be read in the image's labels and history",
            hint=hint,
        )


def find_setting(recipe: Recipe, key: str, source: str) -> Setting:
    """The setting named `key`. Raises UsageError with the nearest name."""
    setting = recipe.settings.get(key)
    if setting is None:
        near = get_close_matches(key, recipe.settings, n=1, cutoff=0.5)
        known = ", ".join(recipe.settings) or "it has none"
        hint = f"did you mean {near[0]}?" if near else f"settings of {recipe.name}: {known}"
        raise UsageError(f"{source}: recipe {recipe.name} has no setting {key!r}", hint=hint)
    return setting


def check_value(setting: Setting, key: str, value: object, *, source: str) -> SettingValue:
    """The value in the setting's type. Raises UsageError that says what is allowed."""
    checkers = {
        "boolean": _check_boolean,
        "integer": _check_integer,
        "choice": _check_choice,
        "list": _check_list,
        "string": _check_string,
    }
    checked = checkers[setting.type](setting, value)
    if checked is None:
        near = get_close_matches(str(value), setting.choices, n=1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(
            f"{source}: {key} = {value!r} is not allowed", hint=f"{key}: {describe_allowed(setting)}{meant}"
        )
    return checked


def describe_allowed(setting: Setting) -> str:
    """The allowed values in words."""
    if setting.type == "choice":
        return "one of " + ", ".join(setting.choices)
    if setting.type == "boolean":
        return "true or false"
    if setting.type == "integer":
        low, high = setting.minimum, setting.maximum
        limits = (f" from {low}" if low is not None else "") + (f" to {high}" if high is not None else "")
        return "an integer" + limits
    form = f" that {'each match' if setting.type == 'list' else 'matches'} {setting.pattern}" if setting.pattern else ""
    return ("items separated by commas" if setting.type == "list" else "text") + form


def write_value(value: SettingValue) -> str:
    """A value as one would type it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _split_given(given: Sequence[str]) -> dict[str, str]:
    layer = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {text!r} is not key=value", hint="for example --set python=3.12")
        layer[key.strip()] = value
    return layer


def _check_boolean(setting: Setting, value: object) -> SettingValue | None:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    return word in _TRUE if word in _TRUE or word in _FALSE else None


def _check_integer(setting: Setting, value: object) -> SettingValue | None:
    # `12.5` and `true` are no integers, although int() takes them.
    if not isinstance(value, int | str) or isinstance(value, bool):
        return None
    try:
        number = int(value)
    except ValueError:
        return None
    low, high = setting.minimum, setting.maximum
    if (low is not None and number < low) or (high is not None and number > high):
        return None
    return number


def _check_choice(setting: Setting, value: object) -> SettingValue | None:
    return value if isinstance(value, str) and value in setting.choices else None


def _check_string(setting: Setting, value: object) -> SettingValue | None:
    if not isinstance(value, str) or not value.isprintable():
        return None
    if setting.pattern and not re.fullmatch(setting.pattern, value):
        return None
    return value


def _check_list(setting: Setting, value: object) -> SettingValue | None:
    items = [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        return None
    texts = tuple(item for item in items if isinstance(item, str) and item.isprintable())
    if len(texts) != len(items):
        return None
    if setting.pattern and not all(re.fullmatch(setting.pattern, item) for item in texts):
        return None
    return texts
