"""A command read as the engine would: which program, which words go to which argument, and all that is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from xpukit.facts.engines import EngineSchema
from xpukit.serve.validate_checks import (
    check_arithmetic,
    check_combinations,
    check_deprecated,
    check_environment,
    check_registries,
)
from xpukit.serve.validate_command import Command, Rewritten, find_command, rewrite_words
from xpukit.serve.validate_explain import (
    explain_extras,
    explain_missing_program,
    explain_model,
    explain_no_program,
    explain_refusal,
    note_moved,
)
from xpukit.serve.validate_parse import Parsed, parse_arguments
from xpukit.serve.validate_problem import Problem


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A command read against a schema: what was recognised, and the problems, in the order of the parser."""

    command: Command | None
    rewritten: Rewritten | None
    parsed: Parsed | None
    problems: tuple[Problem, ...]


def read_command(argv: Sequence[str], schema: EngineSchema, *, env: Mapping[str, str]) -> Reading:
    """Read a command. `env`: variables set beside those written before the program. Never raises for the argv."""
    command = find_command(argv, engine=schema.engine)
    if command is None:
        return Reading(command=None, rewritten=None, parsed=None, problems=(explain_no_program(argv, schema),))
    of_environment = check_environment({**command.env, **env}, schema)
    program = schema.programs.get(command.entry.program)
    if program is None:
        problem = explain_missing_program(command.entry.program, schema)
        return Reading(command=command, rewritten=None, parsed=None, problems=(problem, *of_environment))
    rewritten = rewrite_words(command, program, schema)
    first: list[Problem] = []
    if rewritten.refused:
        first.append(explain_model(command, rewritten.refused, schema))
        # Go on as the next version would: the other mistakes are worth knowing too.
        words = tuple(word for word in rewritten.words if word.text != "--model")
        rewritten = msgspec.structs.replace(rewritten, words=words)
    parsed = parse_arguments(rewritten.words, program)
    problems = (
        *first,
        *(explain_refusal(refusal, rewritten, program, schema) for refusal in parsed.refusals),
        *explain_extras(parsed, rewritten, program, schema),
        *check_deprecated(parsed, program, schema),
        *check_registries(parsed, schema),
        *check_combinations(parsed, program, schema),
        *check_arithmetic(parsed, program, schema),
        *of_environment,
        *note_moved(rewritten, schema),
    )
    return Reading(command=command, rewritten=rewritten, parsed=parsed, problems=problems)
