"""Whether a length serves: long prompts with hidden numbers, as near to it as the endpoint takes them."""

from __future__ import annotations

import time

import msgspec

from xpukit.facts.readiness import find_limit, read_stated_length
from xpukit.operate.context.needle import NeedleAnswer, NeedleAsker
from xpukit.operate.context.search import Outcome, Try

# Near the beginning, in the middle, near the end: caches that break do so in one of them.
_DEPTHS = (0.05, 0.5, 0.95)
# What a template adds differs from prompt to prompt by a few tokens.
_SHARES = (1.0, 0.98, 0.95)


def verify_context(asker: NeedleAsker, tokens: int) -> Try:
    """A request of `tokens`, prompt and answer together."""
    began = time.monotonic()
    room = asker.answer_tokens(tokens)
    for share in _SHARES:
        found = try_prompt(asker, max(1, int(tokens * share) - room), tokens=tokens)
        # That the last few tokens do not fit is the template's affair; more than that is the length's.
        if found.outcome != "refused":
            break
    return _replace_seconds(found, time.monotonic() - began)


def try_prompt(asker: NeedleAsker, prompt_tokens: int, *, tokens: int | None = None) -> Try:
    """A prompt of so many tokens, with the number in three places. The first that is not found decides."""
    began = time.monotonic()
    evidence: list[str] = []
    longest = 0
    outcome: Outcome = "serves"
    why = ""
    suggested = None
    for depth in _DEPTHS:
        answer = asker.ask(prompt_tokens, depth)
        evidence.append(_write_evidence(answer))
        if answer.refused:
            outcome, why = "refused", answer.refused
            stated = read_stated_length(answer.refused)
            suggested = stated - asker.answer_tokens(stated) if stated is not None else None
            break
        if answer.judged.verdict != "pass":
            outcome = "unknown" if answer.judged.verdict == "unknown" else "wrong-answer"
            why = f"number at {depth:.0%} of the prompt: {answer.judged.why}"
            break
        longest = max(longest, answer.prompt_tokens or 0)
    if outcome == "serves" and 0 < longest < prompt_tokens * find_limit("counted_share"):
        outcome, why = (
            "wrong-answer",
            f"the endpoint counted {longest} tokens of about {prompt_tokens}: it cuts prompts",
        )
    return Try(
        tokens=tokens if tokens is not None else prompt_tokens,
        outcome=outcome,
        why=why,
        suggested=suggested,
        prompt_tokens=longest or None,
        evidence=tuple(evidence),
        seconds=round(time.monotonic() - began, 3),
    )


def _write_evidence(answer: NeedleAnswer) -> str:
    counted = "tokens not counted" if answer.prompt_tokens is None else f"{answer.prompt_tokens} tokens of prompt"
    said = answer.refused or answer.judged.why or "the hidden number was found"
    return f"number at {answer.depth:.0%}: {counted}, {answer.seconds:.1f} s: {said}"


def _replace_seconds(found: Try, seconds: float) -> Try:
    return msgspec.structs.replace(found, seconds=round(seconds, 3))
