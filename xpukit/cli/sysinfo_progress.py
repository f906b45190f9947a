"""What `xpukit sysinfo` says while it works, and what Ctrl-C does to it."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType

from xpukit.cli.session import Session


class Progress:
    """One line that changes, on a terminal; a line a step with -v elsewhere; else nothing."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._terminal = sys.stderr.isatty() and not session.verbose
        self._wide = 0

    def __call__(self, name: str, done: int, total: int) -> None:
        """`name` is the step that begins, "" after the last."""
        if self._terminal:
            text = f"[{done + 1}/{total}] {name}" if name else ""
            sys.stderr.write("\r" + text.ljust(self._wide) + ("" if text else "\r"))
            sys.stderr.flush()
            self._wide = len(text)
        elif self._session.verbose and name:
            self._session.say(f"[{done + 1}/{total}] {name}")

    def clear(self) -> None:
        """Before anything else is said."""
        if self._terminal and self._wide:
            sys.stderr.write("\r" + " " * self._wide + "\r")
            self._wide = 0


@contextlib.contextmanager
def end_like_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP (a lost ssh connection) end a collection as Ctrl-C does: with what is there."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def finish_in_peace(session: Session) -> Iterator[None]:
    """The first Ctrl-C while the archive is written is answered with words; the second gives up."""
    before = signal.getsignal(signal.SIGINT)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    kept = {number: signal.getsignal(number) for number in numbers}
    told = False

    def hold(_number: int, _frame: FrameType | None) -> None:
        nonlocal told
        if told:
            raise KeyboardInterrupt
        told = True
        session.say("writing the bundle; once more gives it up")

    for number in numbers:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
        signal.signal(signal.SIGINT, before)
