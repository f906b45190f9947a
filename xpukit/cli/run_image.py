"""`xpukit run-image`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from xpukit.cli.session import FromOption, JsonOption, Session, current_session
from xpukit.core.errors import ExitCode, ExternalError, UsageError

if TYPE_CHECKING:
    from xpukit.container.gpu_nodes import GpuNodes
    from xpukit.container.run_options import RunPlan
    from xpukit.core.machine import Machine
    from xpukit.facts.recipes import HostNeeds
    from xpukit.host.docker_values import ImageInfo
    from xpukit.images.compat import Compatibility

SCHEMA = "xpukit.run-image/1"
# Starting takes long where the runtime has to set up many mounts; pulling is not part of it.
_START_TIMEOUT_S = 180.0


def run_image(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Name or id of an image.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="-- ARGS", help="What the image's entry point is given.")
    ] = None,
    json: JsonOption = False,
    source: FromOption = None,
    gpu: Annotated[
        str,
        typer.Option("--gpu", metavar="WHICH", help="0,2 | all | an address | none. Without it: all discrete GPUs."),
    ] = "",
    engine: Annotated[str, typer.Option("--engine", help="docker or podman.")] = "docker",
    cdi: Annotated[bool, typer.Option("--cdi", help="Name the GPUs by their CDI specification.")] = False,
    port: Annotated[
        list[str] | None,
        typer.Option("--port", metavar="[ADDR:]PORT[:INSIDE]", help="Publish a port; on loopback without an address."),
    ] = None,
    model_dir: Annotated[
        list[str] | None, typer.Option("--model-dir", metavar="DIR[:INSIDE]", help="Mount it read-only.")
    ] = None,
    env: Annotated[list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="Set a variable inside.")] = None,
    name: Annotated[str, typer.Option("--name", help="The container's name.")] = "",
    shm_size: Annotated[
        int | None,
        typer.Option("--shm-gib", metavar="GIB", min=1, help="Size of /dev/shm. [32, or half of the memory]"),
    ] = None,
    no_pin: Annotated[bool, typer.Option("--no-pin", help="Do not keep to the GPUs' processors and memory.")] = False,
    recipe: Annotated[
        str, typer.Option("--recipe", help="Judge the host by this recipe's needs. [what the image's label says]")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Also where the host lacks what the image needs.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Why each option is there.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the command and start nothing: what is done without --run.")
    ] = False,
    run: Annotated[bool, typer.Option("--run", help="Start it, in the background.")] = False,
) -> int:
    """Probe, choose GPUs, judge the host, plan the command; print it or run it."""
    session = current_session()
    session.take(json=json, source=source)
    if engine not in ("docker", "podman"):
        raise UsageError(f"--engine {engine!r}", hint="docker or podman")
    if run and dry_run:
        raise UsageError("--run and --dry-run exclude each other", hint="give one of them")
    if run:
        session.require_live("run-image --run")
    from xpukit.container.gpu_nodes import find_gpu_nodes
    from xpukit.container.run_options import RunRequest, plan_run
    from xpukit.probe.machine import probe_machine

    host = session.open_host()
    machine = probe_machine(host)
    info = None if session.source is not None else _inspect(session, image, engine, cdi=cdi)
    needs = _find_needs(session, recipe, info)
    gpus = _choose(find_gpu_nodes(host, machine), gpu, needs)
    found = _judge(image, needs, machine, gpus, force=force)
    identity = host.identity()
    plan = plan_run(
        RunRequest(
            image=image,
            arguments=tuple(arguments or ()),
            engine="podman" if engine == "podman" else "docker",
            gpus=gpus,
            name=name,
            ports=tuple(port or _find_ports(info)),
            models=tuple(model_dir or ()),
            env=tuple(env or ()),
            numa_nodes=len(machine.numa),
            memory_bytes=machine.memory_bytes,
            rootless=engine == "podman" and identity.uid != 0,
            cdi=cdi,
            pin=not no_pin,
            detach=run,
            image_user=info.user if info else None,
            shm_bytes=shm_size << 30 if shm_size else None,
        )
    )
    if info is None:
        session.warn(f"{image} was not looked at: its user and ports are not known")
    for row in found.rows if found else ():
        if row.verdict in ("unknown", "fail"):
            session.warn(f"{row.need}: {row.reason}")
    _print(session, plan, found, explain=explain, hostname=identity.hostname)
    return _start(session, plan) if run else int(ExitCode.OK)


def _inspect(session: Session, image: str, engine: str, *, cdi: bool) -> ImageInfo | None:
    """The image, where a Docker daemon has it. Printing a command must work without one."""
    if engine != "docker":
        return None
    from xpukit.host.docker_daemon import DockerDaemon

    daemon = DockerDaemon()
    if not daemon.check().ok:
        return None
    try:
        if cdi:
            _warn_of_cdi(session, daemon.version().version)
        return daemon.inspect_image(image)
    except ExternalError as err:
        session.warn(err.message)
        return None
    finally:
        daemon.close()


def _warn_of_cdi(session: Session, version: str) -> None:
    """Docker learned CDI late, and at first only where it was switched on."""
    from xpukit.facts.cdi import load_cdi_facts
    from xpukit.facts.stack_versions import is_older

    facts = [runtime for runtime in load_cdi_facts().runtimes if runtime.name == "Docker"]
    usual, first = facts[0], facts[-1]
    if is_older(version, first.since):
        session.warn(f"this Docker is {version}: it knows CDI from {first.since} on; leave out --cdi")
    elif is_older(version, usual.since):
        session.warn(f"this Docker is {version}: it reads CDI files {first.note} only")


def _find_needs(session: Session, recipe: str, info: ImageInfo | None) -> HostNeeds | None:
    from xpukit.facts.recipes import load_recipe
    from xpukit.images.build import LABEL_RECIPE

    if recipe:
        return load_recipe(recipe).host
    label = info.labels.get(LABEL_RECIPE, "").partition("/")[0] if info else ""
    if not label:
        return None
    try:
        return load_recipe(label).host
    except UsageError as err:
        session.warn(f"what the image needs is not known: {err.message}")
        return None


def _choose(gpus: tuple[GpuNodes, ...], asked: str, needs: HostNeeds | None) -> tuple[GpuNodes, ...]:
    """An image that needs no Intel GPU gets none unless one is asked for."""
    from xpukit.container.gpu_nodes import choose_gpus

    if not asked and needs is not None and needs.vendor != "intel":
        return ()
    return choose_gpus(gpus, asked)


def _judge(
    image: str, needs: HostNeeds | None, machine: Machine, gpus: tuple[GpuNodes, ...], *, force: bool
) -> Compatibility | None:
    if needs is None:
        return None
    from xpukit.images.compat import judge_compatibility, require_compatible

    found = judge_compatibility(needs, machine, bdfs=[gpu.bdf for gpu in gpus])
    require_compatible(image, found, force=force)
    return found


def _find_ports(info: ImageInfo | None) -> list[str]:
    """The image's own TCP ports, to be published on loopback."""
    return [port.partition("/")[0] for port in (info.exposed_ports if info else ()) if port.endswith("/tcp")]


def _print(session: Session, plan: RunPlan, found: Compatibility | None, *, explain: bool, hostname: str) -> None:
    if session.json:
        from xpukit.core.json_document import build_document
        from xpukit.images.run_image import describe_run

        session.print_json(build_document(SCHEMA, hostname, describe_run(plan, found)))
        return
    if explain:
        from xpukit.cli.render import print_table

        rows = [(" ".join(option.words), option.reason, option.source) for option in plan.options]
        print_table("Why each option", ("option", "reason", "source"), rows, color=session.color)
    print(plan.command)
    for note in plan.notes:
        session.say(f"note: {note}")


def _start(session: Session, plan: RunPlan) -> int:
    ran = session.open_host().run(plan.argv, timeout_s=_START_TIMEOUT_S)
    if not ran.ok:
        said = (ran.err_text.strip() or ran.describe_failure()).splitlines()[0]
        raise ExternalError(f"not started: {said}", hint="the command that was run is printed above")
    container = ran.text.strip()[:12]
    session.say(
        f"started {container}; follow it: {plan.engine} logs -f {container}; end it: {plan.engine} stop {container}"
    )
    return int(ExitCode.OK)
