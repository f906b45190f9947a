"""The smoke test with a daemon that is made up: which rows there are, and what makes one fail."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.images.fake_daemon import FakeDaemon
from xpukit.container.gpu_nodes import GpuNodes, NodeGroup
from xpukit.core.errors import ExternalError
from xpukit.facts.recipes import Recipe, load_recipe
from xpukit.host.docker_daemon import DockerDaemon
from xpukit.host.docker_values import ContainerRequest, ExecAnswer, ImageInfo
from xpukit.images.smoke_environment import MARK, compare_environments, find_environment, parse_check_lines
from xpukit.images.smoke_report import SmokeCheck, SmokeReport, judge_checks
from xpukit.images.smoke_test import STRANGE_FLAG, smoke_test

INFO = ImageInfo(id="sha256:1", has_healthcheck=True)
GPU = GpuNodes(
    index=0, bdf="0000:18:00.0", name="B60", render_node="/dev/dri/renderD128", card_node="/dev/dri/card1",
    by_path=("/dev/dri/by-path/pci-0000:18:00.0-render",),
    groups=(NodeGroup(node="/dev/dri/renderD128", gid=992), NodeGroup(node="/dev/dri/card1", gid=44)),
)  # fmt: skip


def say_environment(**more: str) -> str:
    return f"\n{MARK}{json.dumps([['engine'], {'PATH': '/bin', 'HOSTNAME': 'x', **more}])}\n"


def answer(argv: Sequence[str], user: str) -> ExecAnswer:
    """As a good image does."""
    command = " ".join(argv)
    if "check.sh" in command and "test -r" not in command:
        return ExecAnswer(rc=0, out=b"ok environment\nok engine\nskipped gpu: none\n")
    if "--version" in command:
        return ExecAnswer(rc=0, out=b"stub-engine 1\n", err=say_environment().encode())
    if "--help" in command:
        return ExecAnswer(rc=0, out=b"usage: stub-engine\n --x\n")
    return ExecAnswer(rc=0)


def run(request: ContainerRequest) -> tuple[int | None, bytes]:
    if request.command == (STRANGE_FLAG,):
        return 2, f"error: unrecognized arguments: {STRANGE_FLAG}".encode()
    return 0, f"{say_environment()}stub-engine 1\n".encode()


def try_image(
    recipe: Recipe | None = None, gpus: Sequence[GpuNodes] = (), folder: Path | None = None, **behaviour: Any
) -> tuple[SmokeReport, FakeDaemon]:
    daemon = FakeDaemon(images={"x:1": INFO}, **{"answer": answer, "run": run, **behaviour})
    report = smoke_test(cast(DockerDaemon, daemon), "x:1", recipe or load_recipe("smoke"), gpus, folder=folder)
    assert daemon.kept == []
    return report, daemon


def verdict(report: SmokeReport, name: str) -> str:
    return next(check.verdict for check in report.checks if check.name == name)


def test_a_good_image_passes_and_every_container_is_removed(tmp_path: Path) -> None:
    report, daemon = try_image(folder=tmp_path)
    assert report.verdict == "pass"
    assert report.engine_version == "stub-engine 1"
    assert [check.name for check in report.checks] == [
        "devices", "check.sh environment", "check.sh engine", "engine-version", "engine-help", "import http.server",
        "import json", "start by run", "start by entrypoint", "start by compose", "same-environment", "arguments-pass",
        "healthy",
    ]  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {
        "smoke-check.log", "smoke-run.log", "smoke-entrypoint.log", "smoke-arguments.log", "smoke-health.log",
    }  # fmt: skip
    for request in daemon.requests.values():
        assert (request.cap_drop, request.security_opt, request.network) == (("ALL",), ("no-new-privileges",), "none")
        assert request.devices == request.groups == request.mounts == request.cap_add == ()


def test_a_gpu_is_mapped_by_its_nodes_links_and_groups() -> None:
    intel = msgspec.structs.replace(load_recipe("smoke"), host=load_recipe("vllm-xpu").host)
    report, daemon = try_image(intel, [GPU])
    assert report.devices == (GPU.bdf,)
    for request in daemon.requests.values():
        assert request.devices == ("/dev/dri/renderD128:/dev/dri/renderD128:rw", "/dev/dri/card1:/dev/dri/card1:rw")
        assert request.groups == ("44", "992")
        assert request.mounts == GPU.by_path
    assert verdict(report, "healthy") == "not-applicable"  # it would need a model
    assert try_image(intel)[0].checks[0].said.startswith("this machine has none")


@pytest.mark.parametrize(
    ("part", "behaviour", "name"),
    [
        ("--version", ExecAnswer(rc=1, err=b"ImportError: libze"), "engine-version"),
        ("--help", ExecAnswer(rc=0, out=b"hello"), "engine-help"),
        ("import json", ExecAnswer(rc=1, err=b"ModuleNotFoundError"), "import json"),
        ("bash /opt/xpukit/check.sh", ExecAnswer(rc=1, out=b"failed engine: no libze\n"), "check.sh engine"),
        ("bash /opt/xpukit/check.sh", ExecAnswer(rc=3, out=b"ok engine\n"), "check.sh exit-code"),
    ],
)
def test_what_fails_inside_fails_the_report(part: str, behaviour: ExecAnswer, name: str) -> None:
    def other(argv: Sequence[str], user: str) -> ExecAnswer:
        return behaviour if part in " ".join(argv) else answer(argv, user)

    report, _ = try_image(answer=other)
    assert (report.verdict, verdict(report, name)) == ("fail", "fail")


def test_the_images_own_check_goes_before_the_recipes(tmp_path: Path) -> None:
    (tmp_path / "check.sh").write_text("#!/bin/bash\necho ok own\n")
    asked: list[str] = []

    def without(argv: Sequence[str], user: str) -> ExecAnswer:
        asked.append(" ".join(argv))
        return ExecAnswer(rc=1) if argv[0] == "test" else answer(argv, user)

    try_image(msgspec.structs.replace(load_recipe("smoke"), folder=str(tmp_path)), answer=without)
    assert any(command.startswith("bash -c #!/bin/bash") for command in asked)
    asked.clear()
    templated = load_recipe("lmdeploy")  # its check.sh is a template: there is none to take from the recipe
    report, _ = try_image(templated, answer=without)
    assert verdict(report, "check.sh") == "not-applicable"


@pytest.mark.parametrize(
    ("outcome", "name"),
    [
        ((None, b""), "arguments-pass"),
        ((0, STRANGE_FLAG.encode()), "arguments-pass"),
        ((2, b"usage"), "arguments-pass"),
        ((None, b""), "start by run"),
        ((1, b"no libze"), "start by entrypoint"),
    ],
)
def test_what_fails_at_the_start_fails_the_report(outcome: tuple[int | None, bytes], name: str) -> None:
    def other(request: ContainerRequest) -> tuple[int | None, bytes]:
        strange = request.command == (STRANGE_FLAG,)
        way = "arguments-pass" if strange else "start by entrypoint" if request.entrypoint else "start by run"
        return outcome if way == name else run(request)

    report, _ = try_image(run=other)
    assert verdict(report, name) == "fail"


def test_another_environment_by_exec_fails_and_is_named() -> None:
    def other(request: ContainerRequest) -> tuple[int | None, bytes]:
        code, said = run(request)
        more = say_environment(CCL_ROOT="/opt", API_KEY="abc") if not request.entrypoint else ""
        return code, said + more.encode()

    report, _ = try_image(run=other)
    assert verdict(report, "same-environment") == "fail"
    assert {one.name: one.values["run"] for one in report.differences} == {"CCL_ROOT": "/opt", "API_KEY": "(set)"}


def test_an_environment_that_nobody_said_is_unknown() -> None:
    report, _ = try_image(
        run=lambda request: (2, STRANGE_FLAG.encode()) if request.command == (STRANGE_FLAG,) else (0, b"1")
    )
    assert verdict(report, "same-environment") == "unknown"
    assert report.verdict == "unknown"


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ({"refuse_start": True}, "no such program"),
        ({"status": "exited"}, "it ended with 127"),
    ],
)
def test_a_container_that_does_not_run_is_the_only_row(behaviour: dict[str, Any], said: str) -> None:
    report, _ = try_image(**behaviour)
    assert [check.name for check in report.checks] == ["devices", "container"]
    assert said in report.checks[1].said
    assert report.verdict == "fail"


def test_an_unhealthy_image_fails() -> None:
    report, _ = try_image(health="unhealthy")
    assert verdict(report, "healthy") == "fail"


def test_an_image_without_an_engine_is_judged_by_its_checks() -> None:
    smoke = load_recipe("smoke")
    silent = msgspec.structs.replace(smoke.answers, engine_argv=(), version_argv=(), help_argv=(), imports=())
    report, _ = try_image(msgspec.structs.replace(smoke, answers=silent))
    assert [check.name for check in report.checks if check.verdict == "not-applicable"] == [
        "devices", "ways-of-starting", "same-environment", "arguments-pass",
    ]  # fmt: skip
    assert report.verdict == "pass"


def test_a_helper_without_python_is_not_asked_for_its_environment() -> None:
    def silent(request: ContainerRequest) -> tuple[int | None, bytes]:
        return (2, STRANGE_FLAG.encode()) if request.command == (STRANGE_FLAG,) else (0, b"1.0")

    def quiet(argv: Sequence[str], user: str) -> ExecAnswer:
        return ExecAnswer(rc=0, out=b"usage: 1.0") if "-v" in " ".join(argv) else answer(argv, user)

    report, _ = try_image(load_recipe("loadbalancer"), run=silent, answer=quiet, health="unhealthy")
    assert verdict(report, "same-environment") == verdict(report, "healthy") == "not-applicable"
    assert report.verdict == "pass"


def test_an_absent_image_is_an_error() -> None:
    with pytest.raises(ExternalError, match="is not there"):
        smoke_test(cast(DockerDaemon, FakeDaemon(images={})), "x:1", load_recipe("smoke"))


def test_judging() -> None:
    def judge(*verdicts: Any) -> str:
        return judge_checks(tuple(SmokeCheck(name=str(n), verdict=one) for n, one in enumerate(verdicts)))

    assert judge("pass", "not-applicable") == "pass"
    assert judge("pass", "unknown") == "unknown"
    assert judge("unknown", "fail", "pass") == "fail"
    assert judge("not-applicable") == judge() == "unknown"


def test_check_lines() -> None:
    assert parse_check_lines("ok a\nnoise\nfailed b: no x: y\n  ok c\nokay d", 1) == [
        ("a", True, ""), ("b", False, "no x: y"), ("c", True, ""),
    ]  # fmt: skip
    assert parse_check_lines("", 127)[0][:2] == ("exit-code", False)
    assert parse_check_lines("", 0) == []


@given(st.text() | st.text().map(lambda text: MARK + text), st.integers())
def test_no_output_raises(text: str, rc: int) -> None:
    parse_check_lines(text, rc)
    found = find_environment(text)
    assert found is None or isinstance(found, dict)


def test_the_last_process_counts_and_shells_do_not() -> None:
    text = say_environment(A="1") + say_environment(A="2", SHLVL="3")
    found = find_environment(text)
    assert found is not None
    assert found["A"] == "2"
    assert compare_environments({"a": {"A": "1", "PWD": "/"}, "b": {"A": "1", "PWD": "/x"}}) == ()
