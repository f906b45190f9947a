"""Replicas behind a real HAProxy in real Docker, rotated under load: no request is lost, and failures cost little."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.balanced_stack import KEY, URL, Stack, make_images
from tests.live.docker_engine import start_engine

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(900)]

ROTATIONS = 20
ENGINES = 4


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Four engines and a spare, started by `serve --run`."""
    # In memory: images are not unlinked one file after another.
    with start_engine(data_mb=1500) as engine:
        make_images(engine)
        stack = Stack(engine, tmp_path_factory.mktemp("rotate"))
        with stack.serving(ENGINES + 1, "--spare", "1") as process:
            stack.await_true(
                lambda: stack.read_log().count(" is ready: ") == ENGINES or process.poll() is not None, "start"
            )
            yield stack
        assert engine.list_left() == []


def test_only_judged_engines_get_requests_and_only_the_balancer_has_open_ports(stack: Stack) -> None:
    log = stack.read_log()
    assert log.index("chat-0 answers") < log.index("chat-0 is ready: the balancer gives it requests")
    states = stack.list_backends()
    assert all(states[f"engine-{index}"].startswith("UP") for index in range(ENGINES))
    assert states[f"engine-{ENGINES}"].startswith("MAINT")  # the spare waits
    ports = [json.loads(row)["Ports"] for row in stack.engine.docker("ps", "--format", "{{json .}}").splitlines()]
    [opened] = [told for told in ports if told]
    assert len(ports) == ENGINES + 1
    assert sorted(opened.split(", ")) == ["127.0.0.1:18000->8404/tcp", "127.0.0.1:8000->8080/tcp"]
    [seen] = json.loads(stack.engine.docker("inspect", "chat-0"))
    assert seen["HostConfig"]["CpusetCpus"]
    assert KEY not in Path(stack.place / "xpukit-serve/chat/chat.compose.yaml").read_text()
    for index in range(ENGINES):
        stack.await_true(lambda slot=f"engine-{index}": stack.tells_metrics(slot), "metrics of each engine")  # type: ignore[misc]
    # HAProxy's metrics are not at the endpoint.
    assert stack.run(stack.xpukit("check", f"{URL}/metrics", "--quick")).returncode != 0


def test_dry_run_changes_nothing(stack: Stack) -> None:
    before = stack.engine.docker("ps", "-aq", "--no-trunc")
    ran = stack.rotate("--dry-run", "--json")
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert said["plan"]["mode"] == "start-first"
    assert said["plan"]["order"] == [f"engine-{index}" for index in range(ENGINES)]
    assert stack.engine.docker("ps", "-aq", "--no-trunc") == before


def test_twenty_rotations_lose_no_request_and_a_killed_engine_only_its_own(stack: Stack) -> None:
    ages = stack.list_created()
    replaced = 0
    with stack.loaded() as found:
        while replaced < ROTATIONS:
            # Both ways: with the spare in front, and each new engine in the place of the old one.
            words = () if replaced == 0 else ("--stop-first",)
            ran = stack.rotate(*words, "--text-files", "metrics", "--log", "rotate.log", "--json")
            assert ran.returncode == 0, ran.stdout + ran.stderr
            said = json.loads(ran.stdout)
            assert said["plan"]["mode"] == ("stop-first" if words else "start-first")
            replaced += len(said["rotated"])
    assert Counter(outcome for _, _, outcome in found) == {"ok": len(found)}
    assert len(found) > 5 * ROTATIONS
    assert all(stack.list_created()[name] != created for name, created in ages.items())
    assert 'xpukit_rotation_failed{service="chat"} 0' in (stack.place / "metrics/chat.prom").read_text()
    assert (stack.place / "rotate.log").read_text().count(" enable: ") >= ROTATIONS
    assert "chat-0-previous" not in stack.engine.docker("ps", "-a")
    for index in range(ENGINES):
        # Whoever scrapes them need not know that these are other containers now.
        stack.await_true(lambda slot=f"engine-{index}": stack.tells_metrics(slot), "metrics of each engine")  # type: ignore[misc]

    with stack.loaded() as found:
        stack.await_true(lambda: stack.count_running("chat-0") > 0, "a request on chat-0")
        stack.engine.docker("kill", "chat-0")
        killed = time.time()
        stack.await_true(lambda: stack.list_backends()["engine-0"].startswith("DOWN"), "chat-0 to be left out")
        time.sleep(1)
    failed = [(began, ended) for began, ended, outcome in found if outcome != "ok"]
    # Those that ran there at that moment, and nobody after.
    assert all(began <= killed for began, _ in failed)
    assert len(failed) <= 4
    assert sum(began > killed for began, _, _ in found) > 5


def test_engine_that_answers_rubbish_gets_no_request_and_the_old_one_serves(stack: Stack) -> None:
    stack.rotate("--stop-first", "--only", "engine-0")  # brings chat-0, which was killed, back
    assert stack.list_backends()["engine-0"].startswith("UP")
    with stack.broken_image("repeat"), stack.loaded() as found:
        ran = stack.rotate("--text-files", "metrics", "--only", "engine-0", "--stop-first", "--json")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    said = json.loads(ran.stdout)
    assert said["why"].endswith("the old engine serves again")
    assert said["out_of_service"] == []
    assert Counter(outcome for _, _, outcome in found) == {"ok": len(found)}
    assert 'xpukit_rotation_failed{service="chat"} 1' in (stack.place / "metrics/chat.prom").read_text()
    assert stack.list_backends()["engine-0"].startswith("UP")
    assert "chat-0-previous" in stack.engine.docker("ps")
    stack.await_true(lambda: stack.tells_metrics("engine-0"), "metrics of the engine that was brought back")
    again = stack.rotate("--text-files", "metrics", "--only", "engine-0", "--stop-first")
    assert again.returncode == 0, again.stderr
    assert "chat-0-previous" not in stack.engine.docker("ps", "-a")
    assert 'xpukit_rotation_failed{service="chat"} 0' in (stack.place / "metrics/chat.prom").read_text()


def test_missing_key_is_seen_before_anything_is_touched(stack: Stack) -> None:
    before = stack.list_created()
    argv = stack.xpukit("rotate", "chat", "--lock", str(stack.place / "lock"))
    ran = stack.run(argv)
    assert (ran.returncode, "nothing was touched: the engines want a key" in ran.stdout) == (1, True), ran.stderr
    del stack.environment["SERVER_KEY"]
    try:
        ran = stack.run(argv)
    finally:
        stack.environment["SERVER_KEY"] = KEY
    assert (ran.returncode, "SERVER_KEY" in ran.stdout) == (1, True), ran.stdout + ran.stderr
    assert stack.list_created() == before


def test_second_rotation_at_a_time_is_refused(stack: Stack) -> None:
    from xpukit.host.file_lock import FileLock

    lock = FileLock(str(stack.place / "lock"))
    assert lock.take("process 1, a test") == ""
    try:
        ran = stack.rotate()
    finally:
        lock.release()
    assert ran.returncode == 4
    assert "is rotated already: process 1, a test" in ran.stderr
