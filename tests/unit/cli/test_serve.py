"""`xpukit serve` as a user sees it: on recorded machines and named platforms, and with input that is wrong."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.unit.serve.model_files import write_directory
from xpukit.cli.app import run
from xpukit.serve.forms.mounts import read_mount

RECORDED = Path(__file__).resolve().parents[2] / "machines" / "recorded"
Golden = Callable[[str, str], None]
# From the guides' own log: what vLLM says while it starts.
LOG = """INFO 07-11 06:18:20 [gpu_model_runner.py:1770] Model loading took 7.7500 GiB and 12.1 seconds
INFO 07-11 06:18:32 [kv_cache_utils.py:646] GPU KV cache size: 114,432 tokens
INFO 07-11 06:18:32 [kv_cache_utils.py:649] Maximum concurrency for 18,000 tokens per request: 6.36x
"""


def call(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = run(["serve", *argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def plan_of(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    code, out, err = call(capsys, *argv, "--json")
    assert code == 0, err
    document: dict[str, Any] = json.loads(out)
    return document


@pytest.mark.parametrize("machine", ["b60x8_2s", "b60x4_bmc", "max1550", "dual_card"])
def test_a_launch_on_a_recorded_machine(machine: str, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    code, out, _ = call(capsys, "Qwen/Qwen3-8B", "--from", str(RECORDED / f"{machine}.tar.xz"))
    assert code == 0
    golden(f"serve-{machine}.txt", out)


def test_the_whole_reasoning(capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    code, out, _ = call(capsys, "Qwen/Qwen3-32B", "--explain", "--from", str(RECORDED / "b60x8_2s.tar.xz"))
    assert code == 0
    golden("serve-explain.txt", out)


@pytest.mark.parametrize("machine", ["unbound", "vm"])
def test_a_machine_without_a_gpu_for_it(machine: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "Qwen/Qwen3-32B", "--from", str(RECORDED / f"{machine}.tar.xz"))
    if machine == "unbound":
        assert code == 2
        assert out == ""
        assert "no GPU to plan for" in err
        assert "driver" in err
    else:
        assert code in (0, 1)


def test_what_does_not_fit_says_by_how_much_and_what_would_help(
    capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    code, out, _ = call(capsys, "Qwen/Qwen3-235B-A22B", "--platform", "2xB60")
    assert code == 1
    golden("serve-no-fit.txt", out)


def test_a_flag_that_is_gone_is_refused_with_its_replacement(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("bge-m3", "--platform", "1xB60", "--engine", "llm-scaler-vllm:0.21.0-b2", "--", "--task", "embed")
    code, out, err = call(capsys, *asked)
    assert code == 2
    assert out == ""
    assert "--runner pooling" in err
    code, out, err = call(capsys, *asked[:5], "--force", *asked[5:])
    assert code == 0
    assert "--task embed" in out


def test_json_follows_its_schema_and_is_the_same_each_time(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = str(RECORDED / "b60x8_2s.tar.xz")
    one, two = (plan_of(capsys, "Qwen/Qwen3-32B", "--from", machine) for _ in range(2))
    schema = json.loads((repo / "docs" / "schemas" / "xpukit.plan-1.json").read_text(encoding="utf-8"))
    jsonschema.validate(one, schema)
    one.pop("created")
    two.pop("created")
    assert one == two


@pytest.mark.parametrize("form", ["shell", "docker"])
def test_a_saved_plan_gives_the_same_text(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / "plan.json"
    machine = str(RECORDED / "b60x4_bmc.tar.xz")
    code, first, _ = call(capsys, "Qwen/Qwen3-32B", "--from", machine, "--form", form, "--save", str(saved))
    assert code == 0
    code, again, _ = call(capsys, "--plan", str(saved), "--form", form)
    assert code == 0
    assert again == first


def test_files_are_written_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "start.sh"
    code, said, err = call(capsys, "Qwen/Qwen3-8B", "--platform", "1xB60", "--out", str(out))
    assert (code, said) == (0, "")
    assert str(out) in err
    assert out.stat().st_mode & 0o111
    assert [path.name for path in tmp_path.iterdir()] == ["start.sh"]


@pytest.mark.parametrize("words", [("--out",), ("--form", "docker", "--run", "--out")])
def test_a_place_that_cannot_be_written_is_named(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("xpukit.cli.serve_start._require_image", lambda *_: None)
    monkeypatch.setattr("xpukit.host.foreground.is_port_free", lambda port: True)
    (tmp_path / "file").write_text("")
    code, out, err = call(capsys, "Qwen/Qwen3-8B", "--platform", "1xB60", *words, str(tmp_path / "file" / "x.sh"))
    assert (code, out) == (4, "")
    assert f"{tmp_path}/file" in err
    assert "cannot be made" in err
    assert "next:" in err


def test_an_image_whose_name_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(
        capsys, "Qwen/Qwen3-8B", "--image", "team/serving:7", "--from", str(RECORDED / "b60x4_bmc.tar.xz")
    )
    assert (code, out) == (2, "")
    assert "--image team/serving:7: its name says no engine we know" in err
    assert "--engine NAME:VERSION" in err


def make_model(folder: Path, config: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "torch_dtype": "bfloat16",
}


@pytest.mark.live
def test_a_folder_is_served_from_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_model(tmp_path / "mine", CONFIG)
    code, out, _ = call(capsys, str(model), "--platform", "1xB60", "--form", "docker")
    assert code == 0
    assert f"source={model},target={model},readonly" in out
    assert "--served-model-name mine" in out


@pytest.mark.live
@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "config.json").write_bytes(b"\xff{"), "config.json"),
        (lambda folder: (folder / "model.safetensors.index.json").write_bytes(b"{}["), "index"),
    ],
    ids=["no config", "config damaged", "index damaged"],
)
def test_a_damaged_folder_is_named(
    damage: Callable[[Path], object], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_model(tmp_path / "mine", CONFIG)
    damage(model)
    out = tmp_path / "out.sh"
    code, _, err = call(capsys, str(model), "--platform", "1xB60", "--out", str(out))
    assert code == 2
    assert part in err
    assert not out.exists()


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        ((), "no model"),
        (("Qwen/Qwen3-8B", "--platform", "4xB600"), "B600"),
        (("Qwen/Qwen3-8B", "--platform", "4xB60", "--context", "long"), "--context"),
        (("Qwen/Qwen3-8B", "--platform", "4xB60", "--form", "helm"), "helm"),
        (("Qwen/Qwen3-8B", "--platform", "4xB60", "--pin", "some"), "--pin"),
        (("Qwen/Qwen3-8B", "--platform", "4xB60", "--tp", "3"), "3"),
        (("Qwen/Qwen3-8B", "--platform", "4xB60", "-q", "int3"), "int3"),
        (("--plan", "/no/such/plan.json"), "/no/such/plan.json"),
        (("Qwen/Qwen3-8B", "--platform", "4xB60", "--calibrate", "/no/such.log"), "/no/such.log"),
        (("Qwen/Qwen3-8B", "--platform", "2xMax1550", "--engine", "vllm", "--form", "docker"), "image"),
    ],
)
def test_wrong_input_is_named(argv: tuple[str, ...], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, *argv)
    assert (code, out) == (2, "")
    assert part in err
    assert "next:" in err


def test_the_estimate_beside_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    log = tmp_path / "vllm.log"
    log.write_text(LOG, encoding="utf-8")
    asked = (
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
        "--platform",
        "1xB60",
        "-q",
        "fp8",
        "-c",
        "18000",
        "--utilization",
        "0.9",
    )
    code, out, err = call(capsys, *asked, "--engine", "llm-scaler-vllm:1.0", "--calibrate", str(log))
    assert code == 0
    assert "was not kept" in err
    assert "6.36" in out
    golden("serve-calibrate.txt", out)


def test_a_log_that_says_nothing_of_memory_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "vllm.log"
    log.write_text("INFO starting\n", encoding="utf-8")
    code, out, err = call(capsys, "Qwen/Qwen3-8B", "--platform", "1xB60", "--calibrate", str(log))
    assert (code, out) == (3, "")
    assert "start-up log" in err


def test_forms_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "--forms")
    assert code == 0
    for name in ("shell", "docker", "compose", "systemd", "quadlet", "k8s"):
        assert name in out


def test_loads_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--scenarios"]) == 0
    assert "summarization-high" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        ((), "no model"),
        (("Qwen/Qwen3-8B",), "no load"),
        (("Qwen/Qwen3-8B", "--scenario", "huge"), "huge"),
        (("Qwen/Qwen3-8B", "--scenario", "standard-low", "--one-batch"), "one batch"),
        (("Qwen/Qwen3-8B", "--scenario", "standard-low", "--", "--no-such-flag"), "--no-such-flag"),
    ],
)
def test_a_wrong_benchmark_is_named(argv: tuple[str, ...], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", *argv]) == 2
    assert part in capsys.readouterr().err


def test_a_flag_after_the_dashes_is_planned_for(capsys: pytest.CaptureFixture[str]) -> None:
    extras = ("--", "--tensor_parallel_size=2", "--port", "9000", "--seed", "7")
    code, out, err = call(capsys, "Qwen/Qwen3-8B", "--platform", "2xB60", "--json", *extras)
    assert code == 0, err
    plan = json.loads(out)
    assert plan["request"]["tp"] == 2
    assert plan["request"]["extras"] == ["--seed", "7"]
    assert len(plan["launches"][0]["gpus"]) == 2
    assert plan["launches"][0]["port"] == 9000
    assert "--tensor_parallel_size=2 is --tp 2: planned so" in plan["notes"]


def test_a_flag_after_the_dashes_that_differs_from_ours_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "Qwen/Qwen3-8B", "--platform", "2xB60", "--tp", "1", "--", "-tp", "2")
    assert (code, out) == (2, "")
    assert "--tp 1 and, after --, -tp 2" in err
    assert call(capsys, "Qwen/Qwen3-8B", "--platform", "2xB60", "--tp", "2", "--", "-tp", "2")[0] == 0


def test_in_a_container_the_address_is_that_of_the_published_port(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("Qwen/Qwen3-8B", "--platform", "1xB60", "--form", "docker", "--", "--host", "10.0.0.7")
    code, out, err = call(capsys, *argv)
    assert code == 0, err
    assert "# --host 0.0.0.0 in place of --host 10.0.0.7: all addresses of the container" in out
    command = " ".join(line for line in out.splitlines() if not line.startswith("#"))
    assert command.count("--host") == 1
    assert "--host 0.0.0.0" in command
    assert "10.0.0.7:8000:8000" in out


def test_out_with_a_slash_is_a_directory(tmp_path: Path) -> None:
    where = ["Qwen/Qwen3-8B", "--platform", "1xB60", "--form", "compose"]
    assert run(["serve", *where, "-o", f"{tmp_path}/new/"]) == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["xpukit.compose.yaml"]
    assert run(["serve", *where, "-o", f"{tmp_path}/launch.yaml"]) == 0
    assert (tmp_path / "launch.yaml").is_file()


def test_the_engine_s_own_file_of_settings_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text("tensor-parallel-size: 2\nenforce-eager: true\n", encoding="utf-8")
    asked = ("serve", "Qwen/Qwen3-8B", "--platform", "4xB60", "--engine", "vllm", "--", "--config", str(file))
    assert run(asked) == 0
    assert "--tensor-parallel-size 2" in capsys.readouterr().out
    file.write_text("a: [", encoding="utf-8")
    assert run(asked) == 2
    assert "not valid YAML" in capsys.readouterr().err


@pytest.mark.parametrize("machine", ["b60x4_bmc", "max1550"])
def test_a_recording_of_a_probe_alone_plans_without_a_warning(machine: str, capsys: pytest.CaptureFixture[str]) -> None:
    # What earlier commands left on a machine (runs of evaluate, corrections) need not be in it.
    assert run(["serve", "Qwen/Qwen3-8B", "--from", str(RECORDED / f"{machine}.tar.xz")]) == 0
    assert "does not hold" not in capsys.readouterr().err


def test_a_relative_folder_is_mounted_and_named_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_directory(tmp_path / "models" / "mine")
    (tmp_path / "models" / "adapter").mkdir()
    monkeypatch.chdir(tmp_path / "models")
    for name in ("mine", "./mine/", "../models/mine"):
        lora = ("--lora", "a=adapter", "--lora", "b=org/name")
        code, out, err = call(capsys, name, "--platform", "2xB60", "-f", "docker", *lora)
        assert code == 0, err
        for folder in ("mine", "adapter"):
            path = tmp_path / "models" / folder
            assert f"type=bind,source={path},target={path},readonly" in out
        assert f"vllm serve {tmp_path}/models/mine --served-model-name mine" in out
        assert f"a={tmp_path}/models/adapter b=org/name" in out


def test_a_model_of_the_hub_s_cache_is_mounted_with_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "models--org--name"
    write_directory(root / "blobs")
    snapshot = root / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for file in (root / "blobs").iterdir():
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    draft = tmp_path / "draft"
    speculative = json.dumps({"method": "eagle3", "model": str(draft), "num_speculative_tokens": 2})
    code, out, err = call(capsys, str(snapshot), "--platform", "1xB60", "-f", "docker", "--speculative", speculative)
    assert code == 0, err
    assert f"type=bind,source={root},target={root},readonly" in out
    assert f"type=bind,source={draft},target={draft},readonly" in out
    assert f"vllm serve {snapshot} --served-model-name org/name" in out


@pytest.mark.parametrize("name", ['a "b" c', "a 'b'", "ünï cödé", "$HOME `id` %h \\"])
def test_a_folder_of_any_name_is_mounted(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / name
    write_directory(folder)
    code, out, err = call(capsys, str(folder), "--platform", "1xB60", "-f", "docker")
    assert code == 0, err
    words = shlex.split(out, comments=True)
    # docker and podman read the value as a line of CSV, in which a quotation mark stands twice.
    [fields] = csv.reader([words[words.index("--mount") + 1]])
    assert fields == ["type=bind", f"source={folder}", f"target={folder}", "readonly"]
    assert read_mount(words[words.index("--mount") + 1])["source"] == str(folder)
    code, out, err = call(capsys, str(folder), "--platform", "1xB60", "-f", "k8s")
    assert code == 0, err
    assert json.dumps(str(folder), ensure_ascii=False) in out or f"path: {folder}" in out
