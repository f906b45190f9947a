"""Before a build: does this host fit the image?"""

from __future__ import annotations

import pytest

from tests.machines.recorded_machines import read_machine
from xpukit.cli.build_image_account import check_host
from xpukit.cli.build_image_order import ImageOrder, ResolvedOrder
from xpukit.cli.session import Session
from xpukit.core.errors import ExternalError
from xpukit.core.machine import Machine
from xpukit.facts.recipes import load_recipe
from xpukit.images.settings import resolve_settings


def resolve(name: str, *, force: bool = False) -> ResolvedOrder:
    recipe = load_recipe(name)
    return ResolvedOrder(order=ImageOrder(recipe=name, force=force), recipe=recipe, settings=resolve_settings(recipe))


def test_a_host_whose_gpus_do_not_fit_is_refused_unless_forced() -> None:
    machine = read_machine("a770")
    with pytest.raises(ExternalError, match=r"recipe vllm-xpu is not for this host: .*Battlemage") as caught:
        check_host(Session(), resolve("vllm-xpu"), machine)
    assert "--force" in caught.value.hint
    check_host(Session(), resolve("vllm-xpu", force=True), machine)


def test_a_host_without_gpus_builds_for_others_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    check_host(Session(), resolve("vllm-xpu"), Machine())
    assert "this host will not run the image (GPU: there is no Intel GPU here); building it all the same" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_recipe_for_any_machine_asks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    check_host(Session(), resolve("smoke"), read_machine("a770"))
    assert capsys.readouterr().err == ""
