"""One question of a collection, as the bundle's list of contents shows it."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from xpukit.host.answers import FileAnswer, LinkAnswer, NamesAnswer, Ran, StatAnswer

# capped: an answer that is there in part; skipped: not asked at all (the bundle is full).
EntryStatus = Literal["ok", "missing", "denied", "timeout", "failed", "capped", "skipped"]

# What the limits of a collection answer in place of the machine: an errno name that no read or command gives.
BUNDLE_FULL = "EFBIG"
# EINVAL and the two after it: the kernel has no value to give (the speed of a link that is down).
_MISSING = frozenset(
    {"ENOENT", "ENOTDIR", "ENODEV", "ENXIO", "EINVAL", "EOPNOTSUPP", "ENODATA", "ESRCH", "UNRECORDED", "not-found"}
)
# The last words of a command that looked for something that this machine does not have.
_NOT_THERE = re.compile(r"No such (?:file|device|process|boot)|[Nn]ot found|does not exist|No such object")
_SEARCHES = frozenset({"grep", "zgrep", "egrep"})
_DENIED = frozenset({"EACCES", "EPERM", "denied"})
_TIMEOUT = frozenset({"ETIMEDOUT", "timeout"})
_DETAIL_CHARS = 300


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked, how it went, how long it took and how large the answer is.

    `what` is a question as `xpukit sysinfo show BUNDLE WHAT` takes it: "read /etc/os-release", "run uname -a".
    """

    what: str
    status: EntryStatus = "ok"
    detail: str = ""
    seconds: float = 0.0
    size_bytes: int = 0

    @property
    def failed(self) -> bool:
        """Whether something is not in the bundle that this machine may have."""
        return self.status not in ("ok", "missing", "capped")


def judge_answer(answer: msgspec.Struct) -> tuple[EntryStatus, str]:
    """(status, detail) of an answer."""
    if isinstance(answer, Ran):
        return _judge_ran(answer)
    error = str(getattr(answer, "error", ""))
    if error:
        return name_failure(error), _explain_error(error)
    if isinstance(answer, FileAnswer) and answer.truncated:
        return "capped", f"only {len(answer.data)} bytes of it were kept"
    return "ok", ""


def _judge_ran(answer: Ran) -> tuple[EntryStatus, str]:
    if answer.failure in _MISSING:
        return "missing", "not in the recording" if answer.failure == "UNRECORDED" else "not installed"
    if answer.failure == BUNDLE_FULL:
        return "skipped", _explain_error(BUNDLE_FULL)
    if answer.failure:
        return name_failure(answer.failure), _describe_end(answer)
    if answer.dropped_bytes:
        return "capped", f"head and tail kept, {answer.dropped_bytes} bytes left out"
    if answer.rc:
        # With output it is an answer: many tools say by their exit code that one of several things was not found.
        end = _describe_end(answer)
        if answer.out.strip():
            return "ok", end
        if answer.rc == 1 and not answer.err.strip() and answer.argv[:1] and answer.argv[0] in _SEARCHES:
            return "ok", "no line matches"
        return "missing" if _NOT_THERE.search(end) else "failed", end
    return "ok", ""


def _describe_end(answer: Ran) -> str:
    """How a command ended, with the last line it said; the command itself stands in the entry."""
    ended = {"timeout": f"stopped after {answer.seconds:.0f} s", "denied": "permission denied"}.get(answer.failure)
    if ended is None:
        number = answer.failure.removeprefix("signal:")
        ended = f"killed by signal {number}" if number != answer.failure else answer.failure or f"exit {answer.rc}"
    last = (answer.err_text.strip() or answer.text.strip()).splitlines()[-1:]
    said = f": {last[0].strip()}" if last and last[0].strip() else ""
    return f"{ended}{said}"[:_DETAIL_CHARS]


def name_failure(error: str) -> EntryStatus:
    """The status that an errno name or a failure of `Ran` amounts to."""
    if error in _MISSING:
        return "missing"
    if error in _DENIED:
        return "denied"
    if error in _TIMEOUT:
        return "timeout"
    return "skipped" if error == BUNDLE_FULL else "failed"


def _explain_error(error: str) -> str:
    words = {
        "ENOENT": "not there",
        "EACCES": "permission denied",
        "EPERM": "permission denied",
        "ETIMEDOUT": "no answer in time",
        "UNRECORDED": "not in the recording",
        BUNDLE_FULL: "the bundle has reached its size limit",
    }
    return words.get(error, error)


def measure_answer(answer: msgspec.Struct) -> int:
    """Size of what an answer says, in bytes."""
    if isinstance(answer, Ran):
        return len(answer.out) + len(answer.err)
    if isinstance(answer, FileAnswer):
        return len(answer.data)
    if isinstance(answer, NamesAnswer):
        return sum(len(name) + 1 for name in answer.names)
    if isinstance(answer, LinkAnswer):
        return len(answer.target)
    if isinstance(answer, StatAnswer):
        return 0
    return len(msgspec.json.encode(answer))
