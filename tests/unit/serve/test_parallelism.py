"""Divisions of a model: the engines' rules on real shapes, and properties over random ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.recorded_machines import open_loosely, read_machine
from xpukit.core.errors import UsageError
from xpukit.facts.parallelism import find_rules, load_rules
from xpukit.serve.devices import find_units
from xpukit.serve.division_ranking import rank_candidates
from xpukit.serve.model import resolve_model
from xpukit.serve.parallelism import (
    ModelParts,
    Parallelism,
    check_parallelism,
    count_moe_tp,
    list_divisors,
    list_expert_parallel,
    list_tensor_parallel,
    make_parts,
)
from xpukit.serve.platforms import parse_platform
from xpukit.serve.topology_groups import cost_of

ENGINES = ("vllm", "llm-scaler-vllm", "sglang", "lmdeploy")
QWEN_32B = ModelParts(attention_heads=64, kv_heads=8, layers=64, intermediate_size=25600)
# Qwen3-235B-A22B and Intern-S1 in FP8: 128 experts of 1536, blocks of 128 x 128.
MOE_FP8 = ModelParts(
    attention_heads=64, kv_heads=4, layers=94, experts=128, moe_intermediate_size=1536, block_n=128, block_k=128
)


@pytest.mark.parametrize("engine", ENGINES)
def test_heads_have_to_divide(engine: str) -> None:
    assert list_tensor_parallel(QWEN_32B, engine, 16) == (1, 2, 4, 8, 16)
    [refused] = check_parallelism(ModelParts(attention_heads=40, kv_heads=8), Parallelism(tp=16), engine)
    assert "40 attention heads do not divide by TP 16 (valid: 1, 2, 4, 5, 8, 10, 20, 40)" in refused


def test_kv_heads_divide_or_are_copied() -> None:
    seven = ModelParts(attention_heads=28, kv_heads=4)  # Qwen2.5-7B
    assert list_tensor_parallel(seven, "vllm", 16) == (1, 2, 4)
    assert any("KV heads" in line for line in check_parallelism(seven, Parallelism(tp=7), "vllm"))
    # MLA keeps one latent for all heads: nothing to divide.
    mla = ModelParts(attention_heads=128, kv_heads=3, latent_attention=True)
    assert check_parallelism(mla, Parallelism(tp=8), "vllm") == ()


def test_the_block_rule_of_the_seeds() -> None:
    """(moe_intermediate_size / moe_tp) % weight_block_size_n == 0, moe_tp = tp / ep (Intern-S1 cookbook)."""
    [refused] = check_parallelism(MOE_FP8, Parallelism(tp=8), "sglang")
    assert "(moe_intermediate_size 1536 / moe_tp 8) % weight_block_size_n 128 = 64" in refused
    assert "EP 2 would do" in refused
    for ep in (2, 4, 8):
        assert check_parallelism(MOE_FP8, Parallelism(tp=8, ep=ep), "sglang") == ()
    assert check_parallelism(MOE_FP8, Parallelism(tp=4), "sglang") == ()
    # Without EP only these TP are possible (1536 = 12 x 128), as far as the 64 heads divide by them.
    free = ModelParts(experts=128, moe_intermediate_size=1536, block_n=128)
    without = [tp for tp in range(1, 17) if not check_parallelism(free, Parallelism(tp=tp), "sglang")]
    assert without == [1, 2, 3, 4, 6, 12]


@pytest.mark.parametrize(
    ("width", "tp", "rest"),
    [
        (1536, 8, 64),  # MiniMax-M2.5 on 8 H200, vLLM 0.25: refused with 192
        (640, 2, 64),  # refused with 320
        (2560, 8, 64),  # refused with 320; TP 4 runs
    ],
)
def test_divisions_that_vllm_and_sglang_are_known_to_have_refused(width: int, tp: int, rest: int) -> None:
    parts = ModelParts(attention_heads=64, kv_heads=8, experts=256, moe_intermediate_size=width, block_n=128)
    for engine in ("vllm", "sglang"):
        [refused] = check_parallelism(parts, Parallelism(tp=tp), engine)
        assert f"% weight_block_size_n 128 = {rest}" in refused
        assert check_parallelism(parts, Parallelism(tp=tp, ep=tp), engine) == ()


def test_expert_parallel_sizes_of_each_engine() -> None:
    assert check_parallelism(MOE_FP8, Parallelism(tp=8, ep=8), "vllm") == ()
    assert "EP is TP x DP = 8, not 2" in check_parallelism(MOE_FP8, Parallelism(tp=8, ep=2), "vllm")[0]
    assert check_parallelism(MOE_FP8, Parallelism(tp=1, dp=16, ep=16), "lmdeploy") == ()
    assert "does not divide by EP 3" in check_parallelism(MOE_FP8, Parallelism(tp=4, ep=3), "sglang")[0]
    assert "needs a model with experts" in check_parallelism(QWEN_32B, Parallelism(tp=2, ep=2), "vllm")[0]
    odd = ModelParts(attention_heads=64, kv_heads=8, experts=60, moe_intermediate_size=1024)
    assert check_parallelism(odd, Parallelism(tp=8, ep=8), "vllm") == (), "vLLM allows ranks of different size"
    assert "60 experts do not divide by EP 8" in check_parallelism(odd, Parallelism(tp=8, ep=8), "sglang")[0]


def test_vllm_cuts_experts_over_data_parallel_ranks_too() -> None:
    assert count_moe_tp(Parallelism(tp=2, dp=4), find_rules("vllm")) == 8
    assert count_moe_tp(Parallelism(tp=2, dp=4, ep=8), find_rules("vllm")) == 1
    assert count_moe_tp(Parallelism(tp=8, dp=2, ep=4), find_rules("sglang")) == 2


def test_groups_of_quantized_weights_are_not_cut() -> None:
    awq = ModelParts(attention_heads=28, kv_heads=4, intermediate_size=18944, group_size=128)  # Qwen2.5-7B-AWQ
    assert check_parallelism(awq, Parallelism(tp=4), "vllm") == ()
    wide = ModelParts(attention_heads=64, kv_heads=8, intermediate_size=29568, group_size=128)  # 72B
    assert "a group would be cut" in check_parallelism(wide, Parallelism(tp=2), "vllm")[0]


def test_pipelines() -> None:
    assert "no pipeline parallelism" in check_parallelism(QWEN_32B, Parallelism(pp=2), "lmdeploy")[0]
    assert "64 layers" in check_parallelism(QWEN_32B, Parallelism(pp=65), "vllm")[0]
    assert check_parallelism(QWEN_32B, Parallelism(tp=4, pp=2), "vllm") == ()


def test_engines_without_rules() -> None:
    with pytest.raises(UsageError, match="no rules"):
        check_parallelism(QWEN_32B, Parallelism(), "tgi")
    assert {name for rules in load_rules() for name in rules.names} == set(ENGINES)


PARTS = st.builds(
    ModelParts,
    attention_heads=st.sampled_from((None, 12, 28, 32, 40, 64)),
    kv_heads=st.sampled_from((None, 1, 2, 4, 8)),
    layers=st.sampled_from((None, 28, 61)),
    intermediate_size=st.sampled_from((None, 18944, 25600)),
    experts=st.sampled_from((0, 0, 60, 128)),
    moe_intermediate_size=st.sampled_from((None, 768, 1536)),
    latent_attention=st.booleans(),
    block_n=st.sampled_from((None, 128)),
    group_size=st.sampled_from((None, 32, 128)),
)


@given(PARTS, st.sampled_from(ENGINES), st.integers(1, 16), st.integers(1, 3), st.integers(1, 4), st.integers(1, 16))
def test_what_is_accepted_divides(parts: ModelParts, engine: str, tp: int, pp: int, dp: int, ep: int) -> None:
    division = Parallelism(tp=tp, pp=pp, dp=dp, ep=ep)
    refused = check_parallelism(parts, division, engine)
    assert all(refused)
    if refused:
        return
    rules = find_rules(engine)
    assert (parts.attention_heads or 0) % tp == 0
    assert not parts.kv_heads or parts.latent_attention or parts.kv_heads % tp == 0 or tp % parts.kv_heads == 0
    assert ep == 1 or (parts.experts and ep in list_expert_parallel(division, rules))
    if parts.experts and parts.moe_intermediate_size:
        width, rest = divmod(parts.moe_intermediate_size, count_moe_tp(division, rules))
        assert rest == 0
        assert not parts.block_n or width % parts.block_n == 0


@given(PARTS, st.sampled_from(ENGINES), st.sampled_from((1, 2, 3, 4, 8)), st.sampled_from((1, 2)))
def test_candidates_are_valid_and_use_what_was_asked(parts: ModelParts, engine: str, ranks: int, nodes: int) -> None:
    pool = find_units(read_machine("b60x8_2s"))
    candidates = rank_candidates(parts, pool, engine, ranks=ranks, nodes=nodes)
    assert len({one.parallelism for one in candidates}) == len(candidates)
    for one in candidates:
        assert one.parallelism.world == ranks
        assert check_parallelism(parts, one.parallelism, engine) == ()
        assert one.reasons or one.warnings
        assert one.fits is None


def test_the_fewest_gpus_that_fit_come_first() -> None:
    pool = find_units(read_machine("b60x8_2s"))
    found = rank_candidates(QWEN_32B, pool, "vllm", fits=lambda division: division.tp * division.pp >= 4)
    assert found[0].parallelism == Parallelism(tp=4)
    assert found[0].fits
    assert found[-1].fits is False
    assert found[-1].warnings[0] == "does not fit"


def test_tensor_parallel_over_sockets_comes_after_a_pipeline_between_them() -> None:
    pool = find_units(read_machine("b60x8_2s"))
    found = rank_candidates(QWEN_32B, pool, "vllm", ranks=8, fits=lambda division: division.tp * division.pp == 8)
    order = [one.parallelism.describe() for one in found if one.fits]
    assert order.index("TP 4 x PP 2") < order.index("TP 8")
    across = next(one for one in found if one.parallelism == Parallelism(tp=8))
    assert "across sockets" in across.warnings[0]
    near = next(one for one in found if one.parallelism == Parallelism(tp=4, pp=2))
    assert cost_of(near.level) < cost_of("socket")
    assert "below one PCIe switch" in near.reasons[0]


def test_objectives() -> None:
    pool = find_units(read_machine("b60x8_2s"))
    small = ModelParts(attention_heads=32, kv_heads=8, layers=32)
    assert rank_candidates(small, pool, "vllm", ranks=4)[0].parallelism == Parallelism(dp=4)
    assert rank_candidates(small, pool, "vllm", ranks=4, objective="latency")[0].parallelism == Parallelism(tp=4)
    assert rank_candidates(small, pool, "vllm", ranks=4, tp=2, pp=1)[0].parallelism == Parallelism(tp=2, dp=2)


def test_two_nodes_of_eight() -> None:
    pool = find_units(parse_platform("2x8xH200").machine)
    pro = ModelParts(attention_heads=64, kv_heads=8, layers=60, experts=512, moe_intermediate_size=1024)
    both = rank_candidates(pro, pool, "lmdeploy", ranks=16, nodes=2)
    sizes = {one.parallelism for one in both}
    assert {Parallelism(tp=16), Parallelism(dp=16, ep=16)} <= sizes
    wide = next(one for one in both if one.parallelism == Parallelism(tp=16))
    assert wide.crosses_nodes
    assert "over the network" in wide.warnings[0]
    assert all(one.parallelism.tp <= 8 for one in rank_candidates(pro, pool, "vllm", nodes=1))


def test_a_pipeline_between_machines_comes_before_tensor_parallelism_over_the_network() -> None:
    pool = find_units(read_machine("b60x8_2s"))
    fits_in_all = [
        one.parallelism
        for one in rank_candidates(QWEN_32B, pool, "vllm", nodes=2, dp=1, fits=lambda division: division.world == 16)
        if one.fits
    ]
    assert fits_in_all[0] == Parallelism(tp=8, pp=2)
    assert fits_in_all.index(Parallelism(tp=2, pp=8)) < fits_in_all.index(Parallelism(tp=16))


def test_warnings_name_what_a_division_costs() -> None:
    pool = find_units(read_machine("b60x8_2s"))
    copied = rank_candidates(MOE_FP8, pool, "vllm", ranks=8, tp=8, ep=8)[0]
    assert any("each of the 4 KV heads is kept 2 times" in line for line in copied.warnings)
    mla = ModelParts(attention_heads=128, latent_attention=True, layers=61)
    found = rank_candidates(mla, pool, "vllm", ranks=4, tp=2, pp=2)[0]
    assert any("MLA" in line for line in found.warnings)
    assert any("61 layers" in line for line in found.warnings)


def test_divisors_and_names() -> None:
    assert list_divisors(12) == (1, 2, 3, 4, 6, 12)
    assert Parallelism(tp=4, pp=2, replicas=2).describe() == "TP 4 x PP 2, 2 replicas"
    assert Parallelism(dp=8, ep=8).describe() == "TP 1 x DP 8, EP 8"


def test_the_parts_of_known_models() -> None:
    model = resolve_model("Qwen/Qwen3-30B-A3B", open_loosely("b60x8_2s"))
    parts = make_parts(model)
    assert (parts.attention_heads, parts.kv_heads, parts.layers) == (32, 4, 48)
    assert (parts.experts, parts.moe_intermediate_size, parts.intermediate_size) == (128, 768, None)
    assert list_tensor_parallel(parts, "vllm", 8) == (1, 2, 4, 8)
