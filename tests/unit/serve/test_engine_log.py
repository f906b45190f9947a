"""Start-up logs of the versions: each way a line has been written, and anything else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.serve.engine_log import EngineLog, read_engine_log

PREFIX = "(EngineCore_DP0 pid=411) INFO 07-11 06:18:32 [gpu_worker.py:255] "


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("Model loading took 14.2717 GiB and 8.114 seconds", {"model_gib": 14.2717}),
        ("Model loading took 14.27 GiB memory and 8.114 seconds", {"model_gib": 14.27}),
        ("Loading weights took 6.55 seconds", {"weights_seconds": 6.55}),
        ("Available KV cache memory: 6.11 GiB", {"kv_gib": 6.11}),
        ("Available KV cache memory: -0.52 GiB", {"kv_gib": -0.52}),
        ("GPU KV cache size: 114,432 tokens", {"kv_tokens": 114432}),
        (
            "Maximum concurrency for 18,000 tokens per request: 6.36x",
            {"concurrency": 6.36, "concurrency_length": 18000},
        ),
        (
            "XPU KV cache size: 114,432 tokens, Maximum concurrency for 18,000 tokens per request: 6.34x",
            {"kv_tokens": 114432, "concurrency": 6.34, "concurrency_length": 18000},
        ),
        ("Graph capturing finished in 21 secs, took 0.58 GiB", {"graph_gib": 0.58}),
        ("Estimated CUDA graph memory: 0.44 GiB total", {"graph_estimate_gib": 0.44}),
        ("Using max model len 32768", {"max_model_len": 32768}),
        (
            "Auto-fit max_model_len: reduced from 131072 to 64000 to fit in available GPU memory (6.11 GiB available for "
            "KV cache)",
            {"max_model_len": 64000},
        ),
        (
            "Auto-fit max_model_len: full model context length 40960 fits in available GPU memory",
            {"max_model_len": 40960},
        ),
        ("Auto-fit max_model_len: attention-free model, using derived max_model_len=512", {"max_model_len": 512}),
        (
            "[XPU]Setting attention block size to 1088 tokens to ensure multiple of 64, set mamba_page_size_padded to 1 "
            "bytes accordingly, before was 2 bytes.",
            {"attention_block": 1088},
        ),
        (
            "Before memory profiling run, total GPU memory: 24000.00 MB, model load takes 14614.00 MB, free gpu memory is "
            "8000.00 MB.",
            {"model_gib": 14614 / 1024, "total_gib": 24000 / 1024},
        ),
        (
            "After memory profiling run, peak memory usage is 16384.00 MB,torch mem is 14614.00 MB, non-torch mem is "
            "512.00 MB, free gpu memory is 6000.00 MB.",
            {"peak_gib": 16.0, "non_torch_gib": 0.5},
        ),
    ],
)
def test_a_line(line: str, values: dict[str, Any]) -> None:
    log = read_engine_log(PREFIX + line)
    assert {name: getattr(log, name) for name in values} == values
    assert not log.failures
    assert len(log.lines) == 1


@pytest.mark.parametrize("model", ["models's", "model's"])
def test_the_refusal_of_a_long_request(model: str) -> None:
    log = read_engine_log(
        f"ERROR 07-11 06:23:05 [core.py:390] ValueError: To serve at least one request with the {model} max seq len "
        "(118000), (6.30 GiB KV cache is needed, which is larger than the available KV cache memory (6.11 GiB). Based on "
        "the available memory, the estimated maximum model length is 114432. Try increasing `gpu_memory_utilization`."
    )
    assert (log.needed_length, log.needed_gib, log.needed_available_gib) == (118000, 6.3, 6.11)
    assert (log.estimated_length, log.cache_gib) == (114432, 6.11)
    assert len(log.failures) == 1


def test_a_device_that_others_use() -> None:
    for device in ("", "xpu:0 "):
        log = read_engine_log(
            f"ValueError: Free memory on device {device}(18.02/23.91 GiB) on startup is less than desired GPU memory "
            "utilization (0.9, 21.52 GiB). Decrease GPU memory utilization."
        )
        assert (log.free_gib, log.total_gib, log.wanted_gib) == (18.02, 23.91, 21.52)
        assert log.failures


def test_no_memory_for_blocks() -> None:
    log = read_engine_log("ValueError: No available memory for the cache blocks. Try increasing ...\n" * 4)
    assert len(log.failures) == 1
    assert read_engine_log("Cannot auto-fit max_model_len: not enough GPU memory available to serve").failures
    assert len(log.lines) == 4


def test_ranks_differ() -> None:
    log = read_engine_log(
        "\n".join(
            f"(Worker_TP{rank} pid={rank}) INFO [x.py:1] {line}"
            for rank, (size, cache) in enumerate(((7.1, 12.4), (7.3, 12.2)))
            for line in (f"Model loading took {size} GiB and 3.0 seconds", f"Available KV cache memory: {cache} GiB")
        )
    )
    assert (log.model_gib, log.kv_gib) == (7.3, 12.2)


def test_version_and_arguments() -> None:
    log = read_engine_log(
        "INFO [api_server.py:1] vLLM API server version 0.10.1.dev0+g1\n"
        "INFO [utils.py:2] non-default args: {'model': '/llm/models/x', 'tensor_parallel_size': 2}\n"
        "INFO [core.py:3] Initializing a V1 LLM engine (v0.10.1) with config\n"
    )
    assert log.version.startswith("0.10.1")
    assert log.arguments == {"model": "/llm/models/x", "tensor_parallel_size": 2}


def test_arguments_that_are_no_literal() -> None:
    assert read_engine_log("non-default args: {'a': <object at 0x1>}").arguments == {}


def test_nothing() -> None:
    assert read_engine_log("") == EngineLog()
    assert read_engine_log("hello\nworld").is_empty


PIECES = st.sampled_from(
    [
        "Model loading took ", " GiB and ", "Available KV cache memory: ", "KV cache size: ", " tokens", "1,2,3", "...", "-",
        "999999999999999999999999", "Maximum concurrency for ", " tokens per request: ", "x", "\n", "non-default args: {",
        "}", "max seq len (", "), (", "6.30",
    ]
)  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=5), max_size=20).map("".join))
def test_any_text_is_read(text: str) -> None:
    read_engine_log(text)
