"""Runs a built image and says what works: its own checks, the engine, the ways of starting it, its health."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from xpukit.container.gpu_nodes import GpuNodes
from xpukit.core.atomic import write_atomic
from xpukit.core.errors import ExternalError
from xpukit.facts.recipes import CHECK_FILE, Recipe
from xpukit.host.docker_daemon import DockerDaemon
from xpukit.host.docker_values import ContainerRequest, ImageInfo
from xpukit.images.inside import keep_container, run_inside
from xpukit.images.smoke_compose import RunComposed
from xpukit.images.smoke_container import HOOK_PLACE, idle_fields, make_request, place_hook
from xpukit.images.smoke_environment import judge_environments, parse_check_lines, strip_marks
from xpukit.images.smoke_report import EnvironmentDifference, SmokeCheck, SmokeReport, Verdict, judge_checks

# No engine knows it: what the engine says about it shows that appended arguments reach its parser.
STRANGE_FLAG = "--xpukit-no-such-flag"
# Where our recipes put what they bring.
_OURS_INSIDE = "/opt/xpukit"
# Failed answers, a second apart, after which a server without a model is not going to be healthy.
_HEALTH_RETRIES = 30


class SmokeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a test may take. Engines import for a long time; a server without a model is healthy at once or never."""

    command_s: float = 180.0
    start_s: float = 180.0
    health_s: float = 120.0
    memory_bytes: int | None = None


class _Scope(msgspec.Struct, frozen=True):
    """What every check needs."""

    daemon: DockerDaemon
    image: ImageInfo
    recipe: Recipe
    base: ContainerRequest
    limits: SmokeLimits
    folder: Path | None
    compose: RunComposed | None = None


def smoke_test(
    daemon: DockerDaemon,
    image: str,
    recipe: Recipe,
    gpus: Sequence[GpuNodes] = (),
    *,
    folder: Path | None = None,
    limits: SmokeLimits | None = None,
    compose: RunComposed | None = None,
) -> SmokeReport:
    """Try the image; nothing of it runs afterwards. `folder` keeps the logs, `compose` starts it by Compose, too.

    A container that cannot be started is a failed row. Raises ExternalError when the image is not there or
    the daemon does not answer.
    """
    limits = limits or SmokeLimits()
    info = daemon.inspect_image(image)
    if info is None:
        raise ExternalError(f"image {image} is not there", hint="see: docker images")
    with place_hook() as hook:
        base = make_request(info.id, gpus, limits.memory_bytes)
        base = msgspec.structs.replace(base, binds=(*base.binds, f"{hook}:{HOOK_PLACE}:ro"))
        scope = _Scope(daemon, info, recipe, base, limits, folder, compose)
        checks: list[SmokeCheck] = []
        version = ""
        environments: dict[str, str] = {}
        try:
            idle = msgspec.structs.replace(base, **idle_fields())
            with keep_container(daemon, idle) as running:
                inside, version, environments = _try_inside(scope, running)
                if ended := _find_early_end(scope, running):
                    return _report(image, scope, gpus, [ended], "", ())
                checks += inside
        except ExternalError as err:
            checks.append(SmokeCheck(name="container", verdict="fail", said=err.message))
        else:
            outside, more = _try_ways(scope)
            checks += outside
            row, differences = judge_environments(recipe, {**environments, **more})
            checks += [row, _try_arguments(scope), _try_health(scope)]
            return _report(image, scope, gpus, checks, version, differences)
    return _report(image, scope, gpus, checks, version, ())


def _find_early_end(scope: _Scope, container: str) -> SmokeCheck | None:
    """A failed row where the container that should only wait has ended: then no check in it says anything."""
    state = scope.daemon.inspect_container(container)
    if state is not None and state.status == "running":
        return None
    if state is None:
        return SmokeCheck(name="container", verdict="fail", said="somebody else removed it meanwhile")
    log = scope.daemon.read_logs(container)
    said = f"it ended with {state.exit_code} when asked to wait (sleep): {_last_line(log.decode('utf-8', 'replace'))}"
    return SmokeCheck(name="container", verdict="fail", said=said[:500], log=_keep_log(scope, "container", log))


def _report(
    image: str,
    scope: _Scope,
    gpus: Sequence[GpuNodes],
    checks: Sequence[SmokeCheck],
    version: str,
    differences: tuple[EnvironmentDifference, ...],
) -> SmokeReport:
    rows = (_describe_devices(scope.recipe, gpus), *checks)
    return SmokeReport(
        image=image,
        image_id=scope.image.id,
        recipe=scope.recipe.name,
        engine_version=version,
        devices=tuple(gpu.bdf for gpu in gpus),
        checks=rows,
        differences=differences,
        verdict=judge_checks(rows),
    )


