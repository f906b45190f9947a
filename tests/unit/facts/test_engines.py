"""Engine schemas: loading, versions and images, history, documents of images, and the data files themselves."""

from __future__ import annotations

import json
import lzma
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.core.errors import BadFactsError, UsageError
from xpukit.facts import engines
from xpukit.facts.engine_history import (
    find_choice_change,
    find_engines_with_name,
    find_flag_change,
    find_name_change,
    find_program_change,
)
from xpukit.facts.engine_import import (
    Action,
    Extracted,
    decode_extracted,
    join_versions,
    normalise_argument,
    split_versions,
)
from xpukit.facts.engine_records import EngineFile, build_ranges, is_in
from xpukit.facts.engine_rules import load_intents, load_replacements, load_rules
from xpukit.facts.engine_versions import find_engine, load_names, version_key
from xpukit.facts.engines import (
    build_schema,
    list_engines,
    list_versions,
    load_engine,
    load_file,
    load_schema_file,
    read_flags_document,
    resolve_engine,
    resolve_version,
)
from xpukit.facts.paths import data_dir

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "import-engine-schemas"
FOLDER = data_dir() / "engines"


def test_the_four_engines_are_in() -> None:
    assert list_engines() == ("llm-scaler-vllm", "lmdeploy", "sglang", "vllm")
    assert {engine: len(list_versions(engine)) for engine in list_engines()} == {
        "llm-scaler-vllm": 11, "lmdeploy": 12, "sglang": 29, "vllm": 41,
    }  # fmt: skip


def test_the_data_stays_small() -> None:
    # 93 schemas of 5.8 MB in all.
    assert sum(path.stat().st_size for path in FOLDER.glob("*.json.xz")) < 80_000


@pytest.mark.parametrize("engine", list_engines())
def test_every_version_loads(engine: str) -> None:
    for version in list_versions(engine):
        schema = load_engine(engine, version)
        assert schema.exact
        assert schema.programs
        assert schema.source
        assert all(flag.dest for program in schema.programs.values() for flag in program.flags)
    keys = [version_key(version, engine=engine) for version in list_versions(engine)]
    assert None not in keys
    assert keys == sorted(keys)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("text", "engine", "version", "exact"),
    [
        ("vllm==0.21.0", "vllm", "0.21.0", True),
        ("vllm/vllm-openai:v0.21.0", "vllm", "0.21.0", True),
        ("intel/llm-scaler-vllm:1.4", "llm-scaler-vllm", "1.4", True),
        ("host:5000/intel/llm-scaler-vllm:0.14.0-b8.3.1@sha256:00", "llm-scaler-vllm", "0.14.0-b8.3.1", True),
        ("intel/llm-scaler-vllm:1.1-preview", "llm-scaler-vllm", "0.10.0-b2", True),
        ("lmsysorg/sglang:v0.5.9", "sglang", "0.5.9", True),
        ("sglang", "sglang", "0.5.23", False),
        ("sglang:latest", "sglang", "0.5.23", False),
        ("vllm==0.21.5", "vllm", "0.21.0", False),
        ("vllm==99.0", "vllm", "0.33.0", False),
        ("vllm==0.1", "vllm", "0.9.0", False),
        ("lmdeploy==0.9.2.post1", "lmdeploy", "0.9.2", False),
    ],
)
def test_images_and_packages(text: str, engine: str, version: str, exact: bool) -> None:
    found = resolve_engine(text)
    assert (found.engine, found.version, found.exact) == (engine, version, exact)
    assert found.label.startswith("guess") is not exact


def test_what_is_no_engine() -> None:
    assert find_engine("ollama") is None
    with pytest.raises(UsageError, match="not an engine"):
        resolve_version("ollama", "1")
    with pytest.raises(UsageError, match="no schema of vllm 0\\.0"):
        load_engine("vllm", "0.0")
    with pytest.raises(UsageError, match="no schemas of engine"):
        load_file("ollama")


