"""What a look at several machines before a launch found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from xpukit.core.errors import ExitCode

Verdict = Literal["pass", "warn", "fail", "unknown"]


class PreflightRow(msgspec.Struct, frozen=True, kw_only=True):
    """One question to one host, a pair, or all."""

    name: str
    where: str
    verdict: Verdict
    value: str = ""
    why: str = ""
    remedy: str = ""


class PreflightReport(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `xpukit.fleet-preflight/1`."""

    hosts: tuple[str, ...]
    rows: tuple[PreflightRow, ...]
    verdict: Verdict


def judge_rows(rows: Sequence[PreflightRow]) -> Verdict:
    """The worst that counts."""
    seen = {row.verdict for row in rows}
    order: tuple[Verdict, ...] = ("fail", "unknown", "warn")
    return next((verdict for verdict in order if verdict in seen), "pass")


def decide_preflight_exit(verdict: Verdict) -> ExitCode:
    """1 for a failure, 3 where something could not be looked at."""
    return {"fail": ExitCode.JUDGED_FAILING, "unknown": ExitCode.COULD_NOT_JUDGE}.get(verdict, ExitCode.OK)
