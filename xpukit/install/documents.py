"""The documents of `xpukit install … --json`, from the values that it works with."""

from __future__ import annotations

import difflib

import msgspec

from xpukit.core.finding import Finding, Unchecked
from xpukit.install.apply import Outcome
from xpukit.install.change import Change, FileChange, MemberChange, PackageAction, PackagesChange, kind_of
from xpukit.install.plan import Plan, PlannedStep, list_unchecked
from xpukit.install.registry import find_handler
from xpukit.install.site import Site
from xpukit.install.undo import Refusal

PLAN_SCHEMA = "xpukit.install-plan/1"
APPLY_SCHEMA = "xpukit.install-apply/1"
UNDO_SCHEMA = "xpukit.install-undo/1"
STATUS_SCHEMA = "xpukit.install-status/1"
INDEX_SCHEMA = "xpukit.install-index/1"


class ChangeView(msgspec.Struct, frozen=True, kw_only=True):
    """A change as a reader wants it: a file with its diff, packages with versions, origins and sizes."""

    kind: str
    what: str
    why: str = ""
    path: str = ""
    diff: str = ""
    packages: tuple[PackageAction, ...] = ()
    download_bytes: int = 0
    disk_bytes: int = 0


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a plan; `state` is satisfied, change, blocked or unknown."""

    name: str
    summary: str
    state: str
    changes: tuple[ChangeView, ...] = ()
    satisfied: tuple[str, ...] = ()
    blocked: str = ""
    refreshes: tuple[str, ...] = ()


class PlanDocument(msgspec.Struct, frozen=True, kw_only=True):
    """xpukit.install-plan/1."""

    stack: str
    root: str
    options: tuple[str, ...]
    steps: tuple[StepView, ...]
    changes: int
    download_bytes: int
    disk_bytes: int
    reboot: tuple[str, ...]
    refreshes: tuple[str, ...]
    blocked: tuple[str, ...]
    findings: tuple[Finding, ...]
    unchecked: tuple[Unchecked, ...]
    notes: tuple[str, ...] = ()


class ApplyDocument(msgspec.Struct, frozen=True, kw_only=True):
    """xpukit.install-apply/1."""

    stack: str
    root: str
    run: str
    changes: tuple[str, ...]
    refreshed: tuple[str, ...]
    reboot: tuple[str, ...]
    problems: tuple[str, ...]
    log: str


class UndoDocument(msgspec.Struct, frozen=True, kw_only=True):
    """xpukit.install-undo/1. `refused` not empty: nothing was touched."""

    root: str
    run: str
    changes: tuple[str, ...]
    refreshed: tuple[str, ...]
    refused: tuple[Refusal, ...]
    log: str


def view_plan(site: Site, plan: Plan, *, options: tuple[str, ...], notes: tuple[str, ...]) -> PlanDocument:
    """A plan with the diffs of its files."""
    steps = tuple(_view_step(site, step) for step in plan.steps)
    views = [change for step in steps for change in step.changes]
    return PlanDocument(
        stack=plan.stack,
        root=site.root,
        options=options,
        steps=steps,
        changes=plan.changes,
        download_bytes=sum(view.download_bytes for view in views),
        disk_bytes=sum(view.disk_bytes for view in views),
        reboot=plan.reboot,
        refreshes=plan.refreshes,
        blocked=plan.blocked,
        findings=plan.findings,
        unchecked=list_unchecked(plan),
        notes=notes,
    )


def _view_step(site: Site, step: PlannedStep) -> StepView:
    return StepView(
        name=step.name,
        summary=step.summary,
        state=step.state,
        changes=tuple(view_change(site, change) for change in step.plan.changes),
        satisfied=step.plan.satisfied,
        blocked=step.plan.blocked,
        refreshes=step.refreshes if step.plan.changes else (),
    )


def view_change(site: Site, change: Change) -> ChangeView:
    """One change; reads the file that it is about, for the diff."""
    what = find_handler(change).describe(change)
    why = getattr(change, "why", "")
    if isinstance(change, FileChange):
        return ChangeView(kind="file", what=what, why=why, path=change.path, diff=_diff(site, change))
    if isinstance(change, PackagesChange):
        return ChangeView(
            kind="packages",
            what=what,
            packages=change.actions,
            download_bytes=sum(action.download_bytes or 0 for action in change.actions),
            disk_bytes=change.disk_bytes,
        )
    if isinstance(change, MemberChange):
        return ChangeView(kind="member", what=what, why=why, path="/etc/group")
    return ChangeView(kind=kind_of(change), what=what, why=why)


def _diff(site: Site, change: FileChange) -> str:
    answer = site.read(change.path)
    new = b"" if not change.sha256 else change.content
    if new is None:
        return f"binary or large: from {change.copy_from}, sha256 {change.sha256}\n"
    try:
        before = answer.data.decode() if not answer.error else ""
        after = new.decode()
    except UnicodeDecodeError:
        return f"binary: {len(answer.data)} bytes before, {len(new)} after\n"
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        fromfile=change.path if not answer.error else "/dev/null",
        tofile=change.path if change.sha256 else "/dev/null",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def view_outcome(stack: str, site: Site, outcome: Outcome) -> ApplyDocument:
    """What an apply did."""
    return ApplyDocument(stack=stack, root=site.root, **msgspec.structs.asdict(outcome))


def view_undo(site: Site, outcome: Outcome | None, refused: tuple[Refusal, ...]) -> UndoDocument:
    """What an undo did, or why it did not begin."""
    done = outcome or Outcome(run="")
    return UndoDocument(
        root=site.root, run=done.run, changes=done.changes, refreshed=done.refreshed, refused=refused, log=done.log
    )