@given(st.text(max_size=20), st.sampled_from(["vllm", "llm-scaler-vllm"]))
def test_no_version_text_raises(text: str, engine: str) -> None:
    version_key(text, engine=engine)
    resolve_version(engine, text)


def test_order_of_versions() -> None:
    def key(text: str, engine: str = "vllm") -> Any:
        return version_key(text, engine=engine)

    assert key("0.11.0rc1") < key("0.11.0") < key("0.11.0.post1") < key("0.11.1") < key("0.11.10")
    assert key("0.14.0-b8", "llm-scaler-vllm") < key("1.4", "llm-scaler-vllm") < key("0.14.0-b8.3.1", "llm-scaler-vllm")


def test_history() -> None:
    task = find_flag_change("vllm", "0.21.0", "vllm serve", "--task")
    assert (task.last_in, task.removed_in, task.added_in) == ("0.12.0", "0.13.0", "")
    assert task.describe("vllm") == "removed in vllm 0.13.0 (last in 0.12.0)"
    assert find_flag_change("vllm", "0.11.0", "vllm serve", "--numa-bind").added_in == "0.20.0"
    assert find_flag_change("vllm", "0.21.0", "vllm serve", "--nope").describe("vllm") == ""
    assert find_flag_change("ollama", "1", "serve", "--nope").version == ""
    # A version between two known ones.
    assert find_flag_change("vllm", "0.12.5", "vllm serve", "--numa-bind").version == "0.20.0"
    dtype = find_choice_change("vllm", "0.12.0", "vllm serve", "--mamba-ssm-cache-dtype", "float16")
    assert dtype.added_in == "0.13.0"
    assert find_program_change("sglang", "0.5.23", "python -m sglang.bench_one_batch").removed_in == "0.5.21"
    assert find_name_change("vllm", "0.9.2", "tool_parsers", "qwen3_coder").added_in == "0.10.0"
    assert find_engines_with_name("quantization_methods", "sym_int4", other_than="vllm") == ("llm-scaler-vllm",)


@given(st.lists(st.integers(0, 60), max_size=30))
def test_ranges_hold_their_places(places: list[int]) -> None:
    ranges = build_ranges(places)
    assert {at for at in range(62) if is_in(ranges, at)} == set(places)


RAW: dict[str, Any] = {
    "engine": "vllm",
    "version": "0.1",
    "parsers": {
        "vllm serve": [
            {"dest": "model_tag", "nargs": "?", "positional": True},
            {"dest": "dtype", "flags": ["--dtype"], "choices": ["half", "auto"], "default": "auto", "type": "str"},
            {"dest": "request_id_prefix", "flags": ["--request-id-prefix"], "default": "bench-1f2e3d"},
            {"dest": "old", "flags": ["--old"], "action": "DeprecatedAction", "nargs": 0, "default": "==SUPPRESS=="},
        ]
    },
    "registries": {"tool_parsers": ["hermes"], "tool_err": "No module"},
}


def extract(**changes: Any) -> Extracted:
    return decode_extracted(json.dumps({**RAW, **changes}).encode(), source="test")


def test_what_changes_from_run_to_run_is_taken_out() -> None:
    shuffled = json.loads(json.dumps(RAW))
    shuffled["parsers"]["vllm serve"][1]["choices"].reverse()
    shuffled["parsers"]["vllm serve"][2]["default"] = "bench-999"
    shuffled["registries"] = {"tool_err": "other", "tool_parsers": ["hermes"]}
    made = [
        msgspec.json.encode(join_versions([extract(**document)], order={"0.1": 0}, source="s", date="d"))
        for document in (RAW, shuffled)
    ]
    assert made[0] == made[1]
    assert normalise_argument(Action(dest="x", choices=[3, "b", 1])).choices == (1, 3, "b")
    assert normalise_argument(Action(dest="x", default=float("inf"))).default == "inf"


