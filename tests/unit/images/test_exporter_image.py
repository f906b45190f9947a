"""The recipe of the exporter: of this xpukit, on loopback, without rights, and nothing in it that moves."""

from __future__ import annotations

import re

import pytest

from xpukit import __version__
from xpukit.core.errors import UsageError
from xpukit.facts.recipes import load_recipe
from xpukit.images.build import BuilderKind
from xpukit.images.render import render_recipe
from xpukit.images.settings import resolve_settings
from xpukit.operate.exporter.expose import HEALTH_PATH

BUILDERS: tuple[BuilderKind, ...] = ("buildkit", "classic")


def test_it_is_of_this_version_and_asked_where_nothing_is_read() -> None:
    recipe = load_recipe("exporter")
    assert {pin.name: pin.version for pin in recipe.pins}["xpukit"] == __version__
    assert recipe.answers.health_path == HEALTH_PATH


@pytest.mark.parametrize("builder", BUILDERS)
def test_rules_of_images(builder: BuilderKind) -> None:
    recipe = load_recipe("exporter")
    settings = resolve_settings(recipe, variant="", given=["packages=libze1"])
    text = render_recipe(recipe, settings, builder=builder, variant="", revision="test").dockerfile
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE)[-1] == "10001:10001"
    assert re.search(rf"xpukit=={re.escape(__version__)} ", text)
    assert "XPUKIT_LISTEN=127.0.0.1" in text
    assert "libze1" in text
    for never in (":latest", "apt-get upgrade", "curl", "wget"):
        assert never not in text


@pytest.mark.parametrize("given", ["listen=everywhere", "packages=a b", "port=0"])
def test_what_cannot_be_is_refused(given: str) -> None:
    with pytest.raises(UsageError):
        resolve_settings(load_recipe("exporter"), variant="", given=[given])
