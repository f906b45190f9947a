"""Whether log probabilities are there and numbers."""

from __future__ import annotations

import math

from xpukit.facts.readiness import find_limit
from xpukit.operate.ready.read_reply import get
from xpukit.operate.ready.result import PASSED, Judged

# Rounding in 16 bit may put the logarithm of a certainty a little above zero.
_ABOVE_ZERO = 1e-3


def judge_logprobs(logprobs: object) -> Judged:
    """Of the chosen tokens, chat's shape (`content`) or that of completions (`token_logprobs`). Never raises."""
    values = list_logprobs(logprobs)
    if not values:
        return Judged(verdict="fail", why="asked for log probabilities, and none came")
    total = 0.0
    for place, value in enumerate(values):
        if not isinstance(value, int | float) or isinstance(value, bool):
            return Judged(verdict="fail", why=f"token {place + 1} has no log probability but {value!r:.40}")
        if not math.isfinite(value):
            return Judged(verdict="fail", why=f"the log probability of token {place + 1} is {value}")
        if value <= find_limit("logprob_floor"):
            return Judged(verdict="fail", why=f"the log probability of token {place + 1} is {value}: not finite inside")
        if value > _ABOVE_ZERO:
            return Judged(verdict="fail", why=f"the log probability of token {place + 1} is {value}, above 0")
        total += value
    mean = total / len(values)
    if mean < find_limit("logprob_odd_mean"):
        return Judged(verdict="warn", why=f"the likeliest tokens have a log probability of {mean:.1f}: nearly random")
    return PASSED


def list_logprobs(logprobs: object) -> list[object]:
    """One value a token, whatever it is."""
    content = get(logprobs, "content")
    if isinstance(content, list):
        return [get(one, "logprob") for one in content]
    values = get(logprobs, "token_logprobs")
    return list(values) if isinstance(values, list) else []
