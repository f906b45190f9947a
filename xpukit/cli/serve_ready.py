"""`serve --run` after the start: progress from the engine's log, known errors explained, then the readiness gate."""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from xpukit.cli.session import Session
from xpukit.core.errors import XpukitError

if TYPE_CHECKING:
    from xpukit.operate.ready.endpoint import Ask
    from xpukit.operate.ready.start_log import Suggestion
    from xpukit.operate.ready.wait import Known, LogWatch
    from xpukit.serve.plan_types import Plan

_ANYWHERE = ("", "0.0.0.0", "::", "localhost")
# Options of `serve` in their other spelling.
_SHORT = {"--context": "-c"}


class ReadyWatch:
    """Follows what was started until it ends. `failing`: the gate found the service not ready."""

    def __init__(self, session: Session, plan: Plan) -> None:
        from xpukit.cli.check import read_key

        self._session = session
        self._plan = plan
        # Asked for before the start: without it there is nothing to wait for.
        self._key = read_key(session, plan.request.api_key_env)
        self.failing = False
        self.suggestions: tuple[Suggestion, ...] = ()

    def follow(self, lines: Iterator[str | None]) -> None:
        """Wait, check, then go on explaining what the log says. Nothing here may end the server."""
        from xpukit.operate.ready.wait import LogWatch

        say = self._session.say
        watch = LogWatch(
            tell=lambda step: say(f"xpukit: {step.text}"), explain=explain_lines, tell_known=self._tell_known
        )
        for url in list_urls(self._plan):
            state = self._wait(url, lines, watch)
            if state == "ended":
                return
        for line in lines:
            if line is None:
                watch.flush()
            else:
                watch.take(line)
        watch.flush()

    def _wait(self, url: str, lines: Iterator[str | None], watch: LogWatch) -> str:
        from xpukit.operate.ready.endpoint import make_ask
        from xpukit.operate.ready.wait import wait_ready

        say = self._session.say
        ask = make_ask(url, self._key)
        found = wait_ready(ask, lines, watch)
        self.suggestions = found.suggestions
        if found.state == "ready":
            say(f"xpukit: {url} answers after {found.seconds:.0f} s; checking its answers")
            self._check(url, ask)
        elif found.state == "timeout":
            say(f"xpukit: {url} does not answer after {found.seconds:.0f} s; not checked (xpukit check {url} does)")
        return found.state

    def _check(self, url: str, ask: Ask) -> None:
        from xpukit.cli.check_tables import print_report
        from xpukit.facts.readiness import find_level
        from xpukit.operate.ready.endpoint import describe_endpoint
        from xpukit.operate.ready.gate import Gate

        try:
            report = Gate(ask, describe_endpoint(ask, url), find_level("quick")).run()
        except XpukitError as err:
            self._session.say(f"xpukit: could not check {url}: {err.message}")
            return
        print_report(self._session, report)
        # The server goes on for days: what was found must not wait for it in a buffer.
        sys.stdout.flush()
        self.failing = self.failing or report.exit_code == 1
        if report.exit_code == 1:
            self._session.say(f"xpukit: {url} runs, but its answers are not right")

    def _tell_known(self, known: Known) -> None:
        self._session.say(f"xpukit: {known.severity}: {known.text} [{known.id}]")


def list_urls(plan: Plan) -> tuple[str, ...]:
    """Where this machine's part of the plan answers: its engines, or the proxy in front of them."""
    proxies = [launch for launch in plan.launches if launch.role == "proxy"]
    launches = proxies or [launch for launch in plan.launches if launch.role == "engine"]
    host = plan.request.host
    shown = "127.0.0.1" if host in _ANYWHERE else f"[{host}]" if ":" in host else host
    return tuple(dict.fromkeys(f"http://{shown}:{launch.port}" for launch in launches))


def explain_lines(lines: Sequence[str]) -> tuple[Known, ...]:
    """Doctor's known errors in these lines."""
    from xpukit.doctor.log_scan import scan_logs
    from xpukit.operate.ready.wait import Known

    data = "\n".join(lines).encode("utf-8", errors="replace")
    report = scan_logs([("engine", io.BytesIO(data))])
    return tuple(
        Known(
            id=match.id,
            severity=match.severity,
            text=f"{match.title}: {match.cause}" + (f" Try: {match.remedy[0]}" if match.remedy else ""),
        )
        for match in report.matches
    )


def write_retry(argv: Sequence[str], option: str, value: str) -> str:
    """The command line again, with this value of this option, as one would type it."""
    short = _SHORT.get(option, "")
    words: list[str] = []
    skip = False
    own, mark, engine = _split(argv)
    for word in own:
        if skip:
            skip = False
        elif word in (option, short):
            skip = True
        elif word.startswith(f"{option}=") or (short and word.startswith(short)):
            continue
        else:
            words.append(word)
    return shlex.join(["xpukit", *words, option, value, *mark, *engine])


def _split(argv: Sequence[str]) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    """Our words, "--", and the engine's own flags behind it."""
    if "--" not in argv:
        return argv, (), ()
    place = list(argv).index("--")
    return argv[:place], ("--",), argv[place + 1 :]
