"""A launch in a container of its own: which options it is started with, for all forms that use containers."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xpukit.container.gpu_nodes import GpuNodes
from xpukit.container.run_options import EngineName, RunPlan, RunRequest, plan_run
from xpukit.serve.forms import FormOptions
from xpukit.serve.forms.quoting import join_words
from xpukit.serve.plan_types import Flag, Launch, Plan, Variable

_LOOPBACK = "127.0.0.1"
_ANY = ("0.0.0.0", "::", "*")  # noqa: S104 - names to compare with, nothing is bound
_HUB_VOLUME = "xpukit-models"
_HUB_DIR = "/root/.cache/huggingface"


class ContainerLaunch(msgspec.Struct, frozen=True, kw_only=True):
    """A launch and the options of its container. `arguments`: what follows the image's name."""

    launch: Launch
    name: str
    run: RunPlan

    @property
    def arguments(self) -> tuple[str, ...]:
        return self.run.arguments


def contain_launch(
    plan: Plan,
    launch: Launch,
    options: FormOptions,
    *,
    engine: EngineName = "docker",
    detach: bool = False,
    restart: bool = False,
) -> ContainerLaunch:
    """The container of one process: exactly its GPUs, its processors, its port and the rights an engine needs."""
    gpus = _find_gpus(plan, launch)
    intel = plan.machine.vendor == "intel"
    name = name_container(options.name, launch)
    entrypoint, arguments = _make_arguments(plan, launch)
    local = launch.address == "localhost"
    run = plan_run(
        RunRequest(
            image=plan.engine.image,
            arguments=arguments,
            engine=engine,
            gpus=gpus if intel else (),
            nvidia=() if intel else tuple(gpu.index for gpu in gpus),
            name=name,
            ports=(f"{_publish_on(plan, launch)}:{launch.port}",) if local else (),
            models=_list_models(plan, options),
            volumes=(f"{_HUB_VOLUME}:{_HUB_DIR}",) if _is_from_hub(plan) else (),
            env=tuple(f"{one.name}={one.value}" for one in _variables(plan, launch) if not one.passed),
            pass_env=tuple(one.name for one in _variables(plan, launch) if one.passed),
            entrypoint=entrypoint,
            host_network=not local,
            numa_nodes=plan.machine.numa_nodes,
            memory_bytes=plan.machine.memory_bytes,
            cdi=options.cdi and intel,
            cpus=launch.pin.cpus if launch.pin.docker else "",
            mems=launch.pin.mems if any("mems" in word for word in launch.pin.docker) else "",
            pin=bool(launch.pin.docker),
            detach=detach,
            restart="unless-stopped" if restart and options.restart else "",
            privileged=options.privileged,
        )
    )
    return ContainerLaunch(launch=launch, name=name, run=run)


def name_container(name: str, launch: Launch) -> str:
    """The container's name: the plan's, with the process's where there are several."""
    suffix = launch.name.removeprefix("engine").strip("-")
    return f"{name}-{suffix}" if suffix else name


def _find_gpus(plan: Plan, launch: Launch) -> tuple[GpuNodes, ...]:
    by_label = {gpu.label: gpu.device for gpu in plan.machine.gpus}
    wanted = dict.fromkeys(by_label[label] for label in launch.gpus)
    return tuple(access for index in wanted for access in plan.machine.access if access.index == index)


def _variables(plan: Plan, launch: Launch) -> Sequence[Variable]:
    return launch.container_variables or launch.variables


def list_inside_flags(launch: Launch) -> tuple[Flag, ...]:
    """The flags as they are inside: there it listens on all addresses."""
    own = [flag for flag in launch.flags if flag.intent != "host"]
    return (*own, *launch.container_flags)


def _make_arguments(plan: Plan, launch: Launch) -> tuple[str, tuple[str, ...]]:
    """The entry point to put in place of the image's ("" keeps it), and what follows the image's name."""
    words = tuple(word for flag in list_inside_flags(launch) for word in flag.words)
    if plan.engine.start == "engine" and launch.role == "engine":
        return "", words
    command = (*launch.program, *words)
    if plan.engine.start == "pass" and not plan.engine.setvars:
        return "", command
    source = f"source {plan.engine.setvars} --force && " if plan.engine.setvars else ""
    return "/bin/bash", ("-c", f"{source}exec {join_words(command)}")


def _publish_on(plan: Plan, launch: Launch) -> str:
    """The host's address that the port is published on: this machine only, unless asked otherwise."""
    del launch
    asked = plan.request.host
    return "0.0.0.0" if asked in _ANY else asked if asked and asked != "localhost" else _LOOPBACK  # noqa: S104


def _is_from_hub(plan: Plan) -> bool:
    return not (plan.request.model_inside or plan.model.path or plan.request.model).startswith(("/", "."))


def _list_models(plan: Plan, options: FormOptions) -> tuple[str, ...]:
    """Folders to mount: those that were named, else the model's own, at the same place inside."""
    if options.models or _is_from_hub(plan):
        return options.models
    path = plan.model.path or plan.request.model
    if not path.startswith("/"):
        return ()
    folders = [path.rstrip("/")]
    folders += [text.partition("=")[2] for text in plan.request.loras]
    if plan.request.media_dir:
        folders.append(plan.request.media_dir)
    return tuple(dict.fromkeys(folder for folder in folders if folder.startswith("/")))
