"""From a request, a machine and a model to the plan. Pure: all that was read of the machine is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from xpukit.core.errors import UsageError
from xpukit.core.machine import Machine
from xpukit.facts.launch import LaunchCase, Vendor
from xpukit.serve.ccl_mode import read_ccl_mode
from xpukit.serve.device_speed import HostMeasurements, find_speed
from xpukit.serve.devices import NVIDIA, DevicePool, find_units
from xpukit.serve.engine_choice import EngineChoice, choose_engine
from xpukit.serve.engines import find_engine_module
from xpukit.serve.extras_ranks import choose_gpus
from xpukit.serve.launch_flags import DEFAULT_PORT, is_pooling
from xpukit.serve.launches import LaunchCaseAll, build_launches
from xpukit.serve.memory_types import Correction, MemorySettings, Parallel
from xpukit.serve.model_types import Model
from xpukit.serve.parallelism import Parallelism
from xpukit.serve.placement import Placement, place
from xpukit.serve.plan_summary import explain_choices, list_notes, summarize_machine, summarize_model
from xpukit.serve.plan_types import Plan, Rejected
from xpukit.serve.predict import Prediction, predict_speed
from xpukit.serve.quantization import find_platform_group
from xpukit.serve.request import ServeRequest
from xpukit.serve.request_extras import take_extras
from xpukit.serve.sizing import FindCorrection, Sizing, SizingCase, make_settings, size_launch
from xpukit.serve.surroundings import Surroundings
from xpukit.serve.validate import validate

_TASK_ORDER = ("generate", "chat", "embed", "score", "rerank", "transcription")


def make_plan(request: ServeRequest, model: Model, around: Surroundings) -> Plan:
    """Choose everything that was left open and write it down with reasons.

    Raises UsageError for what cannot be: a refused division or quantization, too few GPUs, an unknown engine. A model
    that does not fit is a plan whose `memory.fits` is False and that has no launches.
    """
    machine = around.platform.machine if around.platform is not None else around.machine
    pool = find_units(machine, only=request.gpus)
    vendor: Vendor = "nvidia" if pool.vendor == NVIDIA else "intel"
    device_id, family = _identify(machine, pool)
    image_need = next((need.value for need in model.list_needs("image")), "")
    chosen = choose_engine(
        request,
        vendor=vendor,
        family=family,
        own_engine=around.own_engine,
        own_flags=around.own_flags,
        needed_image=image_need,
    )
    if len(set(request.nodes)) < len(request.nodes):
        raise UsageError(
            f"--nodes {','.join(request.nodes)}: a machine is named twice", hint="each machine once, the head first"
        )
    nodes = len(request.nodes) or (around.platform.nodes if around.platform is not None else 1)
    taken = take_extras(
        request,
        chosen.schema,
        model,
        model_path=_find_model_path(request, model),
        nodes=nodes,
        files=around.config_files,
    )
    request = taken.request
    if taken.pick is not None:
        names = choose_gpus(taken.pick, pool, request, nodes)
        request = msgspec.structs.replace(request, gpus=names)
        pool = find_units(machine, only=names)
        note = f"{taken.pick.text} is --gpu {','.join(names)}: planned so; the engine sees these alone, from 0 on"
        taken = msgspec.structs.replace(taken, notes=(*taken.notes, note))
    task = request.task or find_task(model)
    _check_talk(request, task)
    case = _describe_case(request, chosen, vendor, task, model)
    given = SizingCase(
        request=request,
        case=case,
        model=model,
        pool=pool,
        nodes=nodes,
        device_id=device_id,
        task=task,
        host_memory_bytes=machine.memory_bytes,
    )
    settings = make_settings(request, case, task, block_size=taken.block_size)
    find_correction = around.find_correction or _find_no_correction
    given, sizing, spread_note = _size(given, settings, find_correction)
    nodes = given.nodes
    case = _complete_case(case, given, sizing, request)
    placement = _place(pool, sizing, nodes)
    ccl = read_ccl_mode(around.evaluation, machine, ranks=_count_talking(sizing.parallelism))
    case = _add_collective(case, request, ccl.environment, vendor)
    prediction = _predict(model, sizing, device_id, around.measured, per_machine=len(pool.units))
    built = (
        build_launches(
            LaunchCaseAll(
                request=request,
                case=case,
                model=model,
                model_path=_find_model_path(request, model),
                task=task,
                sizing=sizing,
                chosen=chosen,
                pool=pool,
                machine=machine,
                placement=placement,
                nodes=nodes,
                measured_variables=ccl.environment if request.collective == "auto" else {},
                measured_why="; ".join(ccl.reasons),
                taken=taken.taken,
            )
        )
        if sizing.memory.fits
        else None
    )
    problems = tuple(
        problem
        for launch in (built.launches if built else ())
        if launch.role == "engine"
        for problem in _validate(
            launch.argv, chosen, {one.name: one.value for one in launch.variables if not one.passed}
        )
    )
    kept = built.kept if built else tuple(word for words in taken.taken for word in words)
    return Plan(
        request=msgspec.structs.replace(request, extras=(*kept, *request.extras)),
        machine=summarize_machine(machine, pool, around, nodes),
        model=summarize_model(request, model, task),
        engine=chosen.engine,
        parallelism=sizing.parallelism,
        quantization=sizing.quantization,
        memory=sizing.memory,
        launches=built.launches if built else (),
        choices=(
            *chosen.choices,
            *explain_choices(sizing, placement, ccl, task, request),
            *(built.choices if built else ()),
        ),
        prediction=prediction,
        rejected=tuple(_list_rejected(model, sizing, device_id, around.measured)),
        problems=tuple(dict.fromkeys(problems)) if _is_hashable(problems) else problems,
        notes=tuple(
            dict.fromkeys(
                (
                    *taken.notes,
                    *placement.notes,
                    *sizing.warnings,
                    *(built.notes if built else ()),
                    *list_notes(chosen, spread_note, model, request, vendor),
                )
            )
        ),
    )


def _check_talk(request: ServeRequest, task: str) -> None:
    """Raise UsageError for thinking or tools of a model that answers with vectors or scores."""
    asked = {
        "--thinking": request.thinking,
        "--tools": request.tools,
        "--reasoning-parser": request.reasoning_parser,
        "--tool-parser": request.tool_parser,
    }
    given = next((option for option, value in asked.items() if value), "")
    if given and is_pooling(task):
        raise UsageError(
            f"{given}, and the task is {task}: it answers with vectors or scores, not with text",
            hint=f"leave {given} out, or --task generate",
        )


def _find_no_correction(engine: str, name: str, division: Parallelism) -> Correction | None:
    del engine, name, division
    return None


def _size(
    given: SizingCase, settings: MemorySettings, find_correction: FindCorrection
) -> tuple[SizingCase, Sizing, str]:
    """Sizes over all machines; over one where no division was asked for and one is enough."""
    request = given.request
    if given.nodes > 1 and (request.tp, request.pp, request.dp) == (None, None, None):
        alone = msgspec.structs.replace(given, nodes=1)
        sizing = size_launch(alone, settings, find_correction)
        if sizing.memory.fits:
            note = f"it fits in one of the {given.nodes} machines: only that one is used (--tp, --pp or --dp spread it)"
            return alone, sizing, note
    return given, size_launch(given, settings, find_correction), ""


def find_task(model: Model) -> str:
    """What the model is for: the first of its tasks that an engine has a way of its own for."""
    for task in _TASK_ORDER:
        if task in model.tasks:
            return "generate" if task == "chat" else task
    return "generate"


def _identify(machine: Machine, pool: DevicePool) -> tuple[str, str]:
    if not pool.units:
        return "", ""
    device = next(device for device in machine.devices if device.index == pool.units[0].device)
    return device.device_id, find_platform_group(device.device_id)


def _describe_case(request: ServeRequest, chosen: EngineChoice, vendor: Vendor, task: str, model: Model) -> LaunchCase:
    return LaunchCase(
        engine=chosen.engine.name,
        version=chosen.engine.version,
        vendor=vendor,
        task=task,
        model_id=" ".join({model.id, model.entry.id if model.entry else ""} - {""}) or model.text,
        moe=model.architecture.is_moe,
        topics=frozenset({"context-asked"} if request.context is not None else ()),
    )


def _complete_case(case: LaunchCase, given: SizingCase, sizing: Sizing, request: ServeRequest) -> LaunchCase:
    sizes = sizing.parallelism
    topics = set(case.topics)
    topics |= find_engine_module(case.engine).find_topics(sizes, given.nodes, request.executor)
    if sizing.memory.load.offload:
        topics.add("load-offload")
    if request.cuda_ipc:
        topics.add("cuda-ipc")
    if any(mark in unit.name for mark in ("H100", "H200", "H20") for unit in given.pool.units):
        topics.add("hopper")
    limit = given.model.architecture.max_positions
    if request.context is not None and limit and request.context > limit:
        topics.add("context-beyond")
    return msgspec.structs.replace(
        case,
        quantization=sizing.quantization.name,
        tp=sizes.tp,
        world=sizes.world,
        nodes=given.nodes,
        topics=frozenset(topics),
    )


def _count_talking(sizes: Parallelism) -> int:
    """Ranks that exchange data: copies only do where they share experts."""
    return sizes.world if sizes.ep > 1 else sizes.tp * sizes.pp


def _add_collective(case: LaunchCase, request: ServeRequest, measured: Mapping[str, str], vendor: Vendor) -> LaunchCase:
    del measured
    if request.collective == "auto" or vendor != "intel":
        return case
    return msgspec.structs.replace(case, topics=case.topics | {request.collective})


def _place(pool: DevicePool, sizing: Sizing, nodes: int) -> Placement:
    need = sizing.memory.budget_bytes if sizing.memory.fits else None
    return place(pool, sizing.parallelism, need_bytes=need, nodes=nodes)


def _predict(
    model: Model, sizing: Sizing, device_id: str, measured: HostMeasurements | None, *, per_machine: int
) -> Prediction | None:
    if not sizing.memory.fits:
        return None
    found = _predict_for(model, sizing, sizing.parallelism, device_id, measured)
    if sizing.parallelism.tp <= per_machine:
        return found
    slower = "collectives between machines are slower than those that this rests on: the network's speed is not known"
    return msgspec.structs.replace(found, note=f"{slower}; {found.note}" if found.note else slower)


def _predict_for(
    model: Model,
    sizing: Sizing,
    sizes: Parallelism,
    device_id: str,
    measured: HostMeasurements | None,
    quantization: str = "",
) -> Prediction:
    return predict_speed(
        model,
        quantization=quantization or sizing.quantization.name,
        parallel=Parallel(tp=sizes.tp, pp=sizes.pp, dp=sizes.dp, expert_parallel=sizes.ep > 1),
        speed=find_speed(device_id, measured),
        settings=sizing.memory.settings,
    )


def _list_rejected(
    model: Model, sizing: Sizing, device_id: str, measured: HostMeasurements | None
) -> Iterable[Rejected]:
    """The plans not taken; those that fit with the speed they should have: other weights, then other divisions."""
    for other in sizing.alternatives:
        fast = _predict_for(model, sizing, other.parallelism, device_id, measured, other.quantization)
        yield Rejected(
            parallelism=f"{other.parallelism.describe()}, {other.quantization}",
            fits=True,
            why=f"less exact; requests of {other.memory.asked_context:,} tokens, "
            f"{other.memory.concurrency:.1f} at a time",
            decode_tps=fast.decode_tps_per_sequence,
            decode_bound=fast.decode_bound,
        )
    for one in sizing.others:
        # How fast the network between machines is nobody measured.
        known = one.fits and not one.crosses_nodes
        speed = _predict_for(model, sizing, one.parallelism, device_id, measured) if known else None
        yield Rejected(
            parallelism=one.parallelism.describe(),
            fits=one.fits,
            why="; ".join((*one.reasons, *one.warnings)) or "more ranks than are needed",
            decode_tps=speed.decode_tps_per_sequence if speed else None,
            decode_bound=speed.decode_bound if speed else "",
        )


def _find_model_path(request: ServeRequest, model: Model) -> str:
    return request.model_inside or model.path or request.model


def _validate(argv: Sequence[str], chosen: EngineChoice, env: Mapping[str, str]) -> Sequence[Any]:
    return validate(chosen.engine.name, chosen.engine.version, "", argv, env=env, schema=chosen.schema).problems


def _is_hashable(problems: Sequence[Any]) -> bool:
    try:
        return bool(hash(tuple(problems))) or True
    except TypeError:
        return False


__all__ = ["DEFAULT_PORT", "Surroundings", "find_task", "make_plan"]
