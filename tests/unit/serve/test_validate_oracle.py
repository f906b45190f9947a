"""Our reading of a command against what the engines' own parsers said of it.

The recorded verdicts (every command of the guides, every known version) lie outside the repository; where they are, all
are compared. A sample, made of commands of our own with the verdicts the same parsers give, is always compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from xpukit.facts.engine_rules import find_entry
from xpukit.facts.engines import EngineSchema, list_engines, list_versions, load_engine
from xpukit.serve.validate_command import find_command, rewrite_words
from xpukit.serve.validate_parse import Word, match_option, parse_arguments
from xpukit.serve.validate_read import Reading, read_command

ENGINES = Path(__file__).resolve().parents[4] / "shared" / "engines"
needs_recorded = pytest.mark.skipif(not ENGINES.is_dir(), reason="the recorded verdicts are not here")

KINDS = {
    "ok": {"ok"},
    "MODEL-POSITIONAL": {"model-option"},
    "UNREC": {"unknown-flag", "extra-word"},
    "AMBIG": {"ambiguous"},
    "CHOICE": {"choice"},
    "NOMODULE": {"unknown-program"},
    # The program did not start in that version.
    "exc": {"unknown-program"},
}


def judge(argv: list[str], schema: EngineSchema) -> tuple[str, Reading]:
    """What the argument parser ends with: "ok", or the kind of its first error."""
    reading = read_command(argv, schema, env={})
    first = next((p for p in reading.problems if p.severity == "error" and p.stage == "parser"), None)
    return (first.kind if first else "ok"), reading


def read_table(name: str) -> Iterator[tuple[list[str], str, str]]:
    """(leading cells, version, verdict) of each cell."""
    columns: list[str] = []
    for line in (ENGINES / name).read_text(encoding="utf-8").splitlines():
        cells = line.split("\t")
        if cells[0] == "engine":
            columns = cells
            continue
        count = next(at for at, column in enumerate(columns) if column[0].isdigit())
        for version, verdict in zip(columns[count:], cells[count:], strict=True):
            yield cells[:count], version, verdict


@needs_recorded
def test_every_recorded_command_agrees() -> None:
    commands = {
        f"{row['id']} {row['kind']}": row for row in json.loads((ENGINES / "commands.json").read_text(encoding="utf-8"))
    }
    wrong, count = [], 0
    for (engine, command), version, verdict in read_table("command_x_version.tsv"):
        schema = load_engine("llm-scaler-vllm" if engine == "llmscaler" else engine, version)
        kind, reading = judge(commands[command]["argv"], schema)
        said, _, rest = verdict.partition(" ")
        agrees = kind in KINDS[said]
        if said == "UNREC" and agrees and reading.parsed is not None:
            # The recorded text is cut.
            extras = " ".join(word.text for word in reading.parsed.extras)
            agrees = extras.startswith(rest.strip()[:30])
        if said in ("AMBIG", "CHOICE") and agrees:
            problem = next(p for p in reading.problems if p.severity == "error")
            agrees = problem.argument == rest.split()[0] and (said == "AMBIG" or repr(problem.value) in rest)
        if not agrees:
            wrong.append((engine, version, command, verdict, kind))
        count += 1
    assert not wrong, wrong[:20]
    assert count > 2000


@needs_recorded
def test_every_recorded_flag_agrees() -> None:
    wrong, count = [], 0
    for (engine, program, flag), version, verdict in read_table("flag_x_version.tsv"):
        schema = load_engine(engine, version)
        count += 1
        said = judge_flag(flag, program, schema)
        if said != verdict:
            wrong.append((engine, version, program, flag, verdict, said))
    assert not wrong, (len(wrong), wrong[:20])
    assert count > 5000


def judge_flag(flag: str, program: str, schema: EngineSchema) -> str:
    """In the words of the recorded table."""
    known = schema.programs.get(program)
    if known is None:
        return "-"
    entry = find_entry(schema.engine, program)
    assert entry is not None
    command = find_command([*entry.words, flag], engine=schema.engine)
    assert command is not None
    # vLLM reads underscores as dashes.
    spelt = rewrite_words(command, known, schema).words[0].text if flag != "--model" else flag
    found = match_option(spelt, known)
    if not found:
        return "NO"
    if len(found) > 1:
        return "AMBIG"
    if found[0] != spelt:
        return f"abbr:{found[0]}"
    return "ok(dep)" if known.options[spelt].deprecated else "ok"


# Written for this test; the verdicts are those of each release's own parser (schemas of 2026-11-20).
SAMPLE = [
    ("vllm", "0.11.0", "vllm serve --model m", "model-option"),
    ("vllm", "0.11.1", "vllm serve --model m", "ok"),
    ("llm-scaler-vllm", "1.2", "vllm serve --model m", "model-option"),
    ("llm-scaler-vllm", "1.3", "vllm serve --model m", "ok"),
    ("vllm", "0.11.0", "python3 -m vllm.entrypoints.openai.api_server --model m", "ok"),
    ("vllm", "0.9.0", "python3 -m vllm.entrypoints.openai.api_server --model m", "ambiguous"),
    ("vllm", "0.12.0", "vllm serve m --task embed", "ok"),
    ("vllm", "0.13.0", "vllm serve m --task embed", "unknown-flag"),
    ("vllm", "0.16.0", "vllm serve m --disable-log-requests", "ok"),
    ("vllm", "0.17.0", "vllm serve m --disable-log-requests", "unknown-flag"),
    ("vllm", "0.21.0", "vllm serve m --dp 2", "unknown-flag"),
    ("vllm", "0.22.0", "vllm serve m --dp 2", "ambiguous"),
    ("vllm", "0.22.0", "vllm serve m -dp 2", "ok"),
    ("vllm", "0.21.0", "vllm serve m --max_model_len 8k --gpu-memory-util=0.9 -tp=2", "ok"),
    ("vllm", "0.12.0", "vllm serve m --mamba-ssm-cache-dtype float16", "choice"),
    ("vllm", "0.13.0", "vllm serve m --mamba-ssm-cache-dtype float16", "ok"),
    ("vllm", "0.21.0", "vllm serve m --max-model-len many", "type"),
    ("vllm", "0.21.0", "vllm serve m --port", "argument-count"),
    ("sglang", "0.4.6.post5", "python -m sglang.launch_server --model-path m --tp 2 --ep 2", "ambiguous"),
    ("sglang", "0.5.23", "python -m sglang.launch_server --model-path m --tp 2 --ep 2", "ok"),
    ("sglang", "0.5.23", "python -m sglang.launch_server --tp 2", "missing"),
    ("sglang", "0.5.20", "python -m sglang.launch_server --model m --keep-mm-feature-on-device", "ok"),
    ("sglang", "0.5.21", "python -m sglang.launch_server --model m --keep-mm-feature-on-device", "unknown-flag"),
    ("sglang", "0.5.23", "python -m sglang.bench_one_batch --model m", "unknown-program"),
    ("lmdeploy", "0.18.0", "lmdeploy serve api_server m --backend pytorch --tp 4 --dp 2", "ok"),
    ("lmdeploy", "0.18.0", "lmdeploy serve api_server --backend pytorch", "missing"),
    ("lmdeploy", "0.18.0", "lmdeploy serve api_server m --backend torch", "choice"),
]


@pytest.mark.parametrize(("engine", "version", "command", "verdict"), SAMPLE)
def test_sample_agrees(engine: str, version: str, command: str, verdict: str) -> None:
    assert judge(command.split(), load_engine(engine, version))[0] == verdict


@cache
def _all_versions() -> list[tuple[str, str]]:
    return [(engine, version) for engine in list_engines() for version in list_versions(engine)]


def test_every_version_accepts_its_own_flags() -> None:
    """Each spelling of each argument, is recognised as that argument, and switches take no value."""
    for engine, version in _all_versions():
        for program in load_engine(engine, version).programs.values():
            assert all(match_option(option, program) == (option,) for option in program.options)
            switches = [option for option, flag in program.options.items() if flag.nargs == 0]
            parsed = parse_arguments([Word(text=option, origin=0) for option in switches], program)
            assert [given.option for given in parsed.given] == switches
            assert not parsed.extras


def test_rewriting_keeps_every_origin() -> None:
    schema = load_engine("vllm", "0.21.0")
    argv = ["A=1", "vllm", "serve", "--trust_remote_code", "--model", "m", "-O3", "--eplb-config.window_size", "3", "x"]
    command = find_command(argv, engine="vllm")
    assert command is not None
    rewritten = rewrite_words(command, schema.programs["vllm serve"], schema)
    assert {word.origin for word in rewritten.words} <= set(range(len(argv)))
    assert rewritten.words[0].text == "m"
    assert argv[rewritten.words[0].origin] == "m"
