"""Known causes: the data is complete, each example finds its cause first, and unrelated failures find none."""

from __future__ import annotations

import pytest

from tests.unit.images.test_builders_parse import read_buildkit, read_classic
from xpukit.facts.build_causes import BuildCause, load_build_causes
from xpukit.images.builders.causes import find_causes

CAUSES = load_build_causes()


def test_the_causes_that_a_user_meets_are_there() -> None:
    assert {cause.id for cause in CAUSES} >= {
        "no-network", "tls-ca", "disk-full", "base-missing", "base-unauthorized", "base-offline", "no-gpu", "apt-lock",
        "apt-hash", "apt-stale", "pip-none", "out-of-memory", "no-permission", "no-daemon", "daemon-gone",
        "context-large",
    }  # fmt: skip
    assert len({cause.id for cause in CAUSES}) == len(CAUSES)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.id)
def test_example_finds_its_cause_first(cause: BuildCause) -> None:
    assert cause.example
    assert cause.source
    assert cause.remedy
    found = find_causes((cause.example,))
    assert found or cause.exit_codes
    if found:
        assert found[0].id == cause.id


def test_captured_failures() -> None:
    for read in (read_buildkit, read_classic):
        base, _ = read("bad_base")
        assert [cause.id for cause in find_causes(base.failed_lines, error=base.error)] == ["base-offline"]
        step, _ = read("failing_step")
        assert find_causes(step.failed_lines, error=step.error, exit_code=step.exit_code) == ()
    killed, _ = read_buildkit("daemon_killed")
    assert find_causes(killed.failed_lines, error=killed.error)[0].id == "daemon-gone"


def test_exit_codes_speak() -> None:
    assert [cause.id for cause in find_causes((), exit_code=137)] == ["out-of-memory"]
    assert find_causes((), exit_code=1) == ()


def test_what_another_cause_brings_about_is_left_out() -> None:
    lines = (
        "Temporary failure resolving 'deb.example'",
        "E: Unable to locate package numactl",
        "ERROR: No matching distribution found for torch==2.8.0",
    )
    assert [cause.id for cause in find_causes(lines)] == ["no-network"]
    assert [cause.id for cause in find_causes(lines[1:])] == ["apt-unknown", "pip-none"]


def test_causes_known_by_other_signs_come_in_order() -> None:
    found = find_causes(("no space left on device",), more_ids=("daemon-gone",))
    assert [cause.id for cause in found] == ["daemon-gone", "disk-full"]
    assert found[1].title == "out of disk space where Docker keeps its data"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("failed to create LLB definition: registry.example:5000/none:1: not found", "base-missing"),
        ("ERROR: failed to solve: registry.example/none:1: not found", "base-missing"),
        ("registry.example/none@sha256:00: not found", "base-missing"),
        ("/bin/sh: 1: nosuchprogram: not found", "program-missing"),
        ("bash: line 1: nosuchprogram: command not found", "program-missing"),
    ],
)
def test_several_things_may_be_not_found(line: str, expected: str) -> None:
    assert [cause.id for cause in find_causes((line,))] == [expected]


@pytest.mark.parametrize(
    "line", ["Setting up ca-certificates", "Get:1 http://deb.example bookworm InRelease [151 kB]", "Successfully built"]
)
def test_harmless_lines(line: str) -> None:
    assert find_causes((line,)) == ()
