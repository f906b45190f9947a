"""Flags of an engine: what the hook writes down, normalising, labels, and help texts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.facts.paths import shipped_dir
from xpukit.images.engine_flags import (
    LABEL_FLAGS,
    LABEL_FLAGS_HASH,
    EngineFlags,
    encode_flags,
    hash_flags,
    list_flag_names,
    make_labels,
    normalise_parser,
    read_label,
)
from xpukit.images.engine_flags_help import parse_help
from xpukit.images.inside import load_program

RAW = {
    "path": ["serve"],
    "allow_abbrev": False,
    "options": [
        {"flags": ["--seed"], "dest": "seed", "action": "StoreAction", "type": "int", "default": 0},
        {"flags": ["--id"], "dest": "id", "action": "StoreAction", "default": "bench-3fa9c1d2-"},
        {"flags": ["--cache"], "dest": "cache", "action": "StoreAction", "default": "/tmp/tmpab12"},
        {"flags": ["--block"], "dest": "block", "action": "StoreAction", "choices": [16, 8, 128], "default": 16},
        {"flags": ["--dtype"], "dest": "dtype", "action": "StoreAction", "choices": ["half", "auto"], "nargs": None},
        {"flags": [], "dest": "second", "action": "StoreAction", "positional": True},
        {"flags": [], "dest": "first", "action": "StoreAction", "positional": True},
    ],
}
HELP = """\
usage: engine serve [-h] [--host HOST] MODEL

positional arguments:
  MODEL                 Any name

options:
  -h, --help            show this help message and exit
  --host HOST           Address (default: 0.0.0.0)
  --tensor-parallel-size TENSOR_PARALLEL_SIZE, -tp TENSOR_PARALLEL_SIZE
                        How many; see --data-parallel-size (default: 1)
  --dtype {auto,half}, -d {auto,half}
                        Type of weights
  --enforce-eager, --no-enforce-eager
  --trust-remote-code   Run code of the model
  --names NAME [NAME ...]
  --any [X ...]
  --maybe [X]
  --pair A A            Two of them
  --path=PATH           In the manner of GNU
