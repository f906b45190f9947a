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

_OF_DOCKER = ("docker", "compose")
# Ranks that start one after the other may each find a smaller length.
_MOST_RETRIES = 3


def start_form(
    session: Session, plan: Plan, files: Sequence[FormFile], options: ServeOptions, *, retries: int = _MOST_RETRIES
) -> int:
    """Start what the form describes, in the foreground; the exit code 4 where it ended badly.

    A length that the log of a failed start suggests is tried where it is wanted, at most `retries` times.

    Raises UsageError for a form that cannot be started from here, a port that is in use, or an image that is not here.
    """
    from pathlib import Path

    from xpukit.cli.output import make_folder
    from xpukit.cli.serve_balance import BalancedWatch, find_balancer_image, is_behind_balancer
    from xpukit.cli.serve_ready import ReadyWatch
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
    balanced = is_behind_balancer(plan, options)
    # Behind a balancer only its own port is one of this machine.
    for port in [launch.port for launch in plan.launches if launch.role == "engine"][: 1 if balanced else None]:
        if not is_port_free(port):
            raise UsageError(f"port {port} is in use on this machine", hint="another --port, or stop its owner")
    if form.NAME in _OF_DOCKER:
        _require_image(plan.engine.image, f"docker pull {plan.engine.image}, or another --image")
    if balanced:
        image = find_balancer_image(options)
        _require_image(image, f"xpukit build-image loadbalancer --tag {image}, or another --balancer-image")
    make_folder(folder)
    for file in files:
        write_atomic(folder / file.name, file.text.encode(), mode=0o755 if file.executable else 0o644)
    session.say(f"starting: {' '.join(command)}")
    if not options.check:
        code = run_foreground(command)
        return _say_end(session, code, (), saved=False)
    watch = ReadyWatch(session, plan)
    if balanced:
        watch = BalancedWatch(session, plan, options.name)
        watch.hold_back(str(folder / files[0].name))
    code = run_foreground(command, watch.follow)
    if code and retries:
        from xpukit.cli.serve_retry import choose_retry
        from xpukit.cli.serve_run import render_plan

        again = choose_retry(session, plan, watch.suggestions, take=options.retry)
        if again is not None:
            return start_form(session, again, render_plan(again, options), options, retries=retries - 1)
    ended = _say_end(session, code, watch.suggestions, saved=bool(options.plan))
    return ended or (int(ExitCode.JUDGED_FAILING) if watch.failing else int(ExitCode.OK))


def _require_image(image: str, hint: str) -> None:
    """Raise UsageError where Docker answers and does not have it: images of many gigabytes are not pulled unasked."""
    from xpukit.host.docker_daemon import DockerDaemon

    daemon = DockerDaemon()
    if daemon.check().ok and daemon.inspect_image(image) is None:
        raise UsageError(f"image {image} is not in this machine's Docker", hint=hint)


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
