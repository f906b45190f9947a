"""Follows Python tracebacks through a log, one for each process: their frames are no news, their last line is."""

from __future__ import annotations

import re

from xpukit.doctor.log_lines import EXCEPTION, LogLine

_BEGIN = "Traceback (most recent call last):"
_FRAME = re.compile(r'^\s*(?:File "[^"]{0,1000}", line \d+|\[Previous line repeated|[\^~]{1,1000}[\^~ ]{0,1000}$)')
_LINKS = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
_OPEN_AT_MOST = 64
_FRAMES_AT_MOST = 400


class Tracebacks:
    """The tracebacks that are open."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        # Those whose begin is not in the log, as `docker logs --tail` cuts them.
        self._headless: set[str] = set()

    @property
    def any_open(self) -> bool:
        return bool(self._open)

    def take(self, line: LogLine) -> str:
        """What a line is: "frame" (part of a traceback), "exception" (its last line) or ""."""
        message = line.message
        if message.endswith(_BEGIN) or message in _LINKS:
            if message not in _LINKS:
                self._begin(line.tag)
            return "frame"
        if line.tag in self._open:
            self._open[line.tag] += 1
            if self._open[line.tag] > _FRAMES_AT_MOST:
                del self._open[line.tag]
                return ""
            if not message or message[0] in " \t" or _FRAME.match(message):
                return "frame"
            del self._open[line.tag]
            # Other programs write "File ..., line 3" too: there only what is an exception ends a traceback.
            return "exception" if line.tag not in self._headless or is_exception(message) else ""
        if not _FRAME.match(message):
            return ""
        self._begin(line.tag)
        self._headless.add(line.tag)
        return "frame"

    def _begin(self, tag: str) -> None:
        if len(self._open) >= _OPEN_AT_MOST:
            self._open.clear()
            self._headless.clear()
        self._open[tag] = 0
        self._headless.discard(tag)


def is_exception(message: str) -> bool:
    """Whether a line is an exception as Python prints one (a warning is none)."""
    found = EXCEPTION.match(message)
    return found is not None and not found["name"].endswith("Warning")
