"""`xpukit run-image` on recorded machines: the command, the host's fitness, and that nothing is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from xpukit.cli.app import run
from xpukit.facts import recipes
from xpukit.facts.recipes import HostNeeds, Recipe

CAPTURED = pytest.CaptureFixture[str]
RECORDED = Path(__file__).resolve().parents[2] / "machines" / "recorded"


def recorded(name: str) -> list[str]:
    return ["run-image", "--from", str(RECORDED / f"{name}.tar.xz")]


@pytest.fixture
def need(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`need(min_kernel=...)`: what the recipe `made` needs of its host."""

    def put(**needs: Any) -> None:
        made = Recipe(schema="", name="made", summary="", version="1", host=HostNeeds(**needs))
        real = recipes.load_recipe
        monkeypatch.setattr(recipes, "load_recipe", lambda name: made if name == "made" else real(name))

    return put


def test_the_command_is_all_that_is_printed(capsys: CAPTURED) -> None:
    assert run([*recorded("b60x8_2s"), "--gpu", "5", "x:1", "--", "serve", "/m"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("docker run \\\n  --rm")
    assert said.out.endswith("  x:1 serve /m\n")
    assert "--device /dev/dri/renderD133:/dev/dri/renderD133:rw" in said.out
    assert "was not looked at" in said.err


def test_dry_run_says_the_same(capsys: CAPTURED) -> None:
    assert run([*recorded("b580"), "x:1"]) == 0
    usual = capsys.readouterr().out
    assert run([*recorded("b580"), "--dry-run", "x:1"]) == 0
    assert capsys.readouterr().out == usual


def test_json_has_every_option_with_its_reason(capsys: CAPTURED, need: Any) -> None:
    need(drivers=("xe",))
    assert run([*recorded("b580"), "--recipe", "made", "--json", "--engine", "podman", "x:1"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "xpukit.run-image/1"
    assert document["argv"][:2] == ["podman", "run"]
    assert [word for option in document["options"] for word in option["words"]] == document["argv"][2:-1]
    assert all(option["reason"] for option in document["options"])
    assert document["compatibility"]["verdict"] == "pass"
    assert document["gpus"] == ["0000:03:00.0"]


def test_explain_names_sources(capsys: CAPTURED) -> None:
    assert run([*recorded("b60x4_bmc"), "--explain", "x:1"]) == 0
    said = capsys.readouterr().out
    assert "pidfd" in said
    assert "docker run" in said


@pytest.mark.parametrize(
    ("machine", "needs", "reason"),
    [
        ("max1550", {"drivers": ("xe",)}, "bound to i915, not to xe"),
        ("b60x4_bmc", {"min_kernel": "6.17"}, "is older than 6.17"),
        ("b60x4_bmc", {"min_guc": "70.55"}, "GuC 70.49.4 is older than 70.55"),
        ("b60x4_bmc", {"min_level_zero": "1.99"}, "is older than 1.99"),
        ("b580", {"families": ("Ponte Vecchio",)}, "the image is for Ponte Vecchio"),
    ],
)
def test_a_host_that_does_not_fit_is_refused_and_forced(
    machine: str, needs: dict[str, Any], reason: str, capsys: CAPTURED, need: Any
) -> None:
    need(**needs)
    assert run([*recorded(machine), "--recipe", "made", "x:1"]) == 4
    refused = capsys.readouterr()
    assert reason in refused.err
    assert "--force" in refused.err
    assert refused.out == ""
    assert run([*recorded(machine), "--recipe", "made", "--force", "x:1"]) == 0
    forced = capsys.readouterr()
    assert forced.out.startswith("docker run")
    assert reason in forced.err


def test_nvidias_images_are_refused_here(capsys: CAPTURED) -> None:
    assert run([*recorded("b580"), "--recipe", "vllm-cuda", "x:1"]) == 4
    assert "no NVIDIA GPU" in capsys.readouterr().err


def test_an_image_for_any_machine_gets_no_gpu_unless_asked(capsys: CAPTURED) -> None:
    assert run([*recorded("b580"), "--recipe", "smoke", "x:1"]) == 0
    assert "--device" not in capsys.readouterr().out
    assert run([*recorded("b580"), "--recipe", "smoke", "--gpu", "0", "x:1"]) == 0
    assert "--device /dev/dri/renderD128" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--run", "x:1"], "--from"),
        (["--run", "--dry-run", "x:1"], "exclude each other"),
        (["--engine", "lxc", "x:1"], "docker or podman"),
        (["--gpu", "9", "x:1"], "no GPU '9'"),
        (["--port", "http", "x:1"], "--port"),
        (["--model-dir", "m", "x:1"], "--model-dir"),
        (["--recipe", "vllm-xpuu", "x:1"], "vllm-xpu"),
    ],
)
def test_wrong_usage_is_said(argv: list[str], said: str, capsys: CAPTURED) -> None:
    assert run([*recorded("b580"), *argv]) == 2
    assert said in capsys.readouterr().err


def test_cdi_names_the_devices(capsys: CAPTURED) -> None:
    assert run([*recorded("b60x4_bmc"), "--cdi", "--gpu", "1,0", "x:1"]) == 0
    said = capsys.readouterr()
    assert said.out.count("--device intel.com/gpu=0000:") == 2
    assert "/dev/dri" not in said.out
    assert "xpukit cdi --check" in said.err


def test_the_document_fits_its_schema(repo: Path, capsys: CAPTURED) -> None:
    assert run([*recorded("max1550"), "--recipe", "vllm-xpu", "--force", "--json", "x:1"]) == 0
    schema = json.loads((repo / "docs" / "schemas" / "xpukit.run-image-1.json").read_text(encoding="utf-8"))
    jsonschema.validate(json.loads(capsys.readouterr().out), schema)
