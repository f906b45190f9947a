"""The Intel GPU recipes against real tools: linters, both builders' parsers, and real builds of the parts that have
packages in Debian: `platform` (variant debian) and the runtime of `vllm-xpu` (variant runtime-stub).

The base is Debian 12 with scripts like oneAPI's in it. Its packages are collected once under XPUKIT_TEST_CACHE (this
needs the network) and offered to the builds by --apt-repo: with BuildKit as a folder and without any network.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.live.docker_engine import DockerEngine, await_health, make_debian_tar
from tests.live.installed_tools import find_tool
from tests.live.smoke_base import BASE
from xpukit.facts.recipes import list_recipes, load_recipe
from xpukit.host.docker_daemon import DockerDaemon
from xpukit.host.live import LiveHost
from xpukit.images.build import BuilderKind, Rendered
from xpukit.images.builders import build_image
from xpukit.images.builders.choose import list_builders
from xpukit.images.builders.context import write_context
from xpukit.images.context import split_linked
from xpukit.images.render import render_recipe
from xpukit.images.settings import resolve_settings
from xpukit.images.sources import Sources

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

RECIPES = ("platform", "vllm-xpu", "vllm-ipex", "sglang-xpu", "deepseek-max")
CASES = [(name, variant.name) for name in RECIPES for variant in load_recipe(name).variants]
BUILDERS: tuple[BuilderKind, ...] = ("buildkit", "classic")
PLAIN, ONEAPI = "xpukit-test/debian:12", "xpukit-test/debian-oneapi:12"
# The image's own check, asked each second.
OFTEN = ("--network", "none", "--health-interval", "1s")
# Bash's own, and what differs between any two containers; LC_CTYPE is set by Python for itself.
OF_NO_IMPORT = {"HOSTNAME", "HOME", "PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE", "TERM"}
SAY = "import json, os; print(json.dumps(dict(os.environ)))"
# Reads a variable that is not set and has one with blanks, as the real script.
SETVARS = r"""
export SETVARS_COMPLETED=1 ONEAPI_ROOT=/opt/intel/oneapi CMPLR_ROOT='/opt/intel/oneapi/compiler 2025'
export LD_LIBRARY_PATH=/opt/intel/oneapi/lib:$LD_LIBRARY_PATH
export PATH=/opt/intel/oneapi/bin:$PATH
"""


def render(
    name: str, *given: str, variant: str = "", builder: BuilderKind = "buildkit", sources: Sources | None = None
) -> Rendered:
    recipe = load_recipe(name)
    settings = resolve_settings(recipe, variant=variant, given=given)
    return render_recipe(
        recipe, settings, builder=builder, variant=variant, sources=sources, revision="test", require_hashes=False
    )


def write_all(folder: Path) -> list[Path]:
    """Every variant for each builder, from the network and from this host's folders; where their contexts are."""
    (folder / "wheels").mkdir(parents=True)
    (folder / "wheels" / "thing-1-py3-none-any.whl").write_bytes(b"wheel")
    (folder / "debs").mkdir()
    (folder / "debs" / "Packages").write_bytes(b"")
    (folder / "ca.pem").write_text("certificate\n")
    contexts = []
    for name, variant in CASES:
        for builder in BUILDERS:
            repo = str(folder / "debs") if builder == "buildkit" else "http://debs.example/12"
            offline = Sources(wheelhouse=folder / "wheels", apt_repo=repo, ca_bundle=folder / "ca.pem")
            for kind, sources in (("online", Sources()), ("offline", offline)):
                place = folder / f"{name}-{variant}-{builder}-{kind}"
                kept, _ = split_linked(render(name, variant=variant, builder=builder, sources=sources))
                write_context(kept, place, epoch=0)
                contexts.append(place)
    return contexts


def write_others(folder: Path) -> list[Path]:
    """The recipes that have tests of their own elsewhere."""
    contexts = []
    for name in sorted(set(list_recipes()) - set(RECIPES)):
        for variant in ("", *(variant.name for variant in load_recipe(name).variants)):
            for builder in BUILDERS:
                place = folder / f"{name}-{variant}-{builder}-online"
                kept, _ = split_linked(render(name, variant=variant, builder=builder))
                write_context(kept, place, epoch=0)
                contexts.append(place)
    return contexts


