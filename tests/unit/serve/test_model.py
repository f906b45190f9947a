"""Which model is meant: ids, directories, config files, names; never a download, and every guess is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.serve.model_files import LLAMA, get_model, write_directory, write_safetensors
from xpukit.core.errors import UsageError
from xpukit.facts.models import ModelEntry, list_models
from xpukit.host.live import LiveHost
from xpukit.serve.model import resolve_model
from xpukit.serve.model_guess import guess_config, read_billions, strip_quantization
from xpukit.serve.weights import count_parameters


@pytest.mark.parametrize("entry", list_models(), ids=lambda entry: entry.id)
def test_every_known_id_resolves(entry: ModelEntry) -> None:
    model = get_model(entry.id)
    assert model.id == entry.id
    assert model.tasks == entry.tasks
    assert model.needs == entry.needs
    assert count_parameters(model) > 1e8
    if not entry.config:
        assert {guess.what for guess in model.guesses} >= {"shape", "context length"}


def test_needs_of_a_model() -> None:
    assert [need.value for need in get_model("google/gemma-3-27b-it").list_needs("dtype")] == ["bfloat16"]
    assert get_model("Qwen/Qwen3.6-27B").list_needs("tool_parser")[0].value == "qwen3_coder"
    assert get_model("deepseek-ai/DeepSeek-V2-Lite").list_needs("environment")[0].value == "VLLM_MLA_DISABLE=1"


def test_a_directory(tmp_path: Path) -> None:
    total = write_directory(tmp_path / "tiny")
    (tmp_path / "tiny" / "generation_config.json").write_text('{"temperature": 0.6}')
    model = resolve_model(f"{tmp_path}/tiny/", LiveHost())
    assert (model.source, model.name, model.path) == ("directory", "tiny", f"{tmp_path}/tiny")
    assert model.generation == {"temperature": 0.6}
    assert model.stored is not None
    assert model.stored.total_bytes == total
    assert model.guesses == ()
    assert model.tasks == ("generate", "chat")
    assert count_parameters(model) * 2 == pytest.approx(total, rel=0.02)


def test_a_known_model_s_directory_keeps_its_needs_and_its_own_config(tmp_path: Path) -> None:
    write_directory(tmp_path / "Baichuan2-7B-Chat", {**LLAMA, "num_hidden_layers": 6})
    model = resolve_model(str(tmp_path / "Baichuan2-7B-Chat"), LiveHost())
    assert model.list_needs("chat_template")
    assert model.architecture.layers == 6


def test_a_path_on_the_server_that_is_not_here_is_the_known_model() -> None:
    model = get_model("/llm/models/DeepSeek-R1-Distill-Qwen-7B")
    assert model.id == "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"
    assert model.path == "/llm/models/DeepSeek-R1-Distill-Qwen-7B"


def test_a_config_file(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_text(json.dumps({**LLAMA, "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 64}}))
    model = resolve_model("me/mine", LiveHost(), str(path))
    assert (model.source, model.id, model.config_source) == ("config-file", "me/mine", str(path))
    assert model.quantization is not None
    assert model.quantization.group == 64


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no model is named"),
        ("/nowhere/at/all", "no such directory"),
        ("./here", "no such directory"),
        ("someone/something", "its name says no size"),
    ],
)
def test_what_cannot_be_resolved(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        get_model(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("files", "said", "hint"),
    [
        ({}, "no config.json", "--config"),
        ({"a.gguf": "x"}, "GGUF", "--config"),
        ({"params.json": "{}"}, "Mistral's own format", "--config"),
        (
            {"adapter_config.json": '{"base_model_name_or_path": "Qwen/Qwen3-8B"}'},
            "LoRA adapter of Qwen/Qwen3-8B",
            "serve Qwen/Qwen3-8B",
        ),
        ({"config.json": "{"}, "not valid JSON", "copy"),
        ({"config.json": "[1]"}, "not a JSON object", "copy"),
        ({"config.json": "{}"}, "no language model", "config.json"),
    ],
)
def test_a_directory_that_is_no_model(tmp_path: Path, files: dict[str, str], said: str, hint: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=said) as caught:
        resolve_model(str(tmp_path), LiveHost())
    assert hint in caught.value.hint


def test_a_missing_config_file_and_a_file_in_place_of_a_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        resolve_model("x", LiveHost(), str(tmp_path / "none.json"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="a file, not a model directory"):
        resolve_model(str(tmp_path / "config.json"), LiveHost())


def test_a_directory_without_safetensors_says_that_it_is_sized_by_formula(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    (guess,) = resolve_model(str(tmp_path), LiveHost()).guesses
    assert guess.what == "weight bytes"
    assert ".bin" in guess.why


def test_gptq_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    (tmp_path / "quantize_config.json").write_text('{"bits": 4, "group_size": 32}')
    write_safetensors(tmp_path / "model.safetensors", {"model.norm.weight": (256,)})
    stored = resolve_model(str(tmp_path), LiveHost()).quantization
    assert stored is not None
    assert (stored.method, stored.group) == ("gptq", 32)


@pytest.mark.parametrize(
    ("config", "tasks"),
    [
        ({"architectures": ["LlamaForSequenceClassification"]}, ("score", "rerank")),
        ({"architectures": ["BertModel"], "model_type": "bert"}, ("embed",)),
        ({"architectures": ["MistralModel"]}, ("embed",)),
        ({"vision_config": {"depth": 2, "hidden_size": 64, "num_heads": 2}}, ("generate", "chat", "image")),
        ({"architectures": ["NewOCRForCausalLM"]}, ("generate", "chat", "ocr", "image")),
    ],
)
def test_tasks_of_an_unlisted_model(tmp_path: Path, config: dict[str, object], tasks: tuple[str, ...]) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**LLAMA, **config}))
    assert resolve_model("me/mine", LiveHost(), str(path)).tasks == tasks


def test_a_known_model_stored_quantized() -> None:
    model = get_model("Qwen/Qwen3-8B-AWQ")
    assert model.id == "Qwen/Qwen3-8B-AWQ"
    assert model.quantization is not None
    assert model.quantization.method == "awq"
    assert [guess.what for guess in model.guesses] == ["stored quantization"]


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("a/Foo-7B", (7.0, 0.0)),
        ("a/foo-0.5b-chat", (0.5, 0.0)),
        ("a/Foo-30B-A3B", (30.0, 3.0)),
        ("a/Foo-8x7B", (56.0, 0.0)),
        ("a/foo-350m", (0.35, 0.0)),
        ("a/Foo-1T", (1000.0, 0.0)),
        ("a/qwen2.5-coder", (0.0, 0.0)),
        ("7B/foo", (0.0, 0.0)),
    ],
)
def test_the_size_in_a_name(name: str, billions: tuple[float, float]) -> None:
    assert read_billions(name) == pytest.approx(billions)


@pytest.mark.parametrize("name", ["a/Foo-0.5B", "a/Foo-7B", "a/Foo-33B", "a/Foo-70B", "a/Foo-400B", "a/Foo-30B-A3B"])
def test_a_guessed_shape_has_about_that_many_parameters(name: str) -> None:
    model = get_model(name)
    total, _ = read_billions(name)
    assert count_parameters(model) / 1e9 == pytest.approx(total, rel=0.12)
    assert "shape" in {guess.what for guess in model.guesses}
    assert model.architecture.heads % 4 == 0


def test_no_guess_without_a_size() -> None:
    assert guess_config("a/foo") == (None, ())
    assert guess_config("a/foo-99999T") == (None, ())


@pytest.mark.parametrize(
    ("name", "base", "method"),
    [
        ("Qwen/Qwen3-8B-FP8", "Qwen/Qwen3-8B", "fp8"),
        ("a/b-GPTQ-Int4", "a/b", "gptq"),
        ("a/b-AutoRound", "a/b", "auto-round"),
        ("a/b-w4a16", "a/b", "compressed-tensors"),
        ("a/b", "a/b", None),
    ],
)
def test_how_a_name_says_weights_are_stored(name: str, base: str, method: str | None) -> None:
    found, stored, _ = strip_quantization(name)
    assert (found, stored.method if stored else None) == (base, method)


def test_a_checkpoint_that_lacks_most_tensors_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    write_safetensors(tmp_path / "model.safetensors", {"model.norm.weight": (LLAMA["hidden_size"],)})
    [guess] = [one for one in resolve_model(str(tmp_path), LiveHost()).guesses if one.what == "weight bytes"]
    assert "tensors may be missing" in guess.why


def test_a_shard_that_is_missing_is_an_error_and_none_at_all_is_a_guess(tmp_path: Path) -> None:
    write_directory(tmp_path, shards=3)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(UsageError, match="1 of 3 shards are missing: model-00002-of-00003") as caught:
        resolve_model(str(tmp_path), LiveHost())
    assert "--config" in (caught.value.hint or "")
    for path in tmp_path.glob("*.safetensors"):
        path.unlink()
    told = {one.what: one.why for one in resolve_model(str(tmp_path), LiveHost()).guesses}
    assert "3 shards are missing" in told["weight bytes"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_hidden_layers": 10**9}, "more than 4,096 layers"),
        ({"hidden_size": 10**12}, "parameters: that is no model"),
        ({"num_attention_heads": 32, "num_key_value_heads": 3}, "cannot share 3 key-value heads"),
    ],
)
def test_sizes_that_no_model_has(change: dict[str, int], said: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, **change}))
    with pytest.raises(UsageError, match=said):
        resolve_model(str(tmp_path), LiveHost())


def test_more_experts_a_token_than_there_are_and_an_endless_stretch(tmp_path: Path) -> None:
    odd = {"num_experts": 8, "num_experts_per_tok": 64, "rope_scaling": {"rope_type": "yarn", "factor": float("inf")}}
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, **odd}))
    model = resolve_model(str(tmp_path), LiveHost())
    assert model.architecture.experts is not None
    assert model.architecture.experts.per_token == 8
    assert "experts a token takes" in {guess.what for guess in model.guesses}


def make_cache(folder: Path, *revisions: str, main: str = "") -> Path:
    """A model's folder as the Hugging Face cache has it: links into blobs."""
    root = folder / "models--Qwen--Qwen3-8B"
    write_directory(root / "blobs")
    for revision in revisions:
        (root / "snapshots" / revision).mkdir(parents=True)
        for file in (root / "blobs").iterdir():
            (root / "snapshots" / revision / file.name).symlink_to(f"../../blobs/{file.name}")
    if main:
        (root / "refs").mkdir()
        (root / "refs" / "main").write_text(main)
    return root


