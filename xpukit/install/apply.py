"""Apply: each step checked, carried out, checked again; each change in the journal before it begins."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from xpukit.core.errors import ExternalError, XpukitError
from xpukit.core.json_document import now_utc
from xpukit.install.backups import make_directories
from xpukit.install.change import Change, kind_of
from xpukit.install.handler import Entry
from xpukit.install.journal import Journal, JournalState
from xpukit.install.lock import hold_lock
from xpukit.install.plan import plan_step
from xpukit.install.registry import find_handler, list_handlers, list_refreshes, steps_for
from xpukit.install.reporter import Reporter
from xpukit.install.site import STATE_DIR, Site
from xpukit.install.step import Scene, Step
from xpukit.install.work import Work

LOGS = f"{STATE_DIR}/log"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did. `problems` are what did not hold when everything was looked at again."""

    run: str
    changes: tuple[str, ...] = ()
    refreshed: tuple[str, ...] = ()
    reboot: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    log: str = ""


def open_work(site: Site, mode: str, *, lock_wait_s: float, force: bool, reporter: Reporter) -> Work:
    """The log of a run lies beside the journal."""
    make_directories(site, LOGS)
    stamp = now_utc().replace(":", "").replace("-", "")
    log = Path(site.locate(f"{LOGS}/{stamp}-{mode}.log"))
    return Work(
        site, log=log, say=reporter.say, on_line=reporter.hear_line, lock_wait_s=lock_wait_s, force=force
    )  # fmt: skip


def apply_stack(scene: Scene, reporter: Reporter, *, pid: int = 0, steps: Sequence[Step] | None = None) -> Outcome:
    """Bring a machine to the stack. Raises ExternalError at the first failure; `apply` again goes on from there."""
    site, options = scene.site, scene.options
    scene = msgspec.structs.replace(scene, applying=True)
    about = f"install apply of {scene.stack.name}"
    with hold_lock(site, about, wait_s=options.lock_wait_s, pid=pid, say=reporter.say):
        work = open_work(site, "apply", lock_wait_s=options.lock_wait_s, force=options.force, reporter=reporter)
        journal = Journal(site)
        recover(work, journal.load())
        run = journal.begin("apply", scene.stack.name, {"options": sorted(options.chosen), "log": str(work.log)})
        try:
            made, reboot = _run_steps(scene, steps or steps_for(scene.stack.scope), work, journal, reporter)
            close_unfinished(site, journal)
            refreshed = run_refreshes(work, journal, reporter)
            problems = _verify(scene, steps or steps_for(scene.stack.scope))
        except XpukitError:
            journal.end("failed")
            raise
        except KeyboardInterrupt:
            journal.end("interrupted")
            raise
        journal.end("done" if not problems else "failed")
    return Outcome(
        run=run,
        changes=tuple(made),
        refreshed=tuple(refreshed),
        reboot=tuple(reboot),
        problems=tuple(problems),
        log=str(work.log),
    )


def recover(work: Work, state: JournalState) -> None:
    """Put right what a run that was killed left half done, before anything else is asked."""
    kinds = {kind_of(entry.change) for entry in state.in_force if entry.after is None}
    if state.interrupted is not None and state.interrupted.mode == "undo":
        kinds |= {kind_of(entry.change) for entry in state.in_force}
    for kind, handler in list_handlers().items():
        if kind in kinds and handler.recover is not None:
            work.note(f"recovering {kind}")
            handler.recover(work)


def _run_steps(
    scene: Scene, steps: Sequence[Step], work: Work, journal: Journal, reporter: Reporter
) -> tuple[list[str], list[str]]:
    made: list[str] = []
    reboot: list[str] = []
    for step in steps:
        plan = plan_step(step, scene)
        reporter.begin_step(step, plan)
        if plan.blocked:
            raise ExternalError(f"{step.name}: {plan.blocked}", hint="see: xpukit install plan")
        for change in plan.changes:
            made.append(_make_change(step, change, work, journal, reporter))
        if plan.reboot:
            reboot.append(plan.reboot)
        if plan.changes:
            _check_again(step, scene)
    return made, reboot


def _make_change(step: Step, change: Change, work: Work, journal: Journal, reporter: Reporter) -> str:
    handler = find_handler(change)
    text = handler.describe(change)
    started = time.monotonic()
    reporter.begin_change(text)
    work.note(f"== {step.name}: {text}")
    entry = journal.doing(step.name, change, handler.capture(work, change), step.refreshes)
    handler.do(work, change)
    entry = msgspec.structs.replace(entry, after=handler.observe(work.site, change))
    position = handler.locate(work.site, entry)
    if position.standing == "before":
        raise ExternalError(f"{step.name}: {text}: nothing changed", hint=f"see the log: {work.log}")
    if position.note:
        raise ExternalError(f"{step.name}: {text}: {position.note}", hint=f"see the log: {work.log}")
    journal.done(entry, entry.after or {})
    reporter.finish_change(text, time.monotonic() - started)
    return text


def _check_again(step: Step, scene: Scene) -> None:
    """Asked again, the step must want nothing: that is what makes a second run change nothing."""
    left = plan_step(step, scene)
    if left.blocked or left.changes:
        wants = left.blocked or "; ".join(find_handler(change).describe(change) for change in left.changes)
        raise ExternalError(f"{step.name}: carried out, but still wanted: {wants}", hint="see the log; nothing is lost")


def close_unfinished(site: Site, journal: Journal) -> None:
    """Entries of runs that were killed: what they wanted holds now, or they never happened."""
    for entry in journal.load().in_force:
        if entry.after is not None:
            continue
        handler = find_handler(entry.change)
        if handler.locate(site, entry).standing in ("before", "both"):
            journal.undone(entry)
        else:
            journal.done(entry, handler.observe(site, entry.change))


def run_refreshes(work: Work, journal: Journal, reporter: Reporter) -> list[str]:
    """Make anew what changed files call for, once, also after a crash. Raises ExternalError when one fails."""
    stale = set(journal.load().stale)
    done = []
    for refresh in list_refreshes():
        if refresh.name not in stale:
            continue
        if refresh.applies(work.site):
            reporter.begin_change(refresh.summary)
            started = time.monotonic()
            work.note(f"== refresh {refresh.name}")
            refresh.run(work)
            if problems := refresh.check(work.site):
                raise ExternalError(f"{refresh.name}: {'; '.join(problems)}", hint=f"see the log: {work.log}")
            reporter.finish_change(refresh.summary, time.monotonic() - started)
            done.append(refresh.name)
        journal.refreshed(refresh.name)
    return done


def _verify(scene: Scene, steps: Sequence[Step]) -> list[str]:
    return [f"{step.name}: {problem}" for step in steps if step.verify is not None for problem in step.verify(scene)]


def name_entry(entry: Entry) -> str:
    """An entry in words."""
    return find_handler(entry.change).describe(entry.change)
