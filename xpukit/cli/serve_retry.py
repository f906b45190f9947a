"""The same plan for another longest request: what an engine's log suggests after a start that failed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from xpukit.cli.session import Session
from xpukit.core.errors import UsageError

if TYPE_CHECKING:
    from xpukit.operate.ready.start_log import Suggestion
    from xpukit.serve.plan_types import Flag, Plan

# What the flag of the longest request is for, whatever the engine calls it, and `serve`'s option for it.
_INTENT, _OPTION = "max_model_len", "--context"


def read_context(plan: Plan) -> int | None:
    """The longest request that the plan's engine is started with; None where no flag says it."""
    for launch in plan.launches:
        for flag in launch.flags:
            if flag.intent == _INTENT and flag.words[-1].isdecimal():
                return int(flag.words[-1])
    return None


def set_context(plan: Plan, tokens: int) -> Plan:
    """The same plan for requests of that length. Raises UsageError where no flag holds the length."""
    if read_context(plan) is None:
        raise UsageError("the plan names no longest request", hint="plan it with --context N")

    def change(flag: Flag) -> Flag:
        if flag.intent != _INTENT:
            return flag
        return msgspec.structs.replace(flag, words=(*flag.words[:-1], str(tokens)))

    launches = tuple(
        msgspec.structs.replace(one, flags=tuple(change(flag) for flag in one.flags)) for one in plan.launches
    )
    return msgspec.structs.replace(plan, launches=launches)


def choose_retry(session: Session, plan: Plan, suggestions: Sequence[Suggestion], *, take: bool) -> Plan | None:
    """The plan to start next, None where the log suggests none or it is not wanted.

    Without `take` a person is asked, on a terminal; elsewhere nothing is started unasked.
    """
    said = [int(one.value) for one in suggestions if one.option == _OPTION and one.value.isdecimal()]
    planned = read_context(plan)
    if not said or planned is None or not 0 < min(said) < planned:
        return None
    tokens = min(said)
    if not take and not _is_wanted(tokens):
        return None
    session.say(f"starting again with {_OPTION} {tokens}, as the log suggests")
    return set_context(plan, tokens)


def _is_wanted(tokens: int) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(f"start again with {_OPTION} {tokens}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
