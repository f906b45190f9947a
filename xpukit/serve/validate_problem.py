"""One thing that is wrong with, or to be said of, a command for an engine."""

from __future__ import annotations

from typing import Literal

import msgspec

from xpukit.facts.engines import EngineSchema

Kind = Literal[
    "unknown-flag",
    "extra-word",
    "ambiguous",
    "choice",
    "type",
    "argument-count",
    "missing",
    "model-option",
    "unknown-program",
    "registry",
    "combination",
    "deprecated",
    "abbreviation",
    "environment",
    "unchecked",
]
Severity = Literal["error", "warning", "note"]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing about a command. `stage`: who refuses it, the argument parser or the engine after it.

    `changed_in` is the version where it came or went, `replacement` the words to write instead ("()" with `removable`:
    leave it out) and stands for the flag and `takes` values; `nearest` are flags or values that look alike, `origin` is
    the place in the argv (-1: nowhere). `reason` says why the replacement means the same.
    """

    kind: Kind
    severity: Severity
    stage: Literal["parser", "engine"]
    argument: str
    message: str
    value: str = ""
    changed_in: str = ""
    replacement: tuple[str, ...] = ()
    removable: bool = False
    takes: int = 0
    reason: str = ""
    nearest: tuple[str, ...] = ()
    source: str = ""
    origin: int = -1


def at_version(schema: EngineSchema) -> str:
    """The version in a message, with the guess where it is one."""
    return f"{schema.engine} {schema.version}" + (f" ({schema.label})" if schema.label else "")
