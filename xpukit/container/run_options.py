"""How an image is run with the least it needs: every option of `docker run` with its reason."""

from __future__ import annotations

import re
import shlex
from typing import Literal

import msgspec

from xpukit.container.gpu_nodes import GpuNodes, join_lists, list_gids
from xpukit.core.errors import UsageError
from xpukit.facts.cdi import load_cdi_facts
from xpukit.facts.run_image import load_run_facts

EngineName = Literal["docker", "podman"]
_PORT = re.compile(r"^(?:(?P<address>[0-9]+(?:\.[0-9]+){3}|\[[0-9a-fA-F:]+\]):)?(?P<host>\d+)(?::(?P<inside>\d+))?$")
LOOPBACK = "127.0.0.1"


class RunOption(msgspec.Struct, frozen=True, kw_only=True):
    """One option of the command, in the words given to it, and why it is there. `source` names who says so."""

    words: tuple[str, ...]
    reason: str
    source: str = ""


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to run. `rootless` and `numa_nodes` and `memory_bytes` are the host's.

    `ports` are "[ADDRESS:]HOST[:INSIDE]", `models` "HOST[:INSIDE]"; `image_user` is the image's own ("" for root,
    None: not known); `shm_bytes` None: by rule. `cpus` and `mems`: the processors and memory nodes to keep to, where
    they are known better than by the GPUs' nodes. `volumes` are "NAME:INSIDE"; `pass_env` names variables whose values
    are the caller's. `entrypoint` replaces the image's. `host_network`: no network of its own, and then no ports.
    `nvidia`: indices of NVIDIA GPUs. `restart`: as docker's. `privileged`: all rights, on request only.
    """

    image: str
    arguments: tuple[str, ...] = ()
    engine: EngineName = "docker"
    gpus: tuple[GpuNodes, ...] = ()
    name: str = ""
    ports: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    numa_nodes: int = 0
    memory_bytes: int | None = None
    rootless: bool = False
    cdi: bool = False
    pin: bool = True
    detach: bool = False
    image_user: str | None = None
    shm_bytes: int | None = None
    cpus: str = ""
    mems: str = ""
    volumes: tuple[str, ...] = ()
    pass_env: tuple[str, ...] = ()
    entrypoint: str = ""
    host_network: bool = False
    nvidia: tuple[int, ...] = ()
    restart: str = ""
    privileged: bool = False


class RunPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The command: its options with reasons, and in `notes` what was left out or is not known."""

    engine: EngineName
    image: str
    arguments: tuple[str, ...]
    options: tuple[RunOption, ...]
    gpus: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def argv(self) -> tuple[str, ...]:
        words = (word for option in self.options for word in option.words)
        return (self.engine, "run", *words, self.image, *self.arguments)

    @property
    def command(self) -> str:
        """The command as one could paste it, one option a line."""
        lines = [f"{self.engine} run", *(shlex.join(option.words) for option in self.options)]
        return " \\\n  ".join([*lines, shlex.join((self.image, *self.arguments))])


def plan_run(request: RunRequest) -> RunPlan:
    """Choose the options. Pure. Raises UsageError for a port or model that is written wrongly."""
    options: list[RunOption] = []
    notes: list[str] = []
    _add_lifetime(request, options)
    _add_devices(request, options, notes)
    _add_privileges(request, options, notes)
    _add_placement(request, options, notes)
    _add_memory(request, options)
    _add_network(request, options)
    for model in request.models:
        options.append(_mount_model(model))
    for volume in request.volumes:
        options.append(_mount_volume(volume))
    for entry in request.env:
        options.append(RunOption(words=("--env", entry), reason="asked for"))
    for name in request.pass_env:
        options.append(RunOption(words=("--env", name), reason="its value is taken from the caller's environment"))
    if request.entrypoint:
        options.append(RunOption(words=("--entrypoint", request.entrypoint), reason="in place of the image's own"))
    return RunPlan(
        engine=request.engine,
        image=request.image,
        arguments=request.arguments,
        options=tuple(options),
        gpus=tuple(gpu.bdf for gpu in request.gpus),
        notes=tuple(notes),
    )


