"""How a model may be divided over ranks: tensor, pipeline, data and expert parallelism, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from xpukit.facts.parallelism import EngineRules, find_rules
from xpukit.serve.model_types import Model


class ModelParts(msgspec.Struct, frozen=True, kw_only=True):
    """What of a model has to divide. None: not known, and then not checked (the checks say so).

    `latent_attention` (MLA): the KV cache is not cut by heads. `block_n`, `block_k`: rows and columns of a block of
    block-quantized weights; `group_size`: of GPTQ, AWQ and the like. `other_heads`: further counts that must divide by
    TP, by name (linear attention, Mamba).
    """

    attention_heads: int | None = None
    kv_heads: int | None = None
    layers: int | None = None
    intermediate_size: int | None = None
    experts: int = 0
    moe_intermediate_size: int | None = None
    latent_attention: bool = False
    block_n: int | None = None
    block_k: int | None = None
    group_size: int | None = None
    other_heads: tuple[tuple[str, int], ...] = ()


class Parallelism(msgspec.Struct, frozen=True, kw_only=True):
    """`tp` x `pp` x `dp` ranks in a launch; `replicas`: launches of their own, behind a load balancer.

    `ep`: over how many ranks the experts are shared; 1 is off.
    """

    tp: int = 1
    pp: int = 1
    dp: int = 1
    ep: int = 1
    replicas: int = 1

    @property
    def world(self) -> int:
        """Ranks of one launch."""
        return self.tp * self.pp * self.dp

    def describe(self) -> str:
        """'TP 4 x PP 2', 'TP 1'."""
        parts = [f"TP {self.tp}"]
        parts += [f"{name} {size}" for name, size in (("PP", self.pp), ("DP", self.dp)) if size > 1]
        text = " x ".join(parts)
        text += f", EP {self.ep}" if self.ep > 1 else ""
        return f"{text}, {self.replicas} replicas" if self.replicas > 1 else text


def make_parts(model: Model) -> ModelParts:
    """The parts of a model that was resolved."""
    shape, stored = model.architecture, model.quantization
    dense = any(group.mlp in ("dense", "both") for group in shape.groups)
    block = stored.block if stored else None
    return ModelParts(
        attention_heads=shape.heads or None,
        kv_heads=shape.kv_heads or None,
        layers=shape.layers or None,
        intermediate_size=shape.intermediate or None if dense else None,
        experts=shape.experts.count if shape.experts else 0,
        moe_intermediate_size=shape.experts.intermediate if shape.experts else None,
        latent_attention=shape.mla is not None,
        block_n=block[0] if block else None,
        block_k=block[1] if block else None,
        group_size=stored.group or None if stored else None,
        other_heads=(("heads of linear attention", shape.state.heads),) if shape.state and shape.state.heads else (),
    )


def check_parallelism(parts: ModelParts, parallelism: Parallelism, engine: str) -> tuple[str, ...]:
    """Why the engine would refuse this division, a line each; empty when nothing is known against it.

    Raises UsageError for an engine that we have no rules of.
    """
    rules = find_rules(engine)
    return (
        *_check_dense(parts, parallelism),
        *_check_pipeline(parts, parallelism, rules, engine),
        *_check_experts(parts, parallelism, rules, engine),
    )


def _check_dense(parts: ModelParts, parallelism: Parallelism) -> Iterable[str]:
    tp = parallelism.tp
    heads, kv_heads = parts.attention_heads, parts.kv_heads
    if heads and heads % tp:
        yield f"{heads} attention heads do not divide by TP {tp} (valid: {', '.join(map(str, list_divisors(heads)))})"
    if kv_heads and not parts.latent_attention and kv_heads % tp and tp % kv_heads:
        yield f"{kv_heads} KV heads neither divide by TP {tp} nor does TP {tp} divide by them"
    for name, count in parts.other_heads:
        if count % tp:
            yield f"{name} {count} does not divide by TP {tp}"
    size = parts.intermediate_size
    if size and not (parts.experts and parts.moe_intermediate_size == size):
        if size % tp:
            yield f"intermediate size {size} does not divide by TP {tp}"
        elif parts.block_n and (size // tp) % parts.block_n:
            yield f"({size} / TP {tp}) % {parts.block_n} = {size // tp % parts.block_n}: {_BLOCK}"
        elif parts.group_size and (size // tp) % parts.group_size:
            yield f"({size} / TP {tp}) % {parts.group_size} = {size // tp % parts.group_size}: a group would be cut"


_BLOCK = "a block of the block-quantized weights would be cut"


def _check_pipeline(parts: ModelParts, parallelism: Parallelism, rules: EngineRules, engine: str) -> Iterable[str]:
    if parallelism.pp > 1 and not rules.pipeline:
        yield f"{engine} has no pipeline parallelism"
    if parts.layers and parallelism.pp > parts.layers:
        yield f"{parts.layers} layers cannot be divided into PP {parallelism.pp} stages"


def _check_experts(parts: ModelParts, parallelism: Parallelism, rules: EngineRules, engine: str) -> Iterable[str]:
    wrong = _check_expert_group(parts, parallelism, rules, engine)
    if wrong:
        yield wrong
    elif parts.experts:
        whole = msgspec.structs.replace(parts, block_n=None) if rules.cuts_blocks else parts
        cut = _find_cut(whole, count_moe_tp(parallelism, rules))
        if cut:
            yield f"{cut}{_advise(parts, parallelism, rules)}"


def _check_expert_group(parts: ModelParts, parallelism: Parallelism, rules: EngineRules, engine: str) -> str:
    """What is wrong with the size of the expert group, "" for nothing."""
    ep, ranks = parallelism.ep, parallelism.tp * parallelism.dp
    if ep > 1 and not parts.experts:
        return "expert parallelism needs a model with experts"
    if ep > 1 and rules.expert_parallel == "all" and ep != ranks:
        return f"{engine} shares the experts over all ranks: EP is TP x DP = {ranks}, not {ep}"
    if ep > 1 and rules.expert_parallel == "within-tp" and parallelism.tp % ep:
        return f"TP {parallelism.tp} does not divide by EP {ep}"
    if ep > 1 and (ep > parts.experts or (rules.experts_divide and parts.experts % ep)):
        return f"{parts.experts} experts do not divide by EP {ep}"
    return ""


def _find_cut(parts: ModelParts, moe_tp: int) -> str:
    """Where cutting an expert over so many ranks goes wrong, "" for nowhere."""
    size = parts.moe_intermediate_size
    if not size:
        return ""
    if size % moe_tp:
        return f"moe_intermediate_size {size} does not divide by moe_tp {moe_tp}"
    share, start = size // moe_tp, f"(moe_intermediate_size {size} / moe_tp {moe_tp})"
    if parts.block_n and share % parts.block_n:
        return f"{start} % weight_block_size_n {parts.block_n} = {share % parts.block_n}: {_BLOCK}"
    if parts.group_size and share % parts.group_size:
        return f"{start} % group size {parts.group_size} = {share % parts.group_size}: a group would be cut"
    return ""


def count_moe_tp(parallelism: Parallelism, rules: EngineRules) -> int:
    """Over how many ranks each expert is cut."""
    if rules.expert_parallel == "within-tp":
        return max(1, parallelism.tp // parallelism.ep)
    if parallelism.ep > 1:
        return 1
    return parallelism.tp * parallelism.dp if rules.moe_tp_spans_dp else parallelism.tp


def _advise(parts: ModelParts, parallelism: Parallelism, rules: EngineRules) -> str:
    """The expert parallelism that would do, as the end of a sentence."""
    for ep in list_expert_parallel(parallelism, rules):
        changed = msgspec.structs.replace(parallelism, ep=ep)
        fits = not _check_expert_group(parts, changed, rules, "") and not _find_cut(parts, count_moe_tp(changed, rules))
        if ep > 1 and fits:
            return f"; EP {ep} would do"
    return ""


def list_expert_parallel(parallelism: Parallelism, rules: EngineRules) -> tuple[int, ...]:
    """Sizes of the expert group that the engine knows for this TP and DP; 1 is off."""
    if rules.expert_parallel == "within-tp":
        return list_divisors(parallelism.tp)
    return tuple(sorted({1, parallelism.tp * parallelism.dp}))


def list_divisors(number: int) -> tuple[int, ...]:
    """All divisors, ascending."""
    return tuple(size for size in range(1, number + 1) if number % size == 0)


def list_tensor_parallel(parts: ModelParts, engine: str, most: int) -> tuple[int, ...]:
    """TP sizes up to `most` that the engine takes for this model, with or without expert parallelism."""
    rules = find_rules(engine)
    found = []
    for tp in range(1, most + 1):
        plain = Parallelism(tp=tp)
        tried = [msgspec.structs.replace(plain, ep=ep) for ep in list_expert_parallel(plain, rules)]
        if any(not check_parallelism(parts, one, engine) for one in tried):
            found.append(tp)
    return tuple(found)
