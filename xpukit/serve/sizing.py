"""Quantization and parallelism together: what fits in how many GPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from xpukit.core.errors import UsageError
from xpukit.core.units import format_bytes
from xpukit.facts.launch import LaunchCase, choose_flags
from xpukit.serve.devices import DevicePool, Unit
from xpukit.serve.division_ranking import NO_FIT, Candidate, rank_candidates
from xpukit.serve.launch_flags import find_batched_tokens
from xpukit.serve.memory import fit_memory
from xpukit.serve.memory_types import Correction, DeviceMemory, MemoryPlan, MemorySettings, Parallel
from xpukit.serve.model_types import Model
from xpukit.serve.parallelism import ModelParts, Parallelism, check_parallelism, list_tensor_parallel, make_parts
from xpukit.serve.quantization import (
    QuantizationChoice,
    choose_quantization,
    list_checkpoints,
    list_quantizations,
)
from xpukit.serve.request import ServeRequest

_SHOWN_OTHERS = 8
# A context that is cut to what fits is a multiple of the first, and at least the second.
_CONTEXT_STEP, _LEAST_CONTEXT = 256, 2048
# Given the engine, the quantization and the division.
FindCorrection = Callable[[str, str, Parallelism], "Correction | None"]


class Sizing(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen together. `memory.fits` False: nothing fits, and this came nearest."""

    quantization: QuantizationChoice
    parallelism: Parallelism
    memory: MemoryPlan
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    others: tuple[Candidate, ...]
    alternatives: tuple[Alternative, ...] = ()


class Alternative(msgspec.Struct, frozen=True, kw_only=True):
    """What another quantization that is possible would have been planned as."""

    quantization: str
    parallelism: Parallelism
    memory: MemoryPlan


class SizingCase(msgspec.Struct, frozen=True, kw_only=True):
    """What sizes rest on. `nodes`: machines, each with this pool."""

    request: ServeRequest
    case: LaunchCase
    model: Model
    pool: DevicePool
    nodes: int
    device_id: str
    task: str
    host_memory_bytes: int | None = None


def make_settings(
    request: ServeRequest, case: LaunchCase, task: str, *, block_size: int | None = None
) -> MemorySettings:
    """What the memory plan is asked with: what was asked, and what the guides' flags say. `block_size`: tokens."""
    rows = {row.intent: row.value for row in choose_flags(case)}
    eager = request.eager if request.eager is not None else bool(rows.get("enforce_eager", False))
    return MemorySettings(
        engine=case.engine,
        version=case.version,
        utilization=request.utilization,
        max_model_len=request.context,
        max_num_seqs=request.max_seqs,
        max_num_batched_tokens=find_batched_tokens(request, case, task, request.context),
        block_size=block_size or rows.get("block_size"),
        dtype=request.dtype or "auto",
        kv_dtype=request.kv_dtype or "auto",
        graphs=not eager,
        mtp=request.mtp is not None,
        loras=len(request.loras),
        lora_rank=request.lora_rank or 16,
    )


def size_launch(given: SizingCase, settings: MemorySettings, find_correction: FindCorrection) -> Sizing:
    """Choose. Raises UsageError for a division or quantization that is refused, or where the machine has no GPU."""
    request, pool = given.request, given.pool
    if not pool.units:
        raise UsageError("there is no GPU to plan for", hint=_hint_no_gpu(pool))
    sizer = _Sizer(given, settings, find_correction)
    _check_asked(given, sizer.parts)
    chosen = choose_quantization(
        given.model,
        engine=given.case.engine,
        version=given.case.version,
        device_id=given.device_id,
        fits=lambda name: sizer.choose(name).memory,
        asked=request.quantization or None,
    )
    best = sizer.choose(chosen.name)
    return Sizing(
        quantization=chosen,
        parallelism=msgspec.structs.replace(best.candidate.parallelism, replicas=request.replicas),
        memory=best.memory,
        reasons=(*best.candidate.reasons, *best.reasons),
        warnings=best.candidate.warnings,
        others=best.others[:_SHOWN_OTHERS],
        alternatives=tuple(sizer.list_alternatives(chosen.name)),
    )


class _Best(msgspec.Struct, frozen=True, kw_only=True):
    """The division taken for a quantization, and the others."""

    candidate: Candidate
    memory: MemoryPlan
    others: tuple[Candidate, ...]
    reasons: tuple[str, ...] = ()


