"""The forms before the real tools that read them, and really started: what is inside is what the plan says."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from tests.live.docker_engine import TINY_PROGRAMS, DockerEngine, make_image_tar, start_engine
from tests.live.installed_tools import find_tool
from tests.live.newer_tools import COMPOSE, QUADLET, find_newer
from tests.unit.serve.form_plans import LINES, SEVERAL, load_plan
from tests.unit.serve.form_words import HARD, fill_in, find_odd, read_compose, render_words
from xpukit.container.gpu_nodes import NodeGroup
from xpukit.core.errors import UsageError
from xpukit.core.units import parse_cpu_list
from xpukit.serve.forms import FormFile, FormOptions, render_form
from xpukit.serve.forms.container import list_containers
from xpukit.serve.plan_types import Plan

pytestmark = pytest.mark.live
ENVIRONMENT = {**os.environ, "SERVER_KEY": "a$b c", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
STUB = "xpukit-test/vllm:1"
# Says what it was given, and stays until it is stopped.
STUB_SCRIPT = r"""#!/bin/bash
printf 'argv'; printf ' %q' "$0" "$@"; echo
env | sed 's/^/env /'
sed 's/^/status /' /proc/self/status
ls -l /dev/dri 2>/dev/null | sed 's/^/dri /'
echo ready
trap 'exit 0' TERM
while :; do sleep 0.2; done
"""


def write(name: str, form: str, folder: Path, **options: object) -> list[Path]:
    """The files of a form; none where it cannot be."""
    try:
        files = render_form(form, load_plan(name), msgspec.convert(options, FormOptions))
    except UsageError:
        return []
    return write_files(files, folder)


def write_files(files: Sequence[FormFile], folder: Path) -> list[Path]:
    for file in files:
        (folder / file.name).write_text(file.text, encoding="utf-8")
        (folder / file.name).chmod(0o755 if file.executable else 0o644)
    return [folder / file.name for file in files]


def run(*argv: str | Path, folder: Path | None = None, limit: float = 60.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in argv],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=limit, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("form", ["shell", "docker", "podman", "ray", "swarm-ray"])
def test_scripts_are_sound(form: str, tmp_path: Path) -> None:
    written = []
    for name in LINES:
        folder = tmp_path / name
        folder.mkdir()
        written += write(name, form, folder, log_file="out put.log")
    assert written
    for path in written:
        ran = run("bash", "-n", path)
        assert ran.returncode == 0, ran.stderr
    ran = run(find_tool("shellcheck"), "--severity=style", "--exclude=SC2016", *written)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("name", [name for name in LINES if name != "native"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_compose_takes_the_file(name: str, version: str, tmp_path: Path) -> None:
    tool = [find_tool("docker-compose")] if version == "v1" else find_newer(COMPOSE)
    if version == "v1" and "1.29" not in run(*tool, "version").stdout:
        pytest.skip("docker-compose is not 1.29 here")
    for path in write(name, "compose", tmp_path):
        ran = run(*tool, "-f", path, "config", *(["--format", "json"] if version == "v2" else []))
        assert ran.returncode == 0, ran.stderr
        assert "variable is not set" not in ran.stderr
        assert "obsolete" not in ran.stderr
        if version == "v2":
            check_meaning(name, json.loads(ran.stdout))


def check_meaning(name: str, read: dict[str, object]) -> None:
    """Compose's own reading (with signs doubled, as it writes them) is the plan."""
    services = read["services"]
    assert isinstance(services, dict)
    containers = {one.name: one for one in list_containers(load_plan(name), FormOptions())}
    for key, service in services.items():
        assert [word.replace("$$", "$") for word in service.get("command") or []] == list(containers[key].run.arguments)
        for one in containers[key].passed:
            if one.required:
                value = ENVIRONMENT[one.reference.removeprefix("${").removesuffix("}")]
                assert service["environment"][one.name] == value.replace("$", "$$")


