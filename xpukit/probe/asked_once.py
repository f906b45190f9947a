"""A host that asks the machine each question once, so that one probe is one consistent picture (and fast)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from xpukit.host.door import Host
from xpukit.host.mediated import MediatedHost, Question

A = TypeVar("A", bound=msgspec.Struct)


class AskedOnceHost(MediatedHost):
    """Keeps every answer for as long as it lives. Not for watching values change."""

    def __init__(self, inner: Host) -> None:
        super().__init__(inner)
        self._answers: dict[Question, msgspec.Struct] = {}

    @property
    def asked(self) -> tuple[Question, ...]:
        """The questions asked so far, in order."""
        return tuple(self._answers)

    def mediate(self, question: Question, answer_type: type[A], ask: Callable[[], A]) -> A:
        kept = self._answers.get(question)
        if isinstance(kept, answer_type):
            return kept
        answer = ask()
        self._answers[question] = answer
        return answer
