"""From an argv to what a parser reads: which program is started, with which words, after the engine's own rewriting."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.facts.engine_rules import Entry, has_quirk, load_rules
from xpukit.facts.engines import EngineProgram, EngineSchema
from xpukit.serve.validate_parse import Word
from xpukit.serve.validate_types import read_human_int

_PYTHON = re.compile(r"(?:.*/)?python(?:3(?:\.\d+)?)?")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_NAME = re.compile(r"(?<=--)[^.]*")
_MODEL = re.compile(r"--model(=.+|$)")


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """An argv taken apart. `words` are those after the program's own, `start` is where they begin in the argv."""

    entry: Entry
    start: int
    words: tuple[Word, ...]
    env: dict[str, str]


class Rewritten(msgspec.Struct, frozen=True, kw_only=True):
    """The words after the engine's own rewriting, and what it refuses while rewriting (empty: nothing)."""

    words: tuple[Word, ...]
    refused: str = ""
    model_moved: bool = False


def find_command(argv: Sequence[str], *, engine: str = "") -> Command | None:
    """The engine's program in an argv, behind `VAR=value`, `env`, `numactl ...` and the like; None where there is none.

    Only entries of `engine` are looked for when it is named.
    """
    entries = [entry for entry in load_rules().entry if not engine or engine in entry.engines]
    for start in range(len(argv)):
        for entry in entries:
            end = start + len(entry.words)
            if len(argv) >= end and all(_is_word(a, b) for a, b in zip(argv[start:end], entry.words, strict=True)):
                found = (match for word in argv[:start] if (match := _ASSIGNMENT.fullmatch(word)) is not None)
                return Command(
                    entry=entry,
                    start=end,
                    words=tuple(Word(text=text, origin=at) for at, text in enumerate(argv[end:], end)),
                    env={match[1]: match[2] for match in found},
                )
    return None


def _is_word(given: str, wanted: str) -> bool:
    if wanted == "python":
        return _PYTHON.fullmatch(given) is not None
    return given == wanted or given.endswith("/" + wanted)


def rewrite_words(command: Command, program: EngineProgram, schema: EngineSchema) -> Rewritten:
    """What the engine makes of its words before argparse sees them. Never raises."""
    words = list(command.words)
    if not has_quirk("flexible", schema.engine, schema.version):
        return Rewritten(words=tuple(words))
    moved = False
    if command.entry.model_option:
        place = next((at for at, word in enumerate(words) if _MODEL.match(word.text)), -1)
        if has_quirk("model-option-refused", schema.engine, schema.version):
            if any(word.text == "--model" for word in words):
                return Rewritten(words=tuple(words), refused="model")
        elif place >= 0:
            model, rest = _take_model(words, place)
            if model is None:
                return Rewritten(words=tuple(words), refused="model-value")
            words, moved = [model, *rest], True
    words = _spell(words, program)
    return Rewritten(words=tuple(_join_dotted(words)), model_moved=moved)


def _take_model(words: list[Word], place: int) -> tuple[Word | None, list[Word]]:
    word = words[place]
    _, equals, value = word.text.partition("=")
    if equals:
        return Word(text=value, origin=word.origin), words[:place] + words[place + 1 :]
    if place + 1 >= len(words) or words[place + 1].text.startswith("-"):
        return None, words
    return words[place + 1], words[:place] + words[place + 2 :]


def _spell(words: list[Word], program: EngineProgram) -> list[Word]:
    """Underscores as dashes in names, `-O3` in full, `--help=word` as `--help`."""
    level = "--optimization-level" if "--optimization-level" in program.options else "-O.level"
    spelt: list[Word] = []
    for at, word in enumerate(words):
        text = word.text
        following = words[at + 1].text if at + 1 < len(words) else ""
        if text.startswith("--help="):
            texts = ["--help"]
        elif text.startswith("--"):
            name, equals, value = text.partition("=")
            texts = [_NAME.sub(lambda match: match[0].replace("_", "-"), name, count=1) + equals + value]
        elif text.startswith("-O") and text != "-O" and not text.startswith("-O."):
            given = text[3:] if text[2] == "=" else text[2:]
            texts = [level, given] if level.startswith("--") else [f"{level}={given}"]
        elif text == "-O" and following in {"0", "1", "2", "3"}:
            texts = [level]
        else:
            texts = [text]
        spelt.extend(Word(text=new, origin=word.origin) for new in texts)
    return spelt


def _join_dotted(words: list[Word]) -> list[Word]:
    """`--flag.a.b 1` and `--flag.c+ x,y` -> one `--flag JSON` at the end, as vLLM does."""
    kept: list[Word] = []
    joined: dict[str, dict[str, Any]] = {}
    origins: dict[str, int] = {}
    skip = False
    for at, word in enumerate(words):
        if skip:
            skip = False
            continue
        name, equals, value = word.text.partition("=")
        if not (word.text.startswith("-") and "." in name):
            kept.append(word)
            continue
        if not equals:
            if at + 1 >= len(words):
                kept.append(word)
                continue
            value, skip = words[at + 1].text, True
        if name.endswith("+"):
            name, value = name[:-1], json.dumps(value.split(","))
        key, *keys = name.split(".")
        nested: Any = _read_dotted(value)
        for part in reversed(keys):
            nested = {part: nested}
        origins.setdefault(key, word.origin)
        _merge(joined.setdefault(key, {}), nested)
    for key, fields in joined.items():
        kept += [Word(text=key, origin=origins[key]), Word(text=json.dumps(fields), origin=origins[key])]
    return kept


def _read_dotted(value: str) -> Any:
    try:
        return json.loads(value)
    except BAD_JSON:
        try:
            return read_human_int(value)
        except (ValueError, OverflowError):
            return value


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        known = into.get(key)
        if isinstance(value, dict) and isinstance(known, dict):
            _merge(known, value)
        elif isinstance(value, list) and isinstance(known, list):
            known += value
        else:
            into[key] = value
