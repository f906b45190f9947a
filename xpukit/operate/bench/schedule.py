"""When requests are to start and what they say. Pure: the same seed gives the same load."""

from __future__ import annotations

import random
from typing import Literal

import msgspec

from xpukit.core.errors import UsageError

Arrival = Literal["poisson", "fixed", ""]
# Common English words that tokenizers know as one token each, with the blank before them (a guess that the client
# corrects by what the server counts).
_TEXT = (
    "time year people way day man thing woman life child world school state family student group country problem hand "
    "part place case week company system program question work government number night point home water room mother "
    "area money story fact month lot right study book eye job word business issue side kind head house service friend "
    "father power hour game line end member law car city community name president team minute idea body information "
    "back parent face others level office door health person art war history party result change morning reason "
)
_WORDS = tuple(_TEXT.split())


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The load. Lengths in tokens. `rate_rps` None: a request starts as soon as a place is free.

    `shared_prefix`: the share of every prompt that is the same for all, 0 to 1 (a prefix cache answers it).
    """

    input_len: int
    output_len: int
    requests: int
    rate_rps: float | None = None
    arrival: Arrival = ""
    concurrency: int | None = None
    shared_prefix: float = 0.0
    seed: int = 1


def check_plan(plan: LoadPlan) -> None:
    """Raise UsageError for a load that cannot be."""
    if plan.rate_rps is not None and not 0 < plan.rate_rps <= 1e6:
        raise UsageError(f"{plan.rate_rps:g} requests a second is no rate", hint="--rate 2, or leave it out")
    if plan.rate_rps is not None and plan.arrival not in ("poisson", "fixed"):
        raise UsageError(f"no arrival {plan.arrival!r}", hint="poisson or fixed")
    if not 0 <= plan.shared_prefix <= 1:
        raise UsageError("the shared prefix is a share from 0 to 1", hint="--shared-prefix 0.5")


def plan_arrivals(plan: LoadPlan) -> tuple[float, ...]:
    """Seconds from the start at which each request is meant to begin; all 0 without a rate."""
    if plan.rate_rps is None:
        return (0.0,) * plan.requests
    if plan.arrival == "fixed":
        return tuple(number / plan.rate_rps for number in range(plan.requests))
    chance = random.Random(f"arrivals {plan.seed}")
    offsets, now = [], 0.0
    for _ in range(plan.requests):
        offsets.append(now)
        now += chance.expovariate(plan.rate_rps)
    # Gaps of a Poisson process over exactly the time that the rate asks for: few requests must be no luckier load.
    stretch = (plan.requests - 1) / plan.rate_rps / offsets[-1] if offsets and offsets[-1] > 0 else 1.0
    return tuple(offset * stretch for offset in offsets)


def make_prompt(number: int, words: int, shared_words: int, seed: int) -> str:
    """The prompt of request `number`: the first `shared_words` of its words are those of every other one."""
    shared = random.Random(f"prefix {seed}").choices(_WORDS, k=min(shared_words, words))
    own = random.Random(f"prompt {seed} {number}").choices(_WORDS, k=max(0, words - shared_words))
    return " ".join([*shared, *own])
