"""What `xpukit rotate` prints: the plan of a dry run, and how a rotation ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xpukit.cli.render import print_table
from xpukit.cli.session import Session

if TYPE_CHECKING:
    from xpukit.operate.rotate.state import RotationPlan, RotationReport, SlotState


def print_rotation_plan(session: Session, name: str, plan: RotationPlan, states: Sequence[SlotState]) -> None:
    """Slots as they are, then the steps."""
    from xpukit.operate.rotate.plan import describe_steps

    print(f"{name}: {plan.mode}: {plan.why}")
    print(f"  at least {plan.min_healthy} healthy at any time")
    print()
    rows = []
    for one in states:
        kept = "" if one.previous == "absent" else f", the one before it {one.previous}"
        spare = " (spare)" if one.spare else ""
        age = _write_age(one.age_s)
        rows.append((one.slot, one.service + spare, one.balance, one.container + kept, str(one.requests), age))
    columns = ("slot", "engine", "balancer", "container", "requests", "age")
    print_table("", columns, rows, color=session.color, right=(4, 5))
    for line in describe_steps(plan) or ("nothing to do",):
        print(f"  {line}")
    for text in plan.skipped:
        print(f"  left out: {text}")


def print_rotation_report(session: Session, report: RotationReport) -> None:
    """One line, and what to do where it failed."""
    del session
    count = len(report.rotated)
    done = (
        f"{report.deployment}: {report.outcome}: {count} of {len(report.plan.order)} engines in {report.seconds:.1f} s"
    )
    print(done + (f": {report.why}" if report.why else ""))
    if report.out_of_service:
        print(f"  takes no requests: {', '.join(report.out_of_service)}")
    if report.outcome in ("failed", "interrupted"):
        print(f"  next: docker logs says why; xpukit rotate {report.deployment} goes on from here")


def _write_age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
