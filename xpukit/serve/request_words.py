"""Every choice of a launch as a row: its name in a request, how the command line spells it, and how a form asks for it.

The command line, the walk-through and the page speak of the same choices; this table is where they agree.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from xpukit.serve.request import ServeRequest

Kind = Literal["text", "count", "share", "yes", "yes-or-no", "words", "one-of"]
Group = Literal["main", "division", "engine", "models", "machine", "server", "output"]

GROUPS: dict[Group, str] = {
    "main": "The launch",
    "division": "Division and memory",
    "engine": "Engine",
    "models": "Model's extras",
    "machine": "Machine",
    "server": "Server",
    "output": "Output",
}


class Output(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the plan is written, beside what is planned. `model_dir`: "HOST[:INSIDE]" directories for containers."""

    form: str = "shell"
    name: str = "xpukit"
    model_dir: tuple[str, ...] = ()
    privileged: bool = False
    cdi: bool = False


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A choice. `option`: how `xpukit serve` spells it; `no_option`: the way to say no of a yes-or-no.

    `choices` of a one-of: values, the first is the default. `example` is shown where nothing is entered. `intent`: what
    it is to the engine (intents.toml), for those that GPUs, memory, pinning or ports rest on.
    """

    name: str
    kind: Kind
    label: str
    option: str
    group: Group
    no_option: str = ""
    choices: tuple[str, ...] = ()
    example: str = ""
    least: int | None = None
    most: int | None = None
    intent: str = ""


def _row(group: Group, name: str, kind: Kind, option: str, label: str, **more: Any) -> Field:
    return Field(name=name, kind=kind, label=label, option=option, group=group, **more)


FIELDS: tuple[Field, ...] = (
    _row("main", "platform", "text", "--platform", "Named platform", example="8xB60, 2x8xH200"),
    _row("main", "engine", "text", "--engine", "Engine", example="vllm:0.21.0"),
    _row("main", "quantization", "text", "-q", "Quantization of the weights", intent="quantization"),
    _row(
        "main", "context", "count", "-c", "Longest request, tokens", least=1, example="the most that fits",
        intent="max_model_len",
    ),
    _row("main", "concurrency", "count", "--concurrency", "Such requests at a time", least=1),
    _row("main", "thinking", "yes", "--thinking", "Tell thinking from the answer"),
    _row("main", "tools", "yes", "--tools", "Let the model call tools"),
    _row("main", "reasoning_parser", "text", "--reasoning-parser", "Parser of thinking", example="the model's"),
    _row("main", "tool_parser", "text", "--tool-parser", "Parser of tool calls", example="the model's"),
    _row("division", "tp", "count", "--tp", "Tensor parallel ranks", least=1, intent="tensor_parallel"),
    _row("division", "pp", "count", "--pp", "Pipeline stages", least=1, intent="pipeline_parallel"),
    _row("division", "dp", "count", "--dp", "Data parallel copies in one engine", least=1, intent="data_parallel"),
    _row(
        "division", "ep", "count", "--ep", "Ranks that share the experts (1: off, 0: all)", least=0,
        intent="expert_parallel",
    ),
    _row("division", "replicas", "count", "--replicas", "Engines of their own, a port each", least=1, example="1"),
    _row("division", "objective", "one-of", "--latency", "Prefer", choices=("throughput", "latency")),
    _row(
        "division", "utilization", "share", "--utilization", "Part of a GPU's memory to take", example="0.9",
        intent="memory_fraction",
    ),
    _row("division", "max_seqs", "count", "--max-seqs", "Most requests in one step", least=1, intent="max_num_seqs"),
    _row(
        "division", "batched_tokens", "count", "--batched-tokens", "Most tokens in one step", least=1,
        intent="max_batched_tokens",
    ),
    _row("division", "kv_dtype", "text", "--kv-dtype", "Type of the KV cache", example="fp8", intent="kv_cache_dtype"),
    _row("engine", "image", "text", "--image", "Container image", example="intel/llm-scaler-vllm:0.21.0-b2"),
    _row("engine", "schema_file", "text", "--flags", "File with an image's own flags"),
    _row("engine", "dtype", "text", "--dtype", "Type of activations", example="float16", intent="dtype"),
    _row(
        "engine", "eager", "yes-or-no", "--eager", "Without graph capture", no_option="--no-eager",
        intent="enforce_eager",
    ),
    _row(
        "engine", "prefix_caching", "yes-or-no", "--prefix-caching", "Reuse the KV cache of equal prompts",
        no_option="--no-prefix-caching",
    ),
    _row("engine", "tokenizer_mode", "text", "--tokenizer-mode", "Tokenizer mode", example="bpe-qwen"),
    _row("engine", "cuda_ipc", "yes", "--cuda-ipc", "SGLang on NVIDIA: images by CUDA IPC"),
    _row("models", "task", "text", "--task", "Task", example="the model's", intent="task"),
    _row("models", "config_file", "text", "--config", "The model's config.json"),
    _row("models", "trust_remote_code", "yes", "--trust-remote-code", "Run code that comes with the model"),
    _row(
        "models", "loras", "words", "--lora", "LoRA adapters", example="sql=/models/adapters/sql",
        intent="lora_modules",
    ),
    _row("models", "lora_rank", "count", "--lora-rank", "Largest rank of them", least=1, intent="max_lora_rank"),
    _row("models", "mtp", "count", "--mtp", "Tokens proposed by the model's own layers", least=1),
    _row("models", "speculative", "text", "--speculative", "Any speculative configuration (JSON)"),
    _row("models", "chat_template", "text", "--chat-template", "Chat template"),
    _row(
        "models", "media_dir", "text", "--media-dir", "Directory of files that requests may name",
        intent="local_media_path",
    ),
    _row("machine", "gpus", "words", "--gpu", "Only these GPUs", example="0 2, or GPU0/1 for a tile"),
    _row("machine", "nodes", "words", "--nodes", "Addresses of several machines, the head first"),
    _row(
        "machine", "executor", "one-of", "--executor", "Over several machines by", choices=("auto", "ray", "mp"),
        intent="executor",
    ),
    _row("machine", "collective", "one-of", "--collectives", "Collectives", choices=("auto", "p2p", "usm")),
    _row("machine", "pinning", "one-of", "--pin", "Pinning", choices=("auto", "numactl", "engine", "off")),
    _row("machine", "reserved_cpus", "text", "--reserved-cpus", "CPUs to leave to others", example="0-3"),
    _row("server", "host", "text", "--host", "Address it listens on", intent="host"),
    _row("server", "port", "count", "--port", "Port", least=1, most=65535, example="8000", intent="port"),
    _row("server", "served_name", "text", "--served-name", "The model's name in requests", intent="served_name"),
    _row("server", "api_key_env", "text", "--api-key-env", "Variable that holds the key"),
    _row("server", "proxy", "text", "--proxy", "LMDeploy's proxy", intent="proxy_url"),
    _row(
        "server", "log_requests", "yes-or-no", "--log-requests", "Write each request to the log",
        no_option="--no-log-requests",
    ),
    _row("server", "log_file", "text", "--log-file", "Write the engine's output there too"),
    _row("server", "variables", "words", "--env", "Variables to set too", example="NAME=VALUE"),
    _row("server", "extras", "words", "--", "The engine's own flags", example="--seed 7"),
    _row("output", "form", "text", "-f", "Form"),
    _row("output", "name", "text", "--name", "Name of containers, units and files", example="xpukit"),
    _row("output", "model_dir", "words", "--model-dir", "Directories of models for containers", example="/data/models"),
    _row("output", "cdi", "yes", "--cdi", "Name GPUs by their CDI specification"),
    _row("output", "privileged", "yes", "--privileged", "Containers with all rights (not advised)"),
)  # fmt: skip
_JOINED = ("gpus", "nodes")


def list_defaults() -> Mapping[str, Any]:
    """What each choice is when nobody made it."""
    found: dict[str, Any] = {}
    for kind in (ServeRequest, Output):
        found |= {one.name: one.default for one in msgspec.structs.fields(kind) if one.name != "model"}
    return found


def spell_line(request: ServeRequest, output: Output = Output(), *, source: str = "") -> str:  # noqa: B008
    """The shortest `xpukit serve ...` that asks for the same. `source`: the recording that is looked at."""
    return shlex.join(spell_words(request, output, source=source))


def spell_words(request: ServeRequest, output: Output = Output(), *, source: str = "") -> tuple[str, ...]:  # noqa: B008
    """The same as words. What has no option (`model_inside`) is left out."""
    words = ["xpukit", "serve", *([request.model] if request.model else [])]
    if source:
        words += ["--from", source]
    defaults = list_defaults()
    for field in FIELDS:
        value = getattr(output if field.group == "output" else request, field.name)
        if field.name != "extras" and value != defaults[field.name]:
            words += _spell(field, value)
    return (*words, *(("--", *request.extras) if request.extras else ()))


def _spell(field: Field, value: Any) -> list[str]:
    if field.name == "objective":
        return [field.option]
    if field.kind in ("yes", "yes-or-no"):
        return [field.option if value else field.no_option]
    if field.name in _JOINED:
        return [field.option, ",".join(value)]
    if field.kind == "words":
        return [word for one in value for word in (field.option, one)]
    text = f"{value:g}" if field.kind == "share" else str(value)
    # A value that begins with a dash would be taken for an option.
    return (
        [f"{field.option}={text}"] if text.startswith("-") and field.option.startswith("--") else [field.option, text]
    )
