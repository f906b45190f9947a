"""Packages that apt shall leave as they are."""

from __future__ import annotations

from xpukit.install.apt_view import read_packages
from xpukit.install.change import HoldChange
from xpukit.install.step import Scene, Step, StepPlan


def plan_holds(scene: Scene) -> StepPlan:
    """Holds of the stack, for packages that are installed or will be."""
    rows = [row for row in scene.stack.holds if scene.wants(row.option)]
    if not rows:
        return StepPlan()
    states = {state.name: state for state in read_packages(scene.site).values() if state.present}
    given = bool(scene.options.source.directory or scene.options.source.listing)
    coming = {row.name for row in scene.stack.packages if scene.wants(row.option) and (given or not row.needs_source)}
    changes, satisfied = [], []
    for row in rows:
        state = states.get(row.package)
        if state is not None and state.held:
            satisfied.append(f"{row.package} is held")
        elif state is not None or (not scene.applying and row.package in coming):
            changes.append(HoldChange(package=row.package, why=row.why))
        else:
            satisfied.append(f"{row.package} is not there: nothing to hold")
    return StepPlan(changes=tuple(changes), satisfied=tuple(satisfied))


STEP = Step(
    name="holds",
    summary="packages held at their version",
    order=800,
    plan=plan_holds,
)
