"""Calls that may block in the kernel, under a deadline."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class DeadlineMissedError(Exception):
    """The call did not come back in time; its thread is left behind (a blocked read cannot be cancelled)."""


class DeadlineThread:
    """One daemon thread that does calls for us, replaced when it gets stuck. Costs some 20 us a call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[Any] | None = None

    def call(self, work: Callable[[], T], timeout_s: float, *, count_done: Callable[[], int] | None = None) -> T:
        """`work()`'s value or exception; DeadlineMissedError after `timeout_s`.

        With `count_done` (how many parts of the work are done) the time is that of one part, not of all.
        """
        with self._lock:
            if self._jobs is None:
                self._jobs = queue.SimpleQueue()
                # Daemon: a thread stuck in a driver must not keep the process from ending.
                threading.Thread(target=_serve, args=(self._jobs,), daemon=True, name="xpukit-read").start()
            reply: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
            jobs = self._jobs
            jobs.put((work, reply))
            before = -1
            while True:
                done = count_done() if count_done is not None else 0
                try:
                    if done == before:
                        jobs.put(None)  # should it ever come back, let it end
                        self._jobs = None
                        raise DeadlineMissedError
                    before = done
                    fine, value = reply.get(timeout=timeout_s)
                    break
                except queue.Empty:
                    continue
        if fine:
            result: T = value
            return result
        raise value


def _serve(jobs: queue.SimpleQueue[Any]) -> None:
    while True:
        job = jobs.get()
        if job is None:
            return
        work, reply = job
        try:
            reply.put((True, work()))
        except BaseException as err:  # handed to the caller, who raises it
            reply.put((False, err))
