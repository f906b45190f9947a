"""systemd units that shall be on, off or impossible to start."""

from __future__ import annotations

from xpukit.core.finding import Unchecked
from xpukit.install.change import ServiceChange
from xpukit.install.handlers.service import read_unit
from xpukit.install.step import Scene, Step, StepPlan


def plan_services(scene: Scene) -> StepPlan:
    """Units of the stack that stand otherwise; one that is not there needs nothing."""
    rows = [row for row in scene.stack.services if scene.wants(row.option)]
    if not rows:
        return StepPlan()
    if not scene.site.has_program("systemctl"):
        why = Unchecked(check="services", why="no systemctl on this machine: units are left as they are")
        return StepPlan(unchecked=(why,))
    changes, satisfied = [], []
    for row in rows:
        stands = read_unit(scene.site, row.unit)
        if stands == row.want:
            satisfied.append(f"{row.unit} is {stands}")
        elif stands in ("not-found", "static", "masked") and row.want == "disabled":
            satisfied.append(f"{row.unit}: {stands}")
        else:
            changes.append(ServiceChange(unit=row.unit, want=row.want, why=row.why))
    return StepPlan(changes=tuple(changes), satisfied=tuple(satisfied))


def verify_services(scene: Scene) -> tuple[str, ...]:
    """Units that were switched on and did not come up: systemctl calls a start good before the program runs."""
    if not scene.site.is_whole or not scene.site.has_program("systemctl"):
        return ()
    wanted = [row.unit for row in scene.stack.services if row.want == "enabled" and scene.wants(row.option)]
    failed = [unit for unit in wanted if scene.site.ask(("systemctl", "is-failed", unit)).text.strip() == "failed"]
    return tuple(f"{unit} has failed: see systemctl status {unit}" for unit in failed)


STEP = Step(
    name="services",
    summary="units that start at boot, or no longer do",
    order=700,
    plan=plan_services,
    scopes=("machine",),
    verify=verify_services,
)
