"""Whether an engine's version accepts a command, and if not: what is wrong, since when, and what to write instead.

The functions here are the whole interface; they look at no machine and raise nothing for what stands in an argv.

`engine` is "vllm", "sglang", "lmdeploy" or "llm-scaler-vllm", and with version "" also an image or package
(`intel/llm-scaler-vllm:1.4`, `vllm==0.21.0`). A version without a schema of its own is checked against the nearest
known one, and says so (`exact`, `label`). `schema` replaces the packaged one: the flags an image's own engine was asked
for (facts.engines.read_flags_document). `program` is a role ("serve", "bench", "proxy") or a program's whole name, and
argv the words after it; with program "" argv is the whole command, with `VAR=value`, `env` or `numactl ...` before it.

- validate: all problems of a command
- accepts: whether a flag, or a flag with a value, exists
- reads_variable: whether the engine reads an environment variable
- spell: the words for what is meant: "max_model_len" is `--max-model-len`, `--context-length`, `--session-len`
- replace_for: a command written for another version, corrected
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from xpukit.core.errors import UsageError
from xpukit.facts.engine_rules import Entry, find_entry, load_intents, load_rules
from xpukit.facts.engine_variables import is_named
from xpukit.facts.engines import EngineSchema, load_resolved, resolve_version
from xpukit.serve.validate_problem import Kind, Problem, Severity
from xpukit.serve.validate_read import read_command
from xpukit.serve.validate_rewrite import Correction, rewrite_command
from xpukit.serve.validate_spell import Spelling, Value, spell_intent, takes_words

__all__ = [
    "Correction",
    "Kind",
    "Problem",
    "Rewrite",
    "Severity",
    "Spelling",
    "Validation",
    "accepts",
    "list_intents",
    "load_schema",
    "reads_variable",
    "replace_for",
    "spell",
    "validate",
]

_RANK = {"error": 0, "warning": 1, "note": 2}


class Validation(msgspec.Struct, frozen=True, kw_only=True):
    """What a version makes of a command: problems with errors first, and which schema said so.

    `asked` is the version that was asked for, `version` that of the schema; they differ where `label` says "guess".
    """

    engine: str
    asked: str
    version: str
    label: str
    program: str
    problems: tuple[Problem, ...]
    source: str
    date: str

    @property
    def exact(self) -> bool:
        """Whether the schema is that of the very version."""
        return not self.label

    @property
    def accepted(self) -> bool:
        """Whether nothing of it is an error."""
        return not self.errors

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What the engine refuses."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What works, but not as meant or not for long."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")

    @property
    def notes(self) -> tuple[Problem, ...]:
        """What is only worth knowing."""
        return tuple(problem for problem in self.problems if problem.severity == "note")


class Rewrite(msgspec.Struct, frozen=True, kw_only=True):
    """A command for another version: the new argv, what was changed and why, and the problems it still has."""

    engine: str
    version: str
    label: str
    argv: tuple[str, ...]
    corrections: tuple[Correction, ...]
    problems: tuple[Problem, ...]

    @property
    def exact(self) -> bool:
        """Whether the schema is that of the very version."""
        return not self.label

    @property
    def accepted(self) -> bool:
        """Whether nothing that is left is an error."""
        return all(problem.severity != "error" for problem in self.problems)


def load_schema(engine: str, version: str) -> EngineSchema:
    """The schema that the functions here use. Raises UsageError for an unknown engine, BadFactsError."""
    return load_resolved(resolve_version(engine, version))


def validate(
    engine: str,
    version: str,
    program: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    schema: EngineSchema | None = None,
) -> Validation:
    """All problems of a command. `env`: variables set for it, beside those that stand before it in argv.

    Raises UsageError for an engine or program that we do not know, BadFactsError.
    """
    asked = version or (resolve_version(engine, "").asked if schema is None else "")
    known = schema or load_schema(engine, version)
    entry = _find_entry(known, program) if program else None
    words = entry.words if entry is not None else ()
    reading = read_command([*words, *argv], known, env=env or {})
    problems = [_shift(problem, len(words)) for problem in reading.problems]
    return Validation(
        engine=known.engine,
        asked=asked,
        version=known.version,
        label=known.label,
        program=reading.command.entry.program if reading.command is not None else "",
        problems=tuple(sorted(problems, key=lambda problem: _RANK[problem.severity])),
        source=known.source,
        date=known.date,
    )


def accepts(
    engine: str,
    version: str,
    flag: str,
    value: Value = None,
    *,
    program: str = "serve",
    schema: EngineSchema | None = None,
) -> bool:
    """Whether a flag exists, spelt like this, and takes this value. A deprecated one does.

    Raises UsageError for an unknown engine or program, BadFactsError.
    """
    known = schema or load_schema(engine, version)
    found = known.programs.get(_find_entry(known, program).program)
    if found is None or flag not in found.options:
        return False
    if value is None or isinstance(value, bool):
        # A switch is on by being there.
        return value is None or (found.options[flag].nargs == 0 and value)
    words = [flag, *(str(item) for item in value)] if isinstance(value, (list, tuple)) else [flag, str(value)]
    return takes_words(words, found, known)[0]


def reads_variable(engine: str, version: str, name: str, *, schema: EngineSchema | None = None) -> bool | None:
    """Whether the engine reads an environment variable; None where we have no list of its variables with that prefix.

    Raises UsageError for an unknown engine, BadFactsError.
    """
    known = schema or load_schema(engine, version)
    for rule in load_rules().environment:
        names = known.registries.get(rule.registry, ())
        if names and rule.holds(known.engine, known.version) and name.startswith(rule.prefix):
            return is_named(name, names)
    return None


def spell(
    engine: str,
    version: str,
    intent: str,
    value: Value = None,
    *,
    program: str = "serve",
    schema: EngineSchema | None = None,
) -> Spelling | None:
    """The words this version has for an intent; None where it has none, or refuses the value.

    `value`: None or True switches on, False off; a list is several words, a dict JSON. A name that list_intents() does
    not hold is looked up as the engine's own argument (`max_lora_rank`). Raises UsageError, BadFactsError.
    """
    known = schema or load_schema(engine, version)
    return spell_intent(known, intent, value, program=_find_entry(known, program).program)


def replace_for(engine: str, version: str, argv: Sequence[str], *, schema: EngineSchema | None = None) -> Rewrite:
    """A whole command put into the words of this version. Raises UsageError for an unknown engine, BadFactsError."""
    known = schema or load_schema(engine, version)
    new, corrections, problems = rewrite_command(argv, known)
    return Rewrite(
        engine=known.engine,
        version=known.version,
        label=known.label,
        argv=new,
        corrections=corrections,
        problems=tuple(sorted(problems, key=lambda problem: _RANK[problem.severity])),
    )


def list_intents() -> tuple[str, ...]:
    """The names that `spell` knows for every engine that has them."""
    return tuple(dict.fromkeys(row.name for row in load_intents()))


def _find_entry(schema: EngineSchema, program: str) -> Entry:
    entry = find_entry(schema.engine, program)
    if entry is None:
        roles = sorted({row.role for row in load_rules().entry if schema.engine in row.engines})
        raise UsageError(f"{schema.engine} has no program {program!r}", hint=f"known: {', '.join(roles)}")
    return entry


def _shift(problem: Problem, count: int) -> Problem:
    """Places counted in the words that the caller gave."""
    if not count or problem.origin < 0:
        return problem
    return msgspec.structs.replace(problem, origin=max(problem.origin - count, -1))
