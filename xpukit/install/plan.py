"""The plan: every step asked, nothing changed."""

from __future__ import annotations

import msgspec

from xpukit.core.errors import ExternalError
from xpukit.core.finding import Evidence, Finding, Unchecked, sort_findings
from xpukit.install.apt_view import NotRecordedError
from xpukit.install.change import PackagesChange
from xpukit.install.registry import list_refreshes, steps_for
from xpukit.install.step import Scene, Step, StepPlan
from xpukit.install.surroundings import look_around

# What stays free for logs and the machine's own needs.
_RESERVE_BYTES = 512 << 20
_DISK_DIRECTORY = "/usr"


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step with what it would do."""

    name: str
    summary: str
    plan: StepPlan
    refreshes: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        if self.plan.blocked:
            return "blocked"
        if self.plan.changes:
            return "change"
        return "unknown" if self.plan.unchecked else "satisfied"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All steps of a stack, what the machine's surroundings say, and what comes at the end."""

    stack: str
    steps: tuple[PlannedStep, ...]
    findings: tuple[Finding, ...] = ()
    refreshes: tuple[str, ...] = ()
    reboot: tuple[str, ...] = ()

    @property
    def changes(self) -> int:
        return sum(len(step.plan.changes) for step in self.steps)

    @property
    def blocked(self) -> tuple[str, ...]:
        """Why it could not be applied, in words."""
        steps = [f"{step.name}: {step.plan.blocked}" for step in self.steps if step.plan.blocked]
        return (*steps, *(finding.summary for finding in self.findings if finding.severity == "critical"))


def plan_step(step: Step, scene: Scene) -> StepPlan:
    """A step's plan; what makes planning impossible becomes `blocked`."""
    try:
        return step.plan(scene)
    except NotRecordedError as err:
        return StepPlan(unchecked=(Unchecked(check=step.name, why=err.message, remedy=err.hint),))
    except ExternalError as err:
        return StepPlan(blocked=err.message)


def plan_stack(scene: Scene) -> Plan:
    """Ask every step of the stack."""
    steps = [
        PlannedStep(name=step.name, summary=step.summary, plan=plan_step(step, scene), refreshes=step.refreshes)
        for step in steps_for(scene.stack.scope)
    ]
    findings = [*look_around(scene), *find_low_disk(scene, steps)]
    for step in steps:
        findings.extend(step.plan.findings)
    refreshes = {name for step in steps if step.plan.changes for name in step.refreshes}
    return Plan(
        stack=scene.stack.name,
        steps=tuple(steps),
        findings=sort_findings(findings),
        refreshes=tuple(sorted(refreshes - _list_needless(scene))),
        reboot=tuple(step.plan.reboot for step in steps if step.plan.reboot),
    )


def _list_needless(scene: Scene) -> set[str]:
    """What this machine has not, so that nothing is made anew. A recording was not asked for it."""
    if not scene.site.can_change:
        return set()
    return {refresh.name for refresh in list_refreshes() if not refresh.applies(scene.site)}


def find_low_disk(scene: Scene, steps: list[PlannedStep]) -> list[Finding]:
    """Less room than the packages take, with a reserve."""
    needed = sum(
        change.disk_bytes + sum(action.download_bytes or 0 for action in change.actions)
        for step in steps
        for change in step.plan.changes
        if isinstance(change, PackagesChange)
    )
    if not needed:
        return []
    ran = scene.site.ask(("df", "-B1", "--output=avail", _DISK_DIRECTORY))
    words = ran.text.split()
    if not ran.ok or not words or not words[-1].isdigit():
        return []
    free = int(words[-1])
    if free >= needed + _RESERVE_BYTES:
        return []
    return [
        Finding(
            id="XPK-INSTALL-DISK-LOW",
            severity="critical" if free < needed else "warning",
            summary=f"{free >> 20} MiB are free, the packages need {needed >> 20} MiB",
            evidence=(Evidence(source=f"df {_DISK_DIRECTORY}", value=f"{free} bytes available"),),
            remedy=("free some space: apt-get clean, old kernels, docker system prune",),
        )
    ]


def list_unchecked(plan: Plan) -> tuple[Unchecked, ...]:
    """What no step could look at."""
    return tuple(item for step in plan.steps for item in step.plan.unchecked)