def _add_lifetime(request: RunRequest, options: list[RunOption]) -> None:
    if request.detach:
        options.append(RunOption(words=("--detach",), reason="runs in the background; its log stays"))
    if request.restart:
        options.append(
            RunOption(words=("--restart", request.restart), reason="started again when it fails or the host boots")
        )
    elif not request.detach:
        options.append(RunOption(words=("--rm",), reason="nothing of the container is left when it ends"))
    if request.name:
        options.append(RunOption(words=("--name", request.name), reason="asked for"))
    options.append(RunOption(words=("--init",), reason="ended worker processes are reaped and signals passed on"))


def _add_network(request: RunRequest, options: list[RunOption]) -> None:
    if request.host_network:
        reason = "ranks on several machines reach each other on ports of their choice"
        options.append(RunOption(words=("--network", "host"), reason=reason))
        return
    for port in request.ports:
        options.append(_publish(port))


def _add_devices(request: RunRequest, options: list[RunOption], notes: list[str]) -> None:
    if request.nvidia:
        words = ("--gpus", f'"device={",".join(str(index) for index in request.nvidia)}"')
        options.append(RunOption(words=words, reason="these GPUs, by NVIDIA's container toolkit"))
    by_path = load_run_facts().by_path
    if request.cdi:
        for gpu in request.gpus:
            words = ("--device", f"{load_cdi_facts().kind}={gpu.bdf}")
            options.append(RunOption(words=words, reason=f"GPU {gpu.index} ({gpu.name}), by its CDI specification"))
        notes.append("the runtime reads /etc/cdi or /var/run/cdi: xpukit cdi --check says whether it is there and true")
        # The file may be of the older form that has no groups; given twice they do no harm.
        _add_groups(request, options, notes)
        return
    for gpu in request.gpus:
        for node, use in ((gpu.render_node, "computing"), (gpu.card_node, "clocks, power and temperature")):
            if node:
                words = ("--device", f"{node}:{node}:rw")
                options.append(RunOption(words=words, reason=f"GPU {gpu.index} ({gpu.bdf}), {use}; no mknod"))
        for link in gpu.by_path:
            words = ("--mount", f"type=bind,source={link},target={link},readonly")
            options.append(RunOption(words=words, reason=f"GPU {gpu.index}: {by_path.reason}", source=by_path.source))
        if not gpu.by_path:
            notes.append(f"GPU {gpu.index} ({gpu.bdf}) has no by-path links on this host")
    _add_groups(request, options, notes)


def _add_groups(request: RunRequest, options: list[RunOption], notes: list[str]) -> None:
    if request.engine == "podman" and request.rootless and request.gpus:
        reason = "rootless: this user's own groups are kept (needs crun); numbers would mean other groups inside"
        options.append(RunOption(words=("--group-add", "keep-groups"), reason=reason))
        return
    names = {group.gid: group.name for gpu in request.gpus for group in gpu.groups}
    for gid in list_gids(request.gpus):
        reason = f"the host's group {names[gid] or 'of the nodes'}, by number: the image's may have another one"
        options.append(RunOption(words=("--group-add", str(gid)), reason=reason))
    for gpu in request.gpus:
        for group in gpu.groups:
            if group.gid is None:
                notes.append(f"the group of {group.node} is not known: add --group-add with its number")
            elif group.gid == 0:
                notes.append(f"{group.node} belongs to group root: only a container's root can open it (udev rules?)")


def _add_privileges(request: RunRequest, options: list[RunOption], notes: list[str]) -> None:
    if request.privileged:
        options.append(RunOption(words=("--privileged",), reason="asked for: everything on this host is open to it"))
        return
    options.append(RunOption(words=("--cap-drop", "ALL"), reason="an engine needs no capability to compute"))
    # A rank is a tile: a card of two tiles runs two ranks.
    if sum(gpu.tiles or 1 for gpu in request.gpus) > 1:
        fact = load_run_facts().ptrace
        options.append(RunOption(words=("--cap-add", fact.capability), reason=fact.reason, source=fact.source))
        if request.image_user not in (None, "", "0", "root"):
            text = (
                f"the image runs as {request.image_user}: a capability helps it only past seccomp; where "
                "kernel.yama.ptrace_scope is not 0, ranks may still refuse each other (CCL_ZE_IPC_EXCHANGE=sockets)"
            )
            notes.append(text)
    reason = "no program inside gains rights by setuid"
    options.append(RunOption(words=("--security-opt", "no-new-privileges"), reason=reason))
    options.append(RunOption(words=("--ulimit", "core=0"), reason="a crash writes no core file of the model's size"))
    if request.image_user in ("", "0", "root"):
        notes.append("the image runs as root without capabilities: files that only another user can read stay closed")


