"""The containers of a plan and the options they are started with, for all forms that use containers.

One container is one process of the plan, but for Ray: the engine's ranks are children of `ray start`, so that Ray and
the engine share the machine's container.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from ipaddress import ip_address

import msgspec

from xpukit.container.gpu_nodes import GpuNodes
from xpukit.container.run_options import EngineName, RunOption, RunPlan, RunRequest, plan_run
from xpukit.core.errors import UsageError
from xpukit.facts.launch_forms import load_launch_forms
from xpukit.serve.forms import FormOptions
from xpukit.serve.forms.machines import MachinePart, list_machines
from xpukit.serve.forms.quoting import REFERENCE, join_words
from xpukit.serve.forms.ray_wait import list_detached, wait_for_head, wait_for_machines, warn_of_old_ray
from xpukit.serve.hub_cache import find_cached_root, find_draft_model
from xpukit.serve.plan_types import Flag, Launch, Plan, Variable

_LOOPBACK = "127.0.0.1"
_ANY = ("0.0.0.0", "::", "*")
_HUB_VOLUME = "xpukit-models"
_HUB_DIR = "/root/.cache/huggingface"
# Where the hub's files are kept inside is where the volume is: the caller's own place does not exist there.
_HUB_PLACE = "HF_HOME"


class PassedVariable(msgspec.Struct, frozen=True, kw_only=True):
    """A variable whose value the plan does not hold. `reference`: "${NAME}" of the caller's environment.

    `required` False: it may be unset, and then is not set inside either.
    """

    name: str
    reference: str
    why: str
    required: bool = False


class ContainerLaunch(msgspec.Struct, frozen=True, kw_only=True):
    """A container: what it runs (`launches`, the main one last), its options, and what of the environment is passed.

    `health_port`: where its HTTP server says that it is well, None where it has none. `local`: it has a network of
    its own.
    """

    launches: tuple[Launch, ...]
    name: str
    node: int
    address: str
    run: RunPlan
    passed: tuple[PassedVariable, ...] = ()
    health_port: int | None = None
    local: bool = True

    @property
    def launch(self) -> Launch:
        return self.launches[-1]

    @property
    def arguments(self) -> tuple[str, ...]:
        """What follows the image's name. No variable is to be filled in from outside."""
        return self.run.arguments

    def find_option(self, name: str) -> str:
        """The first value of an option, "" when it is not there."""
        return next((option.words[-1] for option in self.run.options if option.words[0] == name), "")


def list_containers(
    plan: Plan,
    options: FormOptions,
    *,
    engine: EngineName = "docker",
    detach: bool | None = False,
    restart: bool = False,
    publish: bool = True,
) -> tuple[ContainerLaunch, ...]:
    """All containers of a plan, machine by machine. `detach` None: where a machine has several."""
    found: list[ContainerLaunch] = []
    for part in list_machines(plan):
        groups = group_launches(part)
        for group in groups:
            background = len(groups) > 1 if detach is None else detach
            found.append(
                contain_launch(plan, group, options, engine=engine, detach=background, restart=restart, publish=publish)
            )
    return tuple(found)


def group_launches(part: MachinePart) -> list[tuple[Launch, ...]]:
    """What shares a container: Ray and the engine that it places; all else is alone."""
    alone: list[tuple[Launch, ...]] = [(launch,) for launch in part.proxies]
    if part.ray is None:
        return [*alone, *((launch,) for launch in part.engines)]
    return [*alone, (part.ray, *part.engines)]


