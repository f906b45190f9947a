"""The processes of a plan: for each machine and each replica its command, environment, mask and pinning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from xpukit.core.machine import Machine
from xpukit.facts.launch import LaunchCase
from xpukit.serve.affinity import AffinityMask, make_mask
from xpukit.serve.devices import DevicePool
from xpukit.serve.engine_choice import EngineChoice
from xpukit.serve.engines import Helper, NodeCase, Spread, find_engine_module
from xpukit.serve.launch_flags import (
    DEFAULT_PORT,
    FlagCase,
    add_guide_flags,
    add_model_flags,
    add_service_flags,
    add_size_flags,
)
from xpukit.serve.launch_variables import build_variables
from xpukit.serve.model_types import Model
from xpukit.serve.numa_pinning import Pinning, plan_pinning
from xpukit.serve.pinning_forms import format_docker, format_engine, format_numactl, format_systemd
from xpukit.serve.placement import Placement, Process
from xpukit.serve.plan_types import Choice, Flag, Launch, Pin, Variable
from xpukit.serve.request import ServeRequest
from xpukit.serve.sizing import Sizing
from xpukit.serve.word_builder import WordBuilder

# What stands for the address of a machine that was not named; a form tells the user to put it in.
_PLACEHOLDER = "NODE{}_ADDRESS"
_VLLM_KEY = "VLLM_API_KEY"
_WHY = {
    "ZE_FLAT_DEVICE_HIERARCHY": "whether a rank is given a tile or a whole card",
    "CUDA_DEVICE_ORDER": "GPUs are counted by PCI address, as here",
}


class LaunchCaseAll(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the launches rest on, chosen already. `taken`: extras that were put into the request, as typed."""

    request: ServeRequest
    case: LaunchCase
    model: Model
    model_path: str
    task: str
    sizing: Sizing
    chosen: EngineChoice
    pool: DevicePool
    machine: Machine
    placement: Placement
    nodes: int
    measured_variables: Mapping[str, str] = {}
    measured_why: str = ""
    taken: tuple[tuple[str, ...], ...] = ()


class Launches(msgspec.Struct, frozen=True, kw_only=True):
    """The processes in the order they are started. `kept`: of the extras that were taken, those that stay as typed."""

    launches: tuple[Launch, ...]
    choices: tuple[Choice, ...]
    notes: tuple[str, ...]
    kept: tuple[str, ...] = ()


def build_launches(given: LaunchCaseAll) -> Launches:
    """All processes. Helpers (Ray, a proxy) stand before the engines that need them."""
    addresses = _find_addresses(given.request, given.nodes)
    pins = _plan_pins(given)
    helpers: list[Launch] = []
    engines: list[Launch] = []
    choices: list[Choice] = []
    notes: list[str] = []
    kept: tuple[str, ...] = ()
    for node in range(given.nodes):
        for process in given.placement.processes:
            port = (given.request.port or DEFAULT_PORT) + process.index
            builder = _make_builder(given)
            spread = _add_flags(builder, given, node, addresses, port)
            pin = pins[process.index] if pins else None
            bound = _bind(builder, given, pin)
            kept = builder.add_extras(given.request.extras, given.taken)
            mask = make_mask(given.pool, process.units)
            variables = _list_variables(given, spread, mask)
            helpers.extend(_make_helpers(spread.helpers, node, addresses[node], mask))
            if spread.runs_engine:
                engines.append(
                    Launch(
                        name=_name(given, node, process.index),
                        role="engine",
                        node=node,
                        address=addresses[node],
                        program=builder.words,
                        flags=tuple(builder.flags),
                        variables=variables,
                        container_flags=_listen_on_all(given),
                        container_variables=_list_variables(given, spread, _mask_inside(given, process)),
                        port=port,
                        gpus=process.labels,
                        mask=mask.value,
                        pin=bound,
                    )
                )
            if node == 0 and process.index == 0:
                choices.extend((*_explain_mask(mask), *_explain_pin(bound), *spread.choices))
            notes.extend(builder.notes)
            notes.extend(note for one in (pins or ())[process.index : process.index + 1] for note in one.notes)
    if given.nodes > 1 and not given.request.nodes:
        notes.append("the machines were not named (--nodes A,B): their addresses stand as NODE0_ADDRESS and so on")
    return Launches(launches=(*helpers, *engines), choices=tuple(choices), notes=tuple(dict.fromkeys(notes)), kept=kept)


def _find_addresses(request: ServeRequest, nodes: int) -> tuple[str, ...]:
    if request.nodes:
        return request.nodes
    return ("localhost",) if nodes == 1 else tuple(_PLACEHOLDER.format(node) for node in range(nodes))


def _name(given: LaunchCaseAll, node: int, process: int) -> str:
    parts = ["engine"]
    if given.nodes > 1:
        parts.append(f"node{node}")
    if len(given.placement.processes) > 1:
        parts.append(str(process))
    return "-".join(parts)


def _make_builder(given: LaunchCaseAll) -> WordBuilder:
    return WordBuilder(given.chosen.schema, extras=given.request.extras)


