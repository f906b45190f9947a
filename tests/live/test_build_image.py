"""`xpukit build-image` as a user runs it, on real daemons: builds, rebuilds, three ways to start, and every failure."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest

from tests.live.docker_engine import (
    TINY,
    DockerEngine,
    find_processes,
    hear_interrupts,
    import_tiny,
    kill_engine,
    list_kinds,
    start_engine,
)
from tests.live.smoke_base import BASE, LIMIT_S, REPO, make_command, make_environment, run_build
from tests.live.test_builders import find_builder

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(400)]

HEALTH_LIMIT_S = 60.0
NOBODY = 65534
BUILDERS = list_kinds()
# What differs between two containers of one image whatever one does.
OF_THE_CONTAINER = {"HOSTNAME", "PWD", "OLDPWD", "SHLVL", "_", "container", "TERM"}
RECIPE = """\
schema = "xpukit.recipe/1"
name = "own"
version = "1"
summary = "for a test"
[settings.base_image]
type = "string"
summary = "base"
default = "xpukit-test/tiny:1"
[host]
vendor = "any"
"""


@pytest.fixture(scope="module")
def engine(closed_engine: DockerEngine) -> DockerEngine:
    return closed_engine


@pytest.fixture(scope="module")
def built(smoke_builds: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return smoke_builds


@pytest.fixture(params=BUILDERS)
def builder(request: pytest.FixtureRequest) -> str:
    return find_builder(request.param).kind


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def write_recipe(folder: Path, dockerfile: str) -> str:
    """A recipe of one's own; its path as it is named to build-image."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "Dockerfile.j2").write_text(dockerfile)
    return f"{folder}/"


def await_true(condition: Any, limit_s: float = HEALTH_LIMIT_S) -> bool:
    until = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def find_compose() -> list[str]:
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    ran = subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=30, check=False)
    if ran.returncode:
        pytest.skip("no docker compose (Debian: docker-compose)")
    return ["docker", "compose"]


# --- builds that succeed ---------------------------------------------------------------------------------------------


def test_the_document_and_what_is_kept(engine: DockerEngine, built: dict[str, dict[str, Any]], builder: str) -> None:
    document = built[builder]
    schema = json.loads((REPO / "docs" / "schemas" / "xpukit.image-1.json").read_text(encoding="utf-8"))
    jsonschema.validate({name: value for name, value in document.items() if name != "state"}, schema)
    assert (document["schema"], document["ok"], document["builder"]) == ("xpukit.image/1", True, builder)
    # The classic builder has SHELL once for two stages; buildx and the client's own BuildKit share a cache.
    assert builder == "buildx" or document["cached_steps"] <= 1
    folder = Path(document["directory"])
    kept = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
    assert kept["image_id"] == document["image_id"]
    assert "apt-get update" in (folder / "context" / "Dockerfile").read_text(encoding="utf-8")
    assert "Reading package lists" in (folder / "build.log").read_text(encoding="utf-8")
    labels = json.loads(engine.docker("inspect", "-f", "{{json .Config.Labels}}", document["tags"][0]))
    assert labels["io.xpukit.recipe-hash"] == document["hash"]
    assert labels["org.opencontainers.image.base.name"] == BASE
    assert engine.list_left() == []


def test_a_rebuild_is_a_cache_hit_throughout(
    engine: DockerEngine, built: dict[str, dict[str, Any]], builder: str
) -> None:
    before = built[builder]
    ran = run_build(
        make_environment(engine.address, before["state"]), "smoke", "--base-image", BASE, "--builder", builder,
        "--json", "--tag", before["tags"][0], "--no-smoke",
    )  # fmt: skip
    after = json.loads(ran.stdout)
    assert after["cached_steps"] == after["total_steps"] == before["total_steps"]
    assert (after["image_id"], after["hash"]) == (before["image_id"], before["hash"])


