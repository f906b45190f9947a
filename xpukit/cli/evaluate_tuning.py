"""`evaluate --tune`: settings for the length of a run, put back whatever ends it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from xpukit.cli.session import Session
from xpukit.core.errors import ExitCode

if TYPE_CHECKING:
    from xpukit.core.machine import Machine

_SYSTEM_STATE = Path("/var/lib/xpukit")


def find_journal() -> Path:
    """Where the tuning journal lies: one place for the machine, since its settings are the machine's."""
    return _SYSTEM_STATE / "tuning.json"


@contextmanager
def tune_machine(session: Session, machine: Machine, *, enabled: bool) -> Iterator[None]:
    """Tune, run the block, put back. Without `enabled` it only warns of an earlier tuning that was not put back."""
    from xpukit.evaluate.tune import apply_tuning, plan_tuning
    from xpukit.host.writable import WritableHost

    journal = find_journal()
    if not enabled:
        if journal.exists():
            session.warn(f"a tuning was left by an earlier run ({journal}): xpukit evaluate --restore-tuning")
        yield
        return
    host = WritableHost()
    settings = plan_tuning(host, [f"/sys/bus/pci/devices/{device.bdf}" for device in machine.devices])
    if not settings:
        session.say("--tune: nothing to set here (no governor, energy bias or GPU clock that could be)")
    try:
        for problem in apply_tuning(host, settings, journal):
            session.warn(f"not tuned: {problem}")
        yield
    finally:
        put_back(session)


def put_back(session: Session) -> bool:
    """Restore from the journal and say what could not be restored; True when nothing is left to do."""
    from xpukit.evaluate.tune import restore_tuning
    from xpukit.host.writable import WritableHost

    problems = restore_tuning(WritableHost(), find_journal())
    for problem in problems:
        session.warn(f"not put back: {problem}")
    return not problems


def put_tuning_back(session: Session) -> int:
    """`--restore-tuning`."""
    if not find_journal().exists():
        session.say("nothing to put back: no tuning journal here")
        return int(ExitCode.OK)
    done = put_back(session)
    session.say("the settings from before are back" if done else f"{find_journal()} is kept: try again as root")
    return int(ExitCode.OK if done else ExitCode.EXTERNAL_FAILURE)
