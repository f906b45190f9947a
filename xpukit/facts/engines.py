"""Which flags, choices and registered names each version of an engine accepts (data/engines/, loaded when asked)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from xpukit.core.errors import BadFactsError, UsageError
from xpukit.facts.engine_import import Extracted, decode_extracted, join_versions
from xpukit.facts.engine_records import SCHEMA, EngineFile, Ranges, is_in
from xpukit.facts.engine_rules import load_rules
from xpukit.facts.engine_versions import find_engine, version_key
from xpukit.facts.paths import data_dir

# Closures and the like: their names say nothing of what they accept.
_MADE_TYPES = ("_", "<", "partial(")
_PYTHON = re.compile(r"^(?:\S*/)?python\S* ")


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """One argument of a program, as argparse sees it. No `flags`: a positional one."""

    flags: tuple[str, ...]
    dest: str
    action: str
    type: str
    nargs: int | str | None
    choices: tuple[Any, ...] | None
    default: Any
    required: bool
    deprecated: bool

    @property
    def name(self) -> str:
        """How an error message calls it."""
        return "/".join(self.flags) or self.dest


class EngineProgram(msgspec.Struct, frozen=True, kw_only=True):
    """A command with its arguments; `options` maps every spelling to its argument."""

    name: str
    allow_abbrev: bool
    flags: tuple[Flag, ...]
    options: dict[str, Flag]
    positionals: tuple[Flag, ...]


class EngineSchema(msgspec.Struct, frozen=True, kw_only=True):
    """What one version accepts. `label` is empty for an exact schema, else says which guess this is."""

    engine: str
    version: str
    programs: dict[str, EngineProgram]
    registries: dict[str, tuple[str, ...]]
    subcommands: dict[str, tuple[str, ...]]
    source: str
    date: str
    label: str = ""

    @property
    def exact(self) -> bool:
        """Whether this is the schema of the very version that was asked for."""
        return not self.label


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """Which known schema stands for an image or package; `label` says why where it is a guess."""

    engine: str
    asked: str
    version: str
    exact: bool
    label: str = ""


def list_engines() -> tuple[str, ...]:
    """The engines we have schemas of."""
    return tuple(sorted(path.name.removesuffix(".json.xz") for path in _folder().glob("*.json.xz")))


def list_versions(engine: str) -> tuple[str, ...]:
    """Known versions, oldest first. Raises UsageError for an unknown engine, BadFactsError."""
    return load_file(engine).versions


def load_engine(engine: str, version: str) -> EngineSchema:
    """The schema of exactly this version. Raises UsageError when it is not known, BadFactsError."""
    file = load_file(engine)
    if version not in file.versions:
        raise UsageError(
            f"no schema of {engine} {version}", hint=f"known: {', '.join(file.versions[-8:])} (and older ones)"
        )
    return _pick_version(engine, version)


def load_resolved(resolution: Resolution) -> EngineSchema:
    """The schema that a resolution names, carrying its label. Raises UsageError, BadFactsError."""
    return msgspec.structs.replace(load_engine(resolution.engine, resolution.version), label=resolution.label)


def load_schema_file(path: Path) -> EngineSchema:
    """The flags that an image's own engine gave, from a file: see read_flags_document. Raises BadFactsError."""
    try:
        data = path.read_bytes()
    except OSError as err:
        raise BadFactsError(f"{path}: cannot be read: {err}", hint="check the path and its permissions") from err
    return read_flags_document(data, source=str(path))


def read_flags_document(document: bytes | Mapping[str, Any], *, source: str = "the image's own parser") -> EngineSchema:
    """A schema from `xpukit.engine-flags/1` (images/engine_flags.py) or from what scripts/import-engine-schemas reads.

    Programs get our names. What the document has no word of (the other programs, the registries) is taken from the
    packaged schema where that is of the very version. Flags read from a help text are a guess, and labelled so.
    Raises BadFactsError.
    """
    raw = document if isinstance(document, bytes) else msgspec.json.encode(document)
    found = decode_extracted(raw, source=source)
    engine = find_engine(found.engine)
    if engine is None:
        raise BadFactsError(
            f"{source}: {found.engine!r} is no engine we know", hint=f"known: {', '.join(list_engines())}"
        )
    entries = {" ".join(entry.words): entry.program for entry in load_rules().entry if engine in entry.engines}
    names = {name: entries.get(_PYTHON.sub("python ", name), name) for name in found.parsers}
    own = build_schema(
        msgspec.structs.replace(
            found,
            engine=engine,
            version=found.version or "of this image",
            parsers={names[name]: actions for name, actions in found.parsers.items()},
            allow_abbrev={names.get(name, name): allowed for name, allowed in found.allow_abbrev.items()},
        ),
        source=source,
        date="",
    )
    label = "guess: flags read from the help text, which does not hold all" if found.method == "help" else ""
    resolution = resolve_version(engine, found.version)
    packaged = load_resolved(resolution)
    programs = {name: _complete(program, packaged.programs.get(name), found) for name, program in own.programs.items()}
    if not resolution.exact:
        return msgspec.structs.replace(own, label=label, programs=programs)
    return msgspec.structs.replace(
        own,
        label=label,
        programs={**packaged.programs, **programs},
        registries=own.registries or packaged.registries,
        subcommands=own.subcommands or packaged.subcommands,
    )


def _complete(own: EngineProgram, packaged: EngineProgram | None, found: Extracted) -> EngineProgram:
    """What the image's parser could not say: names of types made while running, and positionals in a help text."""
    if packaged is None:
        return own
    flags = tuple(_name_type(flag, packaged) for flag in own.flags)
    if found.method == "help" and not own.positionals:
        flags = (*packaged.positionals, *flags)
    return _build_program(own.name, own.allow_abbrev, flags)


