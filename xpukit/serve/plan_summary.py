"""What a plan says of itself: its machine and model in short, the reasons of its choices, further notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xpukit.container.gpu_nodes import GpuNodes
from xpukit.core.machine import Machine
from xpukit.serve.ccl_mode import CclMode
from xpukit.serve.devices import NVIDIA, DevicePool, Unit
from xpukit.serve.engine_choice import EngineChoice
from xpukit.serve.model_types import Model
from xpukit.serve.placement import Placement
from xpukit.serve.plan_types import Choice, MachineSummary, PlannedGpu, PlannedModel
from xpukit.serve.request import ServeRequest
from xpukit.serve.sizing import Sizing
from xpukit.serve.surroundings import Surroundings
from xpukit.serve.weights import count_parameters


def summarize_machine(machine: Machine, pool: DevicePool, around: Surroundings, nodes: int) -> MachineSummary:
    devices = {device.index: device for device in machine.devices}

    def describe(unit: Unit) -> PlannedGpu:
        return PlannedGpu(
            label=unit.label,
            device=unit.device,
            bdf=unit.bdf,
            name=unit.name,
            device_id=devices[unit.device].device_id,
            memory_bytes=unit.memory_bytes,
            free_bytes=unit.free_bytes,
            numa_node=unit.numa_node,
        )

    return MachineSummary(
        host="" if around.platform is not None else around.host,
        nodes=nodes,
        gpus=tuple(describe(unit) for unit in pool.units),
        access=around.access or _guess_access(machine),
        vendor="nvidia" if pool.vendor == NVIDIA else "intel",
        excluded=tuple(f"{one.label} {one.bdf}: {one.reason}" for one in pool.excluded),
        memory_bytes=machine.memory_bytes,
        numa_nodes=len(machine.numa),
        platform=around.platform.name if around.platform is not None else "",
        assumptions=around.platform.assumptions if around.platform is not None else (),
    )


def _guess_access(machine: Machine) -> tuple[GpuNodes, ...]:
    """Nodes by the names that a platform's GPUs usually have; groups are not known."""
    return tuple(
        GpuNodes(
            index=device.index,
            bdf=device.bdf,
            name=device.name,
            tiles=device.tiles,
            render_node=device.render_node,
            card_node=device.card_node,
            numa_node=device.numa_node,
        )
        for device in machine.devices
    )


def summarize_model(request: ServeRequest, model: Model, task: str) -> PlannedModel:
    stored = model.quantization
    return PlannedModel(
        asked=request.model,
        id=model.id,
        path=model.path,
        found_in=model.source,
        category=model.category,
        task=task,
        parameters=count_parameters(model),
        stored_as=stored.method if stored is not None else model.architecture.dtype,
        guesses=model.guesses,
        note=model.note,
    )


def explain_choices(
    sizing: Sizing, placement: Placement, ccl: CclMode, task: str, request: ServeRequest
) -> Sequence[Choice]:
    chosen, sizes = sizing.quantization, sizing.parallelism
    asked = request.tp is not None
    return (
        Choice(
            name="task",
            value=task,
            why="asked for" if request.task else "what the model is for",
            kind="asked" if request.task else "fact",
        ),
        Choice(
            name="quantization",
            value=chosen.name,
            why=chosen.reason,
            kind="asked" if request.quantization else "rule",
            source=chosen.source,
        ),
        Choice(
            name="parallelism",
            value=sizes.describe(),
            why="; ".join(sizing.reasons) or ("asked for" if asked else "the fewest GPUs that the model fits in"),
            kind="asked" if asked else "rule",
        ),
        *(Choice(name="placement", value="", why=reason) for reason in placement.reasons),
        *(
            Choice(name="collectives", value=ccl.mode, why=reason, kind="measured" if ccl.measured else "default")
            for reason in ccl.reasons
            if sizes.world > 1
        ),
    )


def _note_needs(model: Model, request: ServeRequest) -> Iterable[str]:
    """What the model's guides ask for beside flags and variables."""
    for need in model.needs:
        if need.kind == "package":
            yield f"the engine's environment needs {need.value} (pip install {need.value}; {need.source})"
        elif (need.kind == "chat_template" and not request.chat_template) or need.kind in ("request_format", "guide"):
            yield f"{need.value} ({need.source})"


def list_notes(chosen: EngineChoice, spread: str, model: Model, request: ServeRequest, vendor: str) -> Sequence[str]:
    """What should be known beside the choices: guesses on the engine, the model's needs, unused options."""
    needs = tuple(_note_needs(model, request))
    return tuple(note for note in (spread, chosen.engine.label, *needs, *_note_unused(chosen, request, vendor)) if note)


def _note_unused(chosen: EngineChoice, request: ServeRequest, vendor: str) -> Iterable[str]:
    """Options that this engine has no use for: they change nothing, and that is said."""
    engine = chosen.engine.name
    if request.proxy and engine != "lmdeploy":
        yield f"--proxy is LMDeploy's: {engine} has none, it is left out"
    if request.executor != "auto" and not engine.endswith("vllm"):
        yield f"--executor {request.executor} is vLLM's: {engine} has its own way, it is left out"
    if request.cuda_ipc and (engine != "sglang" or vendor != "nvidia"):
        yield "--cuda-ipc is for SGLang on NVIDIA GPUs: it is left out"
