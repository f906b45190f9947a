"""The words of each version for what the planner means, and commands put into another version's words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpukit.core.errors import UsageError
from xpukit.facts.engine_rules import find_entry, load_intents, load_replacements
from xpukit.facts.engines import list_engines, list_versions, load_engine
from xpukit.serve.validate import list_intents, replace_for, spell, validate

COMMANDS = Path(__file__).resolve().parents[4] / "shared" / "engines" / "commands.json"


@pytest.mark.parametrize(
    ("engine", "version", "intent", "value", "words"),
    [
        ("vllm", "0.21.0", "max_model_len", 8192, "--max-model-len 8192"),
        ("sglang", "0.5.23", "max_model_len", 8192, "--context-length 8192"),
        ("lmdeploy", "0.18.0", "max_model_len", 8192, "--session-len 8192"),
        ("vllm", "0.10.0", "task", "embed", "--task embed"),
        ("vllm", "0.21.0", "task", "embed", "--runner pooling --convert embed"),
        ("sglang", "0.5.23", "task", "embed", "--is-embedding"),
        ("vllm", "0.10.0", "log_requests", False, "--disable-log-requests"),
        ("vllm", "0.21.0", "log_requests", False, ""),
        ("vllm", "0.33.0", "log_requests", False, ""),
        ("vllm", "0.21.0", "prefix_caching", False, "--no-enable-prefix-caching"),
        ("sglang", "0.5.23", "prefix_caching", False, "--disable-radix-cache"),
        ("lmdeploy", "0.18.0", "prefix_caching", False, ""),
        ("vllm", "0.21.0", "model", "a/b", "a/b"),
        ("sglang", "0.5.23", "model", "a/b", "--model-path a/b"),
        ("sglang", "0.4.3.post4", "tensor_parallel", 4, "--tp-size 4"),
        ("vllm", "0.21.0", "lora_modules", ["a=/x", "b=/y"], "--lora-modules a=/x b=/y"),
        ("vllm", "0.21.0", "media_limit", {"image": 2}, '--limit-mm-per-prompt {"image":2}'),
        ("vllm", "0.21.0", "numa_nodes", [0, 1], "--numa-bind-nodes 0 1"),
        ("vllm", "0.21.0", "max_lora_rank", 64, "--max-lora-rank 64"),
        ("vllm", "0.21.0", "async_scheduling", False, "--no-async-scheduling"),
        ("lmdeploy", "0.18.0", "log_level", "info", "--log-level INFO"),
    ],
)
def test_spelling(engine: str, version: str, intent: str, value: object, words: str) -> None:
    found = spell(engine, version, intent, value)  # type: ignore[arg-type]
    assert found is not None
    assert " ".join(found.words) == words
    assert not found.deprecated
    assert found.source


@pytest.mark.parametrize(
    ("engine", "version", "intent", "value"),
    [
        ("vllm", "0.19.1", "numa_bind", True),
        ("lmdeploy", "0.18.0", "task", "embed"),
        ("vllm", "0.21.0", "quantization", "sym_int4"),
        ("vllm", "0.21.0", "max_model_len", "many"),
        ("vllm", "0.21.0", "no_such_thing", 1),
        ("lmdeploy", "0.18.0", "device", "xpu"),
    ],
)
def test_what_cannot_be_said(engine: str, version: str, intent: str, value: object) -> None:
    assert spell(engine, version, intent, value) is None  # type: ignore[arg-type]


def test_meaning_that_differs_is_noted() -> None:
    found = spell("lmdeploy", "0.18.0", "memory_fraction", 0.8)
    assert found is not None
    assert "free" in found.note
    with pytest.raises(UsageError, match="no program"):
        spell("sglang", "0.5.23", "host", "x", program="nothing")


def test_deprecated_is_the_last_choice() -> None:
    found = spell("sglang", "0.5.23", "enforce_eager", True)
    assert found is not None
    assert found.deprecated


SAMPLE_VALUES: dict[str, object] = {
    "task": "generate", "dtype": "float16", "kv_cache_dtype": "auto", "speculative": {"method": "ngram"}, "device": "cuda",
    "executor": "ray", "load_format": "auto", "attention_backend": "triton", "numa_cpus": ["0-3"], "tokenizer_mode": "auto",
    "media_limit": {"image": 1}, "hf_overrides": {"a": 1}, "tool_parser": "hermes", "reasoning_parser": "qwen3",
    "quantization": "fp8", "lora_modules": ["a=/x"], "log_level": "info", "dataset": "random", "backend": "vllm",
    "memory_fraction": 0.9, "range_ratio": 0.5, "rate": "inf", "block_size": 64,
}  # fmt: skip


@pytest.mark.parametrize("engine", list_engines())
def test_what_is_spelt_is_accepted(engine: str) -> None:
    """The words pass the validator beside a model (every third version, and the newest)."""
    for version in list_versions(engine)[::-3]:
        schema = load_engine(engine, version)
        for intent in list_intents():
            for value in (SAMPLE_VALUES[intent],) if intent in SAMPLE_VALUES else (2, True, False):
                found = spell(engine, version, intent, value, schema=schema)  # type: ignore[arg-type]
                if found is None or not found.words or intent == "model":
                    continue
                model = spell(engine, version, "model", "m", schema=schema)
                assert model is not None
                problems = validate(engine, version, "serve", [*model.words, *found.words], schema=schema).problems
                left = [p for p in problems if p.kind not in ("combination", "deprecated")]
                assert not left, (version, intent, left)


@pytest.mark.parametrize("engine", list_engines())
def test_every_row_is_of_use(engine: str) -> None:
    """A row that no version accepts is a mistake in the row."""
    schemas = [load_engine(engine, version) for version in list_versions(engine)]
    for row in load_intents():
        if engine not in row.engines or not row.write:
            continue
        entry = find_entry(engine, row.role)
        assert entry is not None, row
        flags = [word for word in row.write if word.startswith("--")]
        programs = [program for schema in schemas if (program := schema.programs.get(entry.program))]
        assert any(all(flag in program.options for flag in (*flags, *row.has)) for program in programs), row
    for replacement in load_replacements():
        if engine not in replacement.engines or "llm-scaler" in engine:  # the patched vLLM shares vLLM's rows
            continue
        known = [
            schema.programs[name] for schema in schemas for name in replacement.programs if name in schema.programs
        ]
        for word in replacement.to:
            assert not word.startswith("--") or any(word in program.options for program in known), replacement


@pytest.mark.parametrize(
    ("engine", "version", "old", "new"),
    [
        ("vllm", "0.21.0", "vllm serve --model m --task embed", "vllm serve m --runner pooling --convert embed"),
        ("vllm", "0.21.0", "vllm serve --task score m -tp=2", "vllm serve --runner pooling --convert classify m -tp=2"),
        ("vllm", "0.11.0", "X=1 vllm serve --port 1 --model m", "X=1 vllm serve m --port 1"),
        ("vllm", "0.9.0", "vllm serve m --runner pooling --convert embed", "vllm serve m --task embed"),
        ("vllm", "0.9.0", "vllm serve m --no-enable-log-requests", "vllm serve m --disable-log-requests"),
        ("vllm", "0.33.0", "vllm serve m --dp=2", "vllm serve m --data-parallel-size=2"),
        ("vllm", "0.33.0", "vllm serve m --dp 2 --port 1", "vllm serve m --data-parallel-size 2 --port 1"),
        ("vllm", "0.21.0", "vllm serve m --gpu-memory-util=0.9", "vllm serve m --gpu-memory-utilization=0.9"),
        ("vllm", "0.21.0", "vllm serve m --cuda-graph-sizes 1 2 4", "vllm serve m --cudagraph-capture-sizes 1 2 4"),
        ("sglang", "0.5.23", "python -m sglang.launch_server --model m --cuda-graph-bs 1 2",
         "python -m sglang.launch_server --model m --cuda-graph-bs-decode 1 2"),
        ("sglang", "0.5.23", "python -m sglang.launch_server --model m --stream-output",
         "python -m sglang.launch_server --model m --incremental-streaming-output"),
        ("sglang", "0.4.6.post5", "python -m sglang.launch_server --model-path m --ep 4",
         "python -m sglang.launch_server --model-path m --ep-size 4"),
    ],
)  # fmt: skip
def test_rewriting(engine: str, version: str, old: str, new: str) -> None:
    made = replace_for(engine, version, old.split())
    assert " ".join(made.argv) == new
    assert made.accepted, made.problems
    assert made.corrections
    assert all(correction.reason for correction in made.corrections)
    # Once is enough.
    assert replace_for(engine, version, made.argv).corrections == ()


OLD_WORDS = st.sampled_from(
    [
        "m",
        "--task",
        "embed",
        "--dp",
        "2",
        "--dp=2",
        "--model",
        "x",
        "--model=y",
        "--disable-log-requests",
        "--gpu-memory-util=0.9",
        "--cuda-graph-sizes",
        "1",
        "--enable-log-requests",
        "--runner",
        "pooling",
        "--convert",
        "--",
        "--override-pooler-config",
        "{}",
        "--a.b",
        "1",
        "-tp",
        "--tokenizer-mode",
        "bpe-qwen",
    ]
)


@settings(max_examples=60)
@given(st.sampled_from(["0.9.0", "0.11.0", "0.12.0", "0.21.0", "0.33.0"]), st.lists(OLD_WORDS, max_size=8))
def test_rewriting_ends_and_is_stable(version: str, words: list[str]) -> None:
    argv = ["vllm", "serve", *words]
    made = replace_for("vllm", version, argv)
    assert replace_for("vllm", version, made.argv).argv == made.argv
    # It never makes a command worse.
    before = [p for p in validate("vllm", version, "", argv).problems if p.severity == "error"]
    assert len([p for p in made.problems if p.severity == "error"]) <= len(before)


def test_what_has_no_replacement_is_left_and_told() -> None:
    made = replace_for("vllm", "0.11.0", ["vllm", "serve", "m", "--numa-bind"])
    assert made.argv == ("vllm", "serve", "m", "--numa-bind")
    assert not made.accepted
    assert made.problems[0].changed_in == "0.20.0"


@pytest.mark.skipif(not COMMANDS.is_file(), reason="the guides' commands are not here")
def test_the_guides_commands_for_the_newest_versions() -> None:
    """All are accepted once rewritten, but for what the newest engine really lacks."""
    left = set()
    for row in json.loads(COMMANDS.read_text(encoding="utf-8")):
        engine = row["kind"].split("-")[0]
        for name in {"vllm": ("vllm", "llm-scaler-vllm")}.get(engine, (engine,)):
            made = replace_for(name, list_versions(name)[-1], row["argv"])
            left |= {(name, p.kind, p.argument, p.value) for p in made.problems if p.severity == "error"}
    assert left == {
        ("vllm", "registry", "--quantization", "sym_int4"),
        ("sglang", "unknown-program", "python -m sglang.bench_one_batch", ""),
    }
