"""Which device nodes, links, groups, processors and memory nodes belong to each GPU, and which GPUs were asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from xpukit.core.errors import UsageError
from xpukit.core.machine import Device, Machine
from xpukit.core.units import format_cpu_list, parse_cpu_list
from xpukit.host.door import Host

_BDF = re.compile(r"^(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])$", re.IGNORECASE)


class NodeGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The group that may use a device node. `gid` None: the machine did not say."""

    node: str
    gid: int | None = None
    name: str = ""


class GpuNodes(msgspec.Struct, frozen=True, kw_only=True):
    """What a container needs of the host to use one GPU. `cpus` and `mems` are lists of the kernel's form.

    `missing` says why the GPU cannot be used, "" when it can.
    """

    index: int
    bdf: str
    name: str
    driver: str = ""
    discrete: bool | None = None
    tiles: int | None = None
    render_node: str = ""
    card_node: str = ""
    by_path: tuple[str, ...] = ()
    groups: tuple[NodeGroup, ...] = ()
    numa_node: int | None = None
    cpus: str = ""
    mems: str = ""
    missing: str = ""

    @property
    def nodes(self) -> tuple[str, ...]:
        """The device nodes, render node first."""
        return tuple(node for node in (self.render_node, self.card_node) if node)


def find_gpu_nodes(host: Host, machine: Machine) -> tuple[GpuNodes, ...]:
    """Every GPU of a probed machine, in probe's order."""
    return tuple(_describe(host, machine, device) for device in machine.devices)


def _describe(host: Host, machine: Machine, device: Device) -> GpuNodes:
    groups = []
    for node in (device.render_node, device.card_node):
        if node:
            answer = host.stat(node)
            gid = answer.gid if not answer.error and answer.gid >= 0 else None
            groups.append(NodeGroup(node=node, gid=gid, name=answer.group))
    cpus, mems = _find_neighbourhood(machine, device)
    return GpuNodes(
        index=device.index,
        bdf=device.bdf,
        name=device.name,
        driver=device.driver,
        discrete=device.discrete,
        tiles=device.tiles,
        render_node=device.render_node,
        card_node=device.card_node,
        by_path=tuple(sorted(device.by_path)),
        groups=tuple(groups),
        numa_node=device.numa_node,
        cpus=cpus,
        mems=mems,
        missing=_explain_missing(device),
    )


def _explain_missing(device: Device) -> str:
    if device.render_node:
        return ""
    if not device.driver:
        return "no driver is bound to it"
    if "vfio" in device.driver:
        return f"it is bound to {device.driver}: given to virtual machines, not to containers"
    return f"driver {device.driver} made no render node"


def _find_neighbourhood(machine: Machine, device: Device) -> tuple[str, str]:
    """Processors and memory node of the GPU's NUMA node, as far as this process may use them."""
    node = next((node for node in machine.numa if node.node == device.numa_node), None)
    if node is None:
        return "", ""
    cpus = set(_read_list(node.allowed_cpus or node.cpus))
    allowed = set(_read_list(machine.cpu.allowed))
    chosen = sorted(cpus & allowed if allowed else cpus)
    return format_cpu_list(chosen), "" if node.memory_allowed is False else str(node.node)


def _read_list(text: str) -> tuple[int, ...]:
    try:
        return parse_cpu_list(text)
    except ValueError:
        return ()


def join_lists(lists: Sequence[str]) -> str:
    """One list of all numbers in several ("0-3", "2-5" -> "0-5"); "" if any of them is empty."""
    if not lists or not all(lists):
        return ""
    return format_cpu_list(sorted({number for text in lists for number in _read_list(text)}))


def choose_gpus(gpus: Sequence[GpuNodes], asked: str) -> tuple[GpuNodes, ...]:
    """The GPUs named by `asked`: "all", or indices and addresses with commas ("0,2", "0000:3a:00.0"), in that order.

    "" chooses every discrete GPU that has a render node, or every GPU where none is discrete. Raises UsageError for
    one that is not there, named twice or cannot be used.
    """
    usable = [gpu for gpu in gpus if not gpu.missing]
    if asked in ("", "all"):
        chosen = usable if asked else [gpu for gpu in usable if gpu.discrete is not False] or usable
        if not chosen:
            raise UsageError("no GPU that a container could use", hint=_list_gpus(gpus))
        return tuple(chosen)
    if asked == "none":
        return ()
    found: list[GpuNodes] = []
    for word in (word.strip() for word in asked.split(",")):
        gpu = _find_gpu(gpus, word)
        if gpu is None:
            raise UsageError(f"there is no GPU {word!r}", hint=_list_gpus(gpus))
        if gpu in found:
            raise UsageError(f"GPU {word!r} was named twice", hint=_list_gpus(gpus))
        if gpu.missing:
            raise UsageError(f"GPU {word} ({gpu.bdf}): {gpu.missing}", hint="see: xpukit doctor")
        found.append(gpu)
    return tuple(found)


def _find_gpu(gpus: Sequence[GpuNodes], word: str) -> GpuNodes | None:
    if word.isdecimal():
        return next((gpu for gpu in gpus if gpu.index == int(word)), None)
    match = _BDF.match(word)
    if not match:
        return None
    wanted = f"{match[1] or '0000'}:{match[2]}".lower()
    return next((gpu for gpu in gpus if gpu.bdf.lower() == wanted), None)


def _list_gpus(gpus: Sequence[GpuNodes]) -> str:
    if not gpus:
        return "probe finds no Intel GPU on this machine"
    return "GPUs: " + ", ".join(
        f"{gpu.index} = {gpu.bdf}" + (f" ({gpu.missing})" if gpu.missing else "") for gpu in gpus
    )


def list_gids(gpus: Sequence[GpuNodes]) -> tuple[int, ...]:
    """The numeric groups that open the nodes, without root's."""
    return tuple(sorted({group.gid for gpu in gpus for group in gpu.groups if group.gid}))