def contain_launch(
    plan: Plan,
    launches: Sequence[Launch],
    options: FormOptions,
    *,
    engine: EngineName = "docker",
    detach: bool = False,
    restart: bool = False,
    network: str = "",
    publish: bool = True,
    before: Sequence[str] = (),
) -> ContainerLaunch:
    """One container: exactly its GPUs, its processors, its port and the rights an engine needs.

    `network`: the name of one that reaches other machines, in place of the host's. `publish`: whether the port can be
    reached from outside. `before`: shell lines that run inside first.
    """
    main = launches[-1]
    gpus = _find_gpus(plan, main)
    intel = plan.machine.vendor == "intel"
    local = main.address == "localhost" or bool(network)
    entrypoint, arguments = _make_arguments(plan, launches, before, local=local)
    fixed, passed = _split_variables(plan, main)
    name = name_container(options.name, launches)
    run = plan_run(
        RunRequest(
            image=plan.engine.image,
            arguments=arguments,
            engine=engine,
            gpus=gpus if intel else (),
            nvidia=() if intel else tuple(gpu.index for gpu in gpus),
            name=name,
            ports=(f"{publish_address(plan)}:{main.port}",) if local and publish else (),
            models=_list_models(plan, options) if main.role != "proxy" else (),
            volumes=(f"{_HUB_VOLUME}:{_HUB_DIR}",) if is_from_hub(plan) and main.role != "proxy" else (),
            env=tuple(f"{one.name}={one.value}" for one in fixed),
            pass_env=tuple(one.name for one in passed),
            entrypoint=entrypoint,
            host_network=not local,
            numa_nodes=plan.machine.numa_nodes,
            memory_bytes=plan.machine.memory_bytes,
            cdi=options.cdi and intel,
            cpus=main.pin.cpus if main.pin.docker else "",
            mems=main.pin.mems if any("mems" in word for word in main.pin.docker) else "",
            pin=bool(main.pin.docker),
            detach=detach,
            restart="unless-stopped" if restart and options.restart else "",
            privileged=options.privileged,
        )
    )
    return ContainerLaunch(
        launches=tuple(launches),
        name=name,
        node=main.node,
        address=main.address,
        run=_join_network(_explain_options(run, fixed, passed), network),
        passed=passed,
        health_port=_find_health_port(plan, main),
        local=local,
    )


def name_container(name: str, launches: Sequence[Launch]) -> str:
    """The container's name: the plan's, with the process's where there are several."""
    if launches[0].role in ("head", "worker"):
        return f"{name}-node{launches[0].node}"
    suffix = launches[-1].name.removeprefix("engine").strip("-")
    return f"{name}-{suffix}" if suffix else name


def is_from_hub(plan: Plan) -> bool:
    """Whether the engine fetches the model itself."""
    return not (plan.request.model_inside or plan.model.path or plan.request.model).startswith(("/", "."))


def list_inside_flags(launch: Launch, *, local: bool = True) -> tuple[Flag, ...]:
    """The flags as they are inside: with a network of its own it listens on all its addresses."""
    if not local:
        return launch.flags
    own = [flag for flag in launch.flags if flag.intent != "host" or not launch.container_flags]
    return (*own, *launch.container_flags)


def list_inside_variables(launch: Launch) -> Sequence[Variable]:
    """The variables as they are inside, where only its own GPUs are seen."""
    return launch.container_variables or launch.variables


def _find_gpus(plan: Plan, launch: Launch) -> tuple[GpuNodes, ...]:
    by_label = {gpu.label: gpu.device for gpu in plan.machine.gpus}
    wanted = dict.fromkeys(by_label[label] for label in launch.gpus)
    return tuple(access for index in wanted for access in plan.machine.access if access.index == index)


def _split_variables(plan: Plan, launch: Launch) -> tuple[list[Variable], tuple[PassedVariable, ...]]:
    """Those with a value, and those whose value comes from the caller."""
    fixed: list[Variable] = []
    passed: list[PassedVariable] = []
    for one in list_inside_variables(launch):
        if one.passed and one.name == _HUB_PLACE and is_from_hub(plan):
            continue
        if one.passed:
            required = one.name == plan.request.api_key_env
            passed.append(PassedVariable(name=one.name, reference=f"${{{one.name}}}", why=one.why, required=required))
        elif REFERENCE.search(one.value):
            passed.append(PassedVariable(name=one.name, reference=one.value, why=one.why, required=True))
        else:
            fixed.append(one)
    return fixed, tuple(passed)


def _explain_options(run: RunPlan, fixed: Sequence[Variable], passed: Sequence[PassedVariable]) -> RunPlan:
    """`--env` options with the plan's reasons."""
    reasons = {f"{one.name}={one.value}": (one.why, one.source) for one in fixed}
    reasons |= {one.name: (one.why, "") for one in passed}
    options = []
    for option in run.options:
        if option.words[0] == "--env" and option.words[1] in reasons:
            why, source = reasons[option.words[1]]
            options.append(RunOption(words=option.words, reason=why, source=source))
        else:
            options.append(option)
    return msgspec.structs.replace(run, options=tuple(options))


def _join_network(run: RunPlan, network: str) -> RunPlan:
    if not network:
        return run
    own = RunOption(
        words=("--network", network), reason="the machines' containers reach each other by name, and nobody else does"
    )
    return msgspec.structs.replace(run, options=(*run.options, own))


