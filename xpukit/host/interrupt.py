"""Ctrl-C and SIGTERM as one: an exception, or an event of an asyncio program, so that what was measured is kept."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


@contextlib.contextmanager
def interrupt_on_terminate() -> Iterator[None]:
    """Inside, SIGTERM is what Ctrl-C is: a KeyboardInterrupt. Only in the main thread."""

    def take(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, take)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def hold_interrupts() -> Iterator[None]:
    """What is inside is done whole: the first Ctrl-C (SIGTERM, SIGHUP) waits for its end, the second does not.

    Outside the main thread nothing changes: Python handles signals in the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    # What is ignored stays so, and what ends the process at once is nobody's to put off.
    previous = {
        number: handler
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if callable(handler := signal.getsignal(number))
    }

    def note(number: int, frame: FrameType | None) -> None:
        if waiting:
            previous[signal.Signals(number)](number, frame)
        waiting.append(number)

    for number in previous:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if waiting:
            signal.raise_signal(waiting[0])


@contextlib.contextmanager
def stop_on_interrupt(stop: asyncio.Event) -> Iterator[None]:
    """Inside, the first Ctrl-C or SIGTERM sets `stop`; the second ends the program as always.

    Outside the main thread (and where the loop has no signals) nothing changes.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def take(number: signal.Signals) -> None:
        stop.set()
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
            loop.remove_signal_handler(number)

    taken = []
    for number in numbers:
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
            loop.add_signal_handler(number, take, number)
            taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
                loop.remove_signal_handler(number)