def test_versions_are_joined_and_taken_apart_again() -> None:
    newer = extract(version="0.2", parsers={"vllm serve": RAW["parsers"]["vllm serve"][:2]})
    file = join_versions([newer, extract()], order={"0.1": 0, "0.2": 1}, source="s", date="d")
    assert file.versions == ("0.1", "0.2")
    by_name = {record.flags: record for record in file.flags}
    assert by_name[("--dtype",)].programs == {"0": ((0, 1),)}
    assert by_name[("--old",)].programs == {"0": ((0, 0),)}
    again = msgspec.json.decode(msgspec.json.encode(file), type=EngineFile)
    assert again == file
    with pytest.raises(BadFactsError, match="several engines"):
        join_versions([extract(), extract(engine="sglang")], order={"0.1": 0}, source="s", date="d")


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{", b'{"engine": "vllm"}', b'{"engine": "vllm", "version": "1", "parsers": {}}',
     b'{"engine": "vllm", "version": "1", "parsers": {"vllm serve": [{"flags": ["--x"]}]}}'],
)  # fmt: skip
def test_broken_documents_are_named(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_bytes(data)
    with pytest.raises(BadFactsError, match=r"schema\.json"):
        load_schema_file(path)
    with pytest.raises(BadFactsError, match="cannot be read"):
        load_schema_file(tmp_path / "none.json")


def image_document(**changes: Any) -> dict[str, Any]:
    return {
        "schema": "xpukit.engine-flags/1",
        "engine": "vllm",
        "version": "0.21.0",
        "method": "parser",
        "allow_abbrev": {"/opt/venv/bin/python3 -m vllm.entrypoints.openai.api_server": True},
        "parsers": {
            "/opt/venv/bin/python3 -m vllm.entrypoints.openai.api_server": [
                {"flags": [], "dest": "model_tag", "action": "StoreAction", "nargs": "?", "positional": True},
                {"flags": ["--port"], "dest": "port", "action": "StoreAction", "type": "_optional_type"},
                {"flags": ["--seed"], "dest": "seed", "action": "StoreAction", "type": "int"},
                {"flags": ["--of-this-image"], "dest": "mine", "action": "StoreTrueAction", "nargs": 0},
            ]
        },
        **changes,
    }


def test_flags_of_an_image() -> None:
    schema = read_flags_document(image_document())
    program = schema.programs["vllm serve"]
    assert set(program.options) == {"--port", "--seed", "--of-this-image"}
    # What the document has no word of comes from the packaged schema of that very version.
    assert "vllm bench serve" in schema.programs
    assert "hermes" in schema.registries["tool_parsers"]
    # The name of a closure says nothing; the packaged type does.
    assert program.options["--port"].type == "int"
    assert schema.exact


def test_flags_of_an_image_of_an_unknown_version() -> None:
    schema = read_flags_document(image_document(version="0.21.9+xpu"))
    assert set(schema.programs) == {"vllm serve"}
    assert schema.registries == {}
    guess = read_flags_document(image_document(method="help", version=""))
    assert guess.label.startswith("guess")
    with pytest.raises(BadFactsError, match="no engine we know"):
        read_flags_document(image_document(engine="stub"))


def test_help_texts_get_the_positionals() -> None:
    document = image_document(method="help")
    name = next(iter(document["parsers"]))
    document["parsers"] = {name: document["parsers"][name][1:]}
    assert [flag.dest for flag in read_flags_document(document).programs["vllm serve"].positionals] == ["model_tag"]


def test_rows_name_programs_and_sources() -> None:
    rules, known = load_rules(), {engine: {p.name for p in load_file(engine).programs} for engine in list_engines()}
    rows: list[Any] = [
        *rules.entry, *rules.quirk, *rules.registry, *rules.combination, *rules.arithmetic, *rules.environment,
        *load_replacements(), *load_intents(), *load_names().image, *load_names().alias,
    ]  # fmt: skip
    assert all(row.source for row in rows)
    for row in (*rules.entry, *rules.combination, *rules.arithmetic):
        assert all(row.program in known[engine] for engine in row.engines), row
    for replacement in load_replacements():
        assert all(any(name in known[engine] for name in replacement.programs) for engine in replacement.engines)
    for entry in rules.entry:
        assert entry.role
    for combination in rules.combination:
        dests = {record.dest for engine in combination.engines for record in load_file(engine).flags}
        assert {combination.dest, combination.needs or combination.excludes} <= dests, combination


def test_broken_data_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "engines").mkdir()
    for name in ("rules.toml", "replacements.toml", "intents.toml", "engines.toml"):
        (tmp_path / "engines" / name).write_text((FOLDER / name).read_text(encoding="utf-8"))
    (tmp_path / "engines" / "vllm.json.xz").write_bytes(b"not xz")
    monkeypatch.setattr(engines, "data_dir", lambda: tmp_path)
    load_file.cache_clear()
    try:
        with pytest.raises(BadFactsError, match=r"vllm\.json\.xz"):
            load_file("vllm")
        (tmp_path / "engines" / "vllm.json.xz").write_bytes(lzma.compress(b"{}"))
        with pytest.raises(BadFactsError, match=r"vllm\.json\.xz"):
            load_file("vllm")
    finally:
        load_file.cache_clear()


