"""What a handler or refresh gets to change a machine with: the site, the log, a way to speak, and patience."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from xpukit.core.errors import ExternalError
from xpukit.host.answers import Ran
from xpukit.install.site import Site

COMMAND_LIMIT_S = 1800.0
_TAIL_LINES = 15
# How the programs of shadow say it; they do not wait by themselves.
_LOCKED = "try again later"
_LOCK_TRIES, _LOCK_PAUSE_S = 20, 0.5


class Work:
    """One run of apply or undo."""

    def __init__(
        self,
        site: Site,
        *,
        log: Path | None = None,
        say: Callable[[str], None] = lambda text: None,
        on_line: Callable[[str], None] | None = None,
        lock_wait_s: float = 120.0,
        force: bool = False,
    ) -> None:
        self.site = site
        self.log = log
        self.say = say
        self.on_line = on_line
        self.lock_wait_s = lock_wait_s
        self.force = force

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = COMMAND_LIMIT_S,
        env: Mapping[str, str] | None = None,
        input: bytes = b"",
    ) -> Ran:
        """Run a command inside the root, its output going to the log."""
        self.note("$ " + " ".join(argv))
        ran = self.site.run(argv, timeout_s=timeout_s, env=env, input=input, log=self.log, on_line=self.on_line)
        self.note(f"-> exit {ran.rc}" + (f" ({ran.failure})" if ran.failure else ""))
        return ran

    def must(
        self, argv: Sequence[str], *, timeout_s: float = COMMAND_LIMIT_S, env: Mapping[str, str] | None = None
    ) -> Ran:
        """The same; raises ExternalError with the command and the end of its output when it failed."""
        ran = self.run(argv, timeout_s=timeout_s, env=env)
        if not ran.ok:
            raise ExternalError(describe_failure(ran), hint="see the log" + (f": {self.log}" if self.log else ""))
        return ran

    def must_with_lock(self, argv: Sequence[str], *, timeout_s: float = COMMAND_LIMIT_S) -> Ran:
        """The same for programs that give up at once where another holds the user database's lock.

        After a kill, the program that a former run of ours had started may still be at work: it is soon done.
        """
        ran = self.run(argv, timeout_s=timeout_s)
        for _ in range(_LOCK_TRIES):
            if ran.ok or _LOCKED not in f"{ran.text} {ran.err_text}":
                break
            time.sleep(_LOCK_PAUSE_S)
            ran = self.run(argv, timeout_s=timeout_s)
        if not ran.ok:
            raise ExternalError(describe_failure(ran), hint="see the log" + (f": {self.log}" if self.log else ""))
        return ran

    def note(self, text: str) -> None:
        """A line in the log. A log that cannot be written stops nothing: the journal is what counts."""
        if self.log is not None:
            self.site.changer.append_synced(str(self.log), (text + "\n").encode())


def describe_failure(ran: Ran) -> str:
    """The exact command and the last lines of what it said."""
    said = [line for line in (ran.text + "\n" + ran.err_text).splitlines() if line.strip()][-_TAIL_LINES:]
    return "\n".join([ran.describe_failure(), f"  command: {ran.command}", *(f"  | {line}" for line in said)])


def complain(ran: Ran) -> str:
    """What apt says is wrong, in one line."""
    errors = [line for line in ran.err_text.splitlines() if line.startswith("E: ")]
    return "; ".join(line.removeprefix("E: ") for line in errors) or describe_failure(ran)


def fail_errno(what: str, error: str) -> ExternalError:
    """An ExternalError for a write that answered with an errno name."""
    hints = {
        "ENOSPC": "free some space, then run the same command again",
        "EROFS": "the file system is mounted read-only: see the findings of `install plan`",
        "EACCES": "run as root",
        "EPERM": "run as root; an immutable file (chattr +i) gives this too",
    }
    return ExternalError(f"{what}: {error}", hint=hints.get(error, "run the same command again once that is put right"))
