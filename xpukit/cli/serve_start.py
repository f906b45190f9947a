"""`serve --run`: write the form's files to a folder of their own and start it, with its output on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xpukit.cli.serve_options import ServeOptions
from xpukit.cli.session import Session
from xpukit.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from xpukit.operate.ready.start_log import Suggestion
    from xpukit.serve.forms import FormFile
    from xpukit.serve.plan_types import Plan


def start_form(session: Session, plan: Plan, files: Sequence[FormFile], options: ServeOptions) -> int:
    """Start what the form describes, in the foreground; the exit code 4 where it ended badly.

    Raises UsageError for a form that cannot be started from here, or a port that is in use.
    """
    from pathlib import Path

    from xpukit.core.atomic import write_atomic
    from xpukit.host.foreground import is_port_free, run_foreground
    from xpukit.serve.forms import find_form

    form = find_form(options.form)
    folder = (options.out or Path("xpukit-serve") / options.name).resolve()
    command = form.start([str(folder / file.name) for file in files])
    if not command:
        raise UsageError(f"--form {form.NAME} is started by its own tools, not from here", hint="--out DIR writes it")
    if len({launch.node for launch in plan.launches}) > 1:
        hint = "--out DIR writes it; each machine runs its own part"
        raise UsageError("a launch over several machines cannot be started from one of them", hint=hint)
    for launch in plan.launches:
        if launch.role == "engine" and not is_port_free(launch.port):
            raise UsageError(f"port {launch.port} is in use on this machine", hint="another --port, or stop its owner")
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        write_atomic(folder / file.name, file.text.encode(), mode=0o755 if file.executable else 0o644)
    session.say(f"starting: {' '.join(command)}")
    if not options.check:
        code = run_foreground(command)
        return _say_end(session, code, (), saved=False)
    from xpukit.cli.serve_ready import ReadyWatch

    watch = ReadyWatch(session, plan)
    code = run_foreground(command, watch.follow)
    ended = _say_end(session, code, watch.suggestions, saved=bool(options.plan))
    return ended or (int(ExitCode.JUDGED_FAILING) if watch.failing else int(ExitCode.OK))


def _say_end(session: Session, code: int, suggestions: Sequence[Suggestion], *, saved: bool) -> int:
    if not code:
        return int(ExitCode.OK)
    session.say(f"it ended with exit code {code}")
    for one in suggestions:
        from xpukit.cli.serve_ready import write_retry

        session.say(f"  the log suggests {one.flag} {one.value}: {one.why}")
        anew = f"plan again with {one.option} {one.value}: a saved plan keeps its length"
        session.say(f"  next: {anew if saved else write_retry(session.argv, one.option, one.value)}")
    if not suggestions:
        session.say("  next: xpukit doctor --log FILE explains an engine's log")
    return int(ExitCode.EXTERNAL_FAILURE)
