"""What the engine looks at once its parser is content: deprecations, registered names, pairs, variables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from xpukit.core.json_document import BAD_JSON
from xpukit.facts.engine_history import find_engines_with_name, find_name_change
from xpukit.facts.engine_rules import Combination, has_quirk, load_rules
from xpukit.facts.engine_variables import is_named
from xpukit.facts.engines import EngineProgram, EngineSchema
from xpukit.serve.validate_parse import Given, Parsed
from xpukit.serve.validate_problem import Problem, at_version
from xpukit.serve.validate_replace import find_nearest, find_replacement
from xpukit.serve.validate_types import convert_value


def check_deprecated(parsed: Parsed, program: EngineProgram, schema: EngineSchema) -> list[Problem]:
    """Flags that this version warns of (or refuses), and abbreviations."""
    problems: list[Problem] = []
    refused = has_quirk("deprecated-refused", schema.engine, schema.version)
    for given in parsed.given:
        if given.abbreviated:
            problems.append(
                Problem(
                    kind="abbreviation",
                    severity="note",
                    stage="parser",
                    argument=given.typed,
                    message=f"{given.typed}: short for {given.option}; a version with another flag of this beginning"
                    " refuses it",
                    replacement=(given.option,),
                    origin=given.origin,
                )
            )
        if not given.flag.deprecated:
            continue
        found = find_replacement(given.option, given.values, program.name, schema)
        instead = f"; write {' '.join(found.words) or 'nothing'} instead ({found.reason})" if found else ""
        ends = refused and given.flag.action == "DeprecatedAction"
        problems.append(
            Problem(
                kind="deprecated",
                severity="error" if ends else "warning",
                stage="parser",
                argument=given.typed,
                value=" ".join(given.values),
                message=f"{given.typed}: {'refused' if ends else 'deprecated'} in {at_version(schema)}{instead}",
                replacement=found.ready if found is not None else (),
                removable=found is not None and found.removable,
                takes=found.taken if found is not None else 0,
                reason=found.reason if found is not None else "",
                source=found.source if found is not None else "",
                origin=given.origin,
            )
        )
    return problems


def check_registries(parsed: Parsed, schema: EngineSchema) -> list[Problem]:
    """Values that the engine looks up in a registry after parsing."""
    problems: list[Problem] = []
    for rule in load_rules().registry:
        given = parsed.find(rule.dest)
        if given is None or not given.values or not rule.holds(schema.engine, schema.version):
            continue
        value: Any = given.values[0]
        if rule.key:
            value = _read_key(value, rule.key)
        known = [name for registry in rule.registries for name in schema.registries.get(registry, ())]
        # A closed list of choices was the parser's to check; an empty value or None asks for nothing.
        if not known or not isinstance(value, str) or value in ("", "None") or given.flag.choices is not None:
            continue
        if value.lower() in {name.lower() for name in known} or (rule.unless and parsed.find(rule.unless)):
            continue
        change = find_name_change(schema.engine, schema.version, rule.registries[0], value)
        when, near = change.describe(schema.engine), find_nearest(value, tuple(known))
        others = () if when else find_engines_with_name(rule.registries[0], value, other_than=schema.engine)
        problems.append(
            Problem(
                kind="registry",
                severity="error",
                stage="engine",
                argument=given.typed + (f".{rule.key}" if rule.key else ""),
                value=value,
                message=f"{given.typed}: {at_version(schema)} knows no {value!r} ({rule.registries[0]})"
                + (f"; {when}" if when else "")
                + (f"; {' and '.join(others)} has it" if others else "")
                + (f"; nearest: {', '.join(near)}" if near else ""),
                changed_in=change.version,
                nearest=near,
                source=rule.source,
                origin=given.origin,
            )
        )
    return problems


def _read_key(text: str, key: str) -> Any:
    try:
        fields = json.loads(text)
    except BAD_JSON:
        return None
    return fields.get(key) if isinstance(fields, dict) else None


_OFF = ("--no-", "--disable-")


def _is_on(given: Given | None) -> bool:
    """Whether it was given, and not by the spelling that turns it off (`--disable-log-stats` has no other)."""
    if given is None:
        return False
    two_sided = given.flag.nargs == 0 and any(not option.startswith(_OFF) for option in given.flag.flags)
    return not (two_sided and given.option.startswith(_OFF))


def _breaks(rule: Combination, parsed: Parsed) -> bool:
    given = parsed.find(rule.dest)
    if not _is_on(given) or given is None or (rule.value and rule.value not in given.values):
        return False
    if rule.needs:
        other = parsed.find(rule.needs)
        if other is None or not _is_on(other):
            return True
        return bool(rule.needs_values) and not set(other.values) & set(rule.needs_values)
    other = parsed.find(rule.excludes)
    if not _is_on(other) or other is None or (rule.unless_value and rule.unless_value in other.values):
        return False
    return not rule.excludes_values or bool(set(other.values) & set(rule.excludes_values))


def check_combinations(parsed: Parsed, program: EngineProgram, schema: EngineSchema) -> list[Problem]:
    """Arguments that need or exclude each other."""
    problems: list[Problem] = []
    known = {flag.dest for flag in program.flags}
    for rule in load_rules().combination:
        if rule.program != program.name or not rule.holds(schema.engine, schema.version):
            continue
        # A version without the other argument cannot ask for it.
        if (rule.needs and rule.needs not in known) or not _breaks(rule, parsed):
            continue
        given = parsed.find(rule.dest)
        problems.append(
            Problem(
                kind="combination",
                severity=rule.severity,
                stage="engine",
                argument=given.typed if given else rule.dest,
                value=rule.value,
                message=rule.reason,
                source=rule.source,
                origin=given.origin if given else -1,
            )
        )
    return problems


def check_arithmetic(parsed: Parsed, program: EngineProgram, schema: EngineSchema) -> list[Problem]:
    """Numbers that the engine refuses together. What was not given counts with its default, where that is a number."""
    problems: list[Problem] = []
    for rule in load_rules().arithmetic:
        if rule.program != program.name or not rule.holds(schema.engine, schema.version):
            continue
        if any(parsed.find(program.options[word].dest) for word in rule.unless if word in program.options):
            continue
        named = [
            parsed.find(program.options[word].dest) for word in (*rule.left, rule.right) if word in program.options
        ]
        given = next((found for found in named if found is not None), None)
        right = _read_number(rule.right, parsed, program, missing=None)
        factors = [_read_number(word, parsed, program, missing=1) for word in rule.left]
        if given is None or right is None or right <= 0 or any(factor is None for factor in factors):
            continue
        left = math.prod(factor for factor in factors if factor is not None)
        # A size of 0 or less switches a thing off.
        if left <= 0 or (left % right == 0 if rule.relation == "multiple-of" else left <= right):
            continue
        problems.append(
            Problem(
                kind="combination",
                severity="error",
                stage="engine",
                argument=given.typed,
                value=str(left),
                message=f"{' x '.join(rule.left)} is {left}, {rule.right} is {right}: {rule.reason}",
                source=rule.source,
                origin=given.origin,
            )
        )
    return problems


def _read_number(word: str, parsed: Parsed, program: EngineProgram, *, missing: int | None) -> int | None:
    flag = program.options.get(word)
    if flag is None:
        return missing
    given = parsed.find(flag.dest)
    if given is None or not given.values:
        return flag.default if type(flag.default) is int else None
    try:
        value = convert_value(flag.type, given.values[0])
    except (ValueError, OverflowError):
        return None
    return value if type(value) is int else None


def check_environment(env: Mapping[str, str], schema: EngineSchema) -> list[Problem]:
    """Variables with the engine's prefix that it does not read."""
    problems: list[Problem] = []
    for rule in load_rules().environment:
        known = schema.registries.get(rule.registry, ())
        if not known or not rule.holds(schema.engine, schema.version):
            continue
        for name in env:
            if not name.startswith(rule.prefix) or is_named(name, known):
                continue
            change = find_name_change(schema.engine, schema.version, rule.registry, name)
            when, near = change.describe(schema.engine), find_nearest(name, known)
            problems.append(
                Problem(
                    kind="environment",
                    severity="warning",
                    stage="engine",
                    argument=name,
                    value=env[name],
                    message=f"{name}: {at_version(schema)} reads no such variable"
                    + (f"; {when}" if when else "")
                    + (f"; nearest: {', '.join(near)}" if near and not when else ""),
                    changed_in=change.version,
                    nearest=near,
                    source=rule.source,
                )
            )
    return problems