def _add_flags(builder: WordBuilder, given: LaunchCaseAll, node: int, addresses: tuple[str, ...], port: int) -> Spread:
    flags = FlagCase(
        request=given.request,
        case=given.case,
        model=given.model,
        model_path=given.model_path,
        task=given.task,
        quantization=given.sizing.quantization,
        memory=given.sizing.memory,
        port=port,
    )
    add_model_flags(builder, flags)
    sizes = given.sizing.parallelism
    spread = find_engine_module(given.case.engine).spread(
        NodeCase(
            engine=given.case.engine,
            version=given.case.version,
            vendor=given.case.vendor,
            model_id=given.case.model_id,
            node=node,
            addresses=addresses,
            parallelism=sizes,
            ranks_here=max(1, sizes.world // given.nodes),
            executor=given.request.executor,
            proxy=given.request.proxy,
            moe=given.case.moe,
            asked_pp=given.request.pp is not None,
            asked_dp=given.request.dp is not None,
            asked_variables=tuple(text.partition("=")[0] for text in given.request.variables),
        ),
        builder,
    )
    add_size_flags(builder, flags)
    add_guide_flags(builder, flags)
    add_service_flags(builder, flags)
    return spread


def _plan_pins(given: LaunchCaseAll) -> tuple[Pinning, ...]:
    if given.request.pinning == "off":
        return ()
    return plan_pinning(
        given.machine,
        given.placement.processes,
        reserved_cpus=given.request.reserved_cpus,
        host_bytes=given.sizing.memory.load.host_bytes,
    )


def _bind(builder: WordBuilder, given: LaunchCaseAll, pin: Pinning | None) -> Pin:
    """numactl around the engine, or its own binding where a process spans NUMA nodes and the engine has one."""
    if pin is None:
        return Pin(why=("not pinned: asked for",))
    reasons = pin.reasons
    if given.request.pinning == "engine" or (given.request.pinning == "auto" and pin.bound and len(pin.nodes) > 1):
        own = format_engine(pin, given.case.engine, builder.program.options)
        if own.arguments:
            builder.add_words(own.arguments, own.note)
            return Pin(cpus=pin.cpus, mems=pin.mems, docker=format_docker(pin), why=(*reasons, own.note))
        if given.request.pinning == "engine":
            reasons = (*reasons, own.note)
    return Pin(
        cpus=pin.cpus if pin.bound else "",
        mems=pin.mems if pin.bound else "",
        numactl=format_numactl(pin),
        docker=format_docker(pin),
        systemd=format_systemd(pin),
        why=reasons,
    )


def _listen_on_all(given: LaunchCaseAll) -> tuple[Flag, ...]:
    """The address inside a container; what of it is reachable is decided by the ports that are published."""
    builder = WordBuilder(given.chosen.schema)
    builder.add("host", "0.0.0.0", "all addresses of the container; the published port decides", needed=False)
    return tuple(builder.flags)


def _mask_inside(given: LaunchCaseAll, process: Process) -> AffinityMask:
    """The mask in a container that gets the device nodes of these GPUs only."""
    return make_mask(given.pool, process.units, visible=process.devices)


def _list_variables(given: LaunchCaseAll, spread: Spread, mask: AffinityMask) -> tuple[Variable, ...]:
    rest = build_variables(
        given.request,
        given.case,
        given.model,
        given.sizing.quantization,
        measured=given.measured_variables,
        measured_why=given.measured_why,
        from_hub=not given.model_path.startswith(("/", ".")),
    )
    key = () if not given.request.api_key_env else (_find_key(given),)
    own = {one.name: one for one in (*_show_gpus(mask), *spread.variables, *rest, *key)}
    return tuple(own.values())


def _find_key(given: LaunchCaseAll) -> Variable:
    """The server's key: its value stays in the caller's environment. vLLM reads a variable, others take a flag."""
    name = given.request.api_key_env
    why = "the key that requests must bring; never written here"
    if given.case.engine in ("vllm", "llm-scaler-vllm") and name != _VLLM_KEY:
        return Variable(name=_VLLM_KEY, value=f"${{{name}}}", why=why, source="vLLM, environment variables")
    return Variable(name=name, value="", why=why, passed=True)


def _show_gpus(mask: AffinityMask) -> Iterable[Variable]:
    for name, value in mask.environment.items():
        own = [reason for reason in mask.reasons if name in reason]
        yield Variable(name=name, value=value, why=own[0] if own else _WHY.get(name, "which GPUs the process sees"))


def _make_helpers(helpers: Iterable[Helper], node: int, address: str, mask: AffinityMask) -> Iterable[Launch]:
    for helper in helpers:
        needs_gpus = helper.role in ("head", "worker")
        yield Launch(
            name=helper.name,
            role=helper.role,
            node=node,
            address=address,
            program=helper.program,
            flags=(),
            variables=(*(_show_gpus(mask) if needs_gpus else ()), *helper.variables),
            port=helper.port,
        )


def _explain_mask(mask: AffinityMask) -> Iterable[Choice]:
    for reason in mask.reasons:
        yield Choice(name=mask.variable, value=mask.value, why=reason, kind="guess" if mask.guess else "fact")


def _explain_pin(pin: Pin) -> Iterable[Choice]:
    value = " ".join(pin.numactl) or " ".join(pin.docker)
    for why in pin.why:
        yield Choice(name="pinning", value=value, why=why)


def list_words(flags: Iterable[Flag]) -> tuple[str, ...]:
    """All words of flags."""
    return tuple(word for flag in flags for word in flag.words)
