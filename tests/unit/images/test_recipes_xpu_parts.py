"""What single settings of the Intel GPU recipes change, and how their containers start."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.images.test_recipes_xpu import (  # noqa: F401 - the fixture holds for this module too
    ENGINES,
    RECIPES,
    compile_templates_once,
    join_lines,
    read,
    render,
    split_stages,
)
from xpukit.facts.recipes import load_recipe
from xpukit.images.sources import Sources


def test_generations_differ_as_the_public_images_do() -> None:
    setvars, venv = (render("vllm-xpu", variant=name) for name in ("setvars-0.14", "venv-0.26"))
    assert setvars.labels["io.xpukit.era"] == "setvars"
    assert venv.labels["io.xpukit.era"] == "venv"
    assert setvars.labels["io.xpukit.engine-version"] == "0.14.0"
    assert "FROM ubuntu:22.04@sha256:" in venv.dockerfile
    assert " AS rust" not in setvars.dockerfile
    assert "custom-esimd-kernels-vllm" not in setvars.dockerfile
    # Ours have their environment in every way of starting, whatever the generation.
    for rendered in (setvars, venv):
        assert "BASH_ENV=/opt/xpukit/environment.sh" in rendered.dockerfile
        assert "/opt/intel/oneapi/setvars.sh" in read(rendered, "store-environment.sh")


@pytest.mark.parametrize("variant", [variant.name for variant in load_recipe("vllm-xpu").variants])
def test_sym_int4_library_can_be_left_out(variant: str) -> None:
    stub = variant == "runtime-stub"
    having = render("vllm-xpu", f"sym_int4={'false' if stub else 'true'}", variant=variant)
    without = render("vllm-xpu", "sym_int4=false", variant=variant)
    assert any(wheel.startswith("bigdl-core==") for wheel in having.wheels) == (not stub)
    assert ("VLLM_QUANTIZE_Q40_LIB=/opt/venv/" in having.dockerfile) == (not stub)
    assert "bigdl" not in re.sub(r"io\.xpukit\.settings=.*", "", without.dockerfile)
    assert "VLLM_QUANTIZE_Q40_LIB" not in without.dockerfile


@pytest.mark.parametrize("version", ["2021.15.9.14", "2021.15.7.8", "2021.15.7.6"])
def test_oneccl_is_one_of_a_known_version(version: str) -> None:
    text = render("vllm-xpu", f"oneccl={version}").dockerfile
    assert re.findall(r"bash /fetched/intel-oneccl-(\S+)_offline.sh", text) == [version]
    runtime = split_stages(text)["runtime"]
    assert runtime.index("rm -rf /opt/intel/oneapi/ccl") < runtime.index("COPY --from=oneccl")
    assert "--yes triton triton-xpu oneccl oneccl-devel" in runtime


def test_without_oneccl_pytorchs_own_stays() -> None:
    text = render("vllm-xpu", "oneccl=none").dockerfile
    assert "offline.sh" not in text
    assert "uninstall" in text
    assert "oneccl oneccl-devel" not in text


def test_tags_are_held_by_a_commit() -> None:
    commit = "1" * 40
    assert f"rev-parse HEAD | grep '^{commit}'" in render("vllm-xpu", f"vllm_commit={commit}").dockerfile
    assert f"rev-parse HEAD | grep '^{commit}'" in render("sglang-xpu", f"sglang_commit={commit}").dockerfile


@pytest.mark.parametrize("name", RECIPES)
def test_every_checkout_of_a_commit_is_compared_with_it(name: str) -> None:
    for variant in load_recipe(name).variants:
        for line in join_lines(render(name, variant=variant.name).dockerfile):
            for ref in re.findall(r"checkout --quiet --detach (\S+)", line):
                if re.fullmatch(r"[0-9a-f]{7,40}", ref):
                    assert f"rev-parse HEAD | grep '^{ref}'" in line


def test_clones_come_from_the_mirror() -> None:
    for name in RECIPES:
        text = render(name, "git_host=https://git.example/mirror").dockerfile
        clones = re.findall(r'git clone .*?"(https://\S+?)"', text)
        assert all(clone.startswith("https://git.example/mirror/") for clone in clones), name


def test_own_patches_follow_those_of_llm_scaler() -> None:
    builder = split_stages(render("vllm-xpu").dockerfile)["builder"]
    assert builder.index("vllm_for_multi_arc.patch") < builder.index('"/src/patches/$tree"/*.patch')
    plain = render("vllm-xpu", "llm_scaler_patches=false", "custom_kernels=false").dockerfile
    assert "llm-scaler" not in re.sub(r"io\.xpukit\.settings=.*", "", plain)
    assert '"/src/patches/$tree"/*.patch' in plain


def test_deepseek_follows_the_guide() -> None:
    rendered = render("deepseek-max")
    text = rendered.dockerfile
    for needed in (
        "checkout --quiet --detach 6fa2562b",
        "checkout --quiet --detach c21dc11",
        "apply /src/triton/scripts/pytorch_fp64.patch",
        "USE_XCCL=ON USE_STATIC_MKL=1",
        "zhuyuhua-v/vllm/archive/refs/heads/yuhua/deepseek.tar.gz",
        "cboss6/sglang/archive/refs/heads/deepseek-xpu-distribute.tar.gz",
        "setuptools==75.6.0",
        "packaging==24.2",
        "sglang[all_xpu]",
        "VLLM_TARGET_DEVICE=xpu",
        "sqlite-autoconf-3480000",
    ):
        assert needed in text, needed
    for package in ("msgspec", "blake3", "py-cpuinfo", "compressed_tensors", "gguf", "partial_json_parser"):
        assert package in rendered.wheels
    commit = "2" * 40
    assert f"archive/{commit}.tar.gz" in render("deepseek-max", f"vllm_commit={commit}").dockerfile
    assert "is_xccl_available" in read(rendered, "check.sh")


def test_platform_has_what_its_settings_say() -> None:
    full = render("platform").dockerfile
    assert {"fetched", "oneccl", "level-zero-tests", "benchmarks", "runtime"} == set(split_stages(full))
    assert {"libze1", "libze-intel-gpu1", "intel-opencl-icd"} <= set(render("platform").apt_packages)
    bare = render("platform", "oneccl=none", "level_zero_tests=false", "benchmarks=false", "xpu_smi=none").dockerfile
    assert set(split_stages(bare)) == {"fetched", "runtime"}
    assert set(split_stages(render("platform", variant="debian").dockerfile)) == {"runtime"}


def test_packages_of_a_release_come_with_their_needs_from_the_given_archive(tmp_path: Path) -> None:
    (tmp_path / "Packages").write_bytes(b"")
    for sources in (Sources(apt_repo=str(tmp_path)), Sources(apt_repo="http://debs.example ./")):
        text = render("vllm-ipex", sources=sources).dockerfile
        step = next(line for line in join_lines(text) if "/fetched/*.deb" in line)
        assert step.count("apt-get -o Dir::Etc::SourceList=/tmp/xpukit.list") == 3  # update, remove, install
        assert "xargs -r apt-get" in step
        assert "from=fetched,source=/fetched,target=/fetched" in step


@pytest.mark.parametrize("name", ENGINES)
def test_engine_is_reached_from_outside_the_container(name: str) -> None:
    rendered = render(name)
    answers = load_recipe(name).answers
    script = read(rendered, "entrypoint.sh")
    assert f"engine=({' '.join(answers.engine_argv)})" in script
    assert "listen+=(--host 0.0.0.0)" in script
    assert 'listen+=(--port "${XPUKIT_PORT}")' in script
    assert f"XPUKIT_PORT={answers.port}" in rendered.dockerfile
    assert f"EXPOSE {answers.port}" in rendered.dockerfile
    assert f'os.environ.get("XPUKIT_PORT", "{answers.port}")' in read(rendered, "healthcheck.py")
    assert answers.health_path in read(rendered, "healthcheck.py")
    assert ('if [ "${1:-}" = serve ]' in script) == (answers.engine_argv[-1] == "serve")
    assert "EXPOSE 9001" in render(name, "port=9001").dockerfile


def test_platform_serves_nothing() -> None:
    rendered = render("platform")
    assert "--port" not in read(rendered, "entrypoint.sh")
    assert "EXPOSE" not in rendered.dockerfile
    assert "HEALTHCHECK NONE" in rendered.dockerfile


@pytest.mark.parametrize("name", RECIPES)
def test_same_settings_same_bytes(name: str) -> None:
    assert render(name).files == render(name).files
    assert render(name).hash != render(name, "git_host=https://git.example").hash
