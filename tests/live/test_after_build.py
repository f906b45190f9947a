"""After a real build: smoke test, flags, inventory, SBOM, differences, least privilege and CDI, against the real tools."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.live.docker_engine import TINY_PROGRAMS, DockerEngine, make_image_tar
from xpukit.container.gpu_nodes import GpuNodes, NodeGroup
from xpukit.container.run_options import RunRequest, plan_run
from xpukit.core.errors import ExternalError
from xpukit.facts.cdi import load_cdi_facts
from xpukit.facts.recipes import Recipe, load_recipe
from xpukit.host.docker_daemon import DockerDaemon
from xpukit.host.docker_values import ImageInfo
from xpukit.host.live import LiveHost
from xpukit.images.after_build import Account, account_for_image
from xpukit.images.cdi import build_cdi
from xpukit.images.cdi_file import write_cdi
from xpukit.images.engine_flags import list_flag_names, read_label
from xpukit.images.inventory import Inventory
from xpukit.images.smoke_compose import find_compose, make_runner
from xpukit.images.smoke_report import SmokeReport
from xpukit.images.smoke_test import SmokeLimits, smoke_test

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(300)]

REPO = Path(__file__).resolve().parents[2]
IMAGE = "xpukit-test/smoke:1"
CHANGED = "xpukit-test/smoke:2"
LIMITS = SmokeLimits(command_s=60, start_s=60, health_s=30)
# A group that no image has.
GROUP = 45123


@pytest.fixture(scope="module")
def engine(closed_engine: DockerEngine) -> DockerEngine:
    return closed_engine


@pytest.fixture(scope="module")
def daemon(engine: DockerEngine) -> DockerDaemon:
    return DockerDaemon(engine.address)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("smoke")


@pytest.fixture(scope="module")
def built(smoke_builds: dict[str, dict[str, Any]]) -> str:
    """The smoke image as the builder left it; its id."""
    account = json.loads((Path(smoke_builds["classic"]["directory"]) / "account.json").read_bytes())
    assert account["built_id"] != account["image_id"]
    return str(account["built_id"])


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("builds")


@pytest.fixture(scope="module")
def account(built: str, daemon: DockerDaemon, recipe: Recipe, builds: Path) -> Account:
    folder = builds / "1"
    folder.mkdir()
    compose = make_runner(LiveHost(), daemon)
    return account_for_image(
        daemon, built, recipe, folder, tags=(IMAGE,), limits=LIMITS, hostname="here", compose=compose
    )


@pytest.fixture(scope="module")
def info(account: Account, daemon: DockerDaemon) -> ImageInfo:
    found = daemon.inspect_image(IMAGE)
    assert found is not None
    return found


def derive(engine: DockerEngine, tag: str, *lines: str, start: str = IMAGE) -> str:
    """An image made of another by a few instructions."""
    engine.docker("build", "-q", "-t", tag, "-", stdin="\n".join([f"FROM {start}", *lines]).encode())
    return tag


def verdicts(report: SmokeReport) -> dict[str, str]:
    return {check.name: check.verdict for check in report.checks}


# The image as it should be


def test_the_smoke_image_passes_with_every_part_tried(account: Account, info: ImageInfo) -> None:
    report = account.smoke
    assert report is not None
    assert report.verdict == "pass"
    assert (report.engine_version, report.image_id, report.differences) == ("stub-engine 1", info.id, ())
    found = verdicts(report)
    assert {name for name, verdict in found.items() if verdict == "pass"} >= {
        "check.sh environment", "check.sh not-root", "check.sh engine", "engine-version", "engine-help",
        "import http.server", "start by run", "start by entrypoint", "same-environment", "arguments-pass", "healthy",
    }  # fmt: skip
    assert found["devices"] == "not-applicable"
    assert found["start by compose"] == ("pass" if find_compose(LiveHost()) else "not-applicable")


def test_reports_lie_in_the_build_directory(account: Account, builds: Path, info: ImageInfo) -> None:
    smoke = json.loads((builds / "1/smoke.json").read_bytes())
    assert (smoke["schema"], smoke["verdict"], smoke["host"]) == ("xpukit.smoke/1", "pass", "here")
    for check in smoke["checks"]:
        assert not check["log"] or (builds / "1" / check["log"]).read_bytes()
    import jsonschema

    for name, schema in (
        ("smoke", "smoke"), ("inventory", "image-inventory"), ("engine-flags", "engine-flags"),
    ):  # fmt: skip
        content = json.loads((builds / f"1/{name}.json").read_bytes())
        jsonschema.validate(content, json.loads((REPO / f"docs/schemas/xpukit.{schema}-1.json").read_bytes()))
    inventory = msgspec.json.decode((builds / "1/inventory.json").read_bytes(), type=Inventory)
    assert inventory == account.inventory
    assert inventory.image_id == info.id
    assert inventory.size_bytes == info.size_bytes == sum(layer.size_bytes for layer in inventory.layers)


def test_labels_add_no_layer_and_the_tag_moves(built: str, account: Account, info: ImageInfo) -> None:
    assert account.image_id == info.id != built
    assert account.notes == ()


def test_nothing_is_left_running(account: Account, engine: DockerEngine) -> None:
    assert engine.list_left() == []


def test_flags_are_those_of_the_engines_own_help(account: Account, info: ImageInfo, engine: DockerEngine) -> None:
    flags = read_label(info.labels)
    assert flags is not None
    assert flags == account.flags
    assert flags.method == "parser"
    helped = engine.docker("run", "--rm", "--network", "none", IMAGE, "stub-engine", "serve", "--help")
    wanted = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", helped)) - {"--help"}
    named = {name for name in list_flag_names(flags) if name.startswith("--")}
    assert wanted <= named
    assert len(wanted) > 20


def test_inventory_is_what_dpkg_lists(account: Account, engine: DockerEngine) -> None:
    listed = engine.docker("run", "--rm", "--network", "none", "--entrypoint", "dpkg", "-e", "COLUMNS=400", IMAGE, "-l")
    rows = [line.split() for line in listed.splitlines() if line.startswith("ii ")]
    wanted = {(row[1].partition(":")[0], row[2], row[3]) for row in rows}
    found = {(one.name, one.version, one.architecture) for one in account.inventory.packages if one.kind == "deb"}
    assert found == wanted
    assert len(wanted) > 80


@pytest.mark.parametrize("python", ["/opt/venv/bin/python3", "/usr/bin/python3"])
def test_inventory_is_what_pip_lists(account: Account, engine: DockerEngine, python: str) -> None:
    run = ("run", "--rm", "--network", "none", "--entrypoint", python, IMAGE)
    places = set(json.loads(engine.docker(*run, "-c", "import json, sys; print(json.dumps(sys.path))")))
    if python.startswith("/opt"):
        listed = engine.docker(*run, "-m", "pip", "list", "--format=json", "--disable-pip-version-check")
    else:  # Debian's has no pip: what pip would look at, asked of the library
        program = "import importlib.metadata as m, json; print(json.dumps([{'name': d.metadata['Name'], 'version': d.version} for d in m.distributions()]))"
        listed = engine.docker(*run, "-c", program)
    wanted = {(one["name"], one["version"]) for one in json.loads(listed)}
    found = {
        (one.name, one.version) for one in account.inventory.packages if one.kind == "pypi" and one.place in places
    }
    assert found == wanted
    assert bool(wanted) == python.startswith("/opt")


def test_sbom_is_valid_and_complete(account: Account, builds: Path) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json")
    from cyclonedx.schema import SchemaVersion

    text = (builds / "1/sbom.cdx.json").read_text(encoding="utf-8")
    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    purls = [one["purl"] for one in document["components"] if "purl" in one]
    assert len(purls) == len(set(purls)) == len({(p.kind, p.name, p.version) for p in account.inventory.packages})
    bash = next(one for one in document["components"] if one["name"] == "bash")
    assert re.fullmatch(r"pkg:deb/debian/bash@[^?]+\?arch=amd64&distro=debian-12", bash["purl"])
    document["components"][0].pop("type")
    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is not None


def test_unchanged_images_are_not_tested_again(
    built: str, account: Account, daemon: DockerDaemon, recipe: Recipe, builds: Path, engine: DockerEngine
) -> None:
    folder = builds / "2"
    folder.mkdir()
    since = f"{time.time():.9f}"
    again = account_for_image(daemon, built, recipe, folder, tags=(IMAGE, "xpukit-test/more:1"), limits=LIMITS)
    until = f"{time.time():.9f}"
    assert "create" not in engine.docker("events", "--since", since, "--until", until, "--filter", "type=container")
    assert again.reused == str(builds / "1")
    assert again.image_id == account.image_id
    for name in ("smoke.json", "inventory.json", "sbom.cdx.json", "engine-flags.json"):
        assert (folder / name).read_bytes() == (builds / "1" / name).read_bytes()
    assert engine.docker("image", "inspect", "-f", "{{.Id}}", "xpukit-test/more:1") == account.image_id


# Images that are not as they should be


def test_dropped_arguments_are_seen(
    account: Account, engine: DockerEngine, daemon: DockerDaemon, recipe: Recipe
) -> None:
    image = derive(
        engine,
        "xpukit-test/dropping:1",
        'ENTRYPOINT ["/bin/bash", "-c", ". /opt/xpukit/environment.sh; stub-engine --version"]',
    )
    found = smoke_test(daemon, image, recipe, limits=LIMITS)
    assert found.verdict == "fail"
    assert verdicts(found)["arguments-pass"] == "fail"


def test_an_environment_only_of_the_entry_point_is_seen(
    account: Account, engine: DockerEngine, daemon: DockerDaemon, recipe: Recipe
) -> None:
    image = derive(
        engine, "xpukit-test/losing:1",
        "USER 0",
        r"RUN printf '#!/bin/bash\nexport CCL_ROOT=/opt/ccl HF_TOKEN=abc\nexec /opt/xpukit/entrypoint.sh \"$@\"\n' >/e.sh && chmod 755 /e.sh",
        "USER serving",
        'ENTRYPOINT ["/e.sh"]',
    )  # fmt: skip
    found = smoke_test(daemon, image, recipe, limits=LIMITS)
    assert verdicts(found)["same-environment"] == "fail"
    named = {one.name: one.values for one in found.differences}
    assert named["CCL_ROOT"] == {"run": "/opt/ccl", "exec": "", "entrypoint": ""}
    assert named["HF_TOKEN"]["run"] == "(set)"


def test_a_broken_engine_fails_with_its_own_words(
    account: Account, engine: DockerEngine, daemon: DockerDaemon, recipe: Recipe, tmp_path: Path
) -> None:
    image = derive(
        engine, "xpukit-test/broken:1", "USER 0",
        "RUN echo 'import missing_kernels' >/opt/xpukit/stub_engine.py", "USER serving",
    )  # fmt: skip
    found = smoke_test(daemon, image, recipe, limits=msgspec.structs.replace(LIMITS, health_s=5), folder=tmp_path)
    rows = {check.name: check for check in found.checks}
    assert rows["engine-version"].verdict == "fail"
    assert "missing_kernels" in rows["engine-version"].said
    assert rows["check.sh engine"].verdict == rows["healthy"].verdict == "fail"
    assert rows["check.sh not-root"].verdict == "pass"
    assert "missing_kernels" in (tmp_path / rows["start by run"].log).read_text(encoding="utf-8")
    assert engine.list_left() == []


def test_an_image_that_does_not_start_is_a_failed_row(
    engine: DockerEngine, daemon: DockerDaemon, recipe: Recipe
) -> None:
    image = derive(engine, "xpukit-test/nothing:1", "LABEL a=b", start="scratch")
    found = smoke_test(daemon, image, recipe, limits=LIMITS)
    assert (found.verdict, [check.name for check in found.checks if check.verdict == "fail"]) == ("fail", ["container"])
    assert "127" in found.checks[-1].said
    with pytest.raises(ExternalError, match="is not there"):
        smoke_test(daemon, "xpukit-test/absent:1", recipe, limits=LIMITS)


# An engine's image as `serve` sees it: its labels and its own parser count, not its name


@pytest.fixture(scope="module")
def own_engine(account: Account, engine: DockerEngine, daemon: DockerDaemon, recipe: Recipe, builds: Path) -> str:
    """The smoke image as one of vLLM 0.21.0, whose parser is the stub's; its name says nothing."""
    tag = derive(
        engine, "xpukit-test/ours:7", "USER 0",
        r"RUN printf '#!/bin/bash\nexec stub-engine \"$@\"\n' >/opt/xpukit/bin/vllm && chmod 755 /opt/xpukit/bin/vllm",
        "USER serving", "LABEL io.xpukit.engine=vllm io.xpukit.engine-version=0.21.0",
    )  # fmt: skip
    argv = ("vllm", "serve")
    answers = msgspec.structs.replace(
        recipe.answers, engine="vllm", engine_version="0.21.0", engine_argv=argv, help_argv=(*argv, "--help")
    )
    # Its labels still hold the stub's flags, which are of another engine: as a first build leaves it, it has none.
    info = daemon.inspect_image(tag)
    assert info is not None
    bare = derive(engine, tag, "LABEL io.xpukit.engine-flags= io.xpukit.engine-flags-sha256=", start=info.id)
    found = daemon.inspect_image(bare)
    assert found is not None
    folder = builds / "ours"
    folder.mkdir()
    made = account_for_image(
        daemon, found.id, msgspec.structs.replace(recipe, answers=answers), folder, tags=(tag,), smoke=False
    )
    assert made.flags is not None
    assert (made.flags.method, tuple(made.flags.parsers)) == ("parser", ("vllm serve",))
    return tag


