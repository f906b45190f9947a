"""The launch that a start-up log is of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.core.errors import UsageError
from xpukit.serve.engine_log import EngineLog, read_engine_log
from xpukit.serve.logged_launch import adopt_arguments, find_logged_model
from xpukit.serve.request import ServeRequest

LINE = (
    "INFO 11-20 10:00:00 [utils.py:233] non-default args: {'model_tag': '/llm/models/Qwen3-8B', 'port': 8000, "
    "'dtype': 'float16', 'runner': <Runner.AUTO: 1>, 'quantization': 'fp8', 'tensor_parallel_size': 2, "
    "'gpu_memory_utilization': 0.9, 'enforce_eager': True, 'kv_cache_dtype': 'auto'}\n"
    "INFO 11-20 10:00:03 [config.py:1604] Using max model len 8192\n"
)


def test_arguments_that_python_cannot_read_back_are_passed_over() -> None:
    log = read_engine_log(LINE)
    assert log.arguments["tensor_parallel_size"] == 2
    assert "runner" not in log.arguments
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
