"""The recorded machines, opened for a test."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from xpukit.core.machine import Device, Machine
from xpukit.host.replay import ReplayHost
from xpukit.probe.machine import probe_machine

RECORDED = Path(__file__).resolve().parent / "recorded"


def list_machines() -> tuple[str, ...]:
    """Names of the recorded machines."""
    return tuple(sorted(path.name.removesuffix(".tar.xz") for path in RECORDED.glob("*.tar.xz")))


def open_machine(name: str) -> ReplayHost:
    """A machine that answers from its recording. After a change of what probe asks, run tests/machines/record.py."""
    return ReplayHost(RECORDED / f"{name}.tar.xz", strict=True)


def open_loosely(name: str) -> ReplayHost:
    """The same, for a test whose changes lead to questions that nobody asked when it was recorded."""
    return ReplayHost(RECORDED / f"{name}.tar.xz", strict=False)


@cache
def read_machine(name: str) -> Machine:
    """A machine, probed."""
    return probe_machine(open_machine(name), include_all=True)


def find_device(name: str, bdf: str) -> Device:
    """One device of a probed machine."""
    return next(device for device in read_machine(name).devices if device.bdf == bdf)