class _Sizer:
    """Memory plans of divisions, each made once."""

    def __init__(self, given: SizingCase, settings: MemorySettings, find_correction: FindCorrection) -> None:
        self.given = given
        self.parts = make_parts(given.model)
        self._settings = settings
        self._find_correction = find_correction
        self._total = len(given.pool.units) * given.nodes
        self._plans: dict[tuple[str, Parallelism, int | None, bool], MemoryPlan] = {}
        self._chosen: dict[str, _Best] = {}
        case = given.case
        listed = list_quantizations(given.model, engine=case.engine, version=case.version, device_id=given.device_id)
        self._allowed = tuple(one.name for one in listed if one.allowed)
        self._checkpoints = list_checkpoints(
            given.model, engine=case.engine, version=case.version, device_id=given.device_id
        )

    def list_alternatives(self, taken: str) -> Iterator[Alternative]:
        """The other possible quantizations that fit, each in the division that is best for it."""
        if self.given.request.quantization:
            return
        for name in self._allowed:
            best = self.choose(name) if name != taken else None
            if best is not None and best.memory.fits:
                yield Alternative(quantization=name, parallelism=best.candidate.parallelism, memory=best.memory)

    def choose(self, name: str) -> _Best:
        """The best division for a quantization.

        The fewest GPUs in which requests of the model's full length fit; else, where no length was asked for, the
        division with the longest requests; else the one that comes nearest.
        """
        if name not in self._chosen:
            self._chosen[name] = self._choose(name)
        return self._chosen[name]

    def _choose(self, name: str) -> _Best:
        request = self.given.request
        candidates = self._rank(name)
        if not candidates:
            raise UsageError(_describe_no_division(self.given, self.parts), hint=_hint_division(self.given))
        if candidates[0].fits:
            return self._take(name, candidates[0], candidates, self._fit(name, candidates[0].parallelism))
        if request.context is None:
            shorter = [(one, self._fit_shorter(name, one.parallelism)) for one in candidates]
            fitting = [(one, plan) for one, plan in shorter if plan is not None and self._is_enough(plan)]
            if fitting:
                one, plan = max(fitting, key=lambda pair: (pair[1].asked_context, -pair[0].parallelism.world))
                full = self.given.model.architecture.max_positions
                why = f"requests of {plan.asked_context:,} tokens fit, not of the {full:,} that the model can take"
                warnings = tuple(text for text in one.warnings if text != NO_FIT)  # of the full length
                fitted = msgspec.structs.replace(one, fits=True, warnings=warnings)
                return self._take(name, fitted, candidates, plan, why)
        nearest = min(candidates, key=lambda one: self._fit(name, one.parallelism).short_bytes)
        plan = self._fit(name, nearest.parallelism, with_ways=True)
        if plan.fits:
            short = f"{plan.concurrency:.2f} requests of {plan.asked_context:,} tokens fit at a time"
            plan = msgspec.structs.replace(plan, fits=False, reason=f"{short}, {request.concurrency} were asked for")
        return self._take(name, nearest, candidates, plan)

    def _take(
        self, name: str, one: Candidate, candidates: tuple[Candidate, ...], plan: MemoryPlan, why: str = ""
    ) -> _Best:
        others = tuple(other for other in candidates if other.parallelism != one.parallelism)
        return _Best(candidate=one, memory=plan, others=others, reasons=(why,) if why else ())

    def _rank(self, name: str) -> tuple[Candidate, ...]:
        request = self.given.request
        found = rank_candidates(
            self.parts,
            self.given.pool,
            self.given.case.engine,
            tp=request.tp,
            pp=request.pp if request.pp is not None else (1 if request.tp is not None else None),
            dp=request.dp if request.dp is not None else 1,
            ep=request.ep,
            nodes=self.given.nodes,
            fits=lambda division: self._is_enough(self._fit(name, division)),
            objective=request.objective,
        )
        return tuple(one for one in found if one.parallelism.world * request.replicas <= self._total)

    def _is_enough(self, plan: MemoryPlan) -> bool:
        wanted = self.given.request.concurrency
        return plan.fits and (wanted is None or plan.concurrency >= wanted)

    def _fit_shorter(self, name: str, division: Parallelism) -> MemoryPlan | None:
        """The plan for the longest requests that do fit; None where they would be too short to be of use."""
        most = self._fit(name, division).max_context // (self.given.request.concurrency or 1)
        length = most // _CONTEXT_STEP * _CONTEXT_STEP
        return self._fit(name, division, length) if length >= _LEAST_CONTEXT else None

    def _fit(
        self, name: str, division: Parallelism, length: int | None = None, *, with_ways: bool = False
    ) -> MemoryPlan:
        key = (name, division, length, with_ways)
        if key not in self._plans:
            given = self.given
            settings = self._settings
            if length is not None:
                batch = find_batched_tokens(given.request, given.case, given.task, length)
                settings = msgspec.structs.replace(settings, max_model_len=length, max_num_batched_tokens=batch)
            self._plans[key] = fit_memory(
                given.model,
                quantization=name,
                device=_find_device(given.pool, division.world * given.request.replicas, given.nodes),
                parallel=Parallel(tp=division.tp, pp=division.pp, dp=division.dp, expert_parallel=division.ep > 1),
                settings=settings,
                host_memory_bytes=given.host_memory_bytes,
                correction=self._find_correction(given.case.engine, name, division),
                available_gpus=self._total,
                gpus_per_host=len(given.pool.units),
                quantizations=self._allowed,
                checkpoints=self._checkpoints,
                with_ways=with_ways,
            )
        return self._plans[key]


