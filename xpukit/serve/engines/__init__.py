"""How each engine is told about ranks and machines: one file an engine, found by the names it lists.

A module has `ENGINES` (names) and `spread(case, builder) -> Spread`: it adds the flags of parallelism for one machine
and says which other processes and variables that machine needs.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any, Protocol

import msgspec

from xpukit.core.errors import UsageError
from xpukit.serve.parallelism import Parallelism
from xpukit.serve.plan_types import Choice, Role, Variable
from xpukit.serve.word_builder import WordBuilder

RAY_PORT = 6379


class NodeCase(msgspec.Struct, frozen=True, kw_only=True):
    """One machine of a launch. `ranks_here`: ranks that run on it. `addresses`: of all machines, the head first.

    `asked_*`: the user named the size, so that it is written even where it is the default; `asked_variables`: names.
    """

    engine: str
    version: str
    vendor: str
    model_id: str
    node: int
    addresses: tuple[str, ...]
    parallelism: Parallelism
    ranks_here: int
    executor: str = "auto"
    proxy: str = ""
    moe: bool = False
    asked_pp: bool = False
    asked_dp: bool = False
    asked_variables: tuple[str, ...] = ()

    @property
    def nodes(self) -> int:
        return len(self.addresses)

    @property
    def head(self) -> str:
        return self.addresses[0]

    @property
    def address(self) -> str:
        return self.addresses[self.node]


class Helper(msgspec.Struct, frozen=True, kw_only=True):
    """A process beside the engine on this machine, started before it."""

    name: str
    role: Role
    program: tuple[str, ...]
    variables: tuple[Variable, ...] = ()
    port: int = 0


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine needs beside flags. `runs_engine` False: only helpers run there. `topics`: see facts.launch."""

    helpers: tuple[Helper, ...] = ()
    variables: tuple[Variable, ...] = ()
    choices: tuple[Choice, ...] = ()
    runs_engine: bool = True


class EngineModule(Protocol):
    """The shape of a module here."""

    ENGINES: tuple[str, ...]

    def spread(self, case: NodeCase, builder: WordBuilder) -> Spread: ...

    def find_topics(self, parallelism: Parallelism, nodes: int, executor: str) -> frozenset[str]: ...


@cache
def _modules() -> tuple[Any, ...]:
    return tuple(importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))


def find_engine_module(engine: str) -> EngineModule:
    """The module of an engine. Raises UsageError."""
    for module in _modules():
        if engine in module.ENGINES:
            found: EngineModule = module
            return found
    known = ", ".join(name for module in _modules() for name in module.ENGINES)
    raise UsageError(f"no launch is known for engine {engine!r}", hint=f"known: {known}")