def _describe_devices(recipe: Recipe, gpus: Sequence[GpuNodes]) -> SmokeCheck:
    if gpus:
        said = ", ".join(f"{gpu.bdf} {' '.join(gpu.nodes)}" for gpu in gpus)
        return SmokeCheck(name="devices", verdict="pass", said=said)
    why = "the image needs none" if recipe.host.vendor == "any" else "this machine has none: nothing here ran on one"
    return SmokeCheck(name="devices", verdict="not-applicable", said=why)


def _measure(name: str, try_it: Callable[[], tuple[Verdict, str]], log: str = "") -> SmokeCheck:
    """A check's row; what the daemon refuses is a failure of the check."""
    start = time.monotonic()
    try:
        verdict, said = try_it()
    except ExternalError as err:
        verdict, said = "fail", err.message
    return SmokeCheck(name=name, verdict=verdict, said=said[:500], seconds=round(time.monotonic() - start, 3), log=log)


def _keep_log(scope: _Scope, name: str, content: bytes) -> str:
    if scope.folder is None:
        return ""
    scope.folder.mkdir(parents=True, exist_ok=True)
    write_atomic(scope.folder / f"smoke-{name}.log", content)
    return f"smoke-{name}.log"


def _find_marked_env() -> dict[str, str]:
    return {"PYTHONPATH": HOOK_PLACE, "XPUKIT_SAY_ENVIRONMENT": "1"}


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def _try_inside(scope: _Scope, container: str) -> tuple[list[SmokeCheck], str, dict[str, str]]:
    """What `docker exec` sees: check.sh, version, help, imports. Returns the rows, the version, the exec output."""
    answers = scope.recipe.answers
    limit = scope.limits.command_s
    checks = _run_check_file(scope, container)
    outputs: dict[str, str] = {}
    versions: list[str] = []

    def ask(argv: Sequence[str], *, marked: bool = False) -> tuple[int, str, str]:
        env = _find_marked_env() if marked else {}
        answer = scope.daemon.exec_in(container, argv, env=env, timeout_s=limit)
        return answer.rc, answer.out.decode("utf-8", "replace"), answer.err.decode("utf-8", "replace")

    def ask_version() -> tuple[Verdict, str]:
        rc, out, err = ask(answers.version_argv, marked=True)
        outputs["exec"] = err + "\n" + out
        said = _last_line(strip_marks(out)) or _last_line(strip_marks(err))
        versions.append(said if rc == 0 else "")
        return ("pass" if rc == 0 else "fail"), said

    def ask_help() -> tuple[Verdict, str]:
        rc, out, err = ask(answers.help_argv)
        helped = rc == 0 and "usage" in (out + err).lower()
        return ("pass" if helped else "fail"), f"{len(out.splitlines())} lines" if helped else _last_line(err or out)

    if answers.version_argv:
        checks.append(_measure("engine-version", ask_version))
    if answers.help_argv:
        checks.append(_measure("engine-help", ask_help))
    for module in answers.imports:
        checks.append(_measure(f"import {module}", lambda module=module: _try_import(scope, container, module)))  # type: ignore[misc]
    return checks, versions[0] if versions else "", outputs


def _try_import(scope: _Scope, container: str, module: str) -> tuple[Verdict, str]:
    """Import with the engine's Python and environment, as a shell inside gets them."""
    argv = ("bash", "-c", 'exec "$@"', "bash", "python3", "-c", f"import {module}")
    answer = run_inside(scope.daemon, container, argv, timeout_s=scope.limits.command_s)
    if answer.rc == 0:
        return "pass", ""
    return "fail", _last_line(answer.err.decode("utf-8", "replace")) or f"exit {answer.rc}"


def _find_check_command(scope: _Scope, container: str) -> tuple[str, ...]:
    """How check.sh is run: the image's own, which was rendered with the settings, else the recipe's; () for none."""
    place = f"{_OURS_INSIDE}/{CHECK_FILE}"
    if run_inside(scope.daemon, container, ("test", "-r", place), timeout_s=scope.limits.command_s).rc == 0:
        return ("bash", place)
    try:
        return ("bash", "-c", (Path(scope.recipe.folder) / CHECK_FILE).read_text(encoding="utf-8"))
    except OSError:
        return ()


def _run_check_file(scope: _Scope, container: str) -> list[SmokeCheck]:
    try:
        command = _find_check_command(scope, container)
        if not command:
            said = f"neither the image nor the recipe has a {CHECK_FILE}"
            return [SmokeCheck(name=CHECK_FILE, verdict="not-applicable", said=said)]
    except ExternalError as err:
        return [SmokeCheck(name=CHECK_FILE, verdict="fail", said=err.message)]
    start = time.monotonic()
    try:
        answer = scope.daemon.exec_in(container, command, timeout_s=scope.limits.command_s)
    except ExternalError as err:
        return [SmokeCheck(name=CHECK_FILE, verdict="fail", said=err.message)]
    seconds = round(time.monotonic() - start, 3)
    log = _keep_log(scope, "check", answer.out + answer.err)
    rows = parse_check_lines((answer.out + b"\n" + answer.err).decode("utf-8", "replace"), answer.rc)
    if not rows:
        return [SmokeCheck(name=CHECK_FILE, verdict="unknown", said="it said nothing", seconds=seconds, log=log)]
    return [
        SmokeCheck(name=f"{CHECK_FILE} {name}", verdict="pass" if ok else "fail", said=why[:500], log=log)
        for name, ok, why in rows
    ]