@pytest.mark.slow
def test_linters_have_nothing_to_say(tmp_path: Path) -> None:
    contexts = write_all(tmp_path)
    scripts = {script.read_bytes(): str(script) for place in contexts for script in place.glob("*.sh")}
    for argv in (
        [find_tool("hadolint"), *(str(place / "Dockerfile") for place in contexts)],
        [find_tool("shellcheck"), *scripts.values()],
    ):
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert ran.stdout == ""


@pytest.fixture(scope="module")
def engine(open_engine: DockerEngine) -> DockerEngine:
    # The network of this machine: packages are fetched once, and the classic builder gets them from a loopback port.
    return open_engine


@pytest.fixture(scope="module")
def bases(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, str]]:
    """Debian as it is, and with a folder like oneAPI's, for each builder. The classic one starts where Python is there
    already: it has a stage more, and each would install it again.
    """
    place = tmp_path_factory.mktemp("oneapi")
    (place / "setvars.sh").write_text(SETVARS)
    (place / "probe").write_text("#!/bin/bash\necho probe of $ONEAPI_ROOT\n")
    (place / "probe").chmod(0o755)
    (place / "Dockerfile").write_text(
        "ARG base\nFROM $base\nCOPY setvars.sh /opt/intel/oneapi/\nCOPY probe /opt/intel/oneapi/bin/oneapi-probe\n"
    )
    found = {}
    for builder, base in (("buildkit", PLAIN), ("classic", BASE)):
        found[builder] = f"{ONEAPI}-{builder}"
        engine.docker("build", "-q", "--build-arg", f"base={base}", "-t", found[builder], str(place))
    return PLAIN, found


