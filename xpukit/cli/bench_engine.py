"""An engine that a benchmark starts itself: planned by `xpukit serve`, waited for by its log, ended afterwards."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from xpukit.cli.session import Session
from xpukit.core.errors import ExternalError, UsageError

if TYPE_CHECKING:
    from xpukit.operate.ready.attempt import Attempt
    from xpukit.operate.ready.endpoint import Ask
    from xpukit.serve.plan_types import Plan

FORMS = ("shell", "docker", "podman")
_REMOVE_LIMIT_S = 60.0


class StartChoice(msgspec.Struct, frozen=True, kw_only=True):
    """How engines are started. `name`: of containers and files; `ready_s` None: the gate's own limit."""

    form: str
    name: str = "xpukit-bench"
    models: tuple[str, ...] = ()
    ready_s: float | None = None


class RunningEngine(msgspec.Struct, frozen=True, kw_only=True):
    """A started engine. `container`: the first of its containers, "" without any; `process`: its session's id."""

    attempt: Attempt
    url: str
    ask: Ask
    log: Path
    container: str
    process: int
    exit_code: Callable[[], int | None]


def make_plan(session: Session, words: str, folder: Path, *, choice: StartChoice) -> Plan:
    """The plan that `xpukit serve WORDS` makes. Raises UsageError or ExternalError with what it said."""
    from xpukit.cli.serve_run import load_plan
    from xpukit.host.background import BackgroundProgram

    given = shlex.split(words)
    if any(word in ("--run", "--save", "--json", "--web", "--interactive") for word in given):
        raise UsageError(f"{words!r}: the engine is started by the benchmark", hint="leave --run and the like out")
    folder.mkdir(parents=True, exist_ok=True)
    saved = folder / "plan.json"
    saved.unlink(missing_ok=True)
    mark = given.index("--") if "--" in given else len(given)
    own = [*given[:mark], "--form", choice.form, "--save", str(saved), *given[mark:]]
    session.say(f"planning: xpukit serve {words}")
    program = BackgroundProgram([sys.executable, "-m", "xpukit", "serve", *own], folder / "plan.log")
    lines = [line for line in program.iterate_lines() if line]
    program.stop()
    if program.exit_code or not saved.exists():
        said = next((line for line in lines if line.startswith(("error", "xpukit:"))), lines[-1] if lines else "")
        raise UsageError(f"xpukit serve {words} makes no plan: {said}", hint=f"try it by hand; {folder / 'plan.log'}")
    return load_plan(session, str(saved))


def choose_plan(session: Session, words: str, saved: Path | None, folder: Path, *, choice: StartChoice) -> Plan:
    """The plan of `--serve WORDS`, or the saved one. Raises as make_plan does."""
    from xpukit.cli.serve_run import load_plan

    return load_plan(session, str(saved)) if saved is not None else make_plan(session, words, folder, choice=choice)


@contextlib.contextmanager
def start_engine(
    session: Session, plan: Plan, folder: Path, choice: StartChoice, *, key: str = ""
) -> Iterator[RunningEngine]:
    """Write the form, start it, wait; inside the engine runs or `attempt` says why not. It ends with the block.

    Raises UsageError for a form that cannot be started from here or a port in use.
    """
    from xpukit.cli.serve_ready import explain_lines, list_urls
    from xpukit.cli.serve_start import _require_image
    from xpukit.core.atomic import write_atomic
    from xpukit.host.background import BackgroundProgram
    from xpukit.host.foreground import is_port_free
    from xpukit.operate.ready.attempt import await_engine
    from xpukit.operate.ready.endpoint import make_ask
    from xpukit.serve.forms import FormOptions, find_form, render_form
    from xpukit.serve.forms.container import list_containers

    form = find_form(choice.form)
    if form.NAME not in FORMS:
        raise UsageError(f"--form {choice.form} is not started by a benchmark", hint=f"one of: {', '.join(FORMS)}")
    if len({launch.node for launch in plan.launches}) > 1:
        raise UsageError("a launch over several machines is not started from here", hint="start it, then --url URL")
    engines = [launch for launch in plan.launches if launch.role == "engine"]
    if form.NAME != "shell" and len(plan.launches) > 1:
        raise UsageError("a benchmark starts one engine in a container", hint="plan it with --replicas 1")
    for launch in engines:
        if not is_port_free(launch.port):
            raise UsageError(f"port {launch.port} is in use on this machine", hint="another --port, or stop its owner")
    if form.NAME == "docker":
        # Left to `docker run` it would be pulled, or its absence told in the registry's words.
        _require_image(plan.engine.image, f"docker pull {plan.engine.image}, or another --image")
    options = FormOptions(name=choice.name, models=choice.models, restart=False)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for file in render_form(form.NAME, plan, options):
        paths.append(folder / file.name)
        write_atomic(paths[-1], file.text.encode(), mode=0o755 if file.executable else 0o644)
    command = form.start([str(path) for path in paths])
    url = list_urls(plan)[0]
    ask = make_ask(url, key)
    tool = "podman" if form.NAME == "podman" else "docker"
    containers = (
        [] if form.NAME == "shell" else [one.name for one in list_containers(plan, options, engine=tool, detach=None)]  # type: ignore[arg-type]
    )
    _remove_containers(session, tool, containers)
    program = BackgroundProgram(command, folder / "engine.log")
    try:
        attempt = await_engine(
            ask,
            program.iterate_lines(),
            explain=explain_lines,
            exit_code=lambda: program.exit_code,
            limit_s=choice.ready_s,
            tell=lambda step: session.say(f"  {step.text}"),
            tell_known=lambda known: session.say(f"  {known.severity}: {known.text} [{known.id}]"),
        )
        yield RunningEngine(
            attempt=attempt,
            url=url,
            ask=ask,
            log=program.log,
            container=containers[0] if containers else "",
            process=program.session_id,
            exit_code=lambda: program.exit_code,
        )
    finally:
        program.stop()
        # A client that was killed leaves its container behind.
        _remove_containers(session, tool, containers)


def _remove_containers(session: Session, tool: str, names: list[str]) -> None:
    """Of an earlier run that was killed, and ours at the end. Their names are ours alone."""
    if names:
        session.open_host().run([tool, "rm", "--force", *names], timeout_s=_REMOVE_LIMIT_S)


def require_ready(engine: RunningEngine) -> None:
    """Raise ExternalError where it did not start, or its answers are not right."""
    from xpukit.operate.ready.attempt import check_quickly, describe_failure

    if engine.attempt.failure:
        raise ExternalError(engine.attempt.failure, hint=f"its whole output: {engine.log}")
    if why := describe_failure(check_quickly(engine.ask, engine.url).rows):
        raise ExternalError(f"its answers are not right: {why}", hint="xpukit check URL shows what was asked")
