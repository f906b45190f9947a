"""The peak while loading: online quantization first holds 16-bit weights, on the device or in host memory."""

from __future__ import annotations

import pytest

from tests.unit.serve.model_files import B60, GIB, get_model, set_up
from xpukit.serve.memory import fit_memory
from xpukit.serve.memory_types import DeviceMemory, LoadPeak, MemorySettings, Parallel


def load(
    name: str, quantization: str, settings: MemorySettings, *, tp: int = 1, host_gib: int | None = None, gpus: int = 8
) -> LoadPeak:
    plan = fit_memory(
        get_model(name),
        quantization=quantization,
        device=B60,
        parallel=Parallel(tp=tp),
        settings=settings,
        host_memory_bytes=None if host_gib is None else host_gib * GIB,
        available_gpus=gpus,
    )
    return plan.load


def test_16_bit_weights_load_as_they_are() -> None:
    peak = load("Qwen/Qwen3-8B", "none", set_up(max_model_len=4096))
    assert not peak.offload
    assert peak.device_bytes / GIB == pytest.approx(15.3 + 0.5, abs=0.1)
    assert peak.why == "weights are loaded as they are stored"


def test_online_quantization_that_fits_on_the_device() -> None:
    peak = load("Qwen/Qwen3-8B", "fp8", set_up(max_model_len=4096))
    assert not peak.offload
    assert peak.fits_device
    assert peak.device_bytes > 15.3 * GIB


def test_a_large_model_is_quantized_in_host_memory() -> None:
    peak = load("Qwen/Qwen3-32B", "sym_int4", set_up(max_model_len=2048), host_gib=128)
    assert peak.offload
    assert peak.fits_device
    assert peak.fits_host
    assert "VLLM_OFFLOAD_WEIGHTS_BEFORE_QUANT=1" in peak.why
    assert peak.device_bytes < 22 * GIB
    assert peak.host_bytes > 61 * GIB


def test_a_host_that_is_too_small_is_a_reason() -> None:
    plan = fit_memory(
        get_model("Qwen/Qwen3-32B"), quantization="sym_int4", device=B60, settings=set_up(max_model_len=2048),
        host_memory_bytes=48 * GIB,
    )  # fmt: skip
    assert not plan.fits
    assert plan.load.fits_host is False
    assert "the host needs" in plan.reason
    assert "48.0 GiB are there" in plan.reason


def test_a_host_of_unknown_size_is_not_judged() -> None:
    assert load("Qwen/Qwen3-32B", "sym_int4", set_up(max_model_len=2048)).fits_host is None


def test_newer_vllm_quantizes_fp8_as_it_reads() -> None:
    new = load("Qwen/Qwen3-32B", "fp8", MemorySettings(engine="vllm", version="0.20.0", max_model_len=2048), tp=2)
    old = load("Qwen/Qwen3-32B", "fp8", MemorySettings(engine="vllm", version="0.10.0", max_model_len=2048), tp=2)
    assert new.fits_device
    assert not new.offload
    assert "a layer at a time" in new.why
    assert not old.fits_device
    assert not old.offload
    assert "do not fit" in old.why


def test_ranks_on_other_hosts_do_not_count() -> None:
    here = load("meta-llama/Llama-3.1-70B", "fp8", set_up(max_model_len=2048), tp=8, gpus=4)
    both = load("meta-llama/Llama-3.1-70B", "fp8", set_up(max_model_len=2048), tp=8, gpus=8)
    assert here.host_bytes < both.host_bytes


def test_stored_quantization_has_no_peak() -> None:
    peak = load("Qwen/Qwen3-8B-AWQ", "stored", set_up(max_model_len=2048))
    assert not peak.offload
    assert peak.device_bytes < 7 * GIB


def test_memory_held_by_others_turns_offload_on() -> None:
    device = DeviceMemory(total_bytes=24 * GIB, free_bytes=15 * GIB)
    plan = fit_memory(
        get_model("Qwen/Qwen3-8B"),
        quantization="fp8",
        device=device,
        settings=set_up(max_model_len=2048, utilization=0.6),
    )
    assert plan.load.offload
    assert plan.fits
