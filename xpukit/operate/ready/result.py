"""The rows of a readiness check, and what they come to (`xpukit.check/1`)."""

from __future__ import annotations

from typing import Literal

import msgspec

from xpukit.core.errors import ExitCode
from xpukit.core.measurement import Verdict

SCHEMA = "xpukit.check/1"
Api = Literal["chat", "completions", "embeddings", "rerank", "score", "transcription", "endpoint"]
APIS: tuple[Api, ...] = ("chat", "completions", "embeddings", "rerank", "score", "transcription")


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What a judge says of an answer, and why."""

    verdict: Verdict
    why: str


PASSED = Judged(verdict="pass", why="")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One check. `request` and `response` are of the exchange that decided, cut; `requests`: how many were sent."""

    name: str
    api: Api
    verdict: Verdict
    why: str
    request: str = ""
    response: str = ""
    status: int = 0
    requests: int = 0
    seconds: float = 0.0
    remedy: str = ""


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """A whole check. `context_tokens`: the limit that the endpoint states (None where it does not)."""

    url: str
    model: str
    models: tuple[str, ...]
    level: str
    context_tokens: int | None
    rows: tuple[Row, ...]
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of the rows; unknown where nothing could be judged."""
        verdicts = {row.verdict for row in self.rows}
        for one in ("fail", "unknown", "warn", "pass"):
            if one in verdicts:
                return one
        return "unknown"

    @property
    def exit_code(self) -> int:
        """1 with a failing row, 3 where something could not be judged or there was nothing to judge, else 0."""
        verdict = self.verdict
        if verdict == "fail":
            return int(ExitCode.JUDGED_FAILING)
        judged = any(row.verdict in ("pass", "warn") and row.api != "endpoint" for row in self.rows)
        return int(ExitCode.OK if judged and verdict != "unknown" else ExitCode.COULD_NOT_JUDGE)
