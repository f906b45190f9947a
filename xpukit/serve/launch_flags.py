"""The engine's flags of one machine of a launch, from what was asked, what the model needs and what the guides say."""

from __future__ import annotations

import json
import shlex
from pathlib import PurePosixPath

import msgspec

from xpukit.core.errors import UsageError
from xpukit.core.json_document import BAD_JSON
from xpukit.facts.launch import LaunchCase, choose_flags
from xpukit.facts.launch_parsers import find_parsers
from xpukit.serve.hub_cache import find_cached_id
from xpukit.serve.memory_types import MemoryPlan
from xpukit.serve.model_types import Model
from xpukit.serve.quantization import QuantizationChoice
from xpukit.serve.request import ServeRequest
from xpukit.serve.word_builder import WordBuilder

DEFAULT_PORT = 8000
POOLING_TASKS = ("embed", "score", "rerank", "classify")
_GUIDE_BATCH = 8192
_BATCH_SOURCE = "intel/llm-scaler vllm/README.md: 8192, or the context where that is shorter"
# The parts of a model's needs that are examples, not settings: a placeholder in capitals or angle brackets.
_PLACEHOLDERS = ("DIR", "<", "NAME=PATH")


class FlagCase(msgspec.Struct, frozen=True, kw_only=True):
    """What the flags of a launch rest on. `model_path`: as the engine will see it. `port`: this process's own."""

    request: ServeRequest
    case: LaunchCase
    model: Model
    model_path: str
    task: str
    quantization: QuantizationChoice
    memory: MemoryPlan
    port: int


def is_pooling(task: str) -> bool:
    """Whether the task answers with vectors or scores."""
    return task in POOLING_TASKS


def add_model_flags(builder: WordBuilder, given: FlagCase) -> None:
    """What is served and how it is called. First, because a positional argument comes first."""
    request, model = given.request, given.model
    builder.add("model", given.model_path, "what is served", kind="asked")
    name = request.served_name or _find_served_name(given)
    if name:
        why = "the name in requests" if request.served_name else "the name in requests: without it, it is the path"
        builder.add("served_name", name, why, kind="asked" if request.served_name else "rule")
    if is_pooling(given.task):
        source = next((need.source for need in model.list_needs("runner")), "")
        builder.add("task", given.task, "answers with vectors or scores, not with text", kind="fact", source=source)
    _add_format(builder, given)


def _find_served_name(given: FlagCase) -> str:
    path = given.model_path.rstrip("/")
    if find_cached_id(path):
        return find_cached_id(path)
    return PurePosixPath(path).name if path.startswith(("/", ".")) else ""


def _add_format(builder: WordBuilder, given: FlagCase) -> None:
    request, chosen = given.request, given.quantization
    if chosen.flag:
        builder.add("quantization", chosen.flag, chosen.reason, source=chosen.source)
    dtype = request.dtype or chosen.dtype
    if dtype and dtype != "auto":
        kind = "asked" if request.dtype else "rule"
        need = next((need for need in given.model.list_needs("dtype") if need.value == dtype), None)
        why = "asked for" if request.dtype else "what the model needs" if need else "of activations"
        builder.add("dtype", dtype, why, kind=kind, source=need.source if need else chosen.source)  # type: ignore[arg-type]
    if request.kv_dtype:
        builder.add("kv_cache_dtype", request.kv_dtype, "of the KV cache", kind="asked")


def add_size_flags(builder: WordBuilder, given: FlagCase) -> None:
    """Context, batches and memory."""
    request, memory = given.request, given.memory
    asked = request.context is not None
    length = memory.asked_context
    why = "asked for" if asked else "the longest request that fits beside the weights, the model's own limit kept"
    builder.add("max_model_len", length, why, kind="asked" if asked else "rule")
    if request.max_seqs is not None:
        builder.add("max_num_seqs", request.max_seqs, "asked for", kind="asked")
    batch = find_batched_tokens(request, given.case, given.task, length)
    if batch is not None:
        kind = "asked" if request.batched_tokens is not None else "default"
        why = "asked for" if kind == "asked" else "tokens in one step"
        source = "" if kind == "asked" else _BATCH_SOURCE
        builder.add("max_batched_tokens", batch, why, kind=kind, source=source)  # type: ignore[arg-type]
    if request.utilization is not None or given.case.vendor == "intel":
        kind = "asked" if request.utilization is not None else "default"
        why = "asked for" if kind == "asked" else "the part of the GPU's memory that the engine takes"
        builder.add("memory_fraction", memory.settings.utilization or memory.utilization, why, kind=kind)  # type: ignore[arg-type]


def find_batched_tokens(request: ServeRequest, case: LaunchCase, task: str, length: int | None) -> int | None:
    """Tokens of one step: asked, or llm-scaler's; None leaves the engine's default.

    A pooling model reads a request in one step, so there the batch is as long as the context.
    """
    if request.batched_tokens is not None:
        return request.batched_tokens
    if case.engine != "llm-scaler-vllm":
        return None
    if length is None:
        return _GUIDE_BATCH
    return length if is_pooling(task) else min(length, _GUIDE_BATCH)


def add_guide_flags(builder: WordBuilder, given: FlagCase) -> None:
    """What the guides add, and what the model's own guide needs; what was asked for otherwise wins."""
    request = given.request
    asked = {"enforce_eager": request.eager, "trust_remote_code": True if request.trust_remote_code else None}
    for row in choose_flags(given.case):
        if asked.get(row.intent) is not None:
            continue
        builder.add(row.intent, row.value, row.why, kind="default", source=row.source)
    for need in given.model.list_needs("flag"):
        words = tuple(shlex.split(need.value))
        placeholder = any(mark in word for word in words for mark in _PLACEHOLDERS) or need.value == "--hf-overrides"
        if need.required and not placeholder and _is_known(builder, words):
            builder.add_words(words, "the model's guide asks for it", kind="fact", source=need.source)