"""


def make(raw: dict[str, object] = RAW) -> EngineFlags:
    flags = normalise_parser("vllm", "0.14", ("vllm", "serve"), raw)
    assert flags is not None
    return flags


def test_entries_are_ordered_sorted_and_without_what_changes_from_run_to_run() -> None:
    entries = make().parsers["vllm serve"]
    # Positionals are matched by place: their order is the parser's.
    assert [entry["dest"] for entry in entries] == ["second", "first", "block", "cache", "dtype", "id", "seed"]
    named = {entry["dest"]: entry for entry in entries}
    assert named["block"]["choices"] == [8, 16, 128]
    assert named["dtype"]["choices"] == ["auto", "half"]
    assert "default" not in named["id"]
    assert "default" not in named["cache"]
    assert named["seed"]["default"] == 0
    assert "nargs" not in named["dtype"]
    assert make().allow_abbrev == {"vllm serve": False}


@pytest.mark.parametrize(
    "value", ["deadbeef", "12345678", "model-0123", "0.0.0.0", "Qwen/Qwen3-0.6B", "float32", "2026-01-01", "facade"]
)
def test_defaults_that_are_no_accident_stay(value: str) -> None:
    raw = {"options": [{"flags": ["--a"], "dest": "a", "action": "StoreAction", "default": value}]}
    assert make(raw).parsers["vllm serve"][0]["default"] == value


def test_labels_bring_the_flags_back() -> None:
    labels = make_labels(make())
    assert read_label(labels) == make()
    assert labels[LABEL_FLAGS_HASH] == hash_flags(make())
    assert encode_flags(make()) == encode_flags(make())


@pytest.mark.parametrize("damage", ["", "!!!", "eJwDAAAAAAE=", "e30="])
def test_damaged_labels_are_not_believed(damage: str) -> None:
    assert read_label({**make_labels(make()), LABEL_FLAGS: damage}) is None
    assert read_label({**make_labels(make()), LABEL_FLAGS_HASH: "0" * 64}) is None
    assert read_label({}) is None


def test_flags_that_are_too_many_for_a_label_leave_their_hash() -> None:
    import random

    chance = random.Random(1)
    options = [
        {"flags": [f"--{index}"], "dest": f"{chance.getrandbits(400):x}z", "action": "StoreAction"}
        for index in range(1500)
    ]
    labels = make_labels(make({"options": options}))
    assert LABEL_FLAGS not in labels
    assert labels[LABEL_FLAGS_HASH]
    assert read_label(labels) is None


def test_the_hash_does_not_depend_on_the_order_of_the_parser() -> None:
    options = RAW["options"]
    assert isinstance(options, list)
    turned = {**RAW, "options": [*reversed(options[:5]), *options[5:]]}
    assert hash_flags(make(turned)) == hash_flags(make())
    changed = msgspec.structs.replace(make(), version="0.15")
    assert hash_flags(changed) != hash_flags(make())


def test_a_help_text_gives_flags_aliases_choices_defaults() -> None:
    named = {entry["dest"]: entry for entry in parse_help(HELP)}
    assert list(named) == [
        "host", "tensor_parallel_size", "dtype", "enforce_eager", "trust_remote_code", "names", "any", "maybe", "pair",
        "path",
    ]  # fmt: skip
    assert named["host"]["default"] == "0.0.0.0"
    assert named["tensor_parallel_size"]["flags"] == ["--tensor-parallel-size", "-tp"]
    assert named["tensor_parallel_size"]["default"] == "1"
    assert named["dtype"]["flags"] == ["--dtype", "-d"]
    assert named["dtype"]["choices"] == ["auto", "half"]
    assert named["enforce_eager"]["action"] == "BooleanOptionalAction"
    assert named["trust_remote_code"]["action"] == "StoreTrueAction"
    assert [named[name].get("nargs") for name in ("names", "any", "maybe", "pair")] == ["+", "*", "?", 2]
    assert named["path"]["action"] == "StoreAction"


@given(st.text() | st.lists(st.sampled_from([*HELP.splitlines(), "  --", "  -{", "\t--x=", "  --a {b"])).map("\n".join))
def test_no_help_text_raises(text: str) -> None:
    for entry in parse_help(text):
        assert entry["flags"]


def test_a_text_that_is_no_help_gives_nothing() -> None:
    assert parse_help("Traceback (most recent call last):\n  File x\nImportError: no") == []
    assert normalise_parser("x", "", ("x",), {"options": 3}) is None


@pytest.mark.live
def test_the_hook_finds_the_stubs_parser_through_its_own_start(tmp_path: Path) -> None:
    """As in an image, without one: the same flags as the stub's own parser has."""
    smoke = shipped_dir("dockerfiles") / "smoke"
    argv = [sys.executable, "-c", load_program("read_flags.py"), load_program("flags_hook.py"), "60"]
    ran = subprocess.run(
        [*argv, sys.executable, str(smoke / "stub_engine.py"), "serve"],
        capture_output=True, timeout=120, check=True, cwd=tmp_path,
    )  # fmt: skip
    said = json.loads(ran.stdout)
    flags = normalise_parser("stub", "1", ("stub-engine", "serve"), said["parser"])
    assert flags is not None
    names = list_flag_names(flags)
    text = (smoke / "stub_engine.py").read_text(encoding="utf-8")
    assert {"--port", "--max-model-len", "-tp", "--no-enforce-eager", "<model_tag>"} <= set(names)
    assert all(f'"{name}"' in text for name in names if name.startswith("--max"))
    assert "executor" in names["--distributed-executor-backend"]["dest"]
    assert names["--dtype"]["choices"] == sorted(names["--dtype"]["choices"])
    assert said["help"] == ""  # it ended before it printed anything
    assert list(tmp_path.iterdir()) == []