def test_three_ways_to_start_are_one(
    engine: DockerEngine, built: dict[str, dict[str, Any]], builder: str, tmp_path: Path
) -> None:
    """docker run, docker exec and compose: healthy, the arguments arrive, the environment is the same."""
    image = built[builder]["tags"][0]
    arguments = ["--port", "9123", "--served-model-name", "two words", "$HOME"]
    started = engine.docker("run", "-d", "--health-interval", "1s", image, *arguments)
    # Compose replaces ${...} itself: a dollar sign is written twice there.
    asked = json.dumps([word.replace("$", "$$") for word in arguments])
    (tmp_path / "compose.yml").write_text(
        f'version: "3.7"\nservices:\n  stub:\n    image: "{image}"\n    command: {asked}\n'
        "    healthcheck: {interval: 1s}\n"
    )
    compose = [*find_compose(), "-f", str(tmp_path / "compose.yml"), "-p", f"own{builder}"]
    environment = make_environment(engine.address, tmp_path)
    try:
        ran = subprocess.run([*compose, "up", "-d"], env=environment, capture_output=True, timeout=120, check=False)
        assert ran.returncode == 0, ran.stderr.decode()
        listed = subprocess.run([*compose, "ps", "-q"], env=environment, capture_output=True, timeout=60, check=True)
        composed = listed.stdout.decode().split()[0]
        for container in (started, composed):
            assert await_true(partial(is_healthy, engine, container)), container
            models = "import json, urllib.request as r; print([m['id'] for m in json.load(r.urlopen('http://127.0.0.1:9123/v1/models'))['data']])"
            assert engine.docker("exec", container, "python3", "-c", models) == "['two words', '$HOME']"
        served = [read_environment(engine, container, "cat", "/proc/1/environ") for container in (started, composed)]
        assert served[0] == served[1]
        assert served[0]["XPUKIT_ENVIRONMENT"] == "loaded"
        assert served[0]["STUB_ENGINE_HOME"] == "/opt/xpukit"
        assert read_environment(engine, started, "bash", "-c", "env -0") == served[0]
        # A login shell sets PATH anew, and ours must still go before it.
        login = read_environment(engine, started, "bash", "-lc", "env -0")
        assert login.pop("PATH").startswith("/opt/xpukit/bin:/opt/venv/bin:")
        assert login == {name: value for name, value in served[0].items() if name != "PATH"}
        # Beside the entry point, in its place, and as another user: the engine's own program, with its environment.
        assert engine.docker("exec", started, "stub-engine", "--version") == "stub-engine 1"
        assert engine.docker("run", "--rm", "--entrypoint", "stub-engine", image, "--version") == "stub-engine 1"
        assert engine.docker("run", "--rm", "--user", "4321:0", image, "stub-engine", "--version") == "stub-engine 1"
        said = engine.docker("run", "--rm", "--entrypoint", "bash", image, "-c", 'echo "$XPUKIT_ENVIRONMENT"')
        assert said == "loaded"
    finally:
        subprocess.run([*compose, "down", "-t", "1"], env=environment, capture_output=True, timeout=120, check=False)
        engine.docker("rm", "-f", started)
    assert engine.list_left() == []


def is_healthy(engine: DockerEngine, container: str) -> bool:
    return engine.docker("inspect", "-f", "{{.State.Health.Status}}", container) == "healthy"


def read_environment(engine: DockerEngine, container: str, *command: str) -> dict[str, str]:
    said = engine.docker("exec", container, *command).split("\0")
    pairs = (entry.partition("=")[::2] for entry in said if "=" in entry)
    return {name: value for name, value in pairs if name not in OF_THE_CONTAINER}


