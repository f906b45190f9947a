"""The Intel GPU recipes: every variant renders for every builder and every source, pinned, checked and without root."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from xpukit.core.errors import UsageError
from xpukit.facts.recipes import load_recipe
from xpukit.images import template
from xpukit.images.build import BuilderKind, Rendered
from xpukit.images.render import render_recipe
from xpukit.images.settings import resolve_settings, write_value
from xpukit.images.sources import Sources

RECIPES = ("platform", "vllm-xpu", "vllm-ipex", "sglang-xpu", "deepseek-max")
ENGINES = tuple(name for name in RECIPES if name != "platform")
CASES = [(name, variant.name) for name in RECIPES for variant in load_recipe(name).variants]
BUILDERS: tuple[BuilderKind, ...] = ("buildkit", "classic")
SOURCES = ("plain", "offline", "ca-bundle", "apt-url")
DIGEST = "sha256:" + "a" * 64
Golden = Callable[[str, str], None]


@pytest.fixture(autouse=True, scope="module")
def compile_templates_once() -> Iterator[None]:
    """Most of a rendering's time is compiling the same few templates again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(template, "make_environment", functools.cache(template.make_environment))
        yield


@pytest.fixture
def sources(tmp_path: Path) -> Callable[[str, str], Sources]:
    """Sources by name for a builder; the folders hold one file each."""
    for folder, file in (("wheels", "thing-1-py3-none-any.whl"), ("debs", "Packages")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_bytes(b"")
    (tmp_path / "ca.pem").write_text("certificate\n")
    url = "http://debs.example/12"

    def make(kind: str, builder: str) -> Sources:
        wheels, ca = tmp_path / "wheels", tmp_path / "ca.pem"
        if kind == "offline":
            repo = url if builder == "classic" else str(tmp_path / "debs")
            return Sources(wheelhouse=wheels, apt_repo=repo, ca_bundle=ca)
        return {"ca-bundle": Sources(ca_bundle=ca), "apt-url": Sources(apt_repo=url)}.get(kind, Sources())

    return make


def render(
    name: str,
    *given: str,
    variant: str = "",
    builder: BuilderKind = "buildkit",
    sources: Sources | None = None,
    require_hashes: bool = False,
) -> Rendered:
    recipe = load_recipe(name)
    return render_recipe(
        recipe,
        resolve_settings(recipe, variant=variant, given=given),
        builder=builder,
        variant=variant,
        sources=sources,
        revision="test",
        require_hashes=require_hashes,
    )


def read(rendered: Rendered, path: str) -> str:
    return next(file.content for file in rendered.files if file.path == path).decode()


def split_stages(text: str) -> dict[str, str]:
    """The text of each stage by its name."""
    parts = re.split(r"^(?=FROM )", text, flags=re.MULTILINE)[1:]
    return {re.match(r"FROM \S+ AS (\S+)", part)[1]: part for part in parts}  # type: ignore[index]


def join_lines(text: str) -> list[str]:
    """Instructions, each in one line, without comments."""
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return [line for line in kept.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize(("name", "variant"), CASES)
def test_dockerfile_is_golden(name: str, variant: str, builder: BuilderKind, golden: object) -> None:
    text = render(name, variant=variant, builder=builder).dockerfile
    cast(Golden, golden)(f"dockerfiles/{name}-{variant}-{builder}.Dockerfile", text)


@pytest.mark.parametrize("builder", BUILDERS)
def test_offline_dockerfile_is_golden(
    builder: BuilderKind, sources: Callable[[str, str], Sources], golden: object
) -> None:
    rendered = render("vllm-xpu", builder=builder, sources=sources("offline", builder))
    cast(Golden, golden)(f"dockerfiles/vllm-xpu-offline-{builder}.Dockerfile", rendered.dockerfile)


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize(("name", "variant"), CASES)
def test_every_rendering_keeps_the_rules(
    name: str, variant: str, builder: BuilderKind, kind: str, sources: Callable[[str, str], Sources]
) -> None:
    rendered = render(name, variant=variant, builder=builder, sources=sources(kind, builder))
    text = rendered.dockerfile
    stages = split_stages(text)
    lines = join_lines(text)
    assert ("--mount=" in text) == (builder != "classic")
    assert list(stages)[-1] == "runtime"
    for stage in stages.values():
        assert 'SHELL ["/bin/bash", "-o", "pipefail", "-c"]' in stage
    for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        assert image in stages or re.search(r":(?!latest)[\w.-]+(@sha256:[0-9a-f]{64})?$", image), image
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001"]
    assert "groupadd --system --force render && groupadd --system --force video" in stages["runtime"]
    for needed in ("HEALTHCHECK ", 'ENTRYPOINT ["/opt/xpukit/entrypoint.sh"]', "org.opencontainers.image.source="):
        assert needed in stages["runtime"], needed
    for never in (":latest", "apt-get upgrade", "dist-upgrade", "http_proxy", "https_proxy", "ARG ", "ADD ", "TOKEN"):
        assert never not in text, never
    # Every file that is fetched is checked in the same step.
    for line in lines:
        if "curl -fsSL" in line:
            assert "sha256sum -c -" in line, line
    for line in lines:
        if " apt-get" in line and kind in ("offline", "apt-url"):
            assert "Dir::Etc::SourceList=/tmp/xpukit.list" in line, line
    assert "ca.pem" not in stages["runtime"] or builder != "classic"
    if kind == "offline":
        assert "--extra-index-url http" not in text
        assert (builder == "classic") == any(file.path == "ca.pem" for file in rendered.files)


@pytest.mark.parametrize("kind", ["plain", "offline"])
@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize(("name", "variant"), CASES)
def test_what_a_dockerfile_names_is_there(
    name: str, variant: str, builder: BuilderKind, kind: str, sources: Callable[[str, str], Sources]
) -> None:
    """Stages before they are used, files in the context, and scripts that are executable."""
    rendered = render(name, variant=variant, builder=builder, sources=sources(kind, builder))
    paths = {file.path for file in rendered.files}
    folders = {str(parent) for path in paths for parent in Path(path).parents}
    known: list[str] = []
    for line in join_lines(rendered.dockerfile):
        for stage in re.findall(r"(?:--from=|,from=)([\w-]+)", line):
            assert stage in known, line
        if line.startswith("FROM "):
            known.append(line.split()[-1])
        elif line.startswith("COPY ") and "--from=" not in line:
            for source in line.split()[1:-1]:
                assert source in paths | folders, line
        for source in re.findall(r"type=bind,source=([\w-]+)", line):
            assert source in paths | folders, line
    for file in rendered.files:
        assert (file.mode == 0o755) == (file.content.startswith(b"#!")), file.path
    assert {"check.sh", "checks.sh", "entrypoint.sh", "environment.sh", "shim.sh", "store-environment.sh"} <= paths


@pytest.mark.parametrize("name", ENGINES)
def test_wheels_are_in_no_layer_of_the_image(name: str) -> None:
    mounted = split_stages(render(name).dockerfile)["runtime"]
    assert "--mount=type=bind,from=builder,source=/wheels,target=/wheels" in mounted
    assert "COPY --from=builder /wheels" not in mounted
    classic = split_stages(render(name, builder="classic").dockerfile)
    assert "/wheels" not in classic["runtime"]
    assert "COPY --from=venv /opt/venv /opt/venv" in classic["runtime"]
    # Neither compilers nor an index where the wheels are installed.
    for stage in (mounted, classic["venv"]):
        assert "--no-index --find-links /wheels" in stage
        assert "--extra-index-url" not in stage
    assert "check no-wheels no_wheels" in read(render(name), "check.sh")


@pytest.mark.parametrize("name", RECIPES)
def test_buildx_gets_what_buildkit_gets(name: str) -> None:
    assert render(name, builder="buildx").files == render(name).files


@pytest.mark.parametrize("name", RECIPES)
def test_first_variant_is_the_default(name: str) -> None:
    assert render(name).settings == render(name, variant=load_recipe(name).variants[0].name).settings


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_a_file_without_a_known_checksum_stops_the_build(name: str, variant: str) -> None:
    rendered = render(name, variant=variant)
    unknown = "unknown-checksum" in rendered.dockerfile
    if not unknown:
        assert render(name, variant=variant, require_hashes=True).dockerfile == rendered.dockerfile
        return
    with pytest.raises(UsageError, match="no checksum is known") as raised:
        render(name, variant=variant, require_hashes=True)
    assert "--fetch" in str(raised.value.hint)
    # With what a lock holds, all are known, and nothing of "unknown" is left.
    hashes = {file.name: "0" * 64 for file in load_recipe(name).fetch if not file.sha256}
    locked = render(name, variant=variant, sources=Sources(hashes=hashes), require_hashes=True)
    assert "unknown-checksum" not in locked.dockerfile


@pytest.mark.parametrize("name", RECIPES)
def test_every_checksum_pin_and_digest_has_a_source(name: str) -> None:
    recipe = load_recipe(name)
    facts = [(pin.source, pin.date) for pin in recipe.pins] + [(file.source, file.date) for file in recipe.fetch]
    for source, date in facts:
        assert len(source) > 10
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", date)
    for file in recipe.fetch:
        assert file.sha256 or re.search(r"no checksum|not known", file.source), file.name
    pinned = {image.rpartition(":")[2] for pin in recipe.pins if pin.kind == "image" for image in [pin.version]}
    text = "".join(render(name, variant=variant.name).dockerfile for variant in recipe.variants)
    used = set(re.findall(r"^FROM (\S+:\S+)", text, re.MULTILINE))
    assert used
    for image in used:
        assert image.rpartition(":")[2] in pinned, f"{image}: where does it come from?"
    for pin in recipe.pins:
        if pin.kind == "image" and "@sha256:" not in pin.version:
            assert "no digest" in pin.note


@pytest.mark.parametrize("name", RECIPES)
def test_base_digest_goes_into_every_use_of_the_base(name: str) -> None:
    rendered = render(name, "base_image=own/base:1", "builder_image=own/base:1", f"base_digest={DIGEST}")
    images = re.findall(r"^FROM (own/\S+)", rendered.dockerfile, re.MULTILINE)
    assert set(images) == {f"own/base:1@{DIGEST}"}
    assert rendered.base_image == rendered.labels["org.opencontainers.image.base.name"] == f"own/base:1@{DIGEST}"
    assert render(name, f"base_image=own/base:1@{DIGEST}", f"base_digest={DIGEST}").base_image == rendered.base_image
    with pytest.raises(UsageError, match="two digests"):
        render(name, f"base_image=own/base:1@sha256:{'b' * 64}", f"base_digest={DIGEST}")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("platform", "base_digest=sha256:abc"),
        ("platform", "builder_image=intel/deep-learning-essentials:latest"),
        ("platform", "builder_image=intel/deep-learning-essentials"),
        ("platform", "builder_image=own:1@sha256:12"),
        ("platform", "driver=apt"),
        ("vllm-xpu", "tool_image=ubuntu"),
        ("vllm-xpu", "base_image=registry:5000/own"),
        ("vllm-xpu", "vllm=v0.26.0"),
        ("vllm-xpu", "kernels_commit=main"),
        ("vllm-xpu", "oneccl=2021.15"),
        ("vllm-xpu", "wheels=transformers"),
        ("vllm-xpu", "git_host=http://git.example"),
        ("vllm-xpu", "git_host=https://user:secret@git.example"),
        ("vllm-xpu", "torch_index=https://user:secret@wheels.example"),
        ("vllm-ipex", "torch_ccl=a b"),
        ("sglang-xpu", "kernel_target=bmg;id"),
        ("deepseek-max", "vllm_commit=main"),
    ],
)
def test_bad_settings_are_refused(name: str, given: str) -> None:
    with pytest.raises(UsageError):
        render(name, given)


@pytest.mark.parametrize(
    "image",
    ["own/base:24.04", "registry.example:5000/own/base:V1.2-rc_1", f"own/base@{DIGEST}", f"own/base:1@{DIGEST}"],
)
def test_pinned_images_are_taken(image: str) -> None:
    assert f"FROM {image} AS builder" in render("vllm-xpu", f"builder_image={image}").dockerfile


@pytest.mark.parametrize("name", RECIPES)
def test_readme_holds_every_setting_and_variant(name: str) -> None:
    recipe = load_recipe(name)
    text = (Path(recipe.folder) / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", text, re.MULTILINE))
    for key, setting in recipe.settings.items():
        default = write_value(setting.default)
        assert rows.get(key) == (f"`{default}`" if default else "(empty)"), key
    assert set(rows) == set(recipe.settings)
    for variant in recipe.variants:
        assert f"`{variant.name}`" in text
    for heading in ("## Settings", "## Sources", "## What was verified"):
        assert heading in text
