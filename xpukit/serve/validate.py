"""Whether an engine's version accepts a command, and if not: what is wrong, since when, and what to write instead."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from xpukit.facts.engine_history import find_choice_change, find_flag_change, find_name_change, find_program_change
from xpukit.facts.engine_rules import Combination, has_quirk, load_rules
from xpukit.facts.engines import EngineProgram, EngineSchema
from xpukit.serve.validate_command import Command, Rewritten, find_command, rewrite_words
from xpukit.serve.validate_parse import Given, Parsed, Refusal, parse_arguments
from xpukit.serve.validate_replace import find_nearest, find_replacement

Kind = Literal[
    "unknown-flag",
    "extra-word",
    "ambiguous",
    "choice",
    "type",
    "argument-count",
    "missing",
    "model-option",
    "unknown-program",
    "registry",
    "combination",
    "deprecated",
    "abbreviation",
    "environment",
    "unchecked",
]
Severity = Literal["error", "warning", "note"]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing about a command. `stage`: who refuses it, the argument parser or the engine after it.

    `changed_in` is the version where it came or went, `replacement` the words to write instead ("()" with `removable`:
    leave it out), `nearest` the flags or values that look alike, `origin` the place in the argv (-1: nowhere).
    """

    kind: Kind
    severity: Severity
    stage: Literal["parser", "engine"]
    argument: str
    message: str
    value: str = ""
    changed_in: str = ""
    replacement: tuple[str, ...] = ()
    removable: bool = False
    nearest: tuple[str, ...] = ()
    source: str = ""
    origin: int = -1


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A command read against a schema: what was recognised, and the problems, in the order of the parser."""

    command: Command | None
    rewritten: Rewritten | None
    parsed: Parsed | None
    problems: tuple[Problem, ...]


def validate_command(
    argv: Sequence[str], schema: EngineSchema, *, env: Mapping[str, str] | None = None
) -> tuple[Problem, ...]:
    """All problems of a command (empty: accepted), errors first. Never raises for what is in the argv.

    `env`: variables set for the command beside those written before it (`VLLM_USE_V1=0 vllm serve ...`).
    """
    problems = read_command(argv, schema, env=env or {}).problems
    rank = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(problems, key=lambda problem: rank[problem.severity]))


def is_accepted(problems: Sequence[Problem]) -> bool:
    """Whether nothing of it is an error."""
    return all(problem.severity != "error" for problem in problems)


def read_command(argv: Sequence[str], schema: EngineSchema, *, env: Mapping[str, str]) -> Reading:
    """Read a command as the engine would."""
    command = find_command(argv, engine=schema.engine)
    if command is None:
        return Reading(command=None, rewritten=None, parsed=None, problems=(_explain_no_program(argv, schema),))
    problems = _check_environment({**command.env, **env}, schema)
    program = schema.programs.get(command.entry.program)
    if program is None:
        problem = _explain_missing_program(command.entry.program, schema)
        return Reading(command=command, rewritten=None, parsed=None, problems=(problem, *problems))
    rewritten = rewrite_words(command, program, schema)
    if rewritten.refused:
        problems = [_explain_model(command, rewritten.refused, schema), *problems]
        # Go on as the next version would: the other mistakes are worth knowing too.
        words = tuple(word for word in command.words if word.text != "--model")
        rewritten = msgspec.structs.replace(rewritten, words=words)
    parsed = parse_arguments(rewritten.words, program)
    problems = [
        *(_explain_refusal(refusal, program, schema) for refusal in parsed.refusals),
        *_explain_extras(parsed, program, schema),
        *_check_deprecated(parsed, program, schema),
        *_check_registries(parsed, schema),
        *_check_combinations(parsed, program, schema),
        *problems,
        *_note_moved(rewritten, schema),
    ]
    order = [problem for problem in problems if problem.kind == "model-option" and problem.severity == "error"]
    order += [problem for problem in problems if problem not in order]
    return Reading(command=command, rewritten=rewritten, parsed=parsed, problems=tuple(order))


def _at(schema: EngineSchema) -> str:
    """The version in a message, with the guess where it is one."""
    return f"{schema.engine} {schema.version}" + (f" ({schema.label})" if schema.label else "")


def _explain_no_program(argv: Sequence[str], schema: EngineSchema) -> Problem:
    words = list(argv)
    for start, word in enumerate(words):
        name = word.rsplit("/", 1)[-1]
        # "vllm bench" before "vllm": the longer table says more.
        for table in sorted(schema.subcommands, key=len, reverse=True):
            parts = table.split()
            if [name, *words[start + 1 : start + len(parts)]] != parts or len(words) <= start + len(parts):
                continue
            sub = words[start + len(parts)]
            if sub in schema.subcommands[table]:
                return Problem(
                    kind="unchecked",
                    severity="note",
                    stage="parser",
                    argument=f"{table} {sub}",
                    message=f"{table} {sub}: {_at(schema)} has it, but its flags are not in our schemas: not checked",
                    origin=start,
                )
            near = find_nearest(sub, schema.subcommands[table])
            return Problem(
                kind="unknown-program",
                severity="error",
                stage="parser",
                argument=f"{table} {sub}",
                message=f"{table} {sub}: {_at(schema)} has no such sub-command"
                + (f"; nearest: {', '.join(near)}" if near else ""),
                nearest=near,
                origin=start,
            )
    known = ", ".join(sorted(schema.programs))
    return Problem(
        kind="unknown-program",
        severity="error",
        stage="parser",
        argument=argv[0] if argv else "",
        message=f"no program of {_at(schema)} in this command; known: {known}",
    )


def _explain_missing_program(program: str, schema: EngineSchema) -> Problem:
    change = find_program_change(schema.engine, schema.version, program)
    when = change.describe(schema.engine)
    return Problem(
        kind="unknown-program",
        severity="error",
        stage="parser",
        argument=program,
        message=f"{program}: {_at(schema)} has no such program, or it does not start" + (f"; {when}" if when else ""),
        changed_in=change.version,
    )


def _explain_model(command: Command, refused: str, schema: EngineSchema) -> Problem:
    origin = next((word.origin for word in command.words if word.text.startswith("--model")), -1)
    if refused == "model-value":
        return Problem(
            kind="argument-count",
            severity="error",
            stage="parser",
            argument="--model",
            message="--model: expected one argument",
            origin=origin,
        )
    following = [word.text for word in command.words if word.origin == origin + 1]
    quirk = next(
        quirk
        for quirk in load_rules().quirk
        if quirk.name == "model-option-refused" and quirk.holds(schema.engine, schema.version)
    )
    return Problem(
        kind="model-option",
        severity="error",
        stage="parser",
        argument="--model",
        value=following[0] if following else "",
        message=f"--model: `vllm serve` of {_at(schema)} takes the model as first word (`vllm serve MODEL ...`);"
        f" --model is refused up to {quirk.until}",
        changed_in=quirk.until,
        source=quirk.source,
        origin=origin,
    )


def _note_moved(rewritten: Rewritten, schema: EngineSchema) -> list[Problem]:
    if not rewritten.model_moved:
        return []
    return [
        Problem(
            kind="model-option",
            severity="note",
            stage="parser",
            argument="--model",
            message="--model: `vllm serve` takes the model as first word; the option still works in"
            f" {_at(schema)}, which says that a later version will not have it",
            source="vllm/utils/argparse_utils.py, warning of FlexibleArgumentParser.parse_args",
            origin=rewritten.words[0].origin - 1,
        )
    ]


def _explain_refusal(refusal: Refusal, program: EngineProgram, schema: EngineSchema) -> Problem:
    argument, changed_in = refusal.argument, ""
    message = f"{argument}: {refusal.detail}"
    near: tuple[str, ...] = ()
    values = (refusal.value,) if refusal.value else ()
    found = find_replacement(argument, values, program.name, schema) if argument.startswith("-") else None
    if refusal.fault == "choice":
        flag = program.options.get(argument)
        change = find_choice_change(
            schema.engine, schema.version, program.name, flag.flags[0] if flag else argument, refusal.value
        )
        when = change.describe(schema.engine)
        changed_in = change.version
        near = find_nearest(refusal.value, refusal.candidates)
        message += f" in {_at(schema)}" + (f"; {refusal.value} was {when}" if when else "")
    elif refusal.fault == "ambiguous":
        near = refusal.candidates
        message = f"{argument}: ambiguous in {_at(schema)}: {refusal.detail}"
    if found is not None:
        message += f"; write {' '.join(found.words) or 'nothing'} instead ({found.reason})"
    elif near and refusal.fault == "choice":
        message += f"; nearest: {', '.join(near)}"
    return Problem(
        kind=refusal.fault,
        severity="error",
        stage="parser",
        argument=argument,
        value=refusal.value,
        message=message,
        changed_in=changed_in,
        replacement=found.words if found is not None else (),
        removable=found is not None and not found.words,
        nearest=near,
        origin=refusal.origin,
    )


def _explain_extras(parsed: Parsed, program: EngineProgram, schema: EngineSchema) -> list[Problem]:
    problems: list[Problem] = []
    extras = list(parsed.extras)
    for at, word in enumerate(extras):
        if not word.text.startswith("-") or len(word.text) == 1:
            before = extras[at - 1] if at else None
            if before is not None and before.text.startswith("-") and "=" not in before.text:
                continue  # told of with its flag
            problems.append(
                Problem(
                    kind="extra-word",
                    severity="error",
                    stage="parser",
                    argument=word.text,
                    message=f"{word.text!r}: no argument of {program.name} in {_at(schema)} takes this word",
                    origin=word.origin,
                )
            )
            continue
        name, equals, value = word.text.partition("=")
        values = [value] if equals else []
        if not equals:
            for later in extras[at + 1 :]:
                if later.text.startswith("-"):
                    break
                values.append(later.text)
        problems.append(_explain_unknown(name, tuple(values), word.origin, program, schema))
    return problems


def _explain_unknown(
    name: str, values: tuple[str, ...], origin: int, program: EngineProgram, schema: EngineSchema
) -> Problem:
    change = find_flag_change(schema.engine, schema.version, program.name, name)
    when = change.describe(schema.engine)
    found = find_replacement(name, values, program.name, schema)
    near = () if found is not None else find_nearest(name, tuple(program.options))
    message = f"{name}: {_at(schema)} has no such flag" + (f"; {when}" if when else "")
    if found is not None:
        message += f"; write {' '.join(found.words) or 'nothing'} instead ({found.reason})"
    elif near:
        message += f"; nearest: {', '.join(near)}"
    return Problem(
        kind="unknown-flag",
        severity="error",
        stage="parser",
        argument=name,
        value=" ".join(values),
        message=message,
        changed_in=change.version,
        replacement=found.words if found is not None else (),
        removable=found is not None and not found.words,
        nearest=near,
        source=found.source if found is not None else "",
        origin=origin,
    )


def _check_deprecated(parsed: Parsed, program: EngineProgram, schema: EngineSchema) -> list[Problem]:
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
                message=f"{given.typed}: {'refused' if ends else 'deprecated'} in {_at(schema)}{instead}",
                replacement=found.words if found is not None else (),
                removable=found is not None and not found.words,
                source=found.source if found is not None else "",
                origin=given.origin,
            )
        )
    return problems


def _check_registries(parsed: Parsed, schema: EngineSchema) -> list[Problem]:
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
                message=f"{given.typed}: {_at(schema)} knows no {value!r} ({rule.registries[0]})"
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


def _check_combinations(parsed: Parsed, program: EngineProgram, schema: EngineSchema) -> list[Problem]:
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


def _check_environment(env: Mapping[str, str], schema: EngineSchema) -> list[Problem]:
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
                    message=f"{name}: {_at(schema)} reads no such variable"
                    + (f"; {when}" if when else "")
                    + (f"; nearest: {', '.join(near)}" if near and not when else ""),
                    changed_in=change.version,
                    nearest=near,
                    source=rule.source,
                )
            )
    return problems
