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
        "}", "max seq len (", "), (", "6.30", "server_args=ServerArgs(", "tp_size=", ")", "<A.B: ", ">", "CacheConfig(",
        " block_size=", "num_gpu_blocks=", ",", "KV Cache is allocated. #tokens: 1, KV size: ", " GB",
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    ("line", "values"),
    [
        (
            "Load weight end. type=Qwen3ForCausalLM, dtype=torch.bfloat16, avail mem=16.10 GB, mem usage=7.70 GB.",
            {"model_gib": 7.7},
        ),
        (
            "Load weight end. elapsed=18.10 s, type=X, quant=fp8, fmt=e4m3, avail mem=16.10 GB, mem usage=7.70 GB.",
            {"model_gib": 7.7, "weights_seconds": 18.1},
        ),
        ("KV Cache is allocated. #tokens: 150000, K size: 5.15 GB, V size: 5.25 GB", {"kv_gib": 10.4}),
        ("KV Cache is allocated. #tokens: 99, KV size: 4.50 GB", {"kv_gib": 4.5}),
        (
            "KV Cache is allocated. dtype: torch.bfloat16, #tokens: 99, K size: 1.00 GB, V size: 0.50 GB",
            {"kv_gib": 1.5},
        ),
        (
            "Post-capture KV sizing: KV cache allocated. dtype: torch.bfloat16, #tokens: 99, KV size: 3.25 GB, avail "
            "mem=2.00 GB",
            {"kv_gib": 3.25},
        ),
        (
            "max_total_num_tokens=150000, chunked_prefill_size=4096, max_prefill_tokens=16384, max_running_requests=64, "
            "context_len=40960, available_gpu_mem=5.70 GB",
            {"kv_tokens": 150000, "max_model_len": 40960},
        ),
        ("Capture cuda graph end. Time elapsed: 7.10 s. mem usage=0.90 GB. avail mem=4.00 GB.", {"graph_gib": 0.9}),
        ("Capture decode CUDA graph end. elapsed=7.10 s, mem usage=0.80 GB, avail mem=4.00 GB.", {"graph_gib": 0.8}),
        ("Capture draft cuda graph end. Time elapsed: 7 s. mem usage=0.50 GB. avail mem=4.00 GB.", {"graph_gib": None}),
        (
            "Full KV Cache VA upper bound. dtype: torch.bfloat16, #tokens: 99, K size: 40.00 GB, V size: 40.00 GB",
            {"kv_gib": None},
        ),
    ],
)
def test_a_line_of_sglang(line: str, values: dict[str, Any]) -> None:
    log = read_engine_log("[2026-11-20 10:00:29 TP0] " + line)
    assert {name: getattr(log, name) for name in values} == values
    assert log.engine == ("sglang" if any(values.values()) else "")


def test_the_pools_of_a_rank_are_one_cache() -> None:
    pools = ("Full KV Cache is allocated. dtype: x, #tokens: 9, K size: 1.00 GB, V size: 1.00 GB",
             "SWA KV Cache is allocated. dtype: x, #tokens: 3, K size: 0.25 GB, V size: 0.25 GB",
             "Mamba Cache is allocated. max_mamba_cache_size: 64, conv_state size: 0.10GB, ssm_state size: 0.40GB ")  # fmt: skip
    ranks = [f"[2026-11-20 10:00:29 DP0 TP{rank}] {line}" for rank in range(4) for line in pools]
    assert read_engine_log("\n".join(ranks)).kv_gib == pytest.approx(3.0)


def test_arguments_of_sglang() -> None:
    padding = ", ".join(f"option_{number}=None" for number in range(500))
    call = f"server_args=ServerArgs(model_path='/m/x', tp_size=4, lora=LoRARef(id='a'), role=<Role.A: 'a'>, {padding})"
    assert len(call) > 4000
    arguments = read_engine_log(f"[2026-11-20 10:00:00] {call}").arguments
    assert (arguments["model_path"], arguments["tp_size"], arguments["role"]) == ("/m/x", 4, "a")
    assert "lora" not in arguments
    again = read_engine_log("server_args={'model_path': '/m/x', 'tp_size': 4, 'thing': Thing(), 'quantization': None}")
    assert again.arguments == {"model_path": "/m/x", "tp_size": 4, "quantization": None}


def test_arguments_with_an_object_that_no_parser_reads() -> None:
    log = read_engine_log(
        "server_args=ServerArgs(model_path='/m/x', hook=<function f at 0x7f>, tp_size=4, dtype='auto')"
    )
    assert log.arguments == {"model_path": "/m/x", "tp_size": 4, "dtype": "auto"}


@pytest.mark.parametrize("version", ["0.12.3", "0.18.0"])
def test_a_log_of_lmdeploy(version: str) -> None:
    kernel = "kernel_block_size=16, " if version == "0.18.0" else ""
    log = read_engine_log(
        "2026-11-20 10:00:00,1 - lmdeploy - INFO - async_engine.py:115 - input backend=pytorch, "
        "backend_config=PytorchEngineConfig(dtype='auto', tp=2, session_len=8192, cache_max_entry_count=0.8, "
        "block_size=64, quant_policy=<QuantPolicy.NONE: 0>, eager_mode=True)\n"
        "2026-11-20 10:00:09,1 - lmdeploy - INFO - base.py:249 - Building CacheEngine with config: \n"
        f"CacheConfig(max_batches=256, {kernel}block_size=64, num_cpu_blocks=0, num_gpu_blocks=2000, window_size=-1)\n"
    )
    assert (log.engine, log.kv_tokens, log.arguments["tp"]) == ("lmdeploy", 128000, 2)


def test_blocks_of_turbomind() -> None:
    config = (
        "input backend=turbomind, backend_config=TurbomindEngineConfig(dtype='auto', tp=1, cache_block_seq_len=64)\n"
    )
    blocks = "[TM][INFO] [BlockManager] block_size = 8.000 MB\n[TM][INFO] [BlockManager] max_block_count = 1500\n"
    assert read_engine_log(config + blocks).kv_tokens == 96000
    assert read_engine_log(blocks).kv_tokens is None


@given(st.lists(PIECES | st.text(max_size=5), max_size=20).map("".join))
def test_any_text_is_read(text: str) -> None:
    read_engine_log(text)
