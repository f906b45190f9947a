"""Predicted rates: bound by what they should be bound by, and moving the right way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.serve.model_files import get_model, set_up
from xpukit.facts.model_rules import list_device_tables
from xpukit.facts.platforms import find_by_pci_id
from xpukit.serve.device_speed import HostMeasurements, find_speed, time_all_reduce, time_linear
from xpukit.serve.linear_shapes import count_expert_use, list_linears
from xpukit.serve.memory_types import Parallel
from xpukit.serve.predict import Prediction, predict_speed

B60 = find_speed("e211")


def predict(
    name: str, quantization: str = "none", *, tp: int = 1, pp: int = 1, dp: int = 1, device: str = "e211", **given: Any
) -> Prediction:
    return predict_speed(
        get_model(name),
        quantization=quantization,
        parallel=Parallel(tp=tp, pp=pp, dp=dp),
        speed=find_speed(device, given.pop("measured", None)),
        settings=set_up(),
        **given,
    )


@pytest.mark.parametrize("table", list_device_tables()[0].gemm, ids=lambda table: table.dtype)
def test_measured_shapes_come_out_as_measured(table) -> None:  # type: ignore[no-untyped-def]
    eight_bit = table.dtype == "fp8"
    for i, m in enumerate(table.m):
        for j, n in enumerate(table.n):
            for h, k in enumerate(table.k):
                seconds = time_linear(B60, m=m, n=n, k=k, weight_bytes=1.0 if eight_bit else 2.0, eight_bit=eight_bit)
                assert seconds * 1e6 == pytest.approx(table.microseconds[i][j][h], rel=0.02)


def test_measured_collectives_come_out_as_measured() -> None:
    for table in list_device_tables()[0].all_reduce:
        for size, microseconds in zip(table.bytes[3:], table.microseconds[3:], strict=True):
            assert time_all_reduce(B60, ranks=table.gpus, message_bytes=size) * 1e6 == pytest.approx(microseconds)
    assert time_all_reduce(B60, ranks=1, message_bytes=1 << 20) == 0
    assert time_all_reduce(B60, ranks=3, message_bytes=1 << 20) == time_all_reduce(B60, ranks=4, message_bytes=1 << 20)


def test_decoding_one_sequence_is_bound_by_memory() -> None:
    found = predict("meta-llama/Llama-3.1-8B")
    # 15 GB of weights at 456 GB/s would be 30 tokens/s; linear layers reach about three quarters of that.
    assert 17 < found.decode_tps_per_sequence < 25
    assert found.decode_bound == "memory"
    assert found.prefill_bound == "compute"
    assert (found.kind, found.decode_tps_total) == ("published", found.decode_tps_per_sequence)
    assert "aiconfigurator" in found.source
    assert found.ttft_s == found.ttft_loaded_s


def test_prefill_does_not_gain_from_fp8_on_a_device_without_8_bit_units() -> None:
    wide, narrow = predict("meta-llama/Llama-3.1-8B"), predict("meta-llama/Llama-3.1-8B", "fp8")
    assert narrow.decode_tps_per_sequence > 1.5 * wide.decode_tps_per_sequence
    assert narrow.prefill_tps == pytest.approx(wide.prefill_tps, rel=0.15)


def test_more_sequences_give_more_in_all_and_less_each() -> None:
    one, many = predict("Qwen/Qwen3-8B", "fp8"), predict("Qwen/Qwen3-8B", "fp8", concurrency=16)
    assert many.decode_tps_total > 4 * one.decode_tps_total
    assert many.decode_tps_per_sequence < one.decode_tps_per_sequence
    assert many.ttft_loaded_s > 10 * one.ttft_loaded_s


def test_tensor_parallel_helps_less_than_it_costs() -> None:
    one, four = predict("Qwen/Qwen3-32B", "fp8"), predict("Qwen/Qwen3-32B", "fp8", tp=4)
    assert 1.5 < four.decode_tps_per_sequence / one.decode_tps_per_sequence < 4
    assert "all-reduce" in {term.name for term in four.terms}


def test_data_parallel_doubles_the_total_only() -> None:
    one = predict("Qwen/Qwen3-8B", concurrency=4)
    two = predict("Qwen/Qwen3-8B", concurrency=8, dp=2)
    assert two.decode_tps_total == pytest.approx(2 * one.decode_tps_total)
    assert two.decode_tps_per_sequence == pytest.approx(one.decode_tps_per_sequence)


def test_pipeline_parallel_does_not_speed_up_one_sequence() -> None:
    one, two = predict("Qwen/Qwen3-8B"), predict("Qwen/Qwen3-8B", pp=2)
    assert two.decode_tps_per_sequence <= one.decode_tps_per_sequence
    assert predict("Qwen/Qwen3-8B", pp=2, concurrency=8).decode_tps_total > one.decode_tps_total


def test_a_mixture_of_experts_reads_what_it_uses() -> None:
    sparse, dense = predict("Qwen/Qwen3-30B-A3B", "fp8"), predict("Qwen/Qwen3-32B", "fp8")
    assert sparse.decode_tps_per_sequence > 3 * dense.decode_tps_per_sequence


@pytest.mark.parametrize(("tokens", "used"), [(1, 8), (10_000, 128)])
def test_experts_in_use(tokens: int, used: float) -> None:
    found, each = count_expert_use(128, 8, tokens)
    assert found == pytest.approx(used, rel=0.01)
    assert found * each == pytest.approx(tokens * 8)


def test_an_encoder_only_prefills() -> None:
    found = predict("BAAI/bge-m3")
    assert (found.decode_tps_total, found.decode_bound) == (0.0, "")
    assert found.prefill_tps > 0


def test_the_host_s_own_run_comes_first() -> None:
    measured = HostMeasurements(source="run of 2026-11-20", memory_gbps=228.0)
    slow = predict("Qwen/Qwen3-8B", measured=measured)
    assert slow.kind == "measured"
    assert "run of 2026-11-20" in slow.source
    assert slow.decode_tps_per_sequence < 0.6 * predict("Qwen/Qwen3-8B").decode_tps_per_sequence
    assert find_speed("e211", HostMeasurements(source="empty")) == B60


@pytest.mark.parametrize(
    ("device", "kind"),
    [("e211", "published"), ("e223", "spec"), ("2335", "spec"), ("20b0", "spec"), ("0bd5", "spec"), ("ffff", "guess")],
)
def test_where_a_speed_comes_from(device: str, kind: str) -> None:
    speed = find_speed(device)
    assert speed.kind == kind
    assert speed.source
    if kind == "guess":
        assert speed.source.startswith("no source gives the memory bandwidth (400 GB/s is taken)")


def test_a_rank_on_a_tile_has_the_tile_s_part_of_the_card() -> None:
    tile, card = find_speed("0bd5"), find_by_pci_id("0bd5")
    assert card is not None
    assert tile.memory_gbps == pytest.approx(3276.8 / 2)
    assert tile.tflops == pytest.approx((card.fp16_tflops or 0) / 2)


def test_unmeasured_kernels_are_said() -> None:
    assert "no sym_int4 kernels were measured" in predict("Qwen/Qwen3-8B", "sym_int4").note


def test_linear_layers_add_up_to_the_model() -> None:
    model = get_model("Qwen/Qwen3-8B")
    shapes = list_linears(model, quantization="none", parallel=Parallel(), settings=set_up())
    assert sum(shape.count * shape.n * shape.k for shape in shapes) == pytest.approx(8.19e9 - 151936 * 4096, rel=0.01)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(
        ["Qwen/Qwen3-8B", "openai/gpt-oss-120b", "deepseek-ai/DeepSeek-R1", "Qwen/Qwen3.6-27B", "openai/whisper-medium"]
    ),
    tp=st.sampled_from([1, 2, 4, 8, 16]),
    device=st.sampled_from(["e211", "e223", "0bd5", "2335", "ffff"]),
    concurrency=st.integers(1, 512),
    prompt=st.integers(1, 100_000),
)
def test_rates_are_finite_and_below_the_roofline(
    name: str, tp: int, device: str, concurrency: int, prompt: int
) -> None:
    found = predict(name, "stored", tp=tp, device=device, concurrency=concurrency, prompt_tokens=prompt)
    assert 0 < found.decode_tps_per_sequence < 5000
    assert 0 < found.prefill_tps < 1e8
    assert 0 < found.ttft_s <= found.ttft_loaded_s * 1.0001
    assert all(term.seconds >= 0 and term.why for term in found.terms)
