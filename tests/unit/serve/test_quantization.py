"""The choice of a quantization: the most exact that fits, what is refused and why, what was asked for."""

from __future__ import annotations

import pytest

from tests.unit.serve.model_files import B60, GIB, get_model, set_up
from xpukit.core.errors import UsageError
from xpukit.facts.models import list_models
from xpukit.serve.memory import fit_memory
from xpukit.serve.memory_types import DeviceMemory, MemorySettings, Parallel
from xpukit.serve.quantization import (
    Candidate,
    QuantizationChoice,
    choose_quantization,
    find_platform_group,
    list_quantizations,
)

LLM_SCALER = "llm-scaler-vllm"
B60_ID = "e211"


def choose(
    name: str,
    *,
    engine: str = LLM_SCALER,
    version: str = "0.14.0-b8",
    device: str = B60_ID,
    tp: int = 1,
    length: int = 8192,
    asked: str | None = None,
    memory: DeviceMemory = B60,
) -> QuantizationChoice:
    model = get_model(name)
    settings = set_up(version, max_model_len=length)
    if engine != LLM_SCALER:
        settings = MemorySettings(engine=engine, version=version, max_model_len=length)
    return choose_quantization(
        model,
        engine=engine,
        version=version,
        device_id=device,
        fits=lambda quantization: fit_memory(
            model, quantization=quantization, device=memory, parallel=Parallel(tp=tp), settings=settings
        ),
        asked=asked,
    )


def list_all(
    name: str, engine: str = LLM_SCALER, version: str = "0.14.0-b8", device: str = B60_ID
) -> dict[str, Candidate]:
    found = list_quantizations(get_model(name), engine=engine, version=version, device_id=device)
    return {candidate.name: candidate for candidate in found}


@pytest.mark.parametrize(
    ("name", "tp", "length", "chosen"),
    [
        ("Qwen/Qwen3-8B", 1, 8192, "none"),
        ("Qwen/Qwen3-14B", 1, 8192, "fp8"),
        ("Qwen/Qwen3-32B", 1, 2048, "sym_int4"),
        ("Qwen/Qwen3-32B", 4, 8192, "none"),
        ("openai/gpt-oss-20b", 1, 8192, "mxfp4"),
        ("zai-org/GLM-4-9B-0414", 1, 8192, "fp8"),  # llm-scaler ticks fp8 only
        ("Qwen/Qwen3.6-27B-FP8", 2, 8192, "stored"),
        ("Qwen/Qwen3-8B-AWQ", 1, 8192, "stored"),
    ],
)
def test_what_is_chosen(name: str, tp: int, length: int, chosen: str) -> None:
    version = "0.21.0-b1" if "gpt-oss" in name else "0.14.0-b8"
    choice = choose(name, tp=tp, length=length, version=version)
    assert choice.name == chosen
    assert choice.fits
    assert choice.reason
    assert choice.source
    assert choice.name not in {item.name for item in choice.rejected}
    assert all(item.reason and item.source for item in choice.rejected)
    expected = {"none": None, "stored": None}.get(chosen, chosen)
    assert choice.flag == expected


def test_the_reason_names_what_would_not_fit() -> None:
    choice = choose("Qwen/Qwen3-32B", length=2048)
    assert "none and fp8 would not fit" in choice.reason
    assert {item.name: item.reason.split(":")[0] for item in choice.rejected} == {
        "none": "does not fit",
        "fp8": "does not fit",
        "mxfp4": "mxfp4 is for weights stored so (gpt-oss), these are not",
    }
    assert ("VLLM_OFFLOAD_WEIGHTS_BEFORE_QUANT", "1") in {item[:2] for item in choice.environment}


def test_int4_runs_in_float16() -> None:
    assert choose("Qwen/Qwen3-8B", asked="sym_int4").dtype == "float16"
    assert choose("google/gemma-3-12b-it").dtype == "bfloat16"
    assert choose("Qwen/Qwen3-8B", engine="vllm", version="0.20.0").dtype == "auto"