SERVE = ("serve", "Qwen/Qwen3-8B", "--platform", "1xB60", "--context", "4096")


@pytest.mark.parametrize(
    ("flags", "refused"),
    [
        ((), ""),
        # Only this image's parser has these.
        (("--stub-token-seconds", "0.01", "--fail=slow=1"), ""),
        (("--stub-tok", "0.01"), ""),
        (("--no-enable-prefix-caching", "-tp=1"), ""),
        # vLLM 0.21.0 has these, and this image's parser does not.
        (("--enable-lora",), "--enable-lora: vllm 0.21.0 has no such flag"),
        (("--kv-transfer-config", "{}"), "--kv-transfer-config"),
        (("--task", "embed"), "--task: vllm 0.21.0 has no such flag; removed in vllm 0.13.0"),
        (("--dtype", "int3"), "--dtype: 'int3' is not one of auto, bfloat16"),
        (("--stub-token-seconds", "soon"), "'soon' is not a number"),
        (("--max-num", "4"), "--max-num: ambiguous"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_serve_asks_the_images_own_parser(
    own_engine: str, engine: DockerEngine, flags: tuple[str, ...], refused: str
) -> None:
    ran = run_xpukit(engine, *SERVE, "--image", own_engine, "--form", "docker", "--", *flags)
    if refused:
        assert (ran.returncode, ran.stdout) == (2, "")
        assert f"refused by vllm 0.21.0 ({own_engine}'s own parser): " in ran.stderr
        assert refused in ran.stderr
    else:
        assert ran.returncode == 0, ran.stderr
        assert "engine: vllm 0.21.0" in ran.stdout
    # And so says the parser itself, in a container.
    asked = subprocess.run(
        ["docker", "--host", engine.address, "run", "--rm", "--network", "none", own_engine,
         "python3", "-c", PARSE, "serve", "m", *flags],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert asked.returncode == (2 if refused else 0), asked.stderr


PARSE = "import sys; sys.path.insert(0, '/opt/xpukit'); import stub_engine; stub_engine.make_parser().parse_args()"


def test_images_without_an_engine_that_is_planned_for(own_engine: str, account: Account, engine: DockerEngine) -> None:
    ran = run_xpukit(engine, *SERVE, "--image", IMAGE)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "its label says stub" in ran.stderr
    ran = run_xpukit(engine, *SERVE, "--image", IMAGE, "--engine", "vllm:0.21.0")
    assert ran.returncode == 0
    assert "taken as vllm:0.21.0" in ran.stderr
    ran = run_xpukit(engine, *SERVE, "--image", "xpukit-test/absent:1")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "--engine NAME:VERSION" in ran.stderr


def test_nothing_is_started_from_an_image_that_is_not_there(engine: DockerEngine, tmp_path: Path) -> None:
    for form in ("docker", "compose"):
        ran = run_xpukit(
            engine, *SERVE, "--image", "xpukit-test/absent:1", "--engine", "vllm:0.21.0",
            "--form", form, "--run", "--out", str(tmp_path / "run"),
        )  # fmt: skip
        assert (ran.returncode, ran.stdout) == (2, "")
        assert "docker pull xpukit-test/absent:1" in ran.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["docker", "compose"])
def test_serve_runs_the_image_until_it_is_interrupted(
    own_engine: str, engine: DockerEngine, form: str, tmp_path: Path
) -> None:
    """From the plan to checked answers, and nothing left behind. /dev/null stands in for the GPU."""
    if form == "compose" and not shutil.which("docker-compose"):
        pytest.skip("docker-compose is not installed")
    saved = tmp_path / "plan.json"
    ran = run_xpukit(engine, *SERVE, "--image", own_engine, "--save", str(saved), "--", "--stub-token-seconds", "0.0")
    assert ran.returncode == 0, ran.stderr
    plan = json.loads(saved.read_bytes())
    for one in plan["machine"]["access"]:
        one.update(render_node="/dev/null", card_node="", by_path=[], groups=[])
    saved.write_text(json.dumps(plan))
    # In the daemon's network namespace, where the port is published.
    process = subprocess.Popen(
        ["nsenter", f"--net=/proc/{engine.pid}/ns/net", sys.executable, "-m", "xpukit", "serve", "--plan", str(saved),
         "--form", form, "--run"],
        cwd=tmp_path, env={**os.environ, "DOCKER_HOST": engine.address, "PYTHONPATH": str(REPO)},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    watchdog = threading.Timer(90, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith(("ready: ", "not ready: ")):
                break
        assert lines[-1].startswith("ready: "), "".join(lines)
        [container] = engine.list_left()
        [seen] = json.loads(engine.docker("inspect", container))
        assert seen["Config"]["Image"] == own_engine
        assert " ".join(["", *seen["Args"], ""]).count(" --stub-token-seconds 0.0 ") == 1
    finally:
        # Not SIGINT: where these tests run in the background it is ignored, by their children too.
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        watchdog.cancel()
    assert process.returncode == 130
    assert engine.list_left() == []
    assert engine.docker("network", "ls", "-q", "--filter", "type=custom") == ""


# What changed between two images


@pytest.fixture(scope="module")
def changed(account: Account, engine: DockerEngine) -> str:
    return derive(
        engine, CHANGED, "USER 0",
        "RUN dpkg --purge --force-depends numactl && mkdir /opt/venv/lib/python3.11/site-packages/made-2.0.dist-info"
        r" && printf 'Metadata-Version: 2.4\nName: made\nVersion: 2.0\nLicense-Expression: MIT OR Apache-2.0\n'"
        " >/opt/venv/lib/python3.11/site-packages/made-2.0.dist-info/METADATA",
        "ENV ADDED=1 HF_TOKEN=very-secret", "USER serving",
    )  # fmt: skip


def run_xpukit(engine: DockerEngine, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "DOCKER_HOST": engine.address, "PYTHONPATH": str(REPO)}
    return subprocess.run(
        [sys.executable, "-m", "xpukit", *arguments], capture_output=True, text=True, timeout=120, env=env, check=False
    )


@pytest.mark.parametrize("by", ["image", "directory"])
def test_differences_of_two_builds(changed: str, engine: DockerEngine, builds: Path, by: str) -> None:
    ran = run_xpukit(engine, "build-image", "diff", IMAGE if by == "image" else str(builds / "1"), changed, "--json")
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    found = {(one["area"], one["change"], one["name"]): one for one in document["changes"]}
    assert {key for key in found if key[0] in ("package", "environment", "flag")} == {
        ("package", "removed", "deb numactl"),
        ("package", "added", "pypi made"),
        ("environment", "added", "ADDED"),
        ("environment", "added", "HF_TOKEN"),
    }
    assert "very-secret" not in ran.stdout
    layers = [key[2] for key in found if key[0] == "layer"]
    assert len(layers) == 1
    assert layers[0].startswith("RUN dpkg --purge")
    assert document["size_after_bytes"] > document["size_before_bytes"]


def test_an_image_is_the_same_as_itself(account: Account, engine: DockerEngine, builds: Path) -> None:
    ran = run_xpukit(engine, "build-image", "diff", str(builds / "1"), IMAGE)
    assert ran.returncode == 0, ran.stderr
    assert "nothing differs" in ran.stdout


# Least privilege


@pytest.fixture
def gpus(tmp_path: Path) -> tuple[GpuNodes, ...]:
    """Stand-ins: character devices of the kernel's memory driver under other names, of a group that no image has."""
    dri = tmp_path / "dri"
    (dri / "by-path").mkdir(parents=True)
    made = []
    for index in range(2):
        bdf = f"ffff:0{index}:00.0"
        nodes = dri / f"renderD{128 + index}", dri / f"card{index}"
        # null and zero: whoever can write to them has the device.
        for node, minor in zip(nodes, (3, 5), strict=True):
            try:
                os.mknod(node, 0o660 | stat.S_IFCHR, os.makedev(1, minor))
            except PermissionError:
                pytest.skip("device nodes cannot be made here")
            node.chmod(0o660)
            os.chown(node, 0, GROUP)
        link = dri / "by-path" / f"pci-{bdf}-render"
        link.symlink_to(f"../renderD{128 + index}")
        groups = tuple(NodeGroup(node=str(node), gid=GROUP, name="render") for node in nodes)
        made.append(
            GpuNodes(
                index=index, bdf=bdf, name="stand-in", render_node=str(nodes[0]), card_node=str(nodes[1]),
                by_path=(str(link),), groups=groups, numa_node=0, cpus="0", mems="0",
            )
        )  # fmt: skip
    return tuple(made)


LOOK = """
grep -E 'CapEff|CapBnd|NoNewPrivs|Groups|Cpus_allowed_list|Mems_allowed_list' /proc/self/status
echo shm $(stat -f -c '%b %S' /dev/shm)
for node in {nodes}; do test -c $node && : >$node && echo open $node; done
find {folder} ! -type d | sort
"""


def look_inside(gpus: tuple[GpuNodes, ...], argv: tuple[str, ...], engine: DockerEngine) -> list[str]:
    nodes = " ".join(node for gpu in gpus for node in (*gpu.nodes, *gpu.by_path))
    script = LOOK.format(nodes=nodes, folder=Path(gpus[0].render_node).parent)
    return engine.docker(*argv[1:], "bash", "-c", script).splitlines()


def test_a_container_has_its_gpu_and_no_more(
    account: Account, engine: DockerEngine, gpus: tuple[GpuNodes, ...]
) -> None:
    """What a container of the printed command really has: nodes, links, groups, rights, processors, memory."""
    plan = plan_run(
        RunRequest(
            image=IMAGE, gpus=gpus[:1], numa_nodes=2, memory_bytes=1 << 30, image_user="serving", shm_bytes=80 << 20
        )
    )
    said = look_inside(gpus, plan.argv, engine)
    rows = dict(line.split(":\t", 1) for line in said if ":\t" in line)
    assert set(rows["CapEff"]) == set(rows["CapBnd"]) == {"0"}
    assert rows["NoNewPrivs"] == "1"
    assert str(GROUP) in rows["Groups"].split()
    assert (rows["Cpus_allowed_list"], rows["Mems_allowed_list"]) == ("0", "0")
    blocks, size = next(line for line in said if line.startswith("shm")).split()[1:]
    assert int(blocks) * int(size) == 80 << 20
    mine = [*gpus[0].nodes, *gpus[0].by_path]
    assert [line.split()[1] for line in said if line.startswith("open ")] == mine
    assert [line for line in said if line.startswith("/")] == sorted(mine)


def test_the_smoke_test_maps_the_gpu_as_run_image_does(
    account: Account, daemon: DockerDaemon, recipe: Recipe, gpus: tuple[GpuNodes, ...]
) -> None:
    nodes = " ".join(node for node in (*gpus[0].nodes, *gpus[0].by_path))
    own = msgspec.structs.replace(
        recipe.answers, version_argv=("bash", "-c", f"for node in {nodes}; do : >$node || exit 1; done; echo 7")
    )
    asking = msgspec.structs.replace(recipe, answers=own)
    found = smoke_test(daemon, IMAGE, asking, gpus[:1], limits=LIMITS)
    rows = verdicts(found)
    assert found.devices == (gpus[0].bdf,)
    assert rows["devices"] == rows["engine-version"] == rows["start by run"] == rows["start by entrypoint"] == "pass"
    assert found.engine_version == "7"
    closed = smoke_test(daemon, IMAGE, asking, gpus=[msgspec.structs.replace(gpus[0], groups=())], limits=LIMITS)
    assert verdicts(closed)["engine-version"] == "fail"


def test_without_the_group_the_nodes_stay_closed(
    account: Account, engine: DockerEngine, gpus: tuple[GpuNodes, ...]
) -> None:
    """So the option is needed, and the test above can fail."""
    strangers = tuple(msgspec.structs.replace(gpu, groups=()) for gpu in gpus[:1])
    plan = plan_run(RunRequest(image=IMAGE, gpus=strangers, shm_bytes=80 << 20, image_user="serving"))
    assert not any(line.startswith("open ") for line in look_inside(gpus, plan.argv, engine))


def test_run_image_starts_what_it_printed(account: Account, engine: DockerEngine) -> None:
    ran = run_xpukit(
        engine, "run-image", IMAGE, "--run", "--name", "kept", "--shm-gib", "1", "--", "--max-model-len", "99"
    )
    try:
        assert ran.returncode == 0, ran.stderr
        assert "docker run" in ran.stdout
        state = json.loads(engine.docker("inspect", "kept"))[0]
        config = state["HostConfig"]
        assert state["State"]["Running"]
        assert state["Args"][-2:] == ["--max-model-len", "99"]
        assert config["CapDrop"] == ["ALL"]
        assert not config["CapAdd"]
        assert not config["Privileged"]
        assert config["SecurityOpt"] == ["no-new-privileges"]
        assert config["ShmSize"] == 1 << 30
        assert config["PortBindings"] == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8000"}]}
    finally:
        engine.docker("rm", "-f", "kept")


def test_run_image_starts_nothing_without_being_asked(account: Account, engine: DockerEngine) -> None:
    for more in ((), ("--dry-run",), ("--json",)):
        ran = run_xpukit(engine, "run-image", IMAGE, *more)
        assert ran.returncode == 0, ran.stderr
        assert engine.list_left() == []
    document = json.loads(ran.stdout)
    assert document["argv"][:2] == ["docker", "run"]
    assert document["compatibility"]["verdict"] == "pass"


def test_a_container_that_cannot_start_is_said(account: Account, engine: DockerEngine) -> None:
    ran = run_xpukit(engine, "run-image", IMAGE, "--run", "--name", "twice")
    try:
        assert ran.returncode == 0, ran.stderr
        again = run_xpukit(engine, "run-image", IMAGE, "--run", "--name", "twice", "--port", "8001:8000")
        assert again.returncode == 4
        assert "twice" in again.stderr
    finally:
        engine.docker("rm", "-f", "twice")


def test_cdi_on_a_docker_that_does_not_know_it_is_said(account: Account, engine: DockerEngine) -> None:
    version = engine.docker("version", "--format", "{{.Server.Version}}")
    ran = run_xpukit(engine, "run-image", IMAGE, "--cdi")
    assert ("knows CDI from 25.0 on" in ran.stderr) == (int(version.partition(".")[0]) < 25)


# CDI with a runtime that reads it


class Podman(msgspec.Struct, frozen=True):
    """A Podman with a place of its own and an image of a few programs."""

    place: Path
    image: str

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [
            "podman", "--root", f"{self.place}/root", "--runroot", f"{self.place}/run", "--cgroup-manager=cgroupfs",
            "--events-backend=file", *arguments,
        ]  # fmt: skip
        return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # A container's usual limits are above what some test machines may set.
        limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--network", "none")
        return self.ask("run", "--rm", *limits, *arguments)


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Podman]:
    if os.geteuid() != 0 or not shutil.which("podman"):
        pytest.skip("needs root and podman (Debian: podman, crun)")
    # Podman takes no runroot of more than 50 characters.
    place = Path(tempfile.mkdtemp(prefix="xpk-p", dir="/tmp"))
    found = Podman(place, "localhost/tiny:1")
    tar = tmp_path / "tiny.tar"
    tar.write_bytes(make_image_tar(TINY_PROGRAMS))
    made = found.ask("import", str(tar), found.image)
    if made.returncode or found.run(found.image, "true").returncode:
        pytest.skip(f"podman runs no container here: {made.stderr[-200:]}")
    yield found
    found.ask("rmi", "-f", found.image)
    subprocess.run(["umount", "-l", f"{place}/root/overlay"], capture_output=True, timeout=20, check=False)
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def cdi_file() -> Iterator[Path]:
    """A file in the directory that Podman reads; it can be given no other."""
    facts = load_cdi_facts()
    folder = Path(facts.static_dir)
    for place in (folder, Path(facts.dynamic_dir)):
        if any(facts.kind in path.read_text(errors="replace") for path in place.glob("*") if path.is_file()):
            pytest.skip(f"this machine has a {facts.kind} specification of its own in {place}")
    existed = folder.is_dir()
    path = folder / f"xpukit-test-{os.getpid()}.json"
    yield path
    path.unlink(missing_ok=True)
    if not existed and folder.is_dir():
        folder.rmdir()


def test_podman_gives_the_gpu_by_its_cdi_name(podman: Podman, cdi_file: Path, gpus: tuple[GpuNodes, ...]) -> None:
    write_cdi(build_cdi(gpus, groups=False), cdi_file)
    nodes = " ".join(node for gpu in gpus for node in (*gpu.nodes, *gpu.by_path))
    script = f"for node in {nodes}; do test -c $node && : >$node && echo $node; done; true"
    user = ("--user", "10001:0", "--group-add", str(GROUP), "--cap-drop", "ALL")
    for name, mine in (("ffff:01:00.0", gpus[1:]), ("0", gpus[:1]), ("all", gpus)):
        ran = podman.run(*user, "--device", f"{load_cdi_facts().kind}={name}", podman.image, "bash", "-c", script)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.split() == [node for gpu in mine for node in (*gpu.nodes, *gpu.by_path)]
    alone = ("--user", "10001:0", "--cap-drop", "ALL", "--device", f"{load_cdi_facts().kind}=0")
    ran = podman.run(*alone, podman.image, "bash", "-c", script)
    # The runtime makes nodes for the container's user; a link is the host's own node.
    assert ran.stdout.split() == list(gpus[0].nodes)
    refused = podman.run("--device", f"{load_cdi_facts().kind}=7", podman.image, "true")
    assert refused.returncode != 0


def test_an_older_podman_needs_the_form_without_groups(
    podman: Podman, cdi_file: Path, gpus: tuple[GpuNodes, ...]
) -> None:
    version = podman.ask("version", "--format", "{{.Client.Version}}").stdout.strip()
    if not version.startswith("4.3."):
        pytest.skip(f"podman {version} is another one than that of the facts")
    write_cdi(build_cdi(gpus), cdi_file)
    ran = podman.run("--device", f"{load_cdi_facts().kind}=0", podman.image, "true")
    assert ran.returncode != 0
    assert "unresolvable CDI devices" in ran.stderr


def fetch_cdi_schema(folder: Path) -> Path:
    """schema.json of the specification, out of Debian's package of its Go library (which would install many others)."""
    package = "golang-github-container-orchestrated-devices-container-device-interface-dev"
    ran = subprocess.run(
        ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if ran.returncode:
        pytest.skip(f"apt-get download {package}: {ran.stderr.strip()[-200:]}")
    subprocess.run(["dpkg-deb", "-x", str(next(folder.glob("*.deb"))), str(folder)], timeout=60, check=True)
    return next(folder.glob("usr/share/gocode/src/*/*/container-device-interface/schema/schema.json"))


def test_documents_are_valid_by_the_specifications_own_schema(gpus: tuple[GpuNodes, ...], tmp_path: Path) -> None:
    import jsonschema
    from referencing import Registry, Resource

    found = [fetch_cdi_schema(tmp_path)]
    schema: dict[str, Any] = json.loads(found[0].read_bytes())
    parts = json.loads((found[0].parent / "defs.json").read_bytes())
    parts.setdefault("$schema", "http://json-schema.org/draft-07/schema#")
    registry: Any = Registry().with_resource("defs.json", Resource.from_contents(parts))
    validator = jsonschema.Draft7Validator(schema, registry=registry)
    for document in (build_cdi(gpus), build_cdi(gpus, groups=False)):
        assert list(validator.iter_errors(document)) == []
    wrong = build_cdi(gpus)
    wrong["devices"][0]["containerEdits"]["deviceNodes"][0].pop("path")
    assert list(validator.iter_errors(wrong))
