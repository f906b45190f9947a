"""What the argument parser refuses, in words: since when, what to write instead, what looks alike."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.facts.engine_history import find_choice_change, find_flag_change, find_program_change
from xpukit.facts.engine_rules import load_rules
from xpukit.facts.engines import EngineProgram, EngineSchema
from xpukit.serve.validate_command import Command, Rewritten
from xpukit.serve.validate_parse import Parsed, Refusal, Word
from xpukit.serve.validate_problem import Problem, at_version
from xpukit.serve.validate_replace import Found, find_nearest, find_replacement


def explain_no_program(argv: Sequence[str], schema: EngineSchema) -> Problem:
    """Why no program of this engine was found in a command."""
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
                    message=f"{table} {sub}: {at_version(schema)} has it, but we hold no schema of it: not checked",
                    origin=start,
                )
            near = find_nearest(sub, schema.subcommands[table])
            return Problem(
                kind="unknown-program",
                severity="error",
                stage="parser",
                argument=f"{table} {sub}",
                message=f"{table} {sub}: {at_version(schema)} has no such sub-command"
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
        message=f"no program of {at_version(schema)} in this command; known: {known}",
    )


def explain_missing_program(program: str, schema: EngineSchema) -> Problem:
    """A program that other versions have."""
    change = find_program_change(schema.engine, schema.version, program)
    when = change.describe(schema.engine)
    return Problem(
        kind="unknown-program",
        severity="error",
        stage="parser",
        argument=program,
        message=f"{program}: {at_version(schema)} has no such program, or it does not start"
        + (f"; {when}" if when else ""),
        changed_in=change.version,
    )


def explain_model(command: Command, refused: str, schema: EngineSchema) -> Problem:
    """`vllm serve --model X` where the model has to be the first word."""
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
        message=f"--model: `vllm serve` of {at_version(schema)} takes the model as first word (`vllm serve MODEL ...`);"
        f" --model is refused up to {quirk.until}",
        changed_in=quirk.until,
        source=quirk.source,
        origin=origin,
    )


def note_moved(rewritten: Rewritten, schema: EngineSchema) -> list[Problem]:
    """`--model X` where it still works."""
    if not rewritten.model_moved:
        return []
    return [
        Problem(
            kind="model-option",
            severity="note",
            stage="parser",
            argument="--model",
            message="--model: `vllm serve` takes the model as first word; the option still works in"
            f" {at_version(schema)}, which says that a later version will not have it",
            source="vllm/utils/argparse_utils.py, warning of FlexibleArgumentParser.parse_args",
            origin=rewritten.words[0].origin - 1,
        )
    ]


def explain_refusal(refusal: Refusal, rewritten: Rewritten, program: EngineProgram, schema: EngineSchema) -> Problem:
    """What argparse refuses."""
    argument, changed_in = refusal.argument, ""
    message = f"{argument}: {refusal.detail}"
    near: tuple[str, ...] = ()
    values: tuple[str, ...] = (refusal.value,) if refusal.value else ()
    word = next((word for word in rewritten.words if word.origin == refusal.origin), None)
    if refusal.fault == "ambiguous" and word is not None:
        _, equals, explicit = word.text.partition("=")
        values = (explicit,) if equals else tuple(_following(word, rewritten))
    found = find_replacement(argument, values, program.name, schema) if argument.startswith("-") else None
    if found is None and refusal.fault == "argument-count" and word is not None:
        found = _find_switch(argument, word.text.partition("=")[2], program)
    if refusal.fault == "choice":
        flag = program.options.get(argument)
        change = find_choice_change(
            schema.engine, schema.version, program.name, flag.flags[0] if flag else argument, refusal.value
        )
        when = change.describe(schema.engine)
        changed_in = change.version
        near = find_nearest(refusal.value, refusal.candidates)
        message += f" in {at_version(schema)}" + (f"; {refusal.value} was {when}" if when else "")
    elif refusal.fault == "ambiguous":
        near = refusal.candidates
        message = f"{argument}: ambiguous in {at_version(schema)}: {refusal.detail}"
    if found is not None:
        message += f"; write {' '.join(found.words) or 'nothing'} instead ({found.reason})"
    elif near and refusal.fault == "choice":
        message += f"; nearest: {', '.join(near)}"
    return Problem(
        kind=refusal.fault,
        severity="error",
        stage="parser",
        argument=argument,
        value=refusal.value or (values[0] if values else ""),
        message=message,
        changed_in=changed_in,
        replacement=found.ready if found is not None else (),
        removable=found is not None and found.removable,
        takes=found.taken if found is not None else 0,
        reason=found.reason if found is not None else "",
        nearest=near,
        origin=refusal.origin,
    )


def _find_switch(argument: str, value: str, program: EngineProgram) -> Found | None:
    """`--enable-x=False`, which switches of older versions took: the switch, or the one that says no."""
    flag = program.options.get(argument)
    said = {"true": argument, "false": f"--no-{argument[2:]}"}.get(value.lower(), "")
    if flag is None or flag.nargs != 0 or said not in flag.flags:
        return None
    return Found(words=(said,), taken=0, reason="a switch, which takes no value", source=f"schemas: {argument}")


def explain_extras(parsed: Parsed, rewritten: Rewritten, program: EngineProgram, schema: EngineSchema) -> list[Problem]:
    """The words that no argument took."""
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
                    message=f"{word.text!r}: no argument of {program.name} in {at_version(schema)} takes this word",
                    origin=word.origin,
                )
            )
            continue
        name, equals, value = word.text.partition("=")
        values = [value] if equals else _following(word, rewritten)
        problems.append(_explain_unknown(name, tuple(values), word.origin, program, schema))
    return problems


def _following(word: Word, rewritten: Rewritten) -> list[str]:
    """The words after an unknown flag up to the next: its values, though a positional argument may have taken one."""
    values: list[str] = []
    words = rewritten.words
    for later in words[words.index(word) + 1 :]:
        if later.text.startswith("-") and len(later.text) > 1:
            break
        values.append(later.text)
    return values


def _explain_unknown(
    name: str, values: tuple[str, ...], origin: int, program: EngineProgram, schema: EngineSchema
) -> Problem:
    change = find_flag_change(schema.engine, schema.version, program.name, name)
    when = change.describe(schema.engine)
    found = find_replacement(name, values, program.name, schema)
    near = () if found is not None else find_nearest(name, tuple(program.options))
    message = f"{name}: {at_version(schema)} has no such flag" + (f"; {when}" if when else "")
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
        replacement=found.ready if found is not None else (),
        removable=found is not None and found.removable,
        takes=found.taken if found is not None else 0,
        reason=found.reason if found is not None else "",
        nearest=near,
        source=found.source if found is not None else "",
        origin=origin,
    )