def _is_known(builder: WordBuilder, words: tuple[str, ...]) -> bool:
    """A need is written for one engine: another may not have the flag."""
    first = words[0].split("=", 1)[0]
    if first in builder.program.options:
        return True
    builder.notes.append(f"{first}: the model's guide asks for it, {builder.schema.engine} has no such flag")
    return False


def add_service_flags(builder: WordBuilder, given: FlagCase) -> None:
    """Address, access and behaviour of the server."""
    request = given.request
    if request.host:
        builder.add("host", request.host, "asked for", kind="asked")
    builder.add(
        "port",
        given.port,
        "asked for" if request.port else "the usual one",
        kind="asked" if request.port else "default",
    )
    if request.api_key_env and given.case.engine not in ("vllm", "llm-scaler-vllm"):
        builder.add("api_key", f"${{{request.api_key_env}}}", "the key that requests must bring", kind="asked")
    if request.trust_remote_code:
        builder.add("trust_remote_code", True, "asked for: code of the model's repository is run", kind="asked")
    if request.eager is not None:
        why = "asked for: no graph capture" if request.eager else "asked for: graphs are captured"
        builder.add("enforce_eager", request.eager, why, kind="asked")
    if request.prefix_caching is not None:
        builder.add("prefix_caching", request.prefix_caching, "asked for", kind="asked")
    if request.log_requests is not None:
        builder.add("log_requests", request.log_requests, "asked for", kind="asked", needed=False)
    if request.media_dir:
        builder.add("local_media_path", request.media_dir, "files that requests may name", kind="asked")
    if request.chat_template:
        builder.add("chat_template", request.chat_template, "asked for", kind="asked")
    if request.tokenizer_mode:
        builder.add("tokenizer_mode", request.tokenizer_mode, "asked for", kind="asked")
    _add_parsers(builder, given)
    _add_loras(builder, given)
    _add_speculative(builder, given)


def _add_parsers(builder: WordBuilder, given: FlagCase) -> None:
    request, model = given.request, given.model
    names = (model.id, model.path, model.text, model.entry.id if model.entry else "")
    row = find_parsers(names, given.case.engine)
    if request.reasoning_parser:
        builder.add("reasoning_parser", request.reasoning_parser, "asked for", kind="asked")
    elif request.thinking:
        known = row.reasoning if row else ()
        if not _add_first(
            builder, "reasoning_parser", known, "thinking is told from the answer", row.source if row else ""
        ):
            builder.notes.append(f"no parser of thinking is known for {model.name}: name one with --reasoning-parser")
    if request.tool_parser:
        _add_tools(builder, (request.tool_parser,), "asked for", "")
    elif request.tools:
        needs = model.list_needs("tool_parser")
        known = tuple(need.value for need in needs) + (row.tools if row else ())
        source = needs[0].source if needs else row.source if row else ""
        if not _add_tools(builder, known, "calls of tools are read from the answer", source):
            builder.notes.append(f"no parser of tool calls is known for {model.name}: name one with --tool-parser")


def _add_first(builder: WordBuilder, intent: str, names: tuple[str, ...], why: str, source: str) -> bool:
    return any(builder.add(intent, name, why, kind="fact", source=source, needed=False) for name in names)


def _add_tools(builder: WordBuilder, names: tuple[str, ...], why: str, source: str) -> bool:
    kind = "asked" if why == "asked for" else "fact"
    for name in names:
        if builder.add("tool_parser", name, why, kind=kind, source=source, needed=kind == "asked"):  # type: ignore[arg-type]
            builder.add("auto_tool_choice", True, "the model decides whether it calls a tool", needed=False)
            return True
    return False


def _add_loras(builder: WordBuilder, given: FlagCase) -> None:
    request = given.request
    if not request.loras:
        return
    for text in request.loras:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise UsageError(f"--lora {text!r} is not NAME=PATH", hint="for example --lora sql=/models/adapters/sql")
    builder.add("lora", True, "adapters are served beside the model", kind="asked", needed=False)
    builder.add("lora_modules", list(request.loras), "adapters and their names", kind="asked")
    builder.add("max_loras", len(request.loras), "so many in one batch", needed=False)
    if request.lora_rank is not None:
        builder.add("max_lora_rank", request.lora_rank, "the largest rank of an adapter", kind="asked")


def _add_speculative(builder: WordBuilder, given: FlagCase) -> None:
    request, model = given.request, given.model
    if request.speculative:
        try:
            config = json.loads(request.speculative)
        except BAD_JSON as err:
            raise UsageError(f"--speculative: not JSON: {err}", hint='for example {"method":"ngram", ...}') from err
        builder.add("speculative", config, "asked for", kind="asked")
        return
    if request.mtp is None:
        return
    need = next(iter(model.list_needs("speculative")), None)
    if need is None:
        hint = 'name the method: --speculative \'{"method":...,"num_speculative_tokens":2}\''
        raise UsageError(f"no multi-token prediction is known for {model.name}", hint=hint)
    config = json.loads(need.value)
    if "<" in str(config.get("model", "")):
        hint = f"--speculative '{need.value}' with the path of the draft model"
        raise UsageError(f"{model.name} needs a draft model beside it for --mtp", hint=hint)
    config["num_speculative_tokens"] = request.mtp
    builder.add(
        "speculative", config, "tokens are proposed by the model's own extra layers", kind="asked", source=need.source
    )
