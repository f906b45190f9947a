"""What a build's outcome looks like, and with which code it ends."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from xpukit.cli.build_image_account import exit_code_of
from xpukit.cli.build_image_tables import print_result
from xpukit.images.build import BuildOutcome, KnownCause, Rendered
from xpukit.images.result import ImageResult, describe_result

Golden = Callable[[str, str], None]
RENDERED = Rendered(
    recipe="smoke", variant="", settings={}, builder="buildkit", files=(), labels={}, hash="ab" * 32, base_image="b:1"
)
FAILED = BuildOutcome(
    ok=False,
    builder="buildkit",
    seconds=3.25,
    total_steps=4,
    cached_steps=1,
    failed_step="[runtime 2/8] RUN --mount=type=cache,target=/x     apt-get update &&     apt-get install -y [extras] jq",
    last_lines=(
        "E: Unable to locate package [bold]jq[/]",
        "executor failed running [/bin/bash -c x\ny]: exit code: 100",
    ),
    causes=(KnownCause(title="no such package", remedy=("check the name", "take another base image")),),
    log="/b/build.log",
)


def test_a_failed_build(capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    result = describe_result(RENDERED, FAILED, ("own/smoke:1",), "/b")
    assert result.tags == ()  # nothing has them
    print_result(result, color=False)
    golden("build-image-failed.txt", capsys.readouterr().out)
    assert exit_code_of(result) == 4


@pytest.mark.parametrize(
    "line",
    [
        "executor failed running [/bin/sh -c ls /a: b]: exit code: 2",
        "failed to solve: executor failed running [/bin/sh -c ls]: exit code: 2",
        'failed to solve: process "/bin/sh -c ls" did not complete successfully: exit code: 2',
        "The command '/bin/sh -c ls' returned a non-zero code: 2",
    ],
)
def test_the_instruction_is_not_said_twice(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = msgspec.structs.replace(FAILED, last_lines=("before: 7", line))
    print_result(describe_result(RENDERED, outcome, (), "/b"), color=False)
    said = capsys.readouterr().out.splitlines()
    assert said[2:4] == ["  | before: 7", "  | exit code 2"]


def make_good(**more: object) -> ImageResult:
    outcome = BuildOutcome(
        ok=True, image_id="sha256:1", builder="classic", seconds=61.0, total_steps=9, cached_steps=9, log="/b/build.log"
    )
    result = describe_result(RENDERED, outcome, ("own/smoke:1", "own/smoke:2"), "/b")
    return msgspec.structs.replace(result, **more)


def test_a_build_that_did_not_pass(capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    result = make_good(
        smoke="fail", inventory="inventory.json", failed_checks=("health: no answer",), notes=("no SBOM",)
    )
    print_result(result, color=False)
    golden("build-image-smoke-failed.txt", capsys.readouterr().out)


@pytest.mark.parametrize(("smoke", "code"), [("pass", 0), ("", 0), ("fail", 1), ("unknown", 3)])
def test_exit_codes(smoke: str, code: int) -> None:
    assert exit_code_of(make_good(smoke=smoke)) == code
