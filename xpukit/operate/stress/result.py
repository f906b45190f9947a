"""Rounds of a stress run and what they come to (`xpukit.bench-stress/1`)."""

from __future__ import annotations

from typing import Literal

import msgspec

from xpukit.operate.bench.result import BenchResult

STRESS_SCHEMA = "xpukit.bench-stress/1"
SeriesVerdict = Literal["pass", "fail", "unknown", "shown"]


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one scenario: a line of rounds.jsonl.

    `idle` and `loaded`: readings by name after it and the highest while it ran; a GPU's are named `gpu_memory_bytes
    0000:18:00.0`. `life` counts the starts of the engine that were seen. `answers`: why its answers are not right, ""
    where they are. `failure`: why there is no result.
    """

    number: int
    scenario: str
    started: str
    seconds: float
    life: int = 1
    result: BenchResult | None = None
    idle: dict[str, float] = {}
    loaded: dict[str, float] = {}
    answers: str = ""
    failure: str = ""

    @property
    def asked(self) -> int:
        """Requests that were sent to their end."""
        return 0 if self.result is None else (self.result.completed or 0) + (self.result.failed or 0)

    @property
    def failed_share(self) -> float:
        """Of the requests of this round; 1 where there was no result."""
        if self.result is None or not self.asked:
            return 1.0
        return (self.result.failed or 0) / self.asked


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """A figure over the rounds. `scenario` "": of the machine, not of a load. `values`: (round, value).

    `baseline`: median of the first rounds; `noise`: their deviation; `limit`: beyond it a round is worse; `recent`:
    median of the last; `per_hour`: robust slope (Theil-Sen). None: too few rounds.
    """

    name: str
    label: str
    unit: str
    scenario: str
    values: tuple[tuple[int, float], ...]
    baseline: float | None = None
    noise: float | None = None
    limit: float | None = None
    recent: float | None = None
    per_hour: float | None = None
    verdict: SeriesVerdict = "unknown"
    reason: str = ""


class StressReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole run. `regression`: why it was stopped, "" where nothing got worse. `finished`: all was done."""

    verdict: Literal["pass", "fail", "unknown"]
    regression: str
    finished: bool
    interrupted: bool
    url: str
    model: str
    rounds: tuple[Round, ...]
    series: tuple[Series, ...]
    hours: float
    requests: int
    failed: int
    notes: tuple[str, ...] = ()
