"""The tables of models: every row has a source, and the shapes have as many parameters as their names say."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from xpukit.core.errors import BadFactsError
from xpukit.facts import model_rules, models, tables
from xpukit.facts.engines import list_versions, load_engine
from xpukit.serve.model_config import read_architecture
from xpukit.serve.model_quantization import read_quantization
from xpukit.serve.model_types import Model
from xpukit.serve.weights import count_active, count_parameters

# Parameters in units of 1e9, as the authors publish them (Intern-S1-Pro: "1T" by its guide, 917 by its config.json).
PUBLISHED = {
    "gpt-oss-20b": 20.9, "gpt-oss-120b": 116.8, "qwen2.5-7b": 7.62, "qwen2.5-14b": 14.8, "qwen2.5-32b": 32.8,
    "llama-3.1-8b": 8.03, "llama-3.1-70b": 70.6, "deepseek-v2-lite": 15.7, "qwen3-8b": 8.19, "qwen3-14b": 14.8,
    "qwen3-32b": 32.8, "qwen3-30b-a3b": 30.5, "qwen3-235b-a22b": 235.1, "mixtral-8x7b": 46.7, "ministral-8b": 8.02,
    "glm-4-9b-0414": 9.4, "glm-4-32b-0414": 32.6, "glm-4.5-air": 106.9, "seed-oss-36b": 36.2, "gemma-3-12b": 12.2,
    "gemma-3-27b": 27.4, "qwen2-vl-7b": 8.29, "qwen2.5-vl-7b": 8.29, "glm-4.1v-9b": 10.3, "ernie-4.5-vl-28b-a3b": 29.4,
    "whisper-large-v3": 1.55, "whisper-medium": 0.77, "bge-m3": 0.57, "qwen3-next-80b-a3b": 80.0,
    "qwen3.6-35b-a3b": 35.1, "qwen3.5-122b-a10b": 122.6, "deepseek-r1": 671.0, "intern-s1": 241.0, "dots.ocr": 3.04,
    "kimi-vl-a3b": 16.4, "glm-4.7-flash": 30.0, "intern-s1-pro": 917.0,
}  # fmt: skip
ACTIVE = {"qwen3-30b-a3b": 3.3, "qwen3-235b-a22b": 22.0, "mixtral-8x7b": 12.9, "deepseek-r1": 37.0, "gpt-oss-120b": 5.1}


def make(name: str) -> Model:
    facts = models.find_config(name)
    assert facts is not None
    architecture, _ = read_architecture(facts.config)
    return Model(
        text=name, id=name, path="", source="registry", config_source=facts.source, category="language", tasks=(),
        architecture=architecture, quantization=read_quantization(facts.config),
    )  # fmt: skip


def test_every_model_has_a_source_a_task_and_a_shape_or_a_size() -> None:
    for entry in models.list_models():
        assert entry.source, entry.id
        assert entry.tasks, entry.id
        assert (models.find_config(entry.config) is not None) != (entry.guessed_billions is not None), entry.id
        assert all(need.source for need in entry.needs), entry.id
    assert max(Counter(entry.id.lower() for entry in models.list_models()).values()) == 1


def test_every_shape_is_used_and_names_its_source() -> None:
    used = {entry.config for entry in models.list_models()}
    for facts in models.list_configs():
        assert facts.name in used
        assert facts.source
        assert facts.date


@pytest.mark.parametrize(("name", "billions"), PUBLISHED.items())
def test_parameters_of_a_shape(name: str, billions: float) -> None:
    assert count_parameters(make(name)) / 1e9 == pytest.approx(billions, rel=0.02)


@pytest.mark.parametrize(("name", "billions"), ACTIVE.items())
def test_active_parameters(name: str, billions: float) -> None:
    assert count_active(make(name).architecture) / 1e9 == pytest.approx(billions, rel=0.1)


@pytest.mark.parametrize("facts", models.list_configs(), ids=lambda facts: facts.name)
def test_a_shape_of_a_known_type(facts: models.ConfigFacts) -> None:
    architecture, guesses = read_architecture(facts.config)
    assert architecture.known
    assert not guesses
    assert architecture.layers
    assert architecture.hidden
    assert architecture.vocabulary


@pytest.mark.parametrize(
    "name",
    [
        "Qwen/Qwen3-8B",
        "qwen/qwen3-8b",
        "/llm/models/Qwen3-8B/",
        "Qwen3-8B",
    ],
)
def test_find_model(name: str) -> None:
    found = models.find_model(name)
    assert found is not None
    assert found.id == "Qwen/Qwen3-8B"


@pytest.mark.parametrize("name", ["", "/", "Qwen3-9B", "Qwen/Qwen3-8B-AWQ"])
def test_find_no_model(name: str) -> None:
    assert models.find_model(name) is None


def test_all_85_of_llm_scaler_s_table_are_there() -> None:
    listed = [entry for entry in models.list_models() if "supported models" in entry.source]
    # Two rows of the table name two sizes each.
    assert len(listed) == 87
    assert all(entry.quantizations or entry.id.endswith("-FP8") for entry in listed)


def test_rules_agree_with_the_engines_own_defaults() -> None:
    for engine in ("vllm", "llm-scaler-vllm"):
        for version in list_versions(engine):
            flag = load_engine(engine, version).programs["vllm serve"].options["--gpu-memory-utilization"]
            rule = model_rules.find_rule("utilization", engine=engine, version=version)
            assert rule is not None
            assert rule.value == flag.default, (engine, version)
    for version in list_versions("lmdeploy"):
        options = load_engine("lmdeploy", version).programs["lmdeploy serve api_server"].options
        for name, flag_name in (("utilization", "--cache-max-entry-count"), ("block_size", "--cache-block-seq-len")):
            rule = model_rules.find_rule(name, engine="lmdeploy", version=version)
            assert rule is not None
            assert rule.value == options[flag_name].default


def test_offload_is_a_variable_of_the_engines_that_the_rule_names() -> None:
    for engine in ("vllm", "llm-scaler-vllm"):
        known = load_engine(engine, list_versions(engine)[-1]).registries["env_vars"]
        rule = model_rules.find_rule("offload", engine=engine, version="")
        assert (rule is not None) == ("VLLM_OFFLOAD_WEIGHTS_BEFORE_QUANT" in known)


def test_allowed_online_quantizations_are_registered_by_the_engine() -> None:
    for engine in ("vllm", "llm-scaler-vllm"):
        for version in list_versions(engine):
            methods = load_engine(engine, version).registries.get("quantization_methods", ())
            for name in ("fp8", "sym_int4", "mxfp4"):
                support = model_rules.find_support(name, engine=engine, version=version, platform="BMG")
                if support is not None and support.allowed and support.flag and methods:
                    assert support.flag in methods, (engine, version, name)


def test_the_first_row_that_holds_decides() -> None:
    old = model_rules.find_rule("utilization", engine="vllm", version="0.19.1")
    new = model_rules.find_rule("utilization", engine="vllm", version="0.20.0")
    assert old is not None
    assert new is not None
    assert (old.value, new.value) == (0.9, 0.92)
    assert model_rules.find_rule("no such rule", engine="vllm", version="0.20.0") is None
    large = model_rules.find_rule("max_num_seqs", engine="vllm", version="0.20.0", device_bytes=80 << 30)
    assert large is not None
    assert large.value == 1024


def test_the_log_patterns_match_the_formats_they_are_for() -> None:
    for row in models.list_log_patterns():
        assert re.compile(row.regex)
        assert row.source


def test_a_damaged_table_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "models.json").write_text(json.dumps({"schema": "other", "date": "", "models": []}))
    monkeypatch.setattr(tables, "data_dir", lambda: tmp_path)
    with pytest.raises(BadFactsError, match="schema"):
        models.list_models.__wrapped__()
    with pytest.raises(BadFactsError, match=r"configs\.json"):
        models.list_configs.__wrapped__()


def test_an_unknown_estimate_is_said() -> None:
    with pytest.raises(BadFactsError, match="no estimate"):
        models.find_estimate("nothing")
