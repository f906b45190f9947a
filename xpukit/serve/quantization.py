"""Which quantization a launch uses, why, and why not the others."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from xpukit.core.errors import UsageError
from xpukit.facts.devices import INTEL, lookup_device
from xpukit.facts.model_rules import Support, find_quantization, find_support, list_known_bad
from xpukit.facts.platforms import find_by_pci_id
from xpukit.serve.memory_types import MemoryPlan
from xpukit.serve.model_types import Model

_TABLE = "intel/llm-scaler vllm/README.md, supported models"
_LLM_SCALER = "llm-scaler-vllm"
ONLINE = ("none", "fp8", "sym_int4")
"""From the most exact to the smallest."""
_REGISTERED_AS = {"none": "fp16", "fp8": "fp8", "sym_int4": "sym_int4", "mxfp4": "mxfp4"}
_ASKED_AS = {"fp16": "none", "bf16": "none", "float16": "none", "bfloat16": "none", "int4": "sym_int4"}
_STORED_4_BIT = ("awq", "gptq")
_OFFLOAD = "VLLM_OFFLOAD_WEIGHTS_BEFORE_QUANT"


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A quantization for this model, engine and device. `flag`: what --quantization says, "" to leave it out."""

    name: str
    allowed: bool
    reason: str
    source: str
    flag: str = ""
    dtype: str = ""
    guessed: bool = False
    warnings: tuple[str, ...] = ()


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """An option that was not taken, and why."""

    name: str
    reason: str
    source: str


class QuantizationChoice(msgspec.Struct, frozen=True, kw_only=True):
    """What the launch uses. `name`: none, fp8, sym_int4, mxfp4 or stored; `flag` None: --quantization is not passed.

    `environment`: variables it needs: name, value, why.
    """

    name: str
    flag: str | None
    dtype: str
    reason: str
    source: str
    fits: bool
    rejected: tuple[Rejected, ...] = ()
    environment: tuple[tuple[str, str, str], ...] = ()
    warnings: tuple[str, ...] = ()


def find_platform_group(device_id: str) -> str:
    """The kernel's group name of a PCI id ("BMG" for bmg-g21), "nvidia" for one of NVIDIA's that we know, else ""."""
    facts = lookup_device(INTEL, device_id)
    if facts is not None:
        return facts.platform.split("-")[0]
    gpu = find_by_pci_id(device_id)
    return "nvidia" if gpu is not None and gpu.vendor == "nvidia" else ""


def list_quantizations(model: Model, *, engine: str, version: str, device_id: str) -> tuple[Candidate, ...]:
    """All options, allowed or not, from the most exact to the smallest."""
    platform = find_platform_group(device_id)
    if model.quantization is not None:
        stored = _judge_stored(model, engine, version, platform)
        why = f"the weights are stored as {model.quantization.method}: they are not quantized again"
        others = tuple(Candidate(name=name, allowed=False, reason=why, source="quantization_config") for name in ONLINE)
        return (stored, *others)
    found = [_judge(model, name, engine, version, platform) for name in ONLINE]
    found.append(
        Candidate(
            name="mxfp4",
            allowed=False,
            reason="mxfp4 is for weights stored so (gpt-oss), these are not",
            source=_TABLE,
        )
    )
    return tuple(found)


def is_plannable(model: Model, asked: str) -> bool:
    """Whether a quantization is one that plans are made with, possible here or not."""
    stored = model.quantization.method if model.quantization is not None else ""
    return _ASKED_AS.get(asked, asked) in (*ONLINE, "mxfp4", "stored", stored)


def list_checkpoints(model: Model, *, engine: str, version: str, device_id: str) -> tuple[str, ...]:
    """The ways of storing weights in 4 bits that the engine reads on this device; none for a quantized model."""
    if model.quantization is not None:
        return ()
    platform = find_platform_group(device_id)
    found = ((name, find_support(name, engine=engine, version=version, platform=platform)) for name in _STORED_4_BIT)
    return tuple(name for name, support in found if support is not None and support.allowed)


