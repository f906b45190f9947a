"""The questions of this room, found by directory scan: a new file with `QUESTION` is a new question."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import xpukit.probe
from xpukit.probe.question import Question, Scope

# Modules of the frame itself, which importing here would turn into a circle.
_FRAME = frozenset({"machine", "question", "registry"})


@cache
def list_questions() -> tuple[Question, ...]:
    """All questions, sorted by scope, order and name."""
    found = []
    for module in pkgutil.iter_modules(xpukit.probe.__path__):
        if module.ispkg or module.name in _FRAME:
            continue
        question = getattr(importlib.import_module(f"xpukit.probe.{module.name}"), "QUESTION", None)
        if isinstance(question, Question):
            found.append(question)
    return tuple(sorted(found, key=lambda question: (question.scope, question.order, question.name)))


def list_scope(scope: Scope) -> tuple[Question, ...]:
    """The questions of one scope in the order in which they are asked."""
    return tuple(question for question in list_questions() if question.scope == scope)
