"""What `serve`'s options mean beside the request: how the plan is written, kept or started."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from xpukit.core.errors import UsageError

_TOKENS = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmM]?)")
_FACTORS = {"": 1, "k": 1024, "m": 1024 * 1024}
_Name = TypeVar("_Name", bound=str)


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a plan is put out. `check`: what was started is asked when it is up; `retry`: a
    length that a failed start's log suggests is taken.

    `balance`, `balancer_image`, `spare`: of several engines in the compose form; `with_ui` and what follows: of a page
    beside it (`FormOptions`).
    """

    form: str
    out: Path | None
    name: str
    models: tuple[str, ...]
    privileged: bool
    cdi: bool
    evaluation: str
    plan: str
    save: Path | None
    explain: bool
    run: bool
    force: bool
    calibrate: str
    out_is_folder: bool = False
    check: bool = True
    retry: bool = False
    balance: str = "leastconn"
    balancer_image: str = ""
    spare: int = 0
    with_ui: str = ""
    ui_address: str = "127.0.0.1"
    ui_port: int = 0


def parse_tokens(text: str) -> int:
    """'8192', '32k' (32,768), '1m'. Raises UsageError."""
    match = _TOKENS.fullmatch(text.strip())
    count = int(float(match[1]) * _FACTORS[match[2].lower()]) if match else 0
    if count < 1:
        raise UsageError(f"--context {text!r} is not a number of tokens", hint="for example 8192 or 32k")
    return count


def parse_choice(option: str, value: str, allowed: tuple[_Name, ...]) -> _Name:
    """The value if it is one of the allowed. Raises UsageError."""
    for one in allowed:
        if value == one:
            return one
    raise UsageError(f"{option} {value!r}", hint=f"one of: {', '.join(allowed)}")


def split_list(values: Sequence[str]) -> tuple[str, ...]:
    """Values given several times, or with commas."""
    return tuple(word.strip() for value in values for word in value.split(",") if word.strip())