def choose_quantization(
    model: Model,
    *,
    engine: str,
    version: str,
    device_id: str,
    fits: Callable[[str], MemoryPlan],
    asked: str | None = None,
) -> QuantizationChoice:
    """The first allowed option that fits, from the most exact on; what was asked for, where something was.

    `fits` plans the memory of a quantization. Raises UsageError when what was asked for is refused.
    """
    candidates = list_quantizations(model, engine=engine, version=version, device_id=device_id)
    if asked is not None:
        return _take_asked(model, candidates, asked, fits)
    rejected: list[Rejected] = []
    smallest: tuple[Candidate, MemoryPlan] | None = None
    for candidate in candidates:
        if not candidate.allowed:
            rejected.append(Rejected(name=candidate.name, reason=candidate.reason, source=candidate.source))
            continue
        plan = fits(candidate.name)
        if plan.fits:
            later = candidates[candidates.index(candidate) + 1 :]
            rejected.extend(_explain_later(candidate, item) for item in later)
            return _make_choice(model, candidate, plan, _explain_choice(candidate, rejected), tuple(rejected))
        rejected.append(Rejected(name=candidate.name, reason=f"does not fit: {plan.reason}", source="memory plan"))
        smallest = (candidate, plan)
    if smallest is None:
        reasons = "; ".join(f"{item.name}: {item.reason}" for item in rejected)
        raise UsageError(
            f"{model.name}: no quantization is possible with {engine} {version} here ({reasons})",
            hint="choose another image or engine, or a model stored otherwise",
        )
    candidate, plan = smallest
    others = tuple(item for item in rejected if item.name != candidate.name)
    return _make_choice(model, candidate, plan, "the smallest that is possible; it does not fit either", others)


def _take_asked(
    model: Model, candidates: tuple[Candidate, ...], asked: str, fits: Callable[[str], MemoryPlan]
) -> QuantizationChoice:
    name = _ASKED_AS.get(asked, asked)
    if model.quantization is not None and name in ("stored", model.quantization.method):
        name = candidates[0].name
    candidate = next((item for item in candidates if item.name == name), None)
    if candidate is None:
        known = ", ".join(item.name for item in candidates if item.allowed)
        raise UsageError(f"--quantization {asked}: not one that we can plan", hint=f"possible here: {known}")
    if not candidate.allowed:
        known = ", ".join(item.name for item in candidates if item.allowed) or "none"
        raise UsageError(
            f"--quantization {asked} with {model.name}: {candidate.reason} ({candidate.source})",
            hint=f"possible here: {known}",
        )
    rejected = tuple(
        Rejected(name=item.name, reason="another was asked for" if item.allowed else item.reason, source=item.source)
        for item in candidates
        if item is not candidate
    )
    return _make_choice(model, candidate, fits(candidate.name), "asked for", rejected)


def _make_choice(
    model: Model, candidate: Candidate, plan: MemoryPlan, reason: str, rejected: tuple[Rejected, ...]
) -> QuantizationChoice:
    environment = []
    if plan.load.offload:
        environment.append((_OFFLOAD, "1", plan.load.why))
    for need in model.list_needs("environment"):
        variable, _, value = need.value.partition("=")
        wanted = need.required or (candidate.name in need.source and variable != _OFFLOAD)
        # The guides are vLLM's: another engine does not know its variables.
        wanted = wanted and (plan.settings.engine.endswith("vllm") or not variable.startswith("VLLM_"))
        if wanted and all(variable != name for name, _, _ in environment):
            environment.append((variable, value, f"the model's guide sets it ({need.source})"))
    return QuantizationChoice(
        name=candidate.name,
        flag=candidate.flag or None,
        dtype=candidate.dtype,
        reason=reason,
        source=candidate.source,
        fits=plan.fits,
        rejected=rejected,
        environment=tuple(environment),
        warnings=candidate.warnings,
    )