def test_the_context_is_the_same_to_the_byte(tmp_path: Path, builder: str) -> None:
    environment = make_environment("unix:///nowhere", tmp_path / "state", SOURCE_DATE_EPOCH="1700000000")
    trees = []
    for name in ("one", "two"):
        ran = run_build(environment, "smoke", "--builder", builder, "--context", str(tmp_path / name))
        assert ran.returncode == 0, ran.stderr
        files = sorted((tmp_path / name).rglob("*"))
        trees.append(
            [
                (str(path.relative_to(tmp_path / name)), path.stat().st_mode, path.stat().st_mtime_ns)
                + ((path.read_bytes(),) if path.is_file() else ())
                for path in files
            ]
        )
        os.umask(0o077)  # nor does the second depend on it
    os.umask(0o022)
    assert trees[0] == trees[1]
    assert {entry[2] for entry in trees[0]} == {1_700_000_000_000_000_000}
    assert b'image.created="2023-11-14T22:13:20Z"' in (tmp_path / "one" / "Dockerfile").read_bytes()


# --- offline ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def serve_folder(folder: Path) -> Iterator[int]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing is said."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def make_archive(folder: Path) -> None:
    """An apt repository with two packages, one needing the other, and a Python index with one wheel."""
    stanzas = []
    for name, needs in (("xpk-hello", "xpk-lib"), ("xpk-lib", "")):
        root = folder / "build" / name
        (root / "DEBIAN").mkdir(parents=True)
        control = f"Package: {name}\nVersion: 1:2.0~x+1\nArchitecture: all\nMaintainer: nobody <n@example.org>\n"
        control += f"Depends: {needs}\n" if needs else ""
        control += "Description: for a test\n more of it\n"
        (root / "DEBIAN" / "control").write_text(control)
        (root / "etc").mkdir()
        (root / "etc" / name).write_text("here")
        deb = folder / f"{name}_2.0~x+1_all.deb"
        subprocess.run(["dpkg-deb", "--build", str(root), str(deb)], check=True, capture_output=True, timeout=60)
        content = deb.read_bytes()
        stanzas.append(
            f"{control}Filename: ./{deb.name}\nSize: {len(content)}\nSHA256: {sha256(content).hexdigest()}\n"
        )
    (folder / "Packages").write_text("\n".join(stanzas))
    place = folder / "simple" / "xpk-demo"
    place.mkdir(parents=True)
    wheel = place / "xpk_demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("xpk_demo.py", "ANSWER = 42\n")
        file.writestr("xpk_demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: xpk-demo\nVersion: 1.0\n")
        file.writestr("xpk_demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("xpk_demo-1.0.dist-info/RECORD", "")
    digest = sha256(wheel.read_bytes()).hexdigest()
    (place / "index.html").write_text(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>')


def test_offline_from_what_was_fetched(
    open_engine: DockerEngine, engine: DockerEngine, tmp_path: Path, state: Path
) -> None:
    """Collected over a network that then is gone: what is built holds it, and what was changed is refused."""
    make_archive(tmp_path / "archive")
    folder, asked = tmp_path / "fetched", ("--set", "packages=xpk-hello", "--set", "wheels=xpk-demo==1.0")
    builder = find_builder("buildkit").kind
    base = "own/base:1"
    # Both apt in the base image and pip on this machine ask the same server on loopback.
    with serve_folder(tmp_path / "archive") as port:
        source = f"deb [trusted=yes] http://127.0.0.1:{port} ./"
        dockerfile = f"FROM {BASE}\nRUN echo '{source}' >/etc/apt/sources.list\n"
        open_engine.docker("build", "-t", base, "-", stdin=dockerfile.encode())
        environment = make_environment(open_engine.address, state, PIP_INDEX_URL=f"http://127.0.0.1:{port}/simple")
        command = ("smoke", "--base-image", base, *asked, "--builder", builder)
        ran = run_build(environment, *command, "--network", "host", "--fetch", str(folder))
        assert ran.returncode == 0, ran.stderr
        again = run_build(environment, *command, "--network", "host", "--fetch", str(folder), "--json")
        assert "fetched " not in again.stderr
        schema = json.loads((REPO / "docs" / "schemas" / "xpukit.image-fetch-1.json").read_text(encoding="utf-8"))
        jsonschema.validate(json.loads(again.stdout), schema)
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "lock.toml", "base.tar", "debs/Packages", "debs/xpk-hello_2.0~x+1_all.deb", "debs/xpk-lib_2.0~x+1_all.deb",
        "wheels/xpk_demo-1.0-py3-none-any.whl",
    }  # fmt: skip
    environment = make_environment(engine.address, state)
    command = ("smoke", "--base-image", base, *asked, "--builder", builder, "--lock", str(folder / "lock.toml"))
    absent = run_build(environment, *command)
    assert absent.returncode == 2
    assert f"docker load -i {folder}/base.tar" in absent.stderr
    engine.docker("load", "-i", str(folder / "base.tar"))
    ran = run_build(environment, *command, "--network", "none", "--tag", "own/offline:1", "--no-smoke")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    script = "cat /etc/xpk-hello /etc/xpk-lib && python -c 'import xpk_demo; print(xpk_demo.ANSWER)'"
    assert engine.docker("run", "--rm", "own/offline:1", "bash", "-c", script) == "herehere42"
    # Nothing of the repository or of the wheelhouse is in a layer.
    left = "ls /run /tmp /var/cache/apt/archives; cat /etc/apt/sources.list"
    assert "xpk" not in engine.docker("run", "--rm", "own/offline:1", "bash", "-c", left)
    for name in ("debs/xpk-lib_2.0~x+1_all.deb", "wheels/xpk_demo-1.0-py3-none-any.whl"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content + b"x")
        refused = run_build(environment, *command)
        (folder / name).write_bytes(content)
        assert (refused.returncode, f"{name} was changed" in refused.stderr) == (2, True), refused.stderr


# --- builds that fail ------------------------------------------------------------------------------------------------


def test_bad_base(engine: DockerEngine, state: Path, builder: str) -> None:
    ran = run_build(
        make_environment(engine.address, state), "smoke", "--builder", builder, "--base-image", "registry.invalid/no:1"
    )
    assert ran.returncode == 4
    assert "smoke: the build failed" in ran.stdout
    assert "registry.invalid/no:1" in ran.stdout
    assert "likely: the base image is not on this machine and its registry cannot be reached" in ran.stdout
    assert "--base-image IMAGE" in ran.stdout


def test_failing_step(engine: DockerEngine, state: Path, tmp_path: Path, builder: str) -> None:
    recipe = write_recipe(
        tmp_path / "own",
        "FROM {{ base_image }}\nRUN n=0; while [ $n -lt 40 ]; do n=$((n+1)); echo line $n; done; ls /absent\n",
    )
    ran = run_build(make_environment(engine.address, state), recipe, "--builder", builder)
    assert ran.returncode == 4
    assert "ls /absent" in ran.stdout.splitlines()[1]
    assert "| exit code 2\n" in ran.stdout
    assert "| line 40" in ran.stdout
    assert "| line 10\n" not in ran.stdout  # the last lines only; the log has all
    log = ran.stdout.rpartition("log: ")[2].strip()
    assert "line 10\n" in Path(log).read_text(encoding="utf-8")
    assert json.loads((Path(log).parent / "outcome.json").read_text(encoding="utf-8"))["ok"] is False
    assert engine.docker("images", "-q", "xpukit/own") == ""
    assert engine.list_left() == []


def test_no_daemon(state: Path, tmp_path: Path, builder: str) -> None:
    ran = run_build(make_environment(f"unix://{tmp_path}/none", state), "smoke", "--builder", builder)
    assert (ran.returncode, ran.stdout) == (4, "")
    assert "the socket is not there" in ran.stderr
    assert "systemctl start docker" in ran.stderr
    assert not state.exists()
    said = run_build(make_environment(f"unix://{tmp_path}/none", state), "smoke", "--builder", builder, "--json")
    assert json.loads(said.stdout)["error"]["exit_code"] == 4


def test_no_permission_on_the_socket(engine: DockerEngine, tmp_path: Path, builder: str) -> None:
    """As an ordinary user, who may also read files (this Python may lie in root's home), but not write to the socket."""
    who = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    who += ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
    environment = {
        **make_environment(engine.address, tmp_path / "none"),
        "HOME": "/tmp",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    ran = subprocess.run(
        [*who, *make_command("smoke", "--builder", builder)], env=environment, capture_output=True, text=True,
        timeout=LIMIT_S, check=False, cwd="/tmp",
    )  # fmt: skip
    assert ran.returncode == 4, ran.stderr
    assert "may not talk to the Docker daemon" in ran.stderr
    assert "group docker" in ran.stderr


def test_disk_full(state: Path, tmp_path: Path, builder: str) -> None:
    recipe = write_recipe(tmp_path / "own", "FROM {{ base_image }}\nRUN dd if=/dev/zero of=/big bs=1M count=200\n")
    with start_engine(data_mb=80) as small:
        import_tiny(small)
        ran = run_build(make_environment(small.address, state), recipe, "--builder", builder)
        assert ran.returncode == 4
        assert "likely: out of disk space where Docker keeps its data" in ran.stdout
        assert small.list_left() == []


def test_network_none(engine: DockerEngine, state: Path, tmp_path: Path, builder: str) -> None:
    recipe = write_recipe(tmp_path / "own", "FROM {{ base_image }}\nRUN bash -c 'echo > /dev/tcp/192.0.2.1/80'\n")
    ran = run_build(make_environment(engine.address, state), recipe, "--builder", builder, "--network", "none")
    assert ran.returncode == 4
    assert "likely: no network" in ran.stdout


def test_daemon_killed_in_the_middle(state: Path, tmp_path: Path, builder: str) -> None:
    recipe = write_recipe(tmp_path / "own", "FROM {{ base_image }}\nRUN echo working && sleep 96.5\n")
    with start_engine() as doomed:
        import_tiny(doomed)
        with start_build(make_environment(doomed.address, state), recipe, "--builder", builder) as child:
            read_until(child, "| working")
            kill_engine(doomed)
            out, _ = child.communicate(timeout=60)
        assert child.returncode == 4
        assert "likely: the Docker daemon went away during the build" in out


def test_ctrl_c(engine: DockerEngine, state: Path, tmp_path: Path, builder: str) -> None:
    recipe = write_recipe(tmp_path / "own", f"FROM {TINY}\nRUN echo {builder} >/a\nRUN echo working && sleep 95.5\n")
    before = sorted(engine.docker("images", "-aq", "--no-trunc").split())
    with start_build(make_environment(engine.address, state), recipe, "--builder", builder) as child:
        read_until(child, "| working")
        assert find_processes("sleep 95.5")
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "the build was cancelled; no image of it; log: " in err
    assert "working" in Path(err.partition("log: ")[2].splitlines()[0]).read_text(encoding="utf-8")
    assert await_true(lambda: not find_processes("sleep 95.5"), 15)
    assert engine.list_left() == []
    assert sorted(engine.docker("images", "-aq", "--no-trunc").split()) == before


@contextlib.contextmanager
def start_build(environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """With -v, so that the output of steps is seen."""
    command = [sys.executable, "-m", "xpukit", "-v", "build-image", *arguments]
    child = subprocess.Popen(
        hear_interrupts(command), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield child
    finally:
        for process in (*psutil.Process(child.pid).children(recursive=True), child) if child.poll() is None else ():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                process.kill()
        child.wait(timeout=20)


def read_until(child: subprocess.Popen[str], words: str) -> None:
    assert child.stderr is not None
    said = []
    for line in child.stderr:
        said.append(line)
        if words in line:
            return
    pytest.fail("".join(said))
