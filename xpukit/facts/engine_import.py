"""From an engine's extracted schema (one JSON document a version) to our records.

The document holds what the engine's own parser says of itself: `engine`, `version`, `parsers` (program -> its
argparse actions), `allow_abbrev`, `registries`, `subcommands`. What differs from run to run (order of sets, random or
machine-made defaults) is taken out, so that the same engine gives the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.core.json_document import BAD_JSON
from xpukit.facts.engine_records import SCHEMA, EngineFile, FlagRecord, Program, build_ranges, is_in

# Filled at random or from the machine the parser ran on.
_UNSTABLE_DEFAULTS = frozenset({"request_id_prefix"})
# What went wrong while extracting is no registry.
_NOT_REGISTRIES = frozenset({"err", "tool_err"})


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One argparse action as extracted; what else is written of it is not read."""

    dest: str
    flags: tuple[str, ...] = ()
    action: str = "StoreAction"
    type: str | None = None
    nargs: int | str | None = None
    choices: list[Any] | None = None
    default: Any = None
    required: bool = False
    deprecated: bool = False


class Extracted(msgspec.Struct, frozen=True, kw_only=True):
    """One version's extracted schema, as far as it is read."""

    engine: str
    version: str
    parsers: dict[str, list[Action]]
    allow_abbrev: dict[str, bool] = {}
    registries: dict[str, list[str] | str] = {}
    subcommands: list[str] = []
    bench_subcommands: list[str] = []
    # How xpukit's own extractor got them: "parser" or "help".
    method: str = "parser"


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    """One normalised argument, before versions are joined."""

    flags: tuple[str, ...]
    dest: str
    action: str
    type: str
    nargs: int | str | None
    choices: tuple[Any, ...] | None
    default: Any
    required: bool
    deprecated: bool


def decode_extracted(data: bytes, *, source: str) -> Extracted:
    """Read an extracted schema. Raises BadFactsError naming `source`."""
    try:
        found = msgspec.convert(json.loads(data), Extracted)
    except BAD_JSON as err:
        raise BadFactsError(
            f"{source}: not a schema of an engine: {err}", hint="extract it again with xpukit's own extractor"
        ) from err
    if not found.parsers:
        raise BadFactsError(f"{source}: holds no parser", hint="extract it again; the engine may not have started")
    return found


def normalise_argument(action: Action) -> Argument:
    """One argparse action as extracted -> Argument: choices sorted, unstable defaults dropped."""
    choices = action.choices
    # argparse's text for "leave it out" and objects that JSON cannot hold say nothing to a reader.
    default = None if action.dest in _UNSTABLE_DEFAULTS else _plain(action.default)
    return Argument(
        flags=action.flags,
        dest=action.dest,
        action=action.action,
        type=action.type or "",
        nargs=action.nargs,
        choices=None
        if choices is None
        else tuple(sorted(choices, key=lambda choice: (str(type(choice)), str(choice)))),
        default=default,
        required=action.required,
        deprecated=action.deprecated or action.action.startswith("Deprecated"),
    )


def _plain(default: Any) -> Any:
    if default == "==SUPPRESS==":
        return None
    if isinstance(default, dict):
        return None if not default or "__obj__" in default else {str(key): value for key, value in default.items()}
    if isinstance(default, float) and not math.isfinite(default):
        return str(default)
    return default


