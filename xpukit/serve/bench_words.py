"""The command line of an engine's own benchmark for a load, checked against the version at hand."""

from __future__ import annotations

from pathlib import PurePosixPath

import msgspec

from xpukit.core.errors import UsageError
from xpukit.facts.bench_scenarios import Scenario
from xpukit.facts.engines import EngineSchema
from xpukit.serve.plan_types import Flag
from xpukit.serve.validate import Problem, validate
from xpukit.serve.word_builder import WordBuilder

SERVING, ONE_BATCH = "bench", "bench-one-batch"
# The chat endpoint is what users' programs call; vLLM's own default is the completion endpoint.
_SGLANG_CHAT = "sglang-oai-chat"


class BenchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be measured. Of `host` and `port` the empty ones are left to the benchmark.

    `one_batch`: without a server, `batch` prompts at once, on `tp` ranks of `device`; `profile` records a trace.
    """

    model: str
    scenario: Scenario
    served_name: str = ""
    host: str = ""
    port: int | None = None
    rate: str = ""
    ignore_eos: bool | None = None
    trust_remote_code: bool = False
    backend: str = ""
    one_batch: bool = False
    batch: int = 1
    tp: int | None = None
    device: str = ""
    profile: bool = False
    extras: tuple[str, ...] = ()


class BenchCommand(msgspec.Struct, frozen=True, kw_only=True):
    """The command, its words with reasons, and what the engine would say against it."""

    engine: str
    version: str
    label: str
    program: tuple[str, ...]
    flags: tuple[Flag, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def argv(self) -> tuple[str, ...]:
        return (*self.program, *(word for flag in self.flags for word in flag.words))

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(one for one in self.problems if one.severity == "error")


def build_bench(request: BenchRequest, schema: EngineSchema) -> BenchCommand:
    """The command. Raises UsageError where the engine has no such benchmark."""
    if request.one_batch and schema.engine != "sglang":
        raise UsageError(f"{schema.engine} has no benchmark of one batch", hint="SGLang has: --engine sglang")
    builder = WordBuilder(schema, program=ONE_BATCH if request.one_batch else SERVING, extras=request.extras)
    if request.one_batch:
        _add_batch(builder, request)
    else:
        _add_serving(builder, request)
    builder.add_extras(request.extras)
    words = [word for flag in builder.flags for word in flag.words]
    found = validate(schema.engine, schema.version, "", [*builder.words, *words], schema=schema)
    return BenchCommand(
        engine=schema.engine,
        version=schema.version,
        label=schema.label,
        program=builder.words,
        flags=tuple(builder.flags),
        problems=found.problems,
        notes=tuple(builder.notes),
    )


def _add_serving(builder: WordBuilder, request: BenchRequest) -> None:
    load = request.scenario
    backend = request.backend or (_SGLANG_CHAT if builder.schema.engine == "sglang" else "")
    if backend:
        asked = "asked" if request.backend else "rule"
        builder.add("backend", backend, "how the server is spoken to", kind=asked)  # type: ignore[arg-type]
    if request.host:
        builder.add("host", request.host, "the server", kind="asked")
    if request.port is not None:
        builder.add("port", request.port, "the server", kind="asked")
    builder.add("model", request.model, "whose tokenizer counts the tokens", kind="asked")
    if name := request.served_name or _name_of(request.model):
        builder.add("served_name", name, "the name in requests")
    builder.add("dataset", "random", "prompts of exactly these lengths", source=load.source)
    builder.add("input_len", load.input_len, "tokens of a prompt", source=load.source)
    builder.add("output_len", load.output_len, "tokens of an answer", source=load.source)
    builder.add("requests", load.requests, "requests in all", source=load.source)
    if load.concurrency:
        builder.add("concurrency", load.concurrency, "at a time", source=load.source)
    if request.rate:
        builder.add("rate", request.rate, "requests a second", kind="asked")
    if request.ignore_eos is not None:
        builder.add("ignore_eos", request.ignore_eos, "answers of full length", kind="asked")
    if request.trust_remote_code:
        builder.add("trust_remote_code", True, "asked for: code of the model's repository is run", kind="asked")


def _add_batch(builder: WordBuilder, request: BenchRequest) -> None:
    load = request.scenario
    builder.add("batch_size", request.batch, "prompts at once", kind="asked")
    builder.add("input_len", load.input_len, "tokens of a prompt", source=load.source)
    builder.add("output_len", load.output_len, "tokens of an answer", source=load.source)
    if request.tp is not None:
        builder.add("tp_size", request.tp, "ranks", kind="asked")
    builder.add("model_path", request.model, "what is measured", kind="asked")
    if request.trust_remote_code:
        builder.add("trust_remote_code", True, "asked for: code of the model's repository is run", kind="asked")
    if request.device:
        builder.add("device", request.device, "what it runs on", kind="asked")
    if request.profile:
        builder.add("profile", True, "a trace of the kernels is kept", kind="asked")


def _name_of(model: str) -> str:
    return PurePosixPath(model.rstrip("/")).name if model.startswith(("/", ".")) else ""
