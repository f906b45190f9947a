"""The launch that a start-up log is of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.core.errors import UsageError
from xpukit.serve.engine_log import EngineLog, read_engine_log
from xpukit.serve.logged_launch import adopt_arguments, adopt_engine, check_engine, find_logged_model
from xpukit.serve.request import ServeRequest

LINE = (
    "INFO 11-20 10:00:00 [utils.py:233] non-default args: {'model_tag': '/llm/models/Qwen3-8B', 'port': 8000, "
    "'dtype': 'float16', 'runner': <Runner.AUTO: 1>, 'hook': <function f at 0x7f>, 'quantization': 'fp8', 'tensor_parallel_size': 2, "
    "'gpu_memory_utilization': 0.9, 'enforce_eager': True, 'kv_cache_dtype': 'auto'}\n"
    "INFO 11-20 10:00:03 [config.py:1604] Using max model len 8192\n"
)


def test_arguments_that_python_cannot_read_back_are_passed_over() -> None:
    log = read_engine_log(LINE)
    assert log.arguments["tensor_parallel_size"] == 2
    assert "hook" not in log.arguments
    assert find_logged_model(log) == "/llm/models/Qwen3-8B"


def test_what_was_left_open_comes_from_the_log() -> None:
    request, taken = adopt_arguments(ServeRequest(model="m", dtype="half"), read_engine_log(LINE), quantized=False)
    assert (request.tp, request.pp, request.quantization, request.context) == (2, 1, "fp8", 8192)
    assert (request.utilization, request.eager, request.dtype, request.kv_dtype) == (0.9, True, "half", "")
    assert "tp 2" in taken


def test_a_log_without_a_quantization_is_of_16_bit_weights_unless_they_are_stored_otherwise() -> None:
    log = EngineLog(arguments={"port": 1})
    assert adopt_arguments(ServeRequest(model="m"), log, quantized=False)[0].quantization == "none"
    assert adopt_arguments(ServeRequest(model="m"), log, quantized=True)[0].quantization == ""
    bare, taken = adopt_arguments(ServeRequest(model="m"), EngineLog(), quantized=False)
    assert (bare, taken) == (ServeRequest(model="m"), ())


@pytest.mark.parametrize("asked", [{"tp": 4}, {"quantization": "sym_int4"}, {"utilization": 0.8}, {"eager": False}])
def test_another_launch_than_the_log_s_is_refused(asked: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="the log is of a launch with"):
        adopt_arguments(ServeRequest(model="m", **asked), read_engine_log(LINE), quantized=False)  # type: ignore[arg-type]


def test_the_launch_of_sglang() -> None:
    text = (
        "server_args=ServerArgs(model_path='/m/Qwen3-8B', dtype='auto', quantization='fp8', tp_size=4, pp_size=1, "
        "dp_size=2, context_length=None, mem_fraction_static=0.8, chunked_prefill_size=-1, disable_cuda_graph=True, {})\n"
        "[2026-11-20 10:00:31 TP0] max_total_num_tokens=1500, chunked_prefill_size=-1, context_len=40960"
    )
    log = read_engine_log(text.replace("{}", "enable_dp_attention=False"))
    assert find_logged_model(log) == "/m/Qwen3-8B"
    request, _ = adopt_arguments(adopt_engine(ServeRequest(model="m"), log), log, quantized=False)
    assert (request.engine, request.tp, request.dp, request.context) == ("sglang", 4, 2, 40960)
    assert (request.quantization, request.utilization, request.eager) == ("fp8", 0.8, True)
    assert request.batched_tokens is None
    # Copies that share the ranks of tensor parallelism are no copies of the plan's.
    shared = read_engine_log(text.replace("{}", "enable_dp_attention=True"))
    assert adopt_arguments(ServeRequest(model="m"), shared, quantized=False)[0].dp is None
    # Of stored weights the engine's own name says nothing.
    assert adopt_arguments(ServeRequest(model="m"), log, quantized=True)[0].quantization == ""


def test_a_log_of_another_engine_is_refused() -> None:
    log = read_engine_log("[2026-11-20 10:00:29 TP0] Load weight end. avail mem=1.0 GB, mem usage=7.70 GB.")
    check_engine("sglang", log)
    with pytest.raises(UsageError, match="the plan is for vllm, the log is of sglang"):
        check_engine("vllm", log)
    check_engine("llm-scaler-vllm", read_engine_log(LINE))
    with pytest.raises(UsageError, match="the log is of vllm"):
        check_engine("sglang", read_engine_log(LINE))
    assert adopt_engine(ServeRequest(model="m", image="x:1"), log).engine == ""


@given(st.text(max_size=300))
def test_any_text_of_arguments_is_read(text: str) -> None:
    log = read_engine_log(f"non-default args: {{{text}}}")
    request, _ = adopt_arguments(ServeRequest(model="m"), log, quantized=False)
    assert request.tp is None or request.tp > 0


@given(st.dictionaries(st.sampled_from(["tensor_parallel_size", "max_model_len", "dtype", "enforce_eager", "model"]),
                       st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))))  # fmt: skip
def test_values_of_another_type_count_as_not_said(arguments: dict[str, object]) -> None:
    request, _ = adopt_arguments(ServeRequest(model="m"), EngineLog(arguments=arguments), quantized=False)
    assert all(size is None or (type(size) is int and size > 0) for size in (request.tp, request.context))
    assert isinstance(request.dtype, str)