def test_positionals_keep_their_order() -> None:
    parsers = {"vllm serve": [{"dest": "second_by_name"}, {"dest": "a_later"}, {"dest": "b", "flags": ["--b"]}]}
    schema = build_schema(extract(parsers=parsers), source="s", date="d")
    assert [flag.dest for flag in schema.programs["vllm serve"].positionals] == ["second_by_name", "a_later"]


@pytest.mark.parametrize("engine", list_engines())
def test_a_joined_file_comes_apart_without_loss(engine: str) -> None:
    """What `import-engine-schemas --add` rests on."""
    file = load_file(engine)
    order = {version: rank for rank, version in enumerate(file.versions)}
    again = join_versions(split_versions(file), order=order, source=file.source, date=file.date)
    assert again == file


ENGINE = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--dtype", choices={"half", "auto", "bfloat16"})
for name in ("--one", "--two", "--three", "--four"):
    parser.add_argument(name, type=int)
parser.parse_args()
raise SystemExit("not reached")
"""


@pytest.mark.live
def test_the_script_asks_a_real_parser(tmp_path: Path) -> None:
    """A stand-in for sglang: its module's own parser is asked, and the document is one that we read."""
    package = tmp_path / "place" / "sglang"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "launch_server.py").write_text(ENGINE)
    words = [
        sys.executable,
        str(SCRIPT),
        "extract",
        sys.executable,
        "sglang",
        str(tmp_path / "out"),
        "--version",
        "9.9",
    ]
    ran = subprocess.run(words, cwd=package.parent, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr
    schema = load_schema_file(tmp_path / "out" / "sglang-9.9.json")
    program = schema.programs["python -m sglang.launch_server"]
    assert [flag.dest for flag in program.positionals] == ["model"]
    assert program.options["--dtype"].choices == ("auto", "bfloat16", "half")
    assert program.options["--one"].type == "int"
    again = subprocess.run(words, cwd=package.parent, capture_output=True, check=False, timeout=120)
    assert again.returncode == 0
    first = (tmp_path / "out" / "sglang-9.9.json").read_bytes()
    assert json.loads(first)["version"] == "9.9"


def test_the_script_finds_the_packaged_files_unchanged() -> None:
    names = runpy.run_path(str(SCRIPT), run_name="imported")
    for engine in list_engines():
        packaged = lzma.decompress((FOLDER / f"{engine}.json.xz").read_bytes())
        assert names["render"](load_file(engine)) == packaged


def test_a_schema_from_nothing_but_a_document() -> None:
    schema = build_schema(extract(), source="s", date="d")
    assert schema.programs["vllm serve"].options["--old"].deprecated
    assert schema.registries == {"tool_parsers": ("hermes",)}
