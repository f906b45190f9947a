"""The search between a length that was proven good and one that was proven bad. Pure but for its callbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

CONTEXT_SCHEMA = "xpukit.bench-context/1"
Outcome = Literal["serves", "no-start", "wrong-answer", "refused", "unknown"]


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """One length that was tried: what came, and what says so.

    `suggested`: a length that the engine itself says would do (its log, its refusal). `room`: tokens that it says fit,
    by its KV cache. `prompt_tokens`: of the longest prompt that was answered rightly, as the endpoint counts it.
    """

    tokens: int
    outcome: Outcome
    why: str = ""
    suggested: int | None = None
    room: int | None = None
    prompt_tokens: int | None = None
    evidence: tuple[str, ...] = ()
    seconds: float = 0.0
    log: str = ""


class ContextReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `proven`: the longest that serves, None where none does; `broken`: the shortest that does not,
    None where nothing longer failed. `finished`: no try is left that could narrow it."""

    what: str
    first: int
    highest: int | None
    proven: int | None
    broken: int | None
    finished: bool
    interrupted: bool
    statement: str
    tries: tuple[Try, ...]


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Where to look. `highest` None: as far as what the engine says of its room. `precision`: a share of the length.
    `doubling`: up to `highest` in steps of twice the length, where a large one may be costly or harmful."""

    first: int
    lowest: int
    highest: int | None
    precision: float
    most_tries: int
    grain: int = 256
    doubling: bool = False


def search_context(
    attempt: Callable[[int], Try | None],
    bounds: Bounds,
    *,
    what: str,
    done: Sequence[Try] = (),
    keep: Callable[[Try], None] = lambda one: None,
) -> ContextReport:
    """Try lengths until good and bad are close, or the tries are used up. `attempt` gives None when interrupted.

    `done` are tries of an earlier run: they are taken over where the search comes to the same lengths.
    """
    known = {one.tokens: one for one in done}
    tries: list[Try] = []
    interrupted = False
    while len(tries) < bounds.most_tries:
        tokens = choose_next(tries, bounds)
        if tokens is None:
            break
        found = known.get(tokens)
        if found is None:
            found = attempt(tokens)
            if found is None:
                interrupted = True
                break
            keep(found)
        tries.append(found)
        if found.outcome == "unknown":
            break
    good, bad = find_edges(tries)
    finished = not interrupted and choose_next(tries, bounds) is None and all(one.outcome != "unknown" for one in tries)
    return ContextReport(
        what=what,
        first=bounds.first,
        highest=bounds.highest,
        proven=good,
        broken=bad,
        finished=finished,
        interrupted=interrupted,
        statement=_describe(tries, good, bad, finished=finished),
        tries=tuple(tries),
    )


def find_edges(tries: Sequence[Try]) -> tuple[int | None, int | None]:
    """The longest that serves, and the shortest longer one that does not."""
    good = max((one.tokens for one in tries if one.outcome == "serves"), default=None)
    bad = [one.tokens for one in tries if one.outcome not in ("serves", "unknown")]
    return good, min((tokens for tokens in bad if good is None or tokens > good), default=None)


def choose_next(tries: Sequence[Try], bounds: Bounds) -> int | None:
    """The next length, None when there is nothing to learn. What the engine says itself goes first."""
    if not tries:
        return max(bounds.lowest, min(bounds.first, bounds.highest or bounds.first))
    good, bad = find_edges(tries)
    tried = {one.tokens for one in tries}
    if bad is None:
        return _look_higher(tries, bounds, good or bounds.lowest, tried)
    floor = good if good is not None else 0
    last = tries[-1]
    said = last.suggested
    if said is not None and max(floor + 1, bounds.lowest) <= said < bad and said not in tried:
        return said
    if good is not None and (bad <= good * (1 + bounds.precision) or _is_most(tries, good)):
        return None
    if good is None:
        if bad <= bounds.lowest:
            return None
        # Nothing is proven yet: down fast, so that a few tries find a length that serves at all.
        middle = max(bounds.lowest, bad // 2)
    else:
        middle = (good + bad) // 2
    wanted = max(bounds.lowest, middle // bounds.grain * bounds.grain)
    if wanted in tried or not floor < wanted < bad:
        wanted = middle
    return wanted if wanted not in tried and floor < wanted < bad else None


def _is_most(tries: Sequence[Try], good: int) -> bool:
    """Whether the engine itself said, when a longer one failed, that this is the most: a start more tells nothing."""
    return any(one.outcome == "no-start" and one.suggested is not None and one.suggested <= good for one in tries)


def _look_higher(tries: Sequence[Try], bounds: Bounds, good: int, tried: set[int]) -> int | None:
    """Beyond what serves: up to the bound, or as far as the engine's own word on its room goes."""
    room = max((one.room for one in tries if one.outcome == "serves" and one.room is not None), default=None)
    if bounds.highest is None and room is None:
        return None
    ends = [end for end in (bounds.highest, room) if end is not None]
    wanted = min([*ends, 2 * good]) if bounds.doubling else min(ends)
    if wanted <= good or wanted in tried:
        return None
    return wanted if wanted > good * (1 + bounds.precision) or wanted == bounds.highest else None


def _describe(tries: Sequence[Try], good: int | None, bad: int | None, *, finished: bool) -> str:
    if not tries:
        return "nothing was tried"
    if tries[-1].outcome == "unknown":
        return f"it could not be judged: {tries[-1].why}"
    if good is None:
        shortest = min(tries, key=lambda one: one.tokens)
        return f"none of {len(tries)} lengths serves, down to {shortest.tokens} tokens ({shortest.why})"
    if bad is None:
        return f"{good} tokens serve; nothing longer was refused"
    why = next((one.why for one in tries if one.tokens == bad), "")
    more = "" if finished else f"; {len(tries)} tries were not enough to come closer"
    return f"{good} tokens serve, {bad} do not ({why}){more}"