@pytest.fixture(scope="module")
def debs(engine: DockerEngine, bases: tuple[str, dict[str, str]]) -> Path:
    """A flat repository of what the two recipes install and what that needs, for this very base; made once, kept."""
    names = sorted(
        {*render("platform", variant="debian").apt_packages, *render_stub(bases[1]["buildkit"]).apt_packages}
    )
    stat = make_debian_tar().stat()
    key = hashlib.sha256(f"{names} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XPUKIT_TEST_CACHE", "/var/tmp/xpukit-test-cache"))
    kept = cache / f"xpu-debs-1-{key}"
    if kept.exists():
        return kept
    part = cache / f".{kept.name}.{os.getpid()}"
    part.mkdir(parents=True)
    script = f"""\
        set -e
        apt-get update
        apt-get install -y --no-install-recommends --download-only {" ".join(names)}
        cp /var/cache/apt/archives/*.deb /out/
        """
    argv = ["docker", "--host", engine.address, "run", "--rm", "--network", "host", "-v", f"{part}:/out", PLAIN]
    ran = subprocess.run([*argv, "bash", "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=280, check=False)  # fmt: skip
    if ran.returncode:
        shutil.rmtree(part)
        pytest.skip(f"no Debian archive can be reached: {ran.stderr.splitlines()[-1:]}")
    (part / "Packages").write_text("\n".join(describe_deb(path) for path in sorted(part.glob("*.deb"))))
    part.replace(kept)
    return kept


def describe_deb(path: Path) -> str:
    """Its stanza in the repository's index."""
    control = subprocess.run(["dpkg-deb", "-f", path], capture_output=True, text=True, timeout=60, check=True).stdout
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return f"{control}Filename: ./{path.name}\nSize: {len(content)}\nSHA256: {digest}\n"


@pytest.fixture(scope="module")
def debs_url(debs: Path) -> Iterator[str]:
    """The same folder as a repository that somebody serves, here on loopback."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(debs))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"[trusted=yes] http://127.0.0.1:{server.server_port} ./"
        server.shutdown()
        thread.join(timeout=10)


def render_stub(base: str, builder: BuilderKind = "buildkit", sources: Sources | None = None) -> Rendered:
    given = [f"base_image={base}", "port=8123"]
    if builder == "classic":  # without the OpenCL driver, whose compiler is most of the image: `platform` has it
        given.append("packages=clinfo,libze1,numactl,ocl-icd-libopencl1,python3,python3-venv")
    return render("vllm-xpu", *given, variant="runtime-stub", builder=builder, sources=sources)


def build(engine: DockerEngine, rendered: Rendered, place: Path) -> str:
    """Build it with the builder that it was rendered for; its tag."""
    offer = next(offer for offer in list_builders(LiveHost()) if offer.kind == rendered.builder)
    if offer.builder is None:
        pytest.skip(offer.reason)
    tag = f"xpukit-test/{rendered.recipe}:{rendered.builder}"
    kept, linked = split_linked(rendered)
    outcome = build_image(
        kept,
        trees=linked,
        tags=(tag,),
        builder=offer.builder,
        daemon=DockerDaemon(engine.address),
        log=place / "build.log",
        host=LiveHost(),
        network="none" if rendered.builder == "buildkit" else "host",
    )
    assert outcome.ok, (outcome.failed_step, outcome.last_lines)
    return tag


def choose_sources(builder: BuilderKind, debs: Path, debs_url: str) -> Sources:
    return Sources(apt_repo=str(debs) if builder == "buildkit" else debs_url)


def read_checks(engine: DockerEngine, image: str) -> dict[str, str]:
    said = engine.docker("run", "--rm", "--network", "none", "--entrypoint", "/opt/xpukit/check.sh", image)
    return {line.split()[1].rstrip(":"): line.split()[0] for line in said.splitlines()}


def clean(said: str) -> dict[str, str]:
    return {name: value for name, value in json.loads(said).items() if name not in OF_NO_IMPORT}


@pytest.mark.slow
def test_both_builders_can_read_every_recipe(engine: DockerEngine, tmp_path: Path) -> None:
    """What `docker build --check` of newer clients does first: the builder's own parser reads the whole file. It then
    says that the stage asked for is not there, and builds nothing.
    """

    def ask(place: Path) -> tuple[str, int, str]:
        # Debian's own client speaks BuildKit without the buildx plugin.
        buildkit = "-buildkit-" in place.name
        argv = ["/usr/bin/docker", "--host", engine.address, "build", "--target", "no-such-stage", str(place)]
        env = {**os.environ, "DOCKER_BUILDKIT": "1" if buildkit else "0"}
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=env, check=False)
        wanted = "target stage" if buildkit else "failed to reach build target no-such-stage"
        return wanted, ran.returncode, ran.stderr

    contexts = [*write_all(tmp_path), *write_others(tmp_path)]
    # Each asks the client's start more than the daemon.
    with ThreadPoolExecutor(max_workers=4) as pool:
        for place, (wanted, code, said) in zip(contexts, pool.map(ask, contexts), strict=True):
            assert code != 0, place.name
            assert wanted in said, f"{place.name}: {said}"


@pytest.mark.slow
@pytest.mark.parametrize("builder", BUILDERS)
def test_platform_of_debian(
    engine: DockerEngine,
    bases: tuple[str, dict[str, str]],
    debs: Path,
    debs_url: str,
    builder: BuilderKind,
    tmp_path: Path,
) -> None:
    rendered = render(
        "platform", f"base_image={bases[0]}", variant="debian", builder=builder,
        sources=choose_sources(builder, debs, debs_url),
    )  # fmt: skip
    image = build(engine, rendered, tmp_path)
    checks = read_checks(engine, image)
    assert checks.pop("devices") == "skipped"
    assert set(checks.values()) == {"ok"}
    assert {"level-zero-loader", "opencl-loader", "opencl-icd", "numactl", "clinfo", "lspci", "not-root"} <= set(checks)
    run = ("run", "--rm", "--network", "none")
    # Appended arguments are passed on, and none of the layers keeps what the build was given.
    assert engine.docker(*run, image, "numactl", "--show").startswith("policy:")
    assert engine.docker(*run, image, "-c", 'echo "$XPUKIT_ENVIRONMENT"') == "loaded"
    assert set(engine.docker(*run, "--entrypoint", "id", image, "-Gn").split()) == {"bench", "render", "video"}
    # The build left no file behind that its base had not; BuildKit leaves empty folders where it mounted something.
    argv = (*run, "--user", "0", "--entrypoint", "find")
    places = ("/run", "/tmp", "/root", "/var/lib/apt/lists", "/var/cache/apt", "-type", "f")
    left = {name: set(engine.docker(*argv, name, *places).splitlines()) for name in (image, bases[0])}
    assert left[image] <= left[bases[0]] | {"/var/cache/apt/archives/lock", "/var/lib/apt/lists/lock"}
    installed = engine.docker(*run, image, "dpkg-query", "-W", "-f", "${Package}\n", "libze1", "intel-opencl-icd")
    assert installed.split() == ["intel-opencl-icd", "libze1"]


@pytest.mark.slow
@pytest.mark.parametrize("builder", BUILDERS)
def test_vllm_runtime_starts_the_same_in_every_way(
    engine: DockerEngine,
    bases: tuple[str, dict[str, str]],
    debs: Path,
    builder: BuilderKind,
    tmp_path: Path,
) -> None:
    # The classic builder cannot mount the folder: it is served while the build runs.
    rendered = render_stub(bases[1][builder], builder, Sources(apt_repo=str(debs)))
    image = build(engine, rendered, tmp_path)
    checks = read_checks(engine, image)
    assert {name for name, verdict in checks.items() if verdict == "skipped"} == {"devices", "kernels"}
    assert {verdict for name, verdict in checks.items() if name not in ("devices", "kernels")} == {"ok"}
    run = ("run", "--rm", "--network", "none")

    server = engine.docker("run", "-d", *OFTEN, image, "some/model", "--served-model-name", "m 1")
    try:
        assert await_health(engine, server) == "healthy"
        first = engine.docker("exec", server, "cat", "/proc/1/environ").rstrip("\0").split("\0")
        ways = {
            "server": clean(json.dumps(dict(entry.split("=", 1) for entry in first))),
            "run": clean(engine.docker(*run, image, "python3", "-c", SAY)),
            "exec": clean(engine.docker("exec", server, "python3", "-c", SAY)),
            "exec by path": clean(engine.docker("exec", server, "/opt/venv/bin/python3", "-c", SAY)),
            "exec sh": clean(engine.docker("exec", server, "sh", "-c", f"python3 -c '{SAY}'")),
            "exec bash": clean(engine.docker("exec", server, "bash", "-c", f"/usr/bin/python3 -c '{SAY}'")),
            "entry point": clean(engine.docker(*run, "--entrypoint", "python3", image, "-c", SAY)),
            "entry point by path": clean(
                engine.docker(*run, "--entrypoint", "/opt/venv/bin/python3", image, "-c", SAY)
            ),
            "entry point bash": clean(engine.docker(*run, "--entrypoint", "bash", image, "-c", f"python3 -c '{SAY}'")),
            "compose": clean(run_compose(engine, image, tmp_path)),
        }
        expected = ways["run"]
        for way, environment in ways.items():
            assert environment == expected, way
        assert expected["CMPLR_ROOT"] == "/opt/intel/oneapi/compiler 2025"
        assert expected["LD_LIBRARY_PATH"] == "/opt/intel/oneapi/lib"
        assert expected["PATH"].startswith("/opt/xpukit/bin:/opt/venv/bin:/usr/local/sbin:")
        assert expected["PATH"].endswith(":/opt/intel/oneapi/bin")
        assert "SETVARS_COMPLETED" not in expected

        # A login shell starts PATH anew; the engine and oneAPI's programs are found all the same.
        for shell in ("vllm --version", "oneapi-probe", "python3 -c 'import vllm; print(vllm.__version__)'"):
            said = engine.docker("exec", server, "bash", "-lc", shell)
            assert said in ("stub", "probe of /opt/intel/oneapi"), shell
        answered = engine.docker(
            "exec", server, "python3", "-c",
            "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8123/v1/models').read().decode())",
        )  # fmt: skip
        assert json.loads(answered)["data"][0]["id"] == "m 1"
    finally:
        engine.docker("rm", "-f", server)

    # An option that no engine knows reaches its parser, after a model, after `serve`, and alone.
    for given in (["m", "--xpukit-no"], ["serve", "m", "--xpukit-no"], ["--xpukit-no"]):
        argv = ["docker", "--host", engine.address, *run, image, *given]
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 2
        assert "unrecognized arguments: --xpukit-no" in ran.stderr

    if builder == "classic":  # its health check is the same file
        return
    # The health check follows the port of the arguments.
    other = engine.docker("run", "-d", *OFTEN, "--init", image, "serve", "m", "--port", "9000")
    try:
        assert await_health(engine, other) == "healthy"
    finally:
        engine.docker("rm", "-f", other)


def run_compose(engine: DockerEngine, image: str, place: Path) -> str:
    """What Python says in a container of a compose file that names another entry point."""
    tool = shutil.which("docker-compose")
    if not tool:
        return engine.docker("run", "--rm", "--network", "none", "--entrypoint", "python3", image, "-c", SAY)
    file = place / "compose.yaml"
    service = {"image": image, "network_mode": "none", "entrypoint": ["python3", "-c", SAY]}
    file.write_text(json.dumps({"version": "3", "services": {"one": service}}))
    argv = [tool, "--host", engine.address, "-p", "xpukit-test", "-f", str(file)]
    ran = subprocess.run([*argv, "run", "--rm", "-T", "one"], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()
