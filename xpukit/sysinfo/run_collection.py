"""Runs collectors side by side, each at its own cost, and says how each went.

Much of a collection is waiting for child processes, so several collectors run at a time. What they are answered is
written down by the calling thread, collector by collector in their order: the recording is the same as if they had run
one after the other, and redaction needs no locks.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from xpukit.host.door import Host
from xpukit.host.interrupt import hold_interrupts
from xpukit.host.mediated import Question
from xpukit.host.runner import end_running
from xpukit.sysinfo.asking import HostAsker
from xpukit.sysinfo.collection import Collection, CollectorReport, CollectorStatus, Room
from xpukit.sysinfo.collector import GPU_LANE, Collector
from xpukit.sysinfo.limits import Budget, NotingHost, StoppedError

Progress = Callable[[str, int, int], None]
Keep = Callable[[Question, msgspec.Struct], None]

WORKERS = 4
# After Ctrl-C: a thread that is stuck in a read longer than this is left behind.
_FAREWELL_S = 3.0
_LOOK_S = 0.05


def collect_machine(
    host: Host,
    budget: Budget,
    collectors: Sequence[Collector],
    *,
    preset: str,
    rooms: Sequence[Room] = (),
    keep: Keep = lambda question, answer: None,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
    workers: int = 1,
) -> Collection:
    """Run `rooms` and `collectors`, `workers` at a time; `keep` gets every answer once, in their order.

    `host` is asked from several threads. Ctrl-C ends it with what is there. Raises OutputError when writing failed.
    """
    started = clock()
    identity = host.identity()
    run = _Run(host, budget, keep, clock, is_root=identity.uid == 0)
    steps = [_Step(room) for room in rooms] + [_Step(collector) for collector in collectors]
    interrupted = run.run_all(steps, workers, progress)
    reports = [step.report or run.report_unfinished(step) for step in steps]
    return Collection(
        preset=preset,
        root=identity.uid == 0,
        complete=not interrupted,
        interrupted=interrupted,
        seconds=round(clock() - started, 2),
        rooms=tuple(reports[: len(rooms)]),
        collectors=tuple(reports[len(rooms) :]),
    )


class _Step:
    """A room or collector on its way."""

    def __init__(self, task: Room | Collector) -> None:
        self.task = task
        # The questions of rooms are those of the GPU tools too.
        self.lane = GPU_LANE if isinstance(task, Room) else task.lane
        self.host: NotingHost | None = None
        self.began = 0.0
        self.report: CollectorReport | None = None
        self.interrupted = False
        self.kept = 0


class _Run:
    """One collection: its threads, and the thread that writes."""

    def __init__(self, host: Host, budget: Budget, keep: Keep, clock: Callable[[], float], *, is_root: bool) -> None:
        self._host = host
        self._budget = budget
        self._keep = keep
        self._clock = clock
        self._is_root = is_root
        self._stop = threading.Event()
        self._events: queue.SimpleQueue[tuple[str, _Step]] = queue.SimpleQueue()
        self._written: set[Question] = set()
        self._current = 0

    def run_all(self, steps: Sequence[_Step], workers: int, progress: Progress | None) -> bool:
        """Whether it was interrupted."""
        work: queue.SimpleQueue[Sequence[_Step]] = queue.SimpleQueue()
        for lane in _form_lanes(steps, workers):
            work.put(lane)
        threads = [
            threading.Thread(target=self._work, args=(work,), daemon=True, name=f"xpukit-collect-{number}")
            for number in range(min(workers, max(1, len(steps))))
        ]
        interrupted = False
        try:
            for thread in threads:
                thread.start()
            self._follow(steps, progress)
        except KeyboardInterrupt:
            interrupted = True
        except BaseException:
            self._end(threads)
            raise
        if interrupted:
            self._end(threads)
            self._write(steps, final=True)
        return interrupted

    def _follow(self, steps: Sequence[_Step], progress: Progress | None) -> None:
        done = 0
        while done < len(steps):
            try:
                what, step = self._events.get(timeout=_LOOK_S)
            except queue.Empty:
                self._write(steps)
                continue
            if what == "begin":
                if progress is not None:
                    progress(step.task.name, done, len(steps))
            else:
                done += 1
                broken = step.host.broken if step.host is not None else None
                if broken is not None:
                    raise broken
            self._write(steps)
            if step.interrupted:
                raise KeyboardInterrupt
        if progress is not None:
            progress("", done, len(steps))

    def _write(self, steps: Sequence[_Step], *, final: bool = False) -> None:
        """Hand on what is known of the step whose turn it is, and of those after it once it is done."""
        while self._current < len(steps):
            step = steps[self._current]
            is_done = step.report is not None or final
            asked = step.host.answers if step.host is not None else []
            while step.kept < len(asked):
                question, answer = asked[step.kept]
                # Whole or not at all: Ctrl-C in the middle would lose the answer, or leave redaction half done.
                with hold_interrupts():
                    step.kept += 1
                    if question not in self._written:
                        self._written.add(question)
                        self._keep(question, answer)
            if not is_done:
                return
            self._current += 1

    def _end(self, threads: Sequence[threading.Thread]) -> None:
        """End commands and threads; Ctrl-C reaches only the main thread."""
        self._stop.set()
        ends = time.monotonic() + _FAREWELL_S
        while any(thread.is_alive() for thread in threads) and time.monotonic() < ends:
            end_running()
            for thread in threads:
                thread.join(_LOOK_S)

    # In the threads

    def _work(self, work: queue.SimpleQueue[Sequence[_Step]]) -> None:
        while not self._stop.is_set():
            try:
                lane = work.get_nowait()
            except queue.Empty:
                return
            for step in lane:
                if self._stop.is_set():
                    return
                self._visit(step)

    def _visit(self, step: _Step) -> None:
        step.host = NotingHost(self._host, clock=self._clock, stopped=self._stop.is_set)
        step.began = self._clock()
        self._events.put(("begin", step))
        try:
            step.report = (
                self._visit_room(step.task, step.host)
                if isinstance(step.task, Room)
                else self._visit_collector(step.task, step.host)
            )
        except (KeyboardInterrupt, StoppedError):
            step.interrupted = True
            self._stop.set()
        finally:
            self._events.put(("end", step))

    def _visit_room(self, room: Room, host: NotingHost) -> CollectorReport:
        crash, seconds = self._guard(lambda: room.ask(host))
        return _report(room, host, crash, seconds)

    def _visit_collector(self, collector: Collector, host: NotingHost) -> CollectorReport:
        root_adds = "" if self._is_root else collector.root_adds
        if self._budget.all_used:
            detail = "the time for the whole collection was used up (--timeout)"
            return CollectorReport(
                name=collector.name, summary=collector.summary, status="skipped", detail=detail, root_adds=root_adds
            )
        asker = HostAsker(host, self._budget)
        self._budget.start_collector(collector.timeout_s)
        try:
            crash, seconds = self._guard(lambda: collector.collect(asker))
            late = self._budget.seconds_left <= 0
        finally:
            self._budget.end_collector()
        report = _report(collector, host, crash, seconds, late=late)
        return msgspec.structs.replace(report, root_adds=root_adds, notes=tuple(asker.notes))

    def _guard(self, ask: Callable[[], object]) -> tuple[str, float]:
        """(what crashed, seconds). A defect of ours costs this step only; a full disk ends everything."""
        started = self._clock()
        crash = ""
        try:
            ask()
        except Exception as err:
            crash = f"defect in xpukit: {type(err).__name__}: {err}"
        return crash, round(self._clock() - started, 2)

    # After Ctrl-C

    def report_unfinished(self, step: _Step) -> CollectorReport:
        """What to say of a step that Ctrl-C cut short or never let begin."""
        if step.host is None:
            return CollectorReport(
                name=step.task.name,
                summary=step.task.summary,
                status="skipped",
                detail="Ctrl-C came before its turn",
            )
        return CollectorReport(
            name=step.task.name,
            summary=step.task.summary,
            status="interrupted",
            detail="stopped by Ctrl-C",
            seconds=round(self._clock() - step.began, 2),
            entries=step.host.take_entries(),
        )


def _form_lanes(steps: Sequence[_Step], workers: int) -> list[Sequence[_Step]]:
    """What one thread does in a row. Those that may take long begin first, so that none is left over at the end."""
    if workers == 1:
        return [steps]
    gpu = [step for step in steps if step.lane == GPU_LANE]
    others = [step for step in steps if step.lane != GPU_LANE]
    first = [step for step in others if isinstance(step.task, Collector) and step.task.begins_first]
    others = [*first, *(step for step in others if step not in first)]
    return [gpu, *([step] for step in others)] if gpu else [[step] for step in others]


def _report(
    task: Room | Collector, host: NotingHost, crash: str, seconds: float, *, late: bool = False
) -> CollectorReport:
    entries = host.take_entries()
    status: CollectorStatus = "ok"
    detail = ""
    failed = [entry for entry in entries if entry.failed]
    if crash:
        status, detail = "crashed", crash
    elif late:
        status, detail = "timeout", f"stopped after {seconds:.0f} s"
    elif failed:
        status, detail = "partial", f"{len(failed)} of {len(entries)} not answered"
    return CollectorReport(
        name=task.name, summary=task.summary, status=status, detail=detail, seconds=seconds, entries=entries
    )
