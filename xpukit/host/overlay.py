"""`OverlayHost`: a machine with a few answers changed ("card 2 fell off the bus")."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from xpukit.host.door import Host
from xpukit.host.mediated import MediatedHost, Question

A = TypeVar("A", bound=msgspec.Struct)


class OverlayHost(MediatedHost):
    """Answers from `changes` first; keys are questions such as ("read", "/proc/cmdline") or ("run", "lspci", "-n")."""

    def __init__(self, inner: Host, changes: Mapping[Question, msgspec.Struct]) -> None:
        super().__init__(inner)
        self._changes = dict(changes)

    def mediate(self, question: Question, answer_type: type[A], ask: Callable[[], A]) -> A:
        changed = self._changes.get(question)
        if changed is None:
            return ask()
        if not isinstance(changed, answer_type):
            raise TypeError(f"{question} is answered with {answer_type.__name__}, not {type(changed).__name__}")
        return changed
