"""A host that asks the machine each question once, so that one probe is one consistent picture (and fast)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import msgspec

from xpukit.host.door import Host
from xpukit.host.mediated import MediatedHost, Question

A = TypeVar("A", bound=msgspec.Struct)


class AskedOnceHost(MediatedHost):
    """Keeps every answer for as long as it lives. Not for watching values change.

    Threads may share it: who asks what another thread is asking just then waits for that answer.
    """

    def __init__(self, inner: Host) -> None:
        super().__init__(inner)
        self._answers: dict[Question, msgspec.Struct] = {}
        self._pending: dict[Question, threading.Event] = {}
        self._lock = threading.Lock()

    @property
    def asked(self) -> tuple[Question, ...]:
        """The questions asked so far, in order."""
        return tuple(self._answers)

    def mediate(self, question: Question, answer_type: type[A], ask: Callable[[], A]) -> A:
        while True:
            kept = self._answers.get(question)
            if isinstance(kept, answer_type):
                return kept
            with self._lock:
                waiting = self._pending.get(question)
                if waiting is None:
                    kept = self._answers.get(question)
                    if isinstance(kept, answer_type):
                        return kept
                    self._pending[question] = threading.Event()
                    break
            # Without an answer afterwards (the other's asking raised) this thread asks itself.
            waiting.wait()
        try:
            answer = ask()
            self._answers[question] = answer
        finally:
            with self._lock:
                self._pending.pop(question).set()
        return answer
