"""Starting by Compose: the file that is written, and how the program is found and run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec
import pytest

from tests.machines.dict_host import DictHost
from tests.unit.images.fake_daemon import FakeDaemon
from tests.unit.images.test_smoke_test import GPU, INFO, answer, run, say_environment
from xpukit.facts.recipes import load_recipe
from xpukit.host.answers import FoundAnswer, Ran
from xpukit.host.docker_daemon import DockerDaemon
from xpukit.host.docker_values import ContainerRequest
from xpukit.images.smoke_compose import RunComposed, find_compose, make_runner, write_service
from xpukit.images.smoke_container import make_request
from xpukit.images.smoke_report import SmokeReport
from xpukit.images.smoke_test import smoke_test


class Machine(DictHost):
    """A machine with some of docker, its compose plug-in, and the older program."""

    def __init__(self, *programs: str, failure: str = "", rc: int = 0) -> None:
        super().__init__(environment={"HOME": "/root"})
        self.programs = programs
        self.failure = failure
        self.rc = rc
        self.composed: list[tuple[tuple[str, ...], dict[str, str]]] = []
        self.service: dict[str, object] = {}

    def which(self, name: str) -> FoundAnswer:
        return FoundAnswer(value=f"/usr/bin/{name}" if any(one.split()[0] == name for one in self.programs) else None)

    def run(self, argv: Sequence[str], **more: object) -> Ran:  # type: ignore[override]
        if argv[-1] == "version":
            return Ran(argv=tuple(argv), rc=0 if " ".join(argv[:-1]) in self.programs else 1)
        self.composed.append((tuple(argv), cast("dict[str, str]", more["env"])))
        self.service = json.loads(Path(argv[argv.index("-f") + 1]).read_text(encoding="utf-8"))["services"]["smoke"]
        return Ran(argv=tuple(argv), rc=self.rc, failure=self.failure, out=b"stub 1\n", err=b"Creating it ... done\n")  # type: ignore[arg-type]


class Daemon:
    """Remembers what was removed."""

    address = "unix:///d"

    def __init__(self) -> None:
        self.removed: list[str] = []

    def remove_container(self, container: str) -> bool:
        self.removed.append(container)
        return False


@pytest.mark.parametrize(
    ("programs", "found"),
    [
        ((), ()),
        (("docker",), ()),
        (("docker", "docker compose"), ("docker", "compose")),
        (("docker", "docker-compose"), ("docker-compose",)),
        (("docker", "docker compose", "docker-compose"), ("docker", "compose")),
    ],
)
def test_the_plugin_goes_before_the_older_program(programs: tuple[str, ...], found: tuple[str, ...]) -> None:
    assert find_compose(Machine(*programs)) == found
    assert (make_runner(Machine(*programs), cast(DockerDaemon, Daemon())) is None) == (not found)


def test_the_service_has_the_rights_of_the_request() -> None:
    request = msgspec.structs.replace(
        make_request("x:1", [GPU], 1 << 30), command=("serve", "$HOME"), env={"A": "b$c"}, binds=("/h:/i:ro",)
    )
    service = json.loads(write_service(request))["services"]["smoke"]
    assert service == {
        "image": "x:1", "command": ["serve", "$$HOME"], "environment": {"A": "b$$c"}, "devices": list(request.devices),
        "group_add": ["44", "992"], "network_mode": "none", "cap_drop": ["ALL"], "init": True, "mem_limit": 1 << 30,
        "security_opt": ["no-new-privileges"],
        "volumes": ["/h:/i:ro", {"type": "bind", "source": GPU.by_path[0], "target": GPU.by_path[0], "read_only": True}],
    }  # fmt: skip


@pytest.mark.parametrize(("failure", "code"), [("", 3), ("timeout", None)])
def test_it_runs_on_the_daemon_that_built_and_leaves_nothing(failure: str, code: int | None) -> None:
    machine, daemon = Machine("docker-compose", failure=failure, rc=3), Daemon()
    runner = make_runner(machine, cast(DockerDaemon, daemon))
    assert runner is not None
    said = runner(ContainerRequest(image="x:1", command=("engine",)), 5.0)
    assert said == (code, "Creating it ... done\n\nstub 1\n")
    ((argv, env),) = machine.composed
    assert env == {"HOME": "/root", "DOCKER_HOST": "unix:///d"}
    assert argv[-2:] == (daemon.removed[0], "smoke")
    assert machine.service == {"image": "x:1", "command": ["engine"]}


def try_image(compose: RunComposed | None) -> SmokeReport:
    daemon = FakeDaemon(images={"x:1": INFO}, answer=answer, run=run)
    return smoke_test(cast(DockerDaemon, daemon), "x:1", load_recipe("smoke"), compose=compose)


def find_rows(report: SmokeReport) -> dict[str, tuple[str, str]]:
    return {check.name: (check.verdict, check.said) for check in report.checks}


def test_compose_is_a_way_of_starting_like_the_others() -> None:
    found = try_image(lambda request, limit_s: (0, f"Creating ... done\n{say_environment()}stub-engine 1\n"))
    assert found.verdict == "pass"
    rows = find_rows(found)
    assert rows["start by compose"] == ("pass", "stub-engine 1")
    assert rows["same-environment"] == ("pass", "2 variables, by run, exec, entrypoint, compose")
    lost = try_image(lambda request, limit_s: (0, say_environment(CCL_ROOT="/x")))
    assert find_rows(lost)["same-environment"][0] == "fail"
    assert lost.differences[0].values == {"run": "", "exec": "", "entrypoint": "", "compose": "/x"}
    assert find_rows(try_image(lambda request, limit_s: (1, "no")))["start by compose"] == ("fail", "no")
    assert find_rows(try_image(lambda request, limit_s: (None, "")))["start by compose"][0] == "fail"
    assert find_rows(try_image(None))["start by compose"] == ("not-applicable", "no docker compose on this host")