@pytest.mark.parametrize("name", LINES)
def test_systemd_takes_the_units(name: str, tmp_path: Path) -> None:
    tool = find_tool("systemd-analyze")
    written = write(name, "systemd", tmp_path)
    units = [path for path in written if path.suffix in (".service", ".target")]
    assert units
    ran = run(tool, "verify", "--man=no", *units)
    # Others' units of this machine are none of ours.
    said = [line for line in ran.stderr.splitlines() if str(tmp_path) in line or "xpukit" in line]
    said = [line for line in said if "is not executable" not in line and "docker.service not found" not in line]
    assert not said


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LINES if name != "native"])
def test_quadlet_takes_the_files(name: str, tmp_path: Path) -> None:
    written = write(name, "quadlet", tmp_path)
    ran = subprocess.run(
        [*find_newer(QUADLET), "--dryrun"],
        env={**os.environ, "QUADLET_UNIT_DIRS": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert not [line for line in ran.stderr.splitlines() if "unsupported" in line.lower() or "error" in line.lower()]
    starts = [line.removeprefix("ExecStart=") for line in ran.stdout.splitlines() if line.startswith("ExecStart=")]
    containers = list_containers(load_plan(name), FormOptions(), engine="podman")
    assert len(starts) == len(containers) == len([path for path in written if path.suffix == ".container"])
    for one in containers:
        [words] = [read_command(text) for text in starts if f"--name {one.name} " in text]
        assert words[words.index(one.run.image) + 1 :] == list(one.run.arguments)
        for option in one.run.options:
            if option.words[0] == "--env":
                assert option.words[1] in words
        assert words.count("--device") == len([option for option in one.run.options if option.words[0] == "--device"])


def read_command(text: str) -> list[str]:
    """Words of an ExecStart= as systemd would run them."""
    words = re.findall(r'"(?:\\.|[^"\\])*"|\S+', text)
    plain = [json.loads(re.sub(r"\\x(..)", r"\\u00\1", word)) if word.startswith('"') else word for word in words]
    return [word.replace("%%", "%").replace("$$", "$") for word in plain]


@pytest.mark.parametrize("name", ["nvidia", "direct"])
@pytest.mark.parametrize("form", ["shell", "docker", "podman"])
def test_bash_gets_every_word(form: str, name: str, tmp_path: Path) -> None:
    script = tmp_path / "start.sh"
    script.write_text(render_words(form, HARD, name=name), encoding="utf-8")
    program = tmp_path / ("lmdeploy" if form == "shell" else form)
    program.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    program.chmod(0o755)
    ran = subprocess.run(
        ["bash", str(script)],
        env={**ENVIRONMENT, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert find_odd(ran.stdout.decode().split("\0")[:-1]) == list(HARD)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_compose_gets_every_word(version: str, tmp_path: Path) -> None:
    tool = [find_tool("docker-compose")] if version == "v1" else find_newer(COMPOSE)
    path = tmp_path / "compose.yaml"
    path.write_text(render_words("compose", HARD, name="direct"), encoding="utf-8")
    ran = run(*tool, "-f", path, "config", *(["--format", "json"] if version == "v2" else []))
    assert ran.returncode == 0, ran.stderr
    # It writes signs doubled again; 1.29 also writes a NEL as it is, which reads as a line's end.
    read = find_odd(read_compose(ran.stdout))
    assert [word if version == "v2" else word.replace("\x85", " ") for word in HARD] == read


def split_as_systemd(text: str) -> list[str]:
    """The words of a setting, by the function that systemd itself reads units with."""
    libraries = sorted(Path("/usr/lib").glob("*/systemd/libsystemd-shared-*.so"))
    if not libraries:
        pytest.skip("no libsystemd-shared here (Debian: systemd)")
    library = ctypes.CDLL(str(libraries[-1]))
    # EXTRACT_CUNESCAPE and EXTRACT_UNQUOTE of src/basic/extract-word.h
    flags = 1 << 1 | 1 << 5
    kept = ctypes.create_string_buffer(text.encode())
    at, word = ctypes.c_char_p(ctypes.addressof(kept)), ctypes.c_char_p()
    found = []
    while (said := library.extract_first_word(ctypes.byref(at), ctypes.byref(word), None, flags)) > 0:
        found.append((word.value or b"").decode())
    assert said == 0
    return found


@pytest.mark.parametrize("name", ["direct", "one", "native"])
def test_systemd_gets_every_word(name: str) -> None:
    text = render_words("systemd", HARD, name=name).replace("\\\n", " ")
    [line] = [line for line in text.split("\n") if line.startswith("ExecStart=")]
    words = split_as_systemd(line.removeprefix("ExecStart="))
    assert find_odd([fill_in(word) for word in words]) == list(HARD)


@pytest.mark.slow
def test_quadlet_gets_every_word(tmp_path: Path) -> None:
    hard = [word for word in HARD if word]
    (tmp_path / "xpukit.container").write_text(render_words("quadlet", hard, name="direct"), encoding="utf-8")
    ran = subprocess.run(
        [*find_newer(QUADLET), "--dryrun"],
        env={**os.environ, "QUADLET_UNIT_DIRS": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    [line] = [line for line in ran.stdout.split("\n") if line.startswith("ExecStart=")]
    # Its own words before them have specifiers.
    assert [fill_in(word) for word in find_odd(split_as_systemd(line.removeprefix("ExecStart=")))] == hard


def plan_here(plan: Plan) -> Plan:
    """The plan with nodes that this machine has in place of GPUs, and processors that it may use."""
    cpus = sorted(os.sched_getaffinity(0))
    nodes = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")
    access = tuple(
        msgspec.structs.replace(
            one,
            render_node=nodes[one.index],
            card_node="",
            by_path=(),
            groups=(NodeGroup(node=nodes[one.index], gid=992),),
        )
        for one in plan.machine.access[: len(nodes)]
    )
    launches = tuple(
        msgspec.structs.replace(
            launch,
            gpus=launch.gpus[: len(nodes)],
            pin=msgspec.structs.replace(
                launch.pin,
                cpus=str(cpus[index % len(cpus)]),
                mems="0",
                docker=(f"--cpuset-cpus={cpus[index % len(cpus)]}", "--cpuset-mems=0"),
            ),
        )
        for index, launch in enumerate(plan.launches)
    )
    machine = msgspec.structs.replace(plan.machine, vendor="intel", access=access, memory_bytes=1 << 30)
    chosen = msgspec.structs.replace(plan.engine, image=STUB)
    return msgspec.structs.replace(plan, machine=machine, launches=launches, engine=chosen)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    # With a bridge: the port is published.
    with start_engine() as running:
        folder = tmp_path_factory.mktemp("image")
        (folder / "vllm").write_text(STUB_SCRIPT)
        (folder / "Dockerfile").write_text("FROM base\nCOPY vllm /bin/vllm\nENV PATH=/bin\n")
        programs = (*TINY_PROGRAMS, "sed", "env", "ls", "grep")
        running.docker("import", "-", "base", stdin=make_image_tar(programs))
        (folder / "vllm").chmod(0o755)
        identity = running.docker("create", "base", "true")
        running.docker("cp", str(folder / "vllm"), f"{identity}:/bin/vllm")
        running.docker("commit", "--change", "ENV PATH=/bin", identity, STUB)
        running.docker("rm", identity)
        yield running


def await_log(engine: DockerEngine, name: str, *, limit: float = 60) -> list[str]:
    until = time.monotonic() + limit
    while time.monotonic() < until:
        lines = engine.docker("logs", name).splitlines()
        if "ready" in lines:
            return lines
        time.sleep(0.3)
    raise AssertionError(f"{name} does not say that it is ready: {engine.docker('logs', name)[-500:]}")


def check_inside(engine: DockerEngine, plan: Plan, *, compose: bool) -> None:
    """Of every container: argv, environment, processors, rights and devices."""
    for one in list_containers(plan, FormOptions()):
        lines = await_log(engine, one.name)
        [said] = [line.removeprefix("argv ") for line in lines if line.startswith("argv ")]
        flags = [word for flag in (*one.launch.flags, *one.launch.container_flags) for word in flag.words]
        assert shlex.split(said)[0].endswith("vllm")
        assert shlex.split(said)[1:] == ["serve", *flags]
        env = dict(line[4:].partition("=")[::2] for line in lines if line.startswith("env "))
        for variable in one.launch.container_variables:
            if not variable.passed and "${" not in variable.value:
                assert env[variable.name] == variable.value
        assert env["VLLM_API_KEY"] == ENVIRONMENT["SERVER_KEY"]
        assert "HF_TOKEN" not in env
        status = dict(line[7:].partition(":")[::2] for line in lines if line.startswith("status "))
        assert parse_cpu_list(status["Cpus_allowed_list"].strip()) == parse_cpu_list(one.launch.pin.cpus)
        # CAP_SYS_PTRACE (bit 19) for two ranks, and nothing else.
        assert int(status["CapEff"], 16) == 1 << 19
        assert int(status["CapBnd"], 16) == 1 << 19
        assert status["NoNewPrivs"].strip() == "1"
        assert "992" in status["Groups"].split()
        [seen] = json.loads(engine.docker("inspect", one.name))
        host = seen["HostConfig"]
        assert host["Privileged"] is False
        assert [device["PathOnHost"] for device in host["Devices"]] == [
            option.words[1].split(":")[0] for option in one.run.options if option.words[0] == "--device"
        ]
        assert host["CpusetCpus"] == one.launch.pin.cpus
        assert host["CpusetMems"] == ("" if compose else "0")
        assert host["NetworkMode"] != "host"
        assert host["IpcMode"] == "private"
        assert host["ShmSize"] == 512 << 20
        [[binding]] = host["PortBindings"].values()
        assert binding == {"HostIp": "127.0.0.1", "HostPort": str(one.launch.port)}
        assert "a$b c" not in json.dumps(seen["Config"]["Cmd"])
        health = seen["Config"].get("Healthcheck")
        assert (health is not None) is compose
        if health:
            assert "/health" in health["Test"][-1]


def test_docker_run_starts_what_the_plan_says(engine: DockerEngine, tmp_path: Path) -> None:
    plan = plan_here(load_plan("replicas"))
    [script] = write_files(render_form("docker", plan, FormOptions()), tmp_path)
    ran = subprocess.run(
        ["bash", str(script)],
        env={**ENVIRONMENT, "DOCKER_HOST": engine.address}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    try:
        assert ran.returncode == 0, ran.stderr
        check_inside(engine, plan, compose=False)
    finally:
        engine.docker("rm", "--force", *(one.name for one in list_containers(plan, FormOptions())))


def test_no_server_starts_without_its_key(engine: DockerEngine, tmp_path: Path) -> None:
    [script] = write_files(render_form("docker", plan_here(load_plan("replicas")), FormOptions()), tmp_path)
    environment = {key: value for key, value in ENVIRONMENT.items() if key != "SERVER_KEY"}
    ran = subprocess.run(
        ["bash", str(script)],
        env={**environment, "DOCKER_HOST": engine.address}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode != 0
    assert "SERVER_KEY" in ran.stderr
    assert engine.list_left() == []


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_compose_starts_what_the_plan_says(engine: DockerEngine, version: str, tmp_path: Path) -> None:
    tool = [find_tool("docker-compose")] if version == "v1" else find_newer(COMPOSE)
    plan = plan_here(load_plan("replicas"))
    [path] = write_files(render_form("compose", plan, FormOptions()), tmp_path)
    environment = {**ENVIRONMENT, "DOCKER_HOST": engine.address}
    command = [*tool, "-f", str(path), "-p", "xpkforms"]
    up = subprocess.run(
        [*command, "up", "-d"], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    try:
        assert up.returncode == 0, up.stderr
        check_inside(engine, plan, compose=True)
    finally:
        subprocess.run([*command, "down", "-t", "1"], env=environment, capture_output=True, timeout=120, check=False)


def test_swarm_scripts_are_for_several_machines_only(tmp_path: Path) -> None:
    assert {name for name in LINES if write(name, "swarm-ray", tmp_path)} == set(SEVERAL)


def test_processes_of_the_shell_form_end_together(tmp_path: Path) -> None:
    """Two engines and their logs; ending the script ends both."""
    plan = load_plan("native")
    launches = tuple(
        msgspec.structs.replace(one, pin=msgspec.structs.replace(one.pin, numactl=())) for one in plan.launches
    )
    plan = msgspec.structs.replace(plan, launches=launches)
    [script] = write_files(render_form("shell", plan, FormOptions(log_file="engine.log")), tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "vllm").write_text(STUB_SCRIPT)
    (programs / "vllm").chmod(0o755)
    environment = {**ENVIRONMENT, "PATH": f"{programs}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        ["bash", str(script)], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        logs = [tmp_path / "engine-0.log", tmp_path / "engine-1.log"]
        until = time.monotonic() + 30
        while not all(log.exists() and "ready" in log.read_text(encoding="utf-8") for log in logs):
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.2)
        for launch, log in zip(launches, logs, strict=True):
            [said] = [line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("argv ")]
            assert shlex.split(said)[2:] == list(launch.argv)[1:]
            assert f"env ZE_AFFINITY_MASK={launch.mask}" in log.read_text(encoding="utf-8")
    finally:
        # What `serve --run` does: the whole group.
        os.killpg(process.pid, 15)
        process.wait(timeout=30)
    until = time.monotonic() + 20
    while find_in_group(process.pid) and time.monotonic() < until:
        time.sleep(0.2)
    assert not find_in_group(process.pid)


def find_in_group(group: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return found


def find_ray() -> Path:
    """The folder of a real `ray` and its Python (extra fleet), or XPUKIT_RAY_BIN."""
    named = os.environ.get("XPUKIT_RAY_BIN", "")
    for folder in (Path(named), Path(sys.executable).parent):
        if (folder / "ray").is_file() and str(folder) != ".":
            return folder
    pytest.skip("Ray is not installed (extra fleet)")


@pytest.fixture
def two_machines() -> Iterator[tuple[str, str]]:
    """Two network namespaces joined by a cable: 10.0.0.1 and 10.0.0.2, the addresses of the saved plans."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("needs root and iproute2")
    names = (f"xpkf{os.getpid()}a", f"xpkf{os.getpid()}b")
    try:
        for name in names:
            assert run("ip", "netns", "add", name).returncode == 0
        cable = ("ip", "link", "add", "xpkfa", "netns", names[0], "type", "veth", "peer", "name", "xpkfb", "netns")
        assert run(*cable, names[1]).returncode == 0
        for index, name in enumerate(names):
            device = ("xpkfa", "xpkfb")[index]
            assert run("ip", "-n", name, "addr", "add", f"10.0.0.{index + 1}/24", "dev", device).returncode == 0
            for one in (device, "lo"):
                assert run("ip", "-n", name, "link", "set", one, "up").returncode == 0
        yield names
    finally:
        for name in names:
            run("ip", "netns", "del", name)


def check_a_stranger_is_refused(namespace: str, rays: Path) -> None:
    """Ray's ports are open to the other machine; who has no token can still do nothing there."""
    asked = "import ray; ray.init(address='10.0.0.1:6379', logging_level='ERROR')"
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "RAY_USAGE_STATS_ENABLED": "0"}
    ran = subprocess.run(
        ["ip", "netns", "exec", namespace, str(rays / "python3"), "-c", asked],
        env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode != 0
    assert "AuthenticationError" in ran.stderr, ran.stderr[-2000:]


@pytest.mark.slow
def test_ray_scripts_join_real_machines(two_machines: tuple[str, str], tmp_path: Path) -> None:
    """Worker first: it waits for the head; the engine starts when both are there, and tear-down ends all."""
    rays = find_ray()
    written = write("ray", "ray", tmp_path, log_file="engine.log")
    head, worker, _, end = written
    programs = tmp_path / "bin"
    programs.mkdir()
    counted = 'python3 -c \'import ray; ray.init(address="auto"); print("joined", len(ray.nodes()))\'\n'
    (programs / "vllm").write_text(STUB_SCRIPT.replace("echo ready\n", f"{counted}echo ready\n"))
    (programs / "vllm").chmod(0o755)
    path = f"{programs}:{rays}:{os.environ['PATH']}"
    # Sockets in Ray's folder must have short names.
    environment = {**ENVIRONMENT, "PATH": path, "RAY_TMPDIR": "/tmp", "RAY_USAGE_STATS_ENABLED": "0"}
    started: list[subprocess.Popen[bytes]] = []
    try:
        for name, script in ((two_machines[1], worker), (two_machines[0], head)):
            started.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", name, "bash", str(script)],
                    cwd=tmp_path,
                    env=environment,
                    start_new_session=True,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            time.sleep(1)
        log = tmp_path / "engine-node0.log"
        until = time.monotonic() + 150
        while not (log.exists() and "ready" in log.read_text(encoding="utf-8").splitlines()):
            assert time.monotonic() < until, [
                path.read_text(encoding="utf-8")[-600:] for path in tmp_path.glob("*.log")
            ]
            assert all(process.poll() is None for process in started)
            time.sleep(1)
        text = log.read_text(encoding="utf-8")
        assert "joined 2" in text
        assert "env VLLM_HOST_IP=10.0.0.1" in text
        check_a_stranger_is_refused(two_machines[1], rays)
        assert run("bash", end, folder=tmp_path).returncode == 0
        for process in started:
            process.wait(timeout=60)
        assert not list(tmp_path.glob("*.pids"))
    finally:
        for process in started:
            if process.poll() is None:
                os.killpg(process.pid, 15)
                process.wait(timeout=60)
    until = time.monotonic() + 30
    while any(find_in_group(process.pid) for process in started) and time.monotonic() < until:
        time.sleep(0.5)
    assert not any(find_in_group(process.pid) for process in started)
