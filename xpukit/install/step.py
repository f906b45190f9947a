"""The shape of a step: it looks at a machine and says what should change there, and how one sees that it did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from xpukit.core.finding import Finding, Unchecked
from xpukit.core.machine import Device
from xpukit.facts.stacks import StackFacts
from xpukit.install.change import Change
from xpukit.install.site import Site
from xpukit.install.work import Work

Scope = Literal["machine", "container"]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where packages come from besides what apt already has.

    `directory` on the machine with a flat repository (Packages, Release); `key` the file of the key that signed it, ""
    with `trusted` for one that is taken unsigned. `listing` is the text of a file of sources to add as it stands.
    `exclusive`: no other source is asked (air-gapped).
    """

    directory: str = ""
    key: str = ""
    trusted: bool = False
    listing: str = ""
    exclusive: bool = False


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the user chose. `chosen` are names of the stack's options, `pins` versions by package name."""

    users: tuple[str, ...] = ()
    chosen: frozenset[str] = frozenset()
    pins: dict[str, str] = {}
    source: Source = Source()
    lock_wait_s: float = 120.0
    force: bool = False


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What a step gets: the machine, the stack, the options, and the Intel GPUs where they are known.

    `applying`: the steps before this one were carried out; in a plan they were not.
    """

    site: Site
    stack: StackFacts
    options: Options = Options()
    devices: tuple[Device, ...] = ()
    applying: bool = False

    def wants(self, option: str) -> bool:
        """Whether a row of the stack applies: it has no option, or the option was chosen."""
        return not option or option in self.options.chosen


class StepPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a step would do. `satisfied` says what is already so; `blocked` why nothing can be done, "" when it can.

    `reboot` says why a reboot is needed once the changes are made, "" when none is.
    """

    changes: tuple[Change, ...] = ()
    satisfied: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()
    blocked: str = ""
    reboot: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step of `xpukit install`. `plan` only reads; asked again after the changes it must want nothing more.

    `refreshes` are run at the end when a change of this step was made or taken back. `verify` looks, after everything,
    whether the result works, and returns what does not, in words.
    """

    name: str
    summary: str
    order: int
    plan: Callable[[Scene], StepPlan]
    scopes: tuple[Scope, ...] = ("machine", "container")
    refreshes: tuple[str, ...] = ()
    verify: Callable[[Scene], tuple[str, ...]] | None = None


class Refresh(msgspec.Struct, frozen=True, kw_only=True):
    """Something made anew from files that steps changed (udev's rules, the initramfs, the boot menu).

    `run` raises ExternalError when it failed; `check` says what is wrong with the result, in words. `applies` False:
    this machine has no such thing, and nothing is run. All three also serve `undo`, with the files as they were.
    """

    name: str
    summary: str
    order: int
    applies: Callable[[Site], bool]
    run: Callable[[Work], None]
    check: Callable[[Site], tuple[str, ...]]