def _explain_choice(candidate: Candidate, rejected: list[Rejected]) -> str:
    if candidate.name == "stored":
        return candidate.reason
    tried = [item.name for item in rejected if item.reason.startswith("does not fit")]
    if tried:
        return f"{candidate.reason}; {' and '.join(tried)} would not fit"
    return f"{candidate.reason}; the most exact that fits"


def _explain_later(taken: Candidate, later: Candidate) -> Rejected:
    if not later.allowed:
        return Rejected(name=later.name, reason=later.reason, source=later.source)
    return Rejected(
        name=later.name,
        reason=f"not needed: {taken.name} fits (fewer bytes a token would decode faster, at some loss of accuracy)",
        source="memory plan",
    )


def _judge(model: Model, name: str, engine: str, version: str, platform: str) -> Candidate:
    support = find_support(name, engine=engine, version=version, platform=platform)
    if support is None:
        return Candidate(
            name=name, allowed=False, reason=f"{engine} {version} is not known to have it", source="no source"
        )
    dtype, dtype_reason = _pick_dtype(model, support, engine)
    refusal = _find_refusal(model, name, engine, support, dtype_reason)
    bad = list_known_bad(model.id or model.name, name, engine=engine, version=version)
    refused = next((row for row in bad if row.severity == "refused"), None)
    if refused is not None:
        return Candidate(name=name, allowed=False, reason=refused.reason, source=refused.source)
    warnings = tuple(f"{row.reason} ({row.source})" for row in bad)
    if refusal is not None:
        return Candidate(name=name, allowed=False, reason=refusal[0], source=refusal[1])
    return Candidate(
        name=name,
        allowed=True,
        reason=support.reason,
        source=support.source,
        flag=support.flag,
        dtype=dtype,
        guessed=support.kind == "guess",
        warnings=warnings,
    )


def _find_refusal(model: Model, name: str, engine: str, support: Support, dtype_reason: str) -> tuple[str, str] | None:
    if not support.allowed:
        return support.reason, support.source
    registered = _REGISTERED_AS.get(name, name)
    if engine == _LLM_SCALER and model.registered and registered not in model.registered:
        ticked = ", ".join(model.registered)
        return f"llm-scaler lists {model.name} with {ticked} only", _TABLE
    for need in model.list_needs("quantization"):
        if name == "none" and need.value.startswith("online") and engine == _LLM_SCALER:
            return f"{model.name}: {need.value}", need.source
    if dtype_reason:
        return dtype_reason, support.source
    return None


def _pick_dtype(model: Model, support: Support, engine: str) -> tuple[str, str]:
    """The dtype to run with, and why this quantization cannot."""
    needed = next((need.value for need in model.list_needs("dtype")), "")
    if support.dtypes:
        if needed and needed not in support.dtypes:
            return "", f"it runs in {' or '.join(support.dtypes)} only, and {model.name} needs {needed}"
        return needed or support.dtypes[0], ""
    if needed:
        return needed, ""
    return ("float16" if engine == _LLM_SCALER else "auto"), ""


def _judge_stored(model: Model, engine: str, version: str, platform: str) -> Candidate:
    assert model.quantization is not None
    method = model.quantization.method
    name = "mxfp4" if method == "mxfp4" else "stored"
    key = "stored-fp8" if method in ("fp8", "fbgemm-fp8") else method
    support = find_support(key, engine=engine, version=version, platform=platform)
    facts = find_quantization(method)
    if support is None:
        known = f"{method} weights: {engine} {version} is not known to read them on this device"
        return Candidate(name=name, allowed=facts is None, reason=known, source="no source", guessed=True)
    dtype, _ = _pick_dtype(model, support, engine)
    return Candidate(
        name=name,
        allowed=support.allowed,
        reason=support.reason,
        source=support.source,
        flag=support.flag,
        dtype="auto" if name == "mxfp4" else dtype,
        guessed=support.kind == "guess",
    )