def _make_arguments(
    plan: Plan, launches: Sequence[Launch], before: Sequence[str], *, local: bool
) -> tuple[str, tuple[str, ...]]:
    """The entry point to put in place of the image's ("" keeps it), and what follows the image's name."""
    main = launches[-1]
    words = tuple(word for flag in list_inside_flags(main, local=local) for word in flag.words)
    command = (*main.program, *words)
    # What refers to a variable is filled in inside: outside it would stand in lists of processes.
    refers = any(REFERENCE.search(word) for word in command)
    if len(launches) > 1 or main.role == "worker":
        return "/bin/bash", ("-c", "\n".join((*before, *write_ray_script(plan, launches, command))))
    if before:
        return "/bin/bash", ("-c", "\n".join((*before, *source_lines(plan), f"exec {join_words(command)}")))
    if plan.engine.start == "engine" and main.role == "engine" and not refers:
        return "", words
    if plan.engine.start == "pass" and not plan.engine.setvars and not refers:
        return "", command
    return "/bin/bash", ("-c", " && ".join((*source_lines(plan), f"exec {join_words(command)}")))


def source_lines(plan: Plan) -> list[str]:
    """What a shell reads before the engine."""
    return [f"source {shlex.quote(plan.engine.setvars)} --force"] if plan.engine.setvars else []


def write_ray_script(plan: Plan, launches: Sequence[Launch], command: Sequence[str]) -> list[str]:
    """Inside a machine's container: its part of Ray, and on the head the engine once all machines joined."""
    ray = launches[0]
    lines = [*source_lines(plan), *warn_of_old_ray()]
    if ray.role == "worker":
        return [*lines, *wait_for_head(ray), f"exec {join_words(ray.argv)}"]
    count = len({launch.node for launch in plan.launches})
    return [
        *lines,
        f"{join_words(list_detached(ray))} || exit",
        *wait_for_machines(count),
        f"exec {join_words(command)}",
    ]


def _find_health_port(plan: Plan, launch: Launch) -> int | None:
    """Only where the process takes requests: other machines' engines may have no server."""
    fact = load_launch_forms().health
    served = launch.role == "engine" and (launch.node == 0 or plan.engine.name == "lmdeploy")
    return launch.port if served and plan.engine.name in fact.engines else None


def publish_address(plan: Plan) -> str:
    """The host's address that the port is published on: this machine only, unless asked otherwise."""
    asked = plan.request.host
    if asked in _ANY or not asked or asked == "localhost":
        return "0.0.0.0" if asked in _ANY else _LOOPBACK
    try:
        address = ip_address(asked.strip("[]"))
    except ValueError as err:
        hint = "an address of this machine (ip -brief address), 0.0.0.0 for all of them, or leave it out"
        raise UsageError(f"--host {asked}: a container's port is published on an address", hint=hint) from err
    if "%" in str(address):
        raise UsageError(
            f"--host {asked}: a container's port cannot be published on an address with a zone",
            hint="an address that holds beyond its link, or 0.0.0.0",
        )
    return f"[{address}]" if address.version == 6 else str(address)


def _list_models(plan: Plan, options: FormOptions) -> tuple[str, ...]:
    """Folders to mount: those that were named, else the model's own, at the same place inside."""
    if options.models or is_from_hub(plan):
        return options.models
    path = plan.model.path or plan.request.model
    if not path.startswith("/"):
        return ()
    # In a cache the files of a model are links out of its folder.
    folders = [find_cached_root(path) or path.rstrip("/"), find_draft_model(plan.request.speculative)]
    folders += [text.partition("=")[2] for text in plan.request.loras]
    folders = [find_cached_root(folder) or folder for folder in folders]
    if plan.request.media_dir:
        folders.append(plan.request.media_dir)
    return tuple(dict.fromkeys(folder for folder in folders if folder.startswith("/")))


def write_health_check(port: int) -> tuple[str, ...]:
    """A command inside the container that ends with 0 when its server says that it is well. The image has Python."""
    fact = load_launch_forms().health
    url = f"http://{_LOOPBACK}:{port}{fact.path}"
    return ("python3", "-c", f"import urllib.request; urllib.request.urlopen('{url}', timeout={fact.timeout_s - 1})")


_PLAIN_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def is_plain_name(name: str) -> bool:
    """Whether units, services and DNS take the name as it is."""
    return len(name) <= 50 and _PLAIN_NAME.fullmatch(name) is not None
