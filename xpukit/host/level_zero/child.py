"""Ask Level Zero in a child process, so that a crashing or wedged driver costs an answer and not the program."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.host.answers import Ran
from xpukit.host.level_zero.__main__ import TRACE_MARK
from xpukit.host.level_zero.outcome import LOOK_AT_KERNEL
from xpukit.host.level_zero.snapshot import LevelZeroAnswer, RefusedCall, Status

# A first attempt that hangs in sysman leaves this share of the time for one without sysman.
_FIRST_SHARE = 0.6

# Started with -c instead of -m: that would put the current directory on the path. A source tree must come first,
# while an installation is on the path already (and must stay behind the standard library).
_PROGRAM = (
    "import sys; root = sys.argv.pop(1); sys.path[:1] = [] if root in sys.path else [root]; "
    "import runpy; runpy.run_module('xpukit.host.level_zero', run_name='__main__')"
)


class Run(Protocol):
    """What we need of `xpukit.host.runner.run_process`."""

    def __call__(self, argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str] | None = None) -> Ran: ...


def ask_in_child(run: Run, *, timeout_s: float = 10.0, loader: str | None = None) -> LevelZeroAnswer:
    """The snapshot, within `timeout_s`; a driver that dies or hangs is an answer with its last call named.

    When it died or hung in a sysman call a second child leaves sysman out; when zesInit is there but the driver is
    older than it, a second child uses ZES_ENABLE_SYSMAN instead.
    """
    first = _ask_once(run, sysman="auto", timeout_s=timeout_s * _FIRST_SHARE, loader=loader)
    left_s = timeout_s * (1 - _FIRST_SHARE)
    last_call = first.errors[-1] if first.errors else None
    if first.status in ("crashed", "timeout") and last_call and last_call.call.startswith("zes"):
        second = _ask_once(run, sysman="none", timeout_s=left_s, loader=loader)
        if second.status == "ok":
            detail = f"sysman left out: {first.detail}"
            return msgspec.structs.replace(
                second, detail=detail, remedy=first.remedy, errors=(*second.errors, last_call)
            )
        return first
    if first.status == "ok" and any(refused.call == "zesInit" for refused in first.errors):
        second = _ask_once(run, sysman="legacy", timeout_s=left_s, loader=loader)
        if second.status == "ok" and any(device.sysman for device in second.devices):
            return second
    if first.status == "timeout" and last_call is None:
        # Not a driver's doing (nothing was called yet): a loaded machine deserves the rest of the time.
        return _ask_once(run, sysman="auto", timeout_s=left_s, loader=loader)
    return first


def _ask_once(run: Run, *, sysman: str, timeout_s: float, loader: str | None) -> LevelZeroAnswer:
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    argv = [sys.executable, "-c", _PROGRAM, root, "--sysman", sysman]
    if loader is not None:
        argv += ["--loader", loader]
    return read_answer(run(argv, timeout_s=timeout_s, env={"PYTHONDONTWRITEBYTECODE": "1"}))


def read_answer(ran: Ran) -> LevelZeroAnswer:
    """The child's answer; its crash, hang or rubbish as an answer of its own."""
    call, said = split_trace(ran.err)
    where = f" in {call}" if call else ""
    # A complete document counts even when the process died afterwards.
    try:
        return msgspec.json.decode(ran.out, type=LevelZeroAnswer)
    except BAD_JSON as err:
        problem = str(err)
    if ran.failure == "timeout":
        return _fail(
            "timeout", f"no answer within {ran.seconds:.1f} s{where}", call, "TIMEOUT", said,
            f"The driver waits for the device, which may be wedged. {LOOK_AT_KERNEL} A reset or reboot frees it.",
        )  # fmt: skip
    if ran.failure.startswith("signal:"):
        name = _name_signal(ran.failure.removeprefix("signal:"))
        return _fail(
            "crashed", f"killed by {name}{where}", call, f"CRASHED_{name}", said,
            f"A fault in the driver or in a library it loaded. {LOOK_AT_KERNEL}",
        )  # fmt: skip
    if ran.failure in ("not-found", "denied"):
        detail = f"the child could not be started: {ran.describe_failure()}"
        return _fail("denied" if ran.failure == "denied" else "garbled", detail, "", "", said, "")
    detail = f"exit {ran.rc}{where} without a readable answer ({problem}; {len(ran.out)} bytes)"
    remedy = "The driver ended the process, or this installation of xpukit is damaged; the command may be run by hand."
    return _fail("garbled", detail, call, f"EXITED_{ran.rc}", said, f"{remedy} It was: {ran.argv[0]} -m {__package__}")


def _fail(status: Status, detail: str, call: str, name: str, said: str, remedy: str) -> LevelZeroAnswer:
    function, _, device = call.partition(" ")
    errors = (RefusedCall(call=function, code_hex="", name=name, devices=(device,) if device else ()),) if call else ()
    detail = f"{detail}; it said: {said}" if said else detail
    return LevelZeroAnswer(status=status, detail=detail, remedy=remedy, errors=errors)


def split_trace(err: bytes) -> tuple[str, str]:
    """The last call that was begun, and the last line that something else printed (at most 200 characters)."""
    call = said = ""
    for line in err.decode("utf-8", errors="replace").splitlines():
        if line.startswith(TRACE_MARK):
            call = line.removeprefix(TRACE_MARK).strip()
        elif line.strip():
            said = line.strip()[:200]
    return call, said


def _name_signal(number: str) -> str:
    try:
        return signal.Signals(int(number)).name
    except ValueError:
        return f"signal {number}"
