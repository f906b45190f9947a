"""`--config FILE` after `--`: the engine's own file of settings, written out as the flags that it stands for.

vLLM and SGLang put the settings of the file before the other words of the command line, where ours would take their
place unseen; written out, they are planned for and checked like any other flag. The file is not needed any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from xpukit.core.errors import UsageError
from xpukit.facts.engines import EngineProgram

_OPTION = "--config"
# A key is never in a plan, nor on a command line.
_SECRETS = ("api-key", "ssl-keyfile-password", "admin-api-key", "hf-token")
_MODELS = ("model", "model-tag")


class WrittenOut(msgspec.Struct, frozen=True, kw_only=True):
    """The extras with the file's settings first: `count` words of them are the file's. `path`: of it, "" for none."""

    extras: tuple[str, ...]
    count: int = 0
    path: str = ""
    notes: tuple[str, ...] = ()


def list_config_paths(extras: Sequence[str]) -> tuple[str, ...]:
    """The files that the extras name."""
    return tuple(path for _, _, path in _find(extras))


def write_out(
    extras: Sequence[str], files: Mapping[str, Any], program: EngineProgram, models: Sequence[str]
) -> WrittenOut:
    """Put the settings in the file's place. `files`: what was read, by path; `models`: how the model was named.

    Raises UsageError for several files, a key of the server in one, another model, or what is no table of settings.
    """
    found = _find(extras) if _OPTION in program.options else ()
    if not found:
        return WrittenOut(extras=tuple(extras))
    if len(found) > 1:
        raise UsageError("--config was given twice after --", hint="the engine reads one file of settings")
    [(start, end, path)] = found
    if path not in files:
        note = f"--config {path} is not read here: what it sets is not planned for, and our own flags go before it"
        return WrittenOut(extras=tuple(extras), notes=(note,))
    settings = files[path]
    if not isinstance(settings, Mapping):
        raise UsageError(f"{path}: no table of settings", hint="lines such as tensor-parallel-size: 2")
    words = tuple(word for key, value in settings.items() for word in _spell(str(key), value, program, path, models))
    note = f"--config {path}: its {len(settings)} settings are written out; the engine does not read the file"
    rest = (*extras[:start], *extras[end:])
    return WrittenOut(extras=(*words, *rest), count=len(words), path=path, notes=(note,))


def _find(extras: Sequence[str]) -> tuple[tuple[int, int, str], ...]:
    """Where each `--config FILE` stands: from, to (not included), and the file."""
    places: list[tuple[int, int, str]] = []
    for at, word in enumerate(extras):
        if word.startswith(f"{_OPTION}="):
            places.append((at, at + 1, word.partition("=")[2]))
        elif word == _OPTION and at + 1 < len(extras):
            places.append((at, at + 2, extras[at + 1]))
    return tuple(places)


def _spell(key: str, value: Any, program: EngineProgram, path: str, models: Sequence[str]) -> Iterable[str]:
    name = key.strip().lstrip("-").replace("_", "-")
    if name in _SECRETS:
        raise UsageError(
            f"{path}: {key}: a plan holds no keys", hint="take it out; --api-key-env NAME names a variable"
        )
    if name in _MODELS and f"--{name}" not in program.options:
        if value not in models:
            raise UsageError(f"{models[0]} and, in {path}, {key} {value}: two models", hint="leave one of them out")
        return ()
    option = f"--{name}"
    if value is None:
        return ()
    flag = program.options.get(option)
    if isinstance(value, bool):
        if flag is not None and flag.nargs != 0:
            return (option, "true" if value else "false")
        no = f"--no-{name}"
        return (option,) if value else (no,) if no in program.options else ()
    if isinstance(value, (list, tuple)):
        return (option, *(_text(one) for one in value)) if value else ()
    text = _text(value)
    return (f"{option}={text}",) if text.startswith("-") else (option, text)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list, bool)) else str(value)
