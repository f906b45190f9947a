"""Rules of a comparison: thresholds per metric, as data. Nothing in a rule file is ever run.

schema = "xpukit.compare-rules/1"
[default]                     # sigmas, min_change (fraction), min_hosts, missing, better
min_change = 0.03
[[rule]]                      # all that match apply in order; what a later one sets wins
name = "slow link"
benchmark = "transfer"        # names, metrics and devices may hold * and ?
metric = "*bandwidth"
device = "8086:e2*"
params = { direction = "h2d" }
min_change = 0.10             # relative
at_least = 20.0               # absolute, in `unit`
unit = "GB/s"
missing = "fail"              # unknown (default), fail, ignore
alone = false                 # violations count only in a combination
[[combine]]
name = "bad riser"
rules = ["slow link", "slow p2p"]
at_least = 2                  # so many of the named rules, by one run
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.core.measurement import Param
from xpukit.core.toml import load_toml
from xpukit.evaluate.compare_result import Combined

SCHEMA = "xpukit.compare-rules/1"
MIN_CHANGE = 0.05
MIN_HOSTS = 5
Missing = Literal["unknown", "fail", "ignore"]
Better = Literal["show", "fail", "ignore"]


class Defaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds where no rule says otherwise. `sigmas` absent: chosen by the number of values."""

    sigmas: float | None = None
    min_change: float = MIN_CHANGE
    min_hosts: int = MIN_HOSTS
    missing: Missing = "unknown"
    better: Better = "show"


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings for the metrics that match. `params` must all be among a row's parameters."""

    name: str
    benchmark: str = "*"
    metric: str = "*"
    device: str = "*"
    params: dict[str, Param] = {}
    sigmas: float | None = None
    min_change: float | None = None
    min_hosts: int | None = None
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""
    missing: Missing | None = None
    better: Better | None = None
    ignore: bool | None = None
    alone: bool | None = None


class Combination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run that violates `at_least` of the named rules fails."""

    name: str
    rules: tuple[str, ...]
    at_least: int


class RuleFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file."""

    schema: str
    default: Defaults = Defaults()
    rule: tuple[Rule, ...] = ()
    combine: tuple[Combination, ...] = ()


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What applies to one metric. `names` are the rules that matched."""

    sigmas: float
    min_change: float
    min_hosts: int
    missing: Missing
    better: Better
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""
    ignore: bool = False
    alone: bool = True
    names: tuple[str, ...] = ()

    def break_limit(self, value: float, unit: str) -> str:
        """What absolute limit the value breaks, in words; '' for none. A limit in another unit does not apply."""
        if self.unit != unit:
            return ""
        if self.at_least is not None and value < self.at_least:
            return f"below the {self.at_least:g} {unit} that is asked for"
        if self.at_most is not None and value > self.at_most:
            return f"above the {self.at_most:g} {unit} that is allowed"
        return ""


class RuleBook:
    """Rules, and what the command line says in place of a file's defaults."""

    def __init__(
        self, file: RuleFile | None = None, *, sigmas: float | None = None, min_change: float | None = None
    ) -> None:
        self._file = file or RuleFile(schema=SCHEMA)
        self.sigmas = sigmas if sigmas is not None else self._file.default.sigmas
        self.min_change = min_change if min_change is not None else self._file.default.min_change

    def find(
        self, benchmark: str, metric: str, params: dict[str, Param], devices: Iterable[str], *, sigmas: float
    ) -> Settings:
        """The settings of a metric; `sigmas` is the threshold where nothing else sets one."""
        default = self._file.default
        found: dict[str, Any] = {
            "sigmas": self.sigmas or sigmas,
            "min_change": self.min_change,
            "min_hosts": default.min_hosts,
            "missing": default.missing,
            "better": default.better,
            # A yardstick that a run made for itself is shown, not judged.
            "alone": not benchmark.endswith("_ceiling"),
        }
        names = []
        classes = tuple(devices) or ("",)
        for rule in self._file.rule:
            if not (
                fnmatchcase(benchmark, rule.benchmark)
                and fnmatchcase(metric, rule.metric)
                and all(fnmatchcase(name, rule.device) for name in classes)
                and all(params.get(name) == value for name, value in rule.params.items())
            ):
                continue
            names.append(rule.name)
            for field in ("sigmas", "min_change", "min_hosts", "missing", "better", "ignore", "alone"):
                value = getattr(rule, field)
                if value is not None:
                    found[field] = value
            if rule.at_least is not None or rule.at_most is not None:
                found |= {"at_least": rule.at_least, "at_most": rule.at_most, "unit": rule.unit}
        return Settings(**found, names=tuple(names))

    def combine(self, violations: Sequence[tuple[int, str, tuple[str, ...]]]) -> tuple[Combined, ...]:
        """Combinations that runs violate; `violations` are (run, host, names of the rules that matched the row)."""
        by_run: dict[int, tuple[str, set[str]]] = {}
        for run, host, names in violations:
            by_run.setdefault(run, (host, set()))[1].update(names)
        return tuple(
            Combined(run=run, host=host, name=combination.name, violated=violated)
            for run, (host, names) in sorted(by_run.items())
            for combination in self._file.combine
            if len(violated := tuple(name for name in combination.rules if name in names)) >= combination.at_least
        )


def load_rules(path: Path) -> RuleFile:
    """Read a rule file. Raises BadFactsError naming what breaks the schema."""
    return parse_rules(load_toml(path), source=str(path))


def parse_rules(raw: dict[str, Any], *, source: str) -> RuleFile:
    """Check and type a rule file's content. Raises BadFactsError."""
    if raw.get("schema") != SCHEMA:
        raise BadFactsError(
            f"{source}: schema is {raw.get('schema')!r}, not {SCHEMA!r}", hint=f'begin with schema = "{SCHEMA}"'
        )
    try:
        rules = msgspec.convert(raw, RuleFile)
    except msgspec.ValidationError as err:
        raise BadFactsError(f"{source}: {err}", hint="the fields are in docs/compare.md") from err
    problems = list(_check_rules(rules))
    if problems:
        raise BadFactsError(f"{source}: {'; '.join(problems)}", hint="the fields are in docs/compare.md")
    return rules


def _check_rules(rules: RuleFile) -> Iterable[str]:
    names = [rule.name for rule in rules.rule]
    yield from (f"two rules are named {name!r}" for name in sorted({name for name in names if names.count(name) > 1}))
    settings: list[tuple[str, Defaults | Rule]] = [("default", rules.default)]
    settings += [(f"rule {rule.name!r}", rule) for rule in rules.rule]
    for where, item in settings:
        if item.sigmas is not None and not (item.sigmas > 0 and math.isfinite(item.sigmas)):
            yield f"{where}: sigmas must be positive"
        if item.min_change is not None and not 0 <= item.min_change < 10:
            yield f"{where}: min_change is a fraction such as 0.05"
        if item.min_hosts is not None and item.min_hosts < 3:
            yield f"{where}: min_hosts must be 3 or more"
    for rule in rules.rule:
        limited = rule.at_least is not None or rule.at_most is not None
        if limited and not rule.unit:
            yield f"rule {rule.name!r}: at_least and at_most need a unit"
        if rule.unit and not limited:
            yield f"rule {rule.name!r}: a unit without at_least or at_most says nothing"
    for combination in rules.combine:
        unknown = [name for name in combination.rules if name not in names]
        if unknown:
            yield f"combination {combination.name!r}: no rule named {', '.join(map(repr, unknown))}"
        if not 1 <= combination.at_least <= len(set(combination.rules)):
            yield f"combination {combination.name!r}: at_least must lie between 1 and the number of its rules"