def _run_once(scope: _Scope, name: str, request: ContainerRequest) -> tuple[int | None, str]:
    """Start, wait for the end, keep the log; the exit code (None: it still ran at the limit) and what it said."""
    with keep_container(scope.daemon, request) as container:
        code = scope.daemon.wait_container(container, timeout_s=scope.limits.command_s)
        log = scope.daemon.read_logs(container)
    _keep_log(scope, name, log)
    return code, log.decode("utf-8", "replace")


def _try_ways(scope: _Scope) -> tuple[list[SmokeCheck], dict[str, str]]:
    """The engine's version asked by `docker run`, by Compose, and with its name as an overridden entry point."""
    argv = scope.recipe.answers.version_argv
    if not argv:
        row = SmokeCheck(name="ways-of-starting", verdict="not-applicable", said="the image has no engine")
        return [row], {}
    outputs: dict[str, str] = {}

    def start(way: str, request: ContainerRequest) -> tuple[Verdict, str]:
        if way == "compose" and scope.compose is not None:
            code, said = scope.compose(request, scope.limits.command_s)
            _keep_log(scope, way, said.encode())
        else:
            code, said = _run_once(scope, way, request)
        outputs[way] = said
        if code is None:
            return "fail", f"still running after {scope.limits.command_s:.0f} s"
        return ("pass" if code == 0 else "fail"), _last_line(strip_marks(said)) or f"exit {code}"

    env = {**scope.base.env, **_find_marked_env()}
    run = msgspec.structs.replace(scope.base, command=argv, env=env)
    overridden = msgspec.structs.replace(scope.base, entrypoint=argv[:1], command=argv[1:], env=env)
    rows = [
        _measure("start by run", lambda: start("run", run), "smoke-run.log"),
        _measure("start by entrypoint", lambda: start("entrypoint", overridden), "smoke-entrypoint.log"),
    ]
    if scope.compose is not None:
        rows.append(_measure("start by compose", lambda: start("compose", run), "smoke-compose.log"))
    else:
        said = "no docker compose on this host"
        rows.append(SmokeCheck(name="start by compose", verdict="not-applicable", said=said))
    return rows, outputs


def _try_arguments(scope: _Scope) -> SmokeCheck:
    """An argument after the image's name must reach the engine's own parser, which does not know it."""
    if not scope.recipe.answers.engine_argv:
        return SmokeCheck(name="arguments-pass", verdict="not-applicable", said="the image has no engine")

    def attempt() -> tuple[Verdict, str]:
        request = msgspec.structs.replace(scope.base, command=(STRANGE_FLAG,))
        code, said = _run_once(scope, "arguments", request)
        if code is None:
            return "fail", "the engine started all the same: appended arguments are dropped"
        if code != 0 and STRANGE_FLAG in said:
            return "pass", _last_line(said)
        return "fail", f"exit {code}, and no word of {STRANGE_FLAG}: {_last_line(said)}"

    return _measure("arguments-pass", attempt, "smoke-arguments.log")


def _try_health(scope: _Scope) -> SmokeCheck:
    """The image as it starts by itself becomes healthy. An engine that needs a model cannot show it here."""
    name = "healthy"
    if not scope.image.has_healthcheck:
        return SmokeCheck(name=name, verdict="not-applicable", said="the image has no health check")
    if scope.recipe.host.vendor != "any":
        return SmokeCheck(name=name, verdict="not-applicable", said="the engine needs a GPU and a model to start")
    if not scope.recipe.answers.healthy_alone:
        return SmokeCheck(name=name, verdict="not-applicable", said="it becomes healthy only beside other containers")

    # Asked each second, and not given up before: an image's own interval may be half a minute.
    often = msgspec.structs.replace(scope.base, health_interval_s=1.0, health_retries=_HEALTH_RETRIES)

    def attempt() -> tuple[Verdict, str]:
        with keep_container(scope.daemon, often) as container:
            info = scope.daemon.wait_healthy(container, timeout_s=scope.limits.health_s)
            log = scope.daemon.read_logs(container)
        _keep_log(scope, "health", log)
        if info.oom_killed:
            return "fail", "ended by the memory limit"
        if info.status != "running":
            return "fail", f"it ended with {info.exit_code}: {_last_line(log.decode('utf-8', 'replace'))}"
        if info.health == "healthy":
            return "pass", ""
        return (
            "fail",
            f"{info.health or 'no answer'} after {scope.limits.health_s:.0f} s: {' '.join(info.health_log[-1:])}",
        )

    return _measure(name, attempt, "smoke-health.log")