@pytest.mark.parametrize(
    ("name", "engine", "version", "asked", "said"),
    [
        ("Qwen/Qwen3-8B", "vllm", "0.20.0", "sym_int4", "llm-scaler's images only"),
        ("Qwen/Qwen3-8B", "sglang", "0.5.20", "sym_int4", "llm-scaler's images only"),
        ("Qwen/Qwen3-8B-AWQ", LLM_SCALER, "0.14.0-b8", "sym_int4", "not quantized again"),
        ("Qwen/Qwen3.6-27B-FP8", LLM_SCALER, "0.14.0-b8", "fp8", None),
        ("Qwen/Qwen3-8B", LLM_SCALER, "0.14.0-b8", "mxfp4", "weights stored so"),
        ("zai-org/GLM-4-9B-0414", LLM_SCALER, "0.14.0-b8", "none", "with fp8 only"),
        ("google/gemma-3-27b-it", LLM_SCALER, "0.14.0-b8", "sym_int4", "with fp8 only"),
        ("openai/gpt-oss-20b", LLM_SCALER, "0.10.0-b4", "mxfp4", "does not register mxfp4"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", LLM_SCALER, "0.26.0-b1", "sym_int4", "complete checkpoint load"),
        ("Qwen/Qwen3-8B", LLM_SCALER, "0.14.0-b8", "int3", "not one that we can plan"),
    ],
)
def test_what_is_refused(name: str, engine: str, version: str, asked: str, said: str | None) -> None:
    if said is None:
        assert choose(name, engine=engine, version=version, asked=asked, tp=2).name == "stored"
        return
    with pytest.raises(UsageError, match=said) as caught:
        choose(name, engine=engine, version=version, asked=asked)
    assert "possible here" in caught.value.hint


def test_other_names_for_what_is_asked() -> None:
    assert choose("Qwen/Qwen3-8B", asked="fp16").name == "none"
    assert choose("Qwen/Qwen3-8B", asked="int4").name == "sym_int4"


def test_what_is_asked_for_may_not_fit() -> None:
    choice = choose("Qwen/Qwen3-32B", asked="fp8")
    assert (choice.name, choice.fits, choice.reason) == ("fp8", False, "asked for")


def test_the_smallest_is_planned_where_nothing_fits() -> None:
    choice = choose("Qwen/Qwen3-32B", length=40_960)
    assert (choice.name, choice.fits) == ("sym_int4", False)
    assert "does not fit either" in choice.reason


def test_a_warning_is_kept() -> None:
    choice = choose("deepseek-ai/DeepSeek-OCR-2", asked="fp8", length=4096)
    assert "accuracy" in choice.warnings[0]


def test_a_platform_planned_for_by_name() -> None:
    h200 = DeviceMemory(total_bytes=141 * 10**9)
    choice = choose("deepseek-ai/DeepSeek-R1", engine="sglang", version="0.5.20", device="2335", tp=8, memory=h200)
    assert choice.name == "stored"
    assert list_all("Qwen/Qwen3-8B", engine="vllm", version="0.20.0", device="2335")["fp8"].allowed


def test_platform_groups() -> None:
    assert [find_platform_group(name) for name in ("e211", "0xe223", "0bd5", "2335", "ffff", "")] == [
        "BMG", "BMG", "PVC", "nvidia", "", "",
    ]  # fmt: skip


def test_variables_of_the_model_s_guide() -> None:
    choice = choose("deepseek-ai/DeepSeek-V2-Lite", asked="fp8")
    assert ("VLLM_MLA_DISABLE", "1") in {item[:2] for item in choice.environment}
    other = choose("deepseek-ai/DeepSeek-V2-Lite", engine="sglang", version="0.5.20", tp=2)
    assert other.environment == ()
    names = {item[0] for item in choose("Qwen/Qwen3.6-27B", asked="sym_int4", length=4096).environment}
    assert "VLLM_QUANTIZE_Q40_LIB" in names
    assert "VLLM_QUANTIZE_Q40_LIB" not in {
        item[0] for item in choose("Qwen/Qwen3.6-27B", asked="fp8", tp=2).environment
    }


@pytest.mark.parametrize("entry", [item for item in list_models() if item.quantizations], ids=lambda entry: entry.id)
def test_llm_scaler_s_ticks_are_what_its_newest_image_allows(entry) -> None:  # type: ignore[no-untyped-def]
    names = {"fp16": "none", "fp8": "fp8", "sym_int4": "sym_int4", "mxfp4": "mxfp4"}
    allowed = {name for name, item in list_all(entry.id, version="0.21.0-b1").items() if item.allowed}
    assert allowed == {names[name] for name in entry.quantizations}


def test_memory_is_asked_for_allowed_options_only() -> None:
    model, asked = get_model("zai-org/GLM-4-9B-0414"), []

    def fits(name: str):  # type: ignore[no-untyped-def]
        asked.append(name)
        return fit_memory(model, quantization=name, device=DeviceMemory(total_bytes=80 * GIB), settings=set_up())

    choose_quantization(model, engine=LLM_SCALER, version="0.14.0-b8", device_id=B60_ID, fits=fits)
    assert asked == ["fp8"]