@pytest.mark.parametrize("place", ["", "snapshots/abc"])
def test_a_folder_of_the_hub_s_cache_is_the_model_of_its_name(place: str, tmp_path: Path) -> None:
    root = make_cache(tmp_path, "abc", "def", main="abc")
    model = resolve_model(str(root / place), LiveHost())
    assert (model.id, model.path) == ("Qwen/Qwen3-8B", str(root / "snapshots" / "abc"))
    assert model.entry is not None
    assert model.stored is not None
    assert model.stored.complete


def test_of_several_revisions_one_must_be_main(tmp_path: Path) -> None:
    root = make_cache(tmp_path, "abc", "def")
    with pytest.raises(UsageError, match="2 revisions and none is main"):
        resolve_model(str(root), LiveHost())
    (root / "snapshots" / "def").rename(tmp_path / "away")
    assert resolve_model(str(root), LiveHost()).path.endswith("/snapshots/abc")


def test_gguf_files_are_not_taken_for_16_bit_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    (tmp_path / "model-Q4_K_M.gguf").write_bytes(b"GGUF")
    for path in (tmp_path, tmp_path / "model-Q4_K_M.gguf"):
        with pytest.raises(UsageError, match="GGUF") as caught:
            resolve_model(str(path), LiveHost())
        assert "safetensors" in caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        {"architectures": ["LlamaForCausalLMEagle3"]},
        {"architectures": ["EAGLEModel"]},
        {"architectures": ["DeepSeekMTPModel"]},
        {"draft_vocab_size": 32000},
    ],
)
def test_a_draft_model_is_not_served_alone(change: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, **change}))
    with pytest.raises(UsageError, match="a draft model") as caught:
        resolve_model(str(tmp_path), LiveHost())
    assert f'"model": "{tmp_path}"' in caught.value.hint