def _add_placement(request: RunRequest, options: list[RunOption], notes: list[str]) -> None:
    if request.cpus:
        where = "near the GPUs, as planned"
        options.append(RunOption(words=("--cpuset-cpus", request.cpus), reason=f"processors {where}"))
        if request.mems:
            options.append(RunOption(words=("--cpuset-mems", request.mems), reason=f"memory {where}"))
        return
    if not request.pin or not request.gpus or request.numa_nodes < 2:
        return
    cpus = join_lists([gpu.cpus for gpu in request.gpus])
    mems = join_lists([gpu.mems for gpu in request.gpus])
    where = ", ".join(sorted({str(gpu.numa_node) for gpu in request.gpus}))
    if mems and len({gpu.numa_node for gpu in request.gpus}) == request.numa_nodes:
        notes.append("not pinned to processors: the chosen GPUs are spread over all NUMA nodes")
        return
    if not cpus or not mems:
        notes.append("not pinned to processors: the firmware does not say on which NUMA node every chosen GPU is")
        return
    if request.rootless:
        notes.append("rootless: --cpuset-cpus needs the cpuset controller delegated to this user")
    options.append(RunOption(words=("--cpuset-cpus", cpus), reason=f"processors of the GPUs' NUMA nodes ({where})"))
    options.append(RunOption(words=("--cpuset-mems", mems), reason=f"memory of the GPUs' NUMA nodes ({where})"))


def _add_memory(request: RunRequest, options: list[RunOption]) -> None:
    fact = load_run_facts().shm
    size, reason = request.shm_bytes, "asked for"
    if size is None:
        size, reason = fact.bytes, fact.reason
        if request.memory_bytes is not None and request.memory_bytes // 2 < size:
            size, reason = request.memory_bytes // 2, f"{fact.reason}; half of this host's memory at most (our rule)"
    words = ("--shm-size", _format_size(size))
    options.append(RunOption(words=words, reason=reason, source=fact.source if request.shm_bytes is None else ""))
    options.append(RunOption(words=("--ipc", "private"), reason="ranks share one container; the host's is not needed"))


def _format_size(count: int) -> str:
    return f"{count >> 30}g" if count >= 1 << 30 and count % (1 << 30) == 0 else f"{max(64, count >> 20)}m"


def _publish(port: str) -> RunOption:
    match = _PORT.match(port)
    if not match or not all(0 < int(number) < 1 << 16 for number in (match["host"], match["inside"]) if number):
        raise UsageError(
            f"--port {port!r} is not [ADDRESS:]HOST[:INSIDE]", hint="for example 8000 or 0.0.0.0:8080:8000"
        )
    address = match["address"] or LOOPBACK
    reason = "this host only" if address in (LOOPBACK, "[::1]") else "reachable from other machines, as asked for"
    words = ("--publish", f"{address}:{match['host']}:{match['inside'] or match['host']}")
    return RunOption(words=words, reason=reason)


def _mount_volume(volume: str) -> RunOption:
    name, _, target = volume.partition(":")
    words = ("--mount", f"type=volume,source={name},target={target}")
    return RunOption(words=words, reason="what is downloaded stays when the container goes")


def _quote_field(name: str, path: str) -> str:
    """A field of `--mount`, which docker and podman read as a line of CSV."""
    field = f"{name}={path}"
    return '"' + field.replace('"', '""') + '"' if '"' in field else field


def _mount_model(model: str) -> RunOption:
    source, _, target = model.partition(":")
    target = target or source
    if not source.startswith("/") or not target.startswith("/") or any(sign in model for sign in ",\r\n"):
        hint = "two absolute paths without commas: --model-dir /data/models:/models"
        raise UsageError(f"--model-dir {model!r} is not HOST[:INSIDE]", hint=hint)
    words = ("--mount", f"type=bind,{_quote_field('source', source)},{_quote_field('target', target)},readonly")
    return RunOption(words=words, reason="models are read, never written")
