"""What the start of an engine says about a length: it failed and proposes another, or has room for more."""

from __future__ import annotations

import re

from xpukit.operate.context.search import Try
from xpukit.operate.ready.attempt import Attempt

_LENGTH_OPTION = "--context"
_NUMBER = re.compile(r"\d[\d,]*")


def describe_start(attempt: Attempt, tokens: int, *, log: str) -> Try | None:
    """The try of a start that failed; None where it is ready."""
    if attempt.state == "ready":
        return None
    said = [one for one in attempt.suggestions if one.option == _LENGTH_OPTION and one.value.isdecimal()]
    evidence = [step.text for step in attempt.steps]
    evidence += [one.line for one in said] or ([attempt.last_line] if attempt.last_line else [])
    return Try(
        tokens=tokens,
        outcome="no-start",
        why=attempt.failure,
        suggested=min((int(one.value) for one in said), default=None),
        evidence=(*evidence, *(f"{one.text} [{one.id}]" for one in attempt.known)),
        seconds=round(attempt.seconds, 3),
        log=log,
    )


def read_room(attempt: Attempt) -> int | None:
    """Tokens of its KV cache as the log told them last: no request can be longer. None where it did not."""
    found = _NUMBER.search(attempt.find_step("kv_cache"))
    return int(found[0].replace(",", "")) if found else None