def join_versions(found: Iterable[Extracted], *, order: dict[str, int], source: str, date: str) -> EngineFile:
    """Join all versions of one engine. `order`: version -> its rank. Raises BadFactsError for mixed engines."""
    schemas = sorted(found, key=lambda schema: order[schema.version])
    names = {schema.engine for schema in schemas}
    if len(names) != 1:
        raise BadFactsError(f"schemas of several engines: {', '.join(sorted(names))}", hint="join one engine at a time")
    programs = sorted({program for schema in schemas for program in schema.parsers})
    places: dict[bytes, dict[str, list[int]]] = {}
    contents: dict[bytes, Argument] = {}
    for index, schema in enumerate(schemas):
        for name, actions in schema.parsers.items():
            for action in actions:
                argument = normalise_argument(action)
                content = msgspec.json.encode(argument)
                contents.setdefault(content, argument)
                at = places.setdefault(content, {}).setdefault(str(programs.index(name)), [])
                at.append(index)
    choices = {json.dumps(argument.choices): argument.choices for argument in contents.values() if argument.choices}
    # argparse fills positionals in their own order; options have none, and are sorted so that no order of theirs shows.
    ranks = {content: (argument.flags, content if argument.flags else b"") for content, argument in contents.items()}
    flags = tuple(
        FlagRecord(
            flags=argument.flags,
            dest=argument.dest,
            action=argument.action,
            type=argument.type,
            nargs=argument.nargs,
            choices=sorted(choices).index(json.dumps(argument.choices)) if argument.choices else -1,
            default=argument.default,
            required=argument.required,
            deprecated=argument.deprecated,
            programs={program: build_ranges(at) for program, at in sorted(places[content].items())},
        )
        for content, argument in sorted(contents.items(), key=lambda item: ranks[item[0]])
    )
    return EngineFile(
        schema=SCHEMA,
        engine=names.pop(),
        source=source,
        date=date,
        versions=tuple(schema.version for schema in schemas),
        programs=tuple(
            Program(
                name=name,
                versions=build_ranges([i for i, schema in enumerate(schemas) if name in schema.parsers]),
                allow_abbrev=all(schema.allow_abbrev.get(name, True) for schema in schemas if name in schema.parsers),
            )
            for name in programs
        ),
        choices=tuple(choices[text] for text in sorted(choices)),
        flags=flags,
        registries=_join_names({i: schema.registries for i, schema in enumerate(schemas)}),
        subcommands=_join_names(
            {
                i: {"vllm": schema.subcommands, "vllm bench": schema.bench_subcommands}
                for i, schema in enumerate(schemas)
                if schema.subcommands
            }
        ),
    )


def _join_names(by_version: dict[int, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    places: dict[str, dict[str, list[int]]] = {}
    for index, tables in by_version.items():
        for table, names in tables.items():
            if table in _NOT_REGISTRIES or isinstance(names, str):
                continue
            for name in names:
                places.setdefault(table, {}).setdefault(name, []).append(index)
    return {
        table: {name: build_ranges(at) for name, at in sorted(names.items())} for table, names in sorted(places.items())
    }


def split_versions(file: EngineFile) -> list[Extracted]:
    """The versions of a joined file, as they were extracted but for what normalising took out."""
    return [_extract_at(file, index) for index in range(len(file.versions))]


def _extract_at(file: EngineFile, index: int) -> Extracted:
    parsers: dict[str, list[Action]] = {program.name: [] for program in file.programs if is_in(program.versions, index)}
    for record in file.flags:
        for place, ranges in record.programs.items():
            if is_in(ranges, index):
                parsers[file.programs[int(place)].name].append(
                    Action(
                        dest=record.dest,
                        flags=record.flags,
                        action=record.action,
                        type=record.type or None,
                        nargs=record.nargs,
                        choices=None if record.choices < 0 else list(file.choices[record.choices]),
                        default=record.default,
                        required=record.required,
                        deprecated=record.deprecated,
                    )
                )
    names = {
        table: [name for name, ranges in ranges_by_name.items() if is_in(ranges, index)]
        for table, ranges_by_name in {**file.registries, **file.subcommands}.items()
    }
    return Extracted(
        engine=file.engine,
        version=file.versions[index],
        parsers=parsers,
        allow_abbrev={program.name: program.allow_abbrev for program in file.programs if program.name in parsers},
        registries={table: names[table] for table in file.registries if names[table]},
        subcommands=names.get("vllm", []),
        bench_subcommands=names.get("vllm bench", []),
    )
