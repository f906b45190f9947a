"""Small values out of sysfs: numbers, and answers that are told apart from "not there"."""

from __future__ import annotations

from xpukit.core.machine import Unread
from xpukit.host.answers import FileAnswer
from xpukit.host.door import Host
from xpukit.probe.question import describe_unread

# Not there is how sysfs says "does not apply"; it is no failure to report.
_ABSENT = frozenset({"ENOENT", "ENOTDIR"})


def parse_int(text: str) -> int | None:
    """A decimal or 0x-hexadecimal integer, None for anything else."""
    try:
        return int(text.strip(), 0) if not _is_padded(text) else int(text.strip())
    except ValueError:
        return None


def _is_padded(text: str) -> bool:
    """'007' is a decimal that int(…, 0) refuses."""
    return text.strip().lstrip("+-").isdigit()


def read_text(host: Host, path: str) -> str | None:
    """A file's text, None when it cannot be read for any reason."""
    answer = host.read(path)
    return answer.text if answer.ok else None


def read_int(host: Host, path: str) -> int | None:
    """A file's integer, None when it cannot be read or is no integer."""
    answer = host.read(path)
    return parse_int(answer.text) if answer.ok else None


def explain_unread(path: str, answer: FileAnswer) -> tuple[Unread, ...]:
    """The row for a file that is there and could not be read; nothing for a file that is not there."""
    if answer.ok or answer.error in _ABSENT:
        return ()
    return (describe_unread(path, answer.error),)


def is_absent(error: str) -> bool:
    """Whether an answer's error only says that there is no such thing."""
    return error in _ABSENT