def _name_type(flag: Flag, packaged: EngineProgram) -> Flag:
    if not flag.type.startswith(_MADE_TYPES):
        return flag
    same = next((packaged.options[word] for word in flag.flags if word in packaged.options), None)
    return flag if same is None or same.dest != flag.dest else msgspec.structs.replace(flag, type=same.type)


def build_schema(extracted: Extracted, *, source: str, date: str) -> EngineSchema:
    """One extracted version as a schema."""
    file = join_versions([extracted], order={extracted.version: 0}, source=source, date=date)
    return _at_index(file, 0)


def resolve_engine(text: str) -> Resolution:
    """`vllm==0.21.0`, `intel/llm-scaler-vllm:0.14.0-b8`, `sglang` -> the exact or nearest known schema.

    The nearest is the newest that is not newer than what was asked, else the oldest known. Raises UsageError when the
    text names no engine we have schemas of.
    """
    name, asked = _split_name(text)
    return _resolve(name, asked, text)


def resolve_version(engine: str, version: str) -> Resolution:
    """The same from a name and a version or tag apart; with version "" as resolve_engine. Raises UsageError."""
    if not version:
        return resolve_engine(engine)
    return _resolve(engine, version[1:] if version[:1] == "v" and version[1:2].isdigit() else version, engine)


def _resolve(name: str, asked: str, text: str) -> Resolution:
    engine = find_engine(name)
    if engine is None or engine not in list_engines():
        raise UsageError(f"{text}: not an engine or image we know", hint=f"known engines: {', '.join(list_engines())}")
    versions = list_versions(engine)
    if asked in versions:
        return Resolution(engine=engine, asked=asked, version=asked, exact=True)
    key = version_key(asked, engine=engine) if asked else None
    if key is None:
        why = f"the version {asked!r} says nothing" if asked else "no version was named"
        return Resolution(
            engine=engine,
            asked=asked,
            version=versions[-1],
            exact=False,
            label=f"guess: {why}; checked against {engine} {versions[-1]}, the newest known",
        )
    keys = {version: version_key(version, engine=engine) for version in versions}
    for version in versions:
        if keys[version] == key:
            return Resolution(engine=engine, asked=asked, version=version, exact=True)
    older = [version for version in versions if (known := keys[version]) is not None and known <= key]
    nearest = older[-1] if older else versions[0]
    return Resolution(
        engine=engine,
        asked=asked,
        version=nearest,
        exact=False,
        label=f"guess: no schema of {engine} {asked}; checked against {nearest}, the nearest known",
    )


def _split_name(text: str) -> tuple[str, str]:
    text = text.strip().split("@", 1)[0]  # a digest says nothing about the version
    for separator in ("==", "~=", ">=", "="):
        if separator in text:
            name, _, version = text.partition(separator)
            return name.strip(), version.strip()
    head, colon, tag = text.rpartition(":")
    # A colon before a slash is a registry's port.
    if not colon or "/" in tag:
        return text, ""
    return head, tag[1:] if tag[:1] == "v" and tag[1:2].isdigit() else tag


def _folder() -> Path:
    return data_dir() / "engines"


@cache
def load_file(engine: str) -> EngineFile:
    """All versions of an engine, as they lie on disk. Raises UsageError for an unknown engine, BadFactsError."""
    import lzma

    path = _folder() / f"{engine}.json.xz"
    if engine not in list_engines():
        raise UsageError(f"no schemas of engine {engine!r}", hint=f"known: {', '.join(list_engines())}")
    try:
        file = msgspec.json.decode(lzma.decompress(path.read_bytes()), type=EngineFile)
    except (OSError, lzma.LZMAError, msgspec.MsgspecError) as err:
        raise BadFactsError(f"{path}: {err}", hint="restore the file from the package") from err
    if file.schema != SCHEMA:
        raise BadFactsError(f"{path}: schema {file.schema!r} is not {SCHEMA!r}", hint="restore the file")
    return file


@cache
def _pick_version(engine: str, version: str) -> EngineSchema:
    file = load_file(engine)
    return _at_index(file, file.versions.index(version))


def _at_index(file: EngineFile, index: int) -> EngineSchema:
    flags: dict[str, list[Flag]] = {program.name: [] for program in file.programs if is_in(program.versions, index)}
    for record in file.flags:
        for place, ranges in record.programs.items():
            if is_in(ranges, index):
                flags[file.programs[int(place)].name].append(
                    Flag(
                        flags=record.flags,
                        dest=record.dest,
                        action=record.action,
                        type=record.type,
                        nargs=record.nargs,
                        choices=None if record.choices < 0 else file.choices[record.choices],
                        default=record.default,
                        required=record.required,
                        deprecated=record.deprecated,
                    )
                )
    return EngineSchema(
        engine=file.engine,
        version=file.versions[index],
        programs={
            program.name: _build_program(program.name, program.allow_abbrev, tuple(flags[program.name]))
            for program in file.programs
            if program.name in flags
        },
        registries=_names_at(file.registries, index),
        subcommands=_names_at(file.subcommands, index),
        source=file.source,
        date=file.date,
    )


def _build_program(name: str, allow_abbrev: bool, flags: tuple[Flag, ...]) -> EngineProgram:
    return EngineProgram(
        name=name,
        allow_abbrev=allow_abbrev,
        flags=flags,
        options={option: flag for flag in flags for option in flag.flags},
        positionals=tuple(flag for flag in flags if not flag.flags),
    )


def _names_at(tables: dict[str, dict[str, Ranges]], index: int) -> dict[str, tuple[str, ...]]:
    picked = {
        table: tuple(name for name, ranges in names.items() if is_in(ranges, index)) for table, names in tables.items()
    }
    return {table: names for table, names in picked.items() if names}