def _find_device(pool: DevicePool, world: int, nodes: int) -> DeviceMemory:
    """The memory of the rank that has least, if the units with most free memory are taken."""
    wanted = max(1, -(-world // nodes))
    units = sorted(pool.units, key=_free, reverse=True)[:wanted]
    poorest = min(units, key=_free)
    if poorest.memory_bytes is None:
        hint = "load the driver (xpukit doctor), or name the platform: --platform 4xB60"
        raise UsageError(f"the memory of {poorest.label} ({poorest.bdf}) is not known", hint=hint)
    source = "free now" if poorest.free_bytes is not None else "what is free now is not known"
    return DeviceMemory(
        total_bytes=poorest.memory_bytes, free_bytes=poorest.free_bytes, name=poorest.name, source=source
    )


def _free(unit: Unit) -> int:
    return unit.free_bytes if unit.free_bytes is not None else unit.memory_bytes or 0


def _check_asked(given: SizingCase, parts: ModelParts) -> None:
    """A division that was asked for in full and cannot be is told at once, with the reason."""
    request = given.request
    if request.tp is None:
        return
    tried = Parallelism(tp=request.tp, pp=request.pp or 1, dp=request.dp or 1, ep=request.ep or 1)
    reasons = check_parallelism(parts, tried, given.case.engine)
    if reasons and request.ep:
        raise UsageError(f"{tried.describe()}: {'; '.join(reasons)}", hint=_hint_division(given))
    total = len(given.pool.units) * given.nodes
    if tried.world * request.replicas > total:
        text = f"{tried.describe()} needs {tried.world * request.replicas} GPUs, {total} can be used"
        raise UsageError(text, hint=_hint_no_gpu(given.pool))


def _describe_no_division(given: SizingCase, parts: ModelParts) -> str:
    request = given.request
    tried = Parallelism(tp=request.tp or 1, pp=request.pp or 1, dp=request.dp or 1, ep=request.ep or 1)
    reasons = check_parallelism(parts, tried, given.case.engine)
    return f"{given.model.name}, {tried.describe()}: " + ("; ".join(reasons) or "cannot be spread over these GPUs")


def _hint_division(given: SizingCase) -> str:
    sizes = list_tensor_parallel(make_parts(given.model), given.case.engine, len(given.pool.units) * given.nodes)
    return f"tensor parallel sizes that divide here: {', '.join(map(str, sizes)) or 'none'}"


def _hint_no_gpu(pool: DevicePool) -> str:
    left_out = "; ".join(f"{one.label} {one.bdf}: {one.reason}" for one in pool.excluded)
    return (
        f"left out: {left_out}"
        if left_out
        else "plan for a machine that is elsewhere: --platform 4xB60 or --from BUNDLE"
    )


def describe_memory(unit: Unit) -> str:
    """'22.5 GiB free of 24 GiB'."""
    total = format_bytes(unit.memory_bytes) if unit.memory_bytes else "unknown"
    return f"{format_bytes(unit.free_bytes)} free of {total}" if unit.free_bytes is not None else total
