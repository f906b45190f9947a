"""Suites: what `evaluate` runs, as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from xpukit.core.errors import BadFactsError, UsageError
from xpukit.core.measurement import Method
from xpukit.core.toml import load_toml
from xpukit.facts.paths import data_dir

SCHEMA = "xpukit.suite/1"
_HEADER = ("schema", "name", "summary", "stated_limit_s", "method", "judge", "settle", "keep_within")


class JudgeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`noisy_above`: MAD over median from which a number is noisy. Tolerances are fractions below the reference."""

    noisy_above: float = 0.05
    ceiling_tolerance: float = 0.25
    impossible_above: float = 1.10


class SettleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The gate before each job: how long at most, from what busy share of the CPUs and from what warmth on it waits."""

    limit_s: float = 5.0
    busy_above: float = 0.25
    warmer_by_c: float = 8.0
    cool_below_c: float = 50.0


class Suite(msgspec.Struct, frozen=True, kw_only=True):
    """A named set of measurements. `benchmarks` maps a benchmark's name to its own settings.

    `keep_within`: leave out what would take longer than `stated_limit_s`, by the plan's own estimates.
    """

    name: str
    summary: str
    stated_limit_s: float
    method: Method
    judge: JudgeSettings
    settle: SettleSettings = SettleSettings()
    benchmarks: dict[str, dict[str, Any]]
    keep_within: bool = False


def list_suites() -> tuple[str, ...]:
    """Names of the suites we ship."""
    return tuple(sorted(path.stem for path in (data_dir() / "suites").glob("*.toml")))


def load_suite(name: str) -> Suite:
    """A shipped suite by name, or the user's own by path (a name that ends in .toml).

    Raises UsageError for an unknown name and BadFactsError for a file that breaks the schema.
    """
    if name.endswith(".toml"):
        path = Path(name)
    else:
        path = data_dir() / "suites" / f"{name}.toml"
        if name not in list_suites():
            raise UsageError(
                f"no suite named {name!r}",
                hint=f"one of {', '.join(list_suites())}, or the path of a .toml file of your own",
            )
    return parse_suite(load_toml(path), source=str(path))


def parse_suite(raw: dict[str, Any], *, source: str) -> Suite:
    """Check and type a suite's content. Raises BadFactsError."""
    if raw.get("schema") != SCHEMA:
        raise BadFactsError(f"{source}: schema is {raw.get('schema')!r}, not {SCHEMA!r}")
    benchmarks = {key: value for key, value in raw.items() if key not in _HEADER}
    for key, value in benchmarks.items():
        if not isinstance(value, dict):
            raise BadFactsError(f"{source}: {key} is not a table", hint="each benchmark's settings are a [table]")
    try:
        return msgspec.convert(
            {
                "name": raw.get("name"),
                "summary": raw.get("summary", ""),
                "stated_limit_s": raw.get("stated_limit_s"),
                "method": raw.get("method", {}),
                "judge": raw.get("judge", {}),
                "settle": raw.get("settle", {}),
                "benchmarks": benchmarks,
                "keep_within": raw.get("keep_within", False),
            },
            Suite,
        )
    except msgspec.ValidationError as err:
        raise BadFactsError(f"{source}: {err}", hint="compare with the suites that xpukit ships") from err
