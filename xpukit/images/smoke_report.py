"""What a smoke test of an image says: one row for each thing tried."""

from __future__ import annotations

from typing import Literal

import msgspec

SCHEMA = "xpukit.smoke/1"
Verdict = Literal["pass", "fail", "unknown", "not-applicable"]


class SmokeCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One thing tried. `said` is the evidence or the reason, `log` the file in the build directory with all of it."""

    name: str
    verdict: Verdict
    said: str = ""
    seconds: float = 0.0
    log: str = ""


class EnvironmentDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A variable that the engine sees differently by the way it is started; "" where it is not set."""

    name: str
    values: dict[str, str]


class SmokeReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report. `devices` are the GPUs that were mapped (addresses), none where the machine has none.

    `verdict` is fail when a check failed, unknown when one that should have run could not, else pass.
    """

    image: str
    image_id: str
    recipe: str
    engine_version: str
    devices: tuple[str, ...]
    checks: tuple[SmokeCheck, ...]
    differences: tuple[EnvironmentDifference, ...] = ()
    verdict: Verdict = "unknown"


def judge_checks(checks: tuple[SmokeCheck, ...]) -> Verdict:
    """The worst of the rows; what does not apply does not count."""
    verdicts = {check.verdict for check in checks}
    if "fail" in verdicts:
        return "fail"
    return "unknown" if "unknown" in verdicts or "pass" not in verdicts else "pass"
