"""What the engine looks at once its parser is content: deprecations, registered names, pairs, variables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from xpukit.facts.engine_history import find_name_change
from xpukit.facts.engine_rules import Combination, has_quirk, load_rules
from xpukit.facts.engines import EngineProgram, EngineSchema
from xpukit.serve.validate_parse import Given, Parsed
from xpukit.serve.validate_problem import Problem, at_version
from xpukit.serve.validate_replace import find_nearest, find_replacement


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
                replacement=found.words if found is not None else (),
                removable=found is not None and not found.words,
                takes=found.taken if found is not None else 0,
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
        problems.append(
            Problem(
                kind="registry",
                severity="error",
                stage="engine",
                argument=given.typed + (f".{rule.key}" if rule.key else ""),
                value=value,
                message=f"{given.typed}: {at_version(schema)} knows no {value!r} ({rule.registries[0]})"
                + (f"; {when}" if when else "")
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
    except (ValueError, RecursionError):
        return None
    return fields.get(key) if isinstance(fields, dict) else None


def _is_on(given: Given | None) -> bool:
    return given is not None and not (given.flag.nargs == 0 and given.option.startswith(("--no-", "--disable-")))


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
    return _is_on(other) and other is not None and not (rule.unless_value and rule.unless_value in other.values)


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


def check_environment(env: Mapping[str, str], schema: EngineSchema) -> list[Problem]:
    """Variables with the engine's prefix that it does not read."""
    problems: list[Problem] = []
    for rule in load_rules().environment:
        known = schema.registries.get(rule.registry, ())
        if not known or not rule.holds(schema.engine, schema.version):
            continue
        for name in env:
            if not name.startswith(rule.prefix) or name in known:
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
