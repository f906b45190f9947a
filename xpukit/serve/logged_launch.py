"""The launch that a start-up log is of, as a request: its estimate can only be held against the same launch."""

from __future__ import annotations

from typing import Any

import msgspec

from xpukit.core.errors import UsageError
from xpukit.serve.engine_log import EngineLog
from xpukit.serve.request import ServeRequest

# The engine's arguments and the request's fields; what a log does not name had the engine's default. The names of
# SGLang and LMDeploy are those of their ServerArgs and engine configurations (wheels named in engine_log.json).
_FIELDS_OF: dict[str, dict[str, str]] = {
    "vllm": {
        "tensor_parallel_size": "tp",
        "pipeline_parallel_size": "pp",
        "data_parallel_size": "dp",
        "max_model_len": "context",
        "gpu_memory_utilization": "utilization",
        "max_num_seqs": "max_seqs",
        "max_num_batched_tokens": "batched_tokens",
        "quantization": "quantization",
        "dtype": "dtype",
        "kv_cache_dtype": "kv_dtype",
        "enforce_eager": "eager",
    },
    "sglang": {
        "tp_size": "tp",
        "pp_size": "pp",
        "dp_size": "dp",
        "context_length": "context",
        "mem_fraction_static": "utilization",
        "max_running_requests": "max_seqs",
        "chunked_prefill_size": "batched_tokens",
        "quantization": "quantization",
        "dtype": "dtype",
        "kv_cache_dtype": "kv_dtype",
        "disable_cuda_graph": "eager",
    },
    "lmdeploy": {
        "tp": "tp",
        "dp": "dp",
        "session_len": "context",
        "cache_max_entry_count": "utilization",
        "max_batch_size": "max_seqs",
        "max_prefill_token_num": "batched_tokens",
        "dtype": "dtype",
        "eager_mode": "eager",
    },
}
_ENGINES_OF = {"vllm": ("vllm", "llm-scaler-vllm")}
# With it, SGLang's copies share the ranks of tensor parallelism: their number is none of the plan's.
_SHARED_COPIES = "enable_dp_attention"
_TYPES: dict[str, tuple[type, ...]] = {"utilization": (float, int), "eager": (bool,)}
_TEXTS = ("quantization", "dtype", "kv_dtype")
_DEFAULTS: dict[str, Any] = {"tp": 1, "pp": 1, "eager": False}
_SAME = {"fp16": "float16", "half": "float16", "bf16": "bfloat16", "int4": "sym_int4"}


def find_logged_model(log: EngineLog) -> str:
    """The model's id or path as the log names it, "" where it does not."""
    for key in ("model", "model_tag", "model_path"):
        value = log.arguments.get(key)
        if isinstance(value, str) and value:
            return value
    return ""


def adopt_engine(request: ServeRequest, log: EngineLog) -> ServeRequest:
    """The request for the engine that wrote the log, where it was left open and vLLM's names would be wrong."""
    if request.engine or request.image or log.engine in ("", "vllm"):
        return request
    return msgspec.structs.replace(request, engine=log.engine)


def check_engine(planned: str, log: EngineLog) -> None:
    """Raises UsageError where the plan is of another engine than the one that wrote the log."""
    engines = _ENGINES_OF.get(log.engine, (log.engine,))
    if log.engine and planned not in engines:
        raise UsageError(
            f"the plan is for {planned}, the log is of {log.engine}", hint=f"--engine {engines[0]}, or leave it out"
        )


def adopt_arguments(request: ServeRequest, log: EngineLog, *, quantized: bool) -> tuple[ServeRequest, tuple[str, ...]]:
    """The request with what the log says of its launch, and what was taken over, in words.

    `quantized`: the model's weights are stored quantized. Raises UsageError where the request asks for something else.
    """
    found = _read(log)
    changes: dict[str, Any] = {}
    told: list[str] = []
    for field, value in found.items():
        asked = getattr(request, field)
        if field == "quantization" and quantized and not asked:
            continue  # the engine's name of how they are stored, as gptq_marlin
        if asked in (None, ""):
            changes[field] = value
            told.append(f"{field} {value}")
        elif _SAME.get(asked, asked) != _SAME.get(value, value) and field in log_fields(log):
            text = f"{field} {asked} was asked for; the log is of a launch with {field} {value}"
            raise UsageError(text, hint="leave it out: it is read from the log")
    if log.arguments and not request.quantization and "quantization" not in changes and not quantized:
        changes["quantization"] = "none"
        told.append("16-bit weights (the log names no quantization)")
    return msgspec.structs.replace(request, **changes), tuple(told)


def log_fields(log: EngineLog) -> frozenset[str]:
    """The fields that the log itself names."""
    return frozenset(field for name, field in _list_fields(log).items() if name in log.arguments)


def _list_fields(log: EngineLog) -> dict[str, str]:
    fields = _FIELDS_OF.get(log.engine or "vllm", {})
    shared = log.arguments.get(_SHARED_COPIES)
    return {name: field for name, field in fields.items() if not (shared and field == "dp")}


def _read(log: EngineLog) -> dict[str, Any]:
    found: dict[str, Any] = dict(_DEFAULTS) if log.arguments else {}
    for name, field in _list_fields(log).items():
        value = log.arguments.get(name)
        kinds = (str,) if field in _TEXTS else _TYPES.get(field, (int,))
        if value is None or not isinstance(value, kinds) or (isinstance(value, bool) and field != "eager"):
            continue
        if value == "auto" or (isinstance(value, (int, float)) and field != "eager" and not value > 0):
            continue
        found[field] = value
    if "context" not in found and log.max_model_len:
        found["context"] = log.max_model_len
    return found
