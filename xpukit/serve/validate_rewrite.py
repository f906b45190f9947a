"""A command written for one version of an engine, put into the words of another."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xpukit.facts.engines import EngineSchema
from xpukit.serve.validate_problem import Problem
from xpukit.serve.validate_read import read_command

# Only what a row of the tables or the schemas answer is rewritten, never a guess from a name that looks alike.
_REWRITTEN = ("unknown-flag", "ambiguous", "choice", "deprecated", "abbreviation", "argument-count")


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """Words that were replaced: `after` empty: left out."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    reason: str
    source: str = ""
    changed_in: str = ""


def rewrite_command(
    argv: Sequence[str], schema: EngineSchema
) -> tuple[tuple[str, ...], tuple[Correction, ...], tuple[Problem, ...]]:
    """The new command, what was changed in it, and what is still wrong."""
    words = list(argv)
    corrections: list[Correction] = []
    problems = read_command(words, schema, env={}).problems
    # Each turn rewrites one place; no place is rewritten to something that is rewritten again, but data can be wrong.
    for _ in range(2 * len(words) + 8):
        for problem in problems:
            tried = list(words)
            correction = _correct(tried, problem)
            if correction is None:
                continue
            after = read_command(tried, schema, env={}).problems
            # Broken words may hang together in ways that no row knows of: what gets worse is left alone.
            if _count_errors(after) <= _count_errors(problems):
                words, problems = tried, after
                corrections.append(correction)
                break
        else:
            break
    return tuple(words), tuple(corrections), problems


def _count_errors(problems: Sequence[Problem]) -> int:
    return sum(problem.severity == "error" for problem in problems)


def _correct(words: list[str], problem: Problem) -> Correction | None:
    at = problem.origin
    if at < 0:
        return None
    if problem.kind == "model-option":
        return _move_model(words, problem)
    if problem.kind not in _REWRITTEN or not (problem.replacement or problem.removable):
        return None
    name, equals, value = words[at].partition("=")
    if "." in name and name != problem.argument:
        return None  # one of several words that make one JSON value
    if problem.kind == "abbreviation":
        new = [problem.replacement[0] + equals + value]
        end = at + 1
    else:
        new = list(problem.replacement)
        end = at + 1 + (0 if equals else problem.takes)
        if equals and len(new) == 2 and new[0].startswith("--"):
            new = [f"{new[0]}={new[1]}"]
    before = tuple(words[at:end])
    if tuple(new) == before:
        return None
    words[at:end] = new
    return Correction(
        before=before,
        after=tuple(new),
        reason=_reason(problem),
        source=problem.source,
        changed_in=problem.changed_in,
    )


def _reason(problem: Problem) -> str:
    if problem.kind == "abbreviation":
        return "the whole name"
    since = f" (since {problem.changed_in})" if problem.changed_in else ""
    return (problem.reason or problem.message) + since


def _move_model(words: list[str], problem: Problem) -> Correction | None:
    """`vllm serve ... --model X` -> `vllm serve X ...`."""
    at = problem.origin
    name, equals, value = words[at].partition("=")
    if name != "--model":
        return None
    end = at + 1 if equals else at + 2
    if not equals:
        if end > len(words) or words[at + 1].startswith("-"):
            return None
        value = words[at + 1]
    serve = next((place for place, word in enumerate(words) if word == "serve"), -1)
    if not 0 <= serve < at:
        return None
    before = tuple(words[at:end])
    del words[at:end]
    words.insert(serve + 1, value)
    return Correction(before=before, after=(value,), reason=problem.message, source=problem.source)
