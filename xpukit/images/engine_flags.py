"""The arguments that an image's engine accepts, as its own parser has them, normalised so that they can be compared."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from xpukit.core.json_document import BAD_JSON, encode_json
from xpukit.facts.recipes import Recipe
from xpukit.host.docker_daemon import DockerDaemon
from xpukit.images.engine_flags_help import parse_help
from xpukit.images.inside import load_program, run_inside, run_program

SCHEMA = "xpukit.engine-flags/1"
LABEL_FLAGS = "io.xpukit.engine-flags"
LABEL_FLAGS_HASH = "io.xpukit.engine-flags-sha256"
# Engines import torch and their kernels before they build the parser.
TIMEOUT_S = 300.0
_LABEL_LIMIT_BYTES = 48_000
_INFLATED_LIMIT_BYTES = 16 << 20
# A default with a random or a run's own part: eight or more hexadecimal digits, letters and digits mixed.
_RANDOM = re.compile(r"(?<![0-9a-zA-Z])(?=[0-9a-f-]*\d)(?=[0-9a-f-]*[a-f])[0-9a-f]{8}[0-9a-f-]*(?![0-9a-zA-Z])")
_TEMPORARY = re.compile(r"^/tmp/|/xpukit-flags-|\bat 0x[0-9a-f]+")
_KEYS = (
    "action", "choices", "const", "default", "deprecated", "dest", "flags", "group", "hidden", "nargs", "positional",
    "required", "type",
)  # fmt: skip


class EngineFlags(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine accepts, by command. `method` "parser": its own; "help": read from its help text, a guess.

    The entries of `parsers` have the keys action, choices, const, default, dest, flags, group, nargs, positional,
    required, type, hidden, deprecated; those without a value are left out.
    """

    engine: str
    version: str
    parsers: dict[str, tuple[dict[str, Any], ...]]
    allow_abbrev: dict[str, bool]
    method: Literal["parser", "help"]


def read_flags(
    daemon: DockerDaemon, container: str, recipe: Recipe, *, version: str = "", timeout_s: float = TIMEOUT_S
) -> EngineFlags | None:
    """Ask the engine inside a running container; None where the image has no engine or nothing could be read."""
    argv = recipe.answers.engine_argv
    if not argv:
        return None
    version = version or recipe.answers.engine_version
    said = run_program(
        daemon,
        container,
        "read_flags.py",
        (load_program("flags_hook.py"), str(timeout_s), *argv),
        timeout_s=timeout_s + 30,
    )
    if isinstance(said, dict) and isinstance(said.get("parser"), dict):
        return normalise_parser(recipe.answers.engine, version, argv, said["parser"])
    text = str(said.get("help", "")) if isinstance(said, dict) else ""
    if not text:
        answer = run_inside(daemon, container, recipe.answers.help_argv or (*argv, "--help"), timeout_s=timeout_s)
        text = answer.out.decode("utf-8", "replace")
    entries = parse_help(text)
    if not entries:
        return None
    return _make(recipe.answers.engine, version, argv, entries, allow_abbrev=True, method="help")


def normalise_parser(engine: str, version: str, argv: Sequence[str], raw: Mapping[str, Any]) -> EngineFlags | None:
    """What the hook wrote down, in our order and without what changes from run to run. None for anything else."""
    options = raw.get("options")
    if not isinstance(options, list):
        return None
    entries = [dict(entry) for entry in options if isinstance(entry, dict)]
    return _make(engine, version, argv, entries, allow_abbrev=bool(raw.get("allow_abbrev", True)), method="parser")


def _make(
    engine: str,
    version: str,
    argv: Sequence[str],
    entries: Sequence[Mapping[str, Any]],
    *,
    allow_abbrev: bool,
    method: Literal["parser", "help"],
) -> EngineFlags:
    command = " ".join(argv)
    cleaned = sorted((_clean(entry) for entry in entries), key=_order)
    return EngineFlags(
        engine=engine,
        version=version,
        parsers={command: tuple(cleaned)},
        allow_abbrev={command: allow_abbrev},
        method=method,
    )


def _order(entry: Mapping[str, Any]) -> tuple[bool, str, tuple[str, ...]]:
    """Positionals first (they are matched by place, so among them the parser's order is kept by the stable sort)."""
    positional = bool(entry.get("positional"))
    return (not positional, "" if positional else str(entry.get("dest", "")), tuple(entry.get("flags", ())))


def _clean(entry: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: entry[key] for key in _KEYS if entry.get(key) is not None}
    choices = kept.get("choices")
    if isinstance(choices, list):
        # Sets come in any order; so that a hash means something, all are sorted.
        kept["choices"] = sorted(choices, key=_order_choice)
    elif choices is not None:
        del kept["choices"]
    if _is_unsteady(kept.get("default")):
        del kept["default"]
    return kept


def _order_choice(value: object) -> tuple[bool, bool, str, str]:
    """Numbers by size, then texts of digits by size, then words by the alphabet."""
    text = str(value)
    words = isinstance(value, str)
    return (words, words and not text.isdecimal(), text.zfill(20) if text.isdecimal() else text, text)


def _is_unsteady(value: object) -> bool:
    return isinstance(value, str) and bool(_RANDOM.search(value) or _TEMPORARY.search(value))


def encode_flags(flags: EngineFlags) -> bytes:
    """The file's content; the same flags give the same bytes."""
    return encode_json({"schema": SCHEMA, **msgspec.to_builtins(flags)}).encode()


def hash_flags(flags: EngineFlags) -> str:
    """SHA-256 over the compact form, hexadecimal."""
    return hashlib.sha256(_encode_compact(flags)).hexdigest()


def _encode_compact(flags: EngineFlags) -> bytes:
    return json.dumps(msgspec.to_builtins(flags), sort_keys=True, separators=(",", ":")).encode()


def make_labels(flags: EngineFlags) -> dict[str, str]:
    """Labels from which `read_label` gets the flags back. The text itself is left out where it would be too long."""
    packed = base64.b64encode(zlib.compress(_encode_compact(flags), 9)).decode()
    labels = {LABEL_FLAGS_HASH: hash_flags(flags)}
    if len(packed) <= _LABEL_LIMIT_BYTES:
        labels[LABEL_FLAGS] = packed
    return labels


def read_label(labels: Mapping[str, str]) -> EngineFlags | None:
    """The flags of an image from its labels; None where they are not there, or damaged (the hash must fit)."""
    packed = labels.get(LABEL_FLAGS, "")
    if not packed:
        return None
    try:
        inflated = zlib.decompressobj().decompress(base64.b64decode(packed, validate=True), _INFLATED_LIMIT_BYTES)
        flags = msgspec.json.decode(inflated, type=EngineFlags)
    except (zlib.error, *BAD_JSON):
        return None
    return flags if hash_flags(flags) == labels.get(LABEL_FLAGS_HASH) else None


def list_flag_names(flags: EngineFlags) -> dict[str, dict[str, Any]]:
    """Every spelling of every flag, with its entry."""
    return {
        name: entry
        for entries in flags.parsers.values()
        for entry in entries
        for name in (entry.get("flags") or (f"<{entry.get('dest', '?')}>",))
    }
