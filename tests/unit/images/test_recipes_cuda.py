"""The recipes on upstream's NVIDIA images: every variant renders for every builder, pinned and without root."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

import pytest

from xpukit.core.errors import UsageError
from xpukit.facts.recipes import load_recipe
from xpukit.images.build import BuilderKind, Rendered
from xpukit.images.render import render_recipe
from xpukit.images.settings import resolve_settings

RECIPES = ("lmdeploy", "vllm-cuda", "sglang-cuda")
CASES = [(name, variant.name) for name in RECIPES for variant in load_recipe(name).variants]
BUILDERS: tuple[BuilderKind, ...] = ("buildkit", "classic")
Golden = Callable[[str, str], None]


def render(name: str, variant: str = "", builder: BuilderKind = "buildkit", given: tuple[str, ...] = ()) -> Rendered:
    recipe = load_recipe(name)
    settings = resolve_settings(recipe, variant=variant, given=given)
    return render_recipe(recipe, settings, builder=builder, variant=variant, revision="test")


def read(rendered: Rendered, path: str) -> str:
    return next(file.content for file in rendered.files if file.path == path).decode()


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize(("name", "variant"), CASES)
def test_dockerfile_is_golden(name: str, variant: str, builder: BuilderKind, golden: object) -> None:
    text = render(name, variant, builder).dockerfile
    cast(Golden, golden)(f"dockerfiles/{name}-{variant}-{builder}.Dockerfile", text)


@pytest.mark.parametrize("builder", ["buildx", *BUILDERS])
@pytest.mark.parametrize(("name", "variant"), CASES)
def test_every_variant_keeps_the_rules(name: str, variant: str, builder: BuilderKind) -> None:
    text = render(name, variant, builder).dockerfile
    assert ("--mount=" in text) == (builder != "classic" and variant == "wheel")
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE)[-1] == "10001:0"
    for needed in ("HEALTHCHECK ", "ENTRYPOINT [", "io.xpukit.engine-version=", "org.opencontainers.image.source="):
        assert needed in text
    for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        assert re.search(r"[:@]", image)
        assert ":latest" not in image
    for never in ("apt-get upgrade", "apt upgrade", "dist-upgrade", "http_proxy", "ca.pem"):
        assert never not in text


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_version_of_image_label_and_check_agree(name: str, variant: str) -> None:
    rendered = render(name, variant)
    version = rendered.settings["engine_version"]
    assert rendered.labels["io.xpukit.engine-version"] == version
    assert f"XPUKIT_EXPECTED_VERSION={version}" in rendered.dockerfile
    # An upstream tag starts with the version; the wheel variant names it for pip instead.
    assert f":v{version}" in rendered.base_image or f"vllm=={version}" in rendered.dockerfile


@pytest.mark.parametrize("name", RECIPES)
def test_default_settings_are_the_first_variant(name: str) -> None:
    first = load_recipe(name).variants[0].name
    assert render(name).settings == render(name, first).settings


@pytest.mark.parametrize("name", RECIPES)
def test_a_digest_has_a_source_that_says_it_was_not_checked(name: str) -> None:
    pinned = [pin for pin in load_recipe(name).pins if "@sha256:" in pin.version]
    assert pinned
    assert all("not checked against the registry" in pin.source for pin in pinned)


@pytest.mark.parametrize("name", RECIPES)
def test_image_without_digest_points_to_the_lock(name: str) -> None:
    recipe = load_recipe(name)
    bare = [pin for pin in recipe.pins if pin.kind == "image" and "@sha256:" not in pin.version]
    assert bare
    assert all("--fetch" in pin.note for pin in bare)


def test_lmdeploy_is_what_the_guide_requires() -> None:
    for variant in load_recipe("lmdeploy").variants:
        assert tuple(map(int, str(variant.settings["engine_version"]).split("."))) >= (0, 12, 0)


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("lmdeploy", ("--server-name 0.0.0.0", '--server-port "${XPUKIT_PORT}"')),
        ("vllm-cuda", ("--host 0.0.0.0", '--port "${XPUKIT_PORT}"')),
        ("sglang-cuda", ("--host 0.0.0.0", '--port "${XPUKIT_PORT}"')),
    ],
)
def test_entry_point_listens_outside_the_container(name: str, flags: tuple[str, str]) -> None:
    rendered = render(name)
    script = read(rendered, "entrypoint.sh")
    assert all(flag in script for flag in flags)
    assert f"engine=({' '.join(load_recipe(name).answers.engine_argv)})" in script
    assert all(file.mode == 0o755 for file in rendered.files if file.path.endswith(".sh"))


def test_wheel_is_installed_where_only_the_first_stage_has_pip() -> None:
    rendered = render("vllm-cuda", "wheel", given=("wheels=timm==1.0.19",))
    assert rendered.wheels == ("timm==1.0.19", "vllm==0.21.0")
    runtime = rendered.dockerfile.split(" AS runtime", 1)[1]
    assert "pip install" not in runtime
    assert "COPY --from=python /opt/venv" in runtime


def test_images_install_no_wheel() -> None:
    assert all(render(name, variant).wheels == () for name, variant in CASES if variant != "wheel")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("engine_version=newest", "engine_version"),
        ("port=70000", "port"),
        ("instal=wheel", "install"),
        ("wheels=timm", "wheels"),
        ("base_image=vllm/vllm-openai:latest", "not pinned"),
    ],
)
def test_bad_settings_are_refused(given: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        render("vllm-cuda", given=(given,))
    assert said in f"{raised.value} {raised.value.hint}"


def test_same_settings_same_bytes() -> None:
    assert render("sglang-cuda", "v0.5.9").files == render("sglang-cuda", "v0.5.9").files
    assert render("sglang-cuda", "v0.5.9").hash != render("sglang-cuda", "v0.5.16").hash
