"""Steps, handlers and refreshes are found by scanning their directories: a new file is a new one."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType

from xpukit.install import handlers, refreshes, steps
from xpukit.install.change import Change, kind_of
from xpukit.install.handler import Handler
from xpukit.install.step import Refresh, Step


def _list_modules(package: ModuleType) -> list[ModuleType]:
    names = sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]


@cache
def list_steps() -> tuple[Step, ...]:
    """All steps, in the order in which they are applied."""
    return tuple(sorted((module.STEP for module in _list_modules(steps)), key=lambda step: (step.order, step.name)))


@cache
def list_refreshes() -> tuple[Refresh, ...]:
    """All refreshes, in the order in which they run."""
    found = [module.REFRESH for module in _list_modules(refreshes)]
    return tuple(sorted(found, key=lambda refresh: (refresh.order, refresh.name)))


@cache
def list_handlers() -> dict[str, Handler]:
    """All handlers, by the kind of change that they do."""
    return {module.HANDLER.kind: module.HANDLER for module in _list_modules(handlers)}


def find_handler(change: Change) -> Handler:
    """The handler of a change. Raises KeyError for a kind that has none, which the conformance test rules out."""
    return list_handlers()[kind_of(change)]


def steps_for(scope: str) -> tuple[Step, ...]:
    """The steps of a stack's scope."""
    return tuple(step for step in list_steps() if scope in step.scopes)
