"""Builds on real daemons: BuildKit and the classic builder, from success to a daemon that dies, and what stays behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

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
from xpukit.core.errors import ExternalError
from xpukit.host.docker_daemon import DockerDaemon
from xpukit.host.docker_values import ContainerRequest
from xpukit.host.live import LiveHost
from xpukit.images.build import BuilderKind, BuildEvent, BuildOutcome, BuildSecret, ContextFile, Rendered
from xpukit.images.builders import build_image
from xpukit.images.builders.choose import Builder, list_builders

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(300)]

REPO = Path(__file__).resolve().parents[2]
GOOD = f"""\
FROM {TINY} AS one
COPY a.txt deep/b.sh /
RUN echo first > /made && cat /a.txt
FROM {TINY}
COPY --from=one /made /made
RUN echo to-error >&2 && echo end
LABEL from=dockerfile
"""


@pytest.fixture(scope="module")
def engine(closed_engine: DockerEngine) -> DockerEngine:
    return closed_engine


@pytest.fixture(params=list_kinds())
def builder(request: pytest.FixtureRequest) -> Builder:
    return find_builder(request.param)


@pytest.fixture(autouse=True)
def own_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a build writes aside must be gone when it has ended."""
    import tempfile

    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield
    # What a daemon that is killed leaves is not ours.
    assert [path for path in place.iterdir() if not path.name.startswith("containerd.")] == []


def find_builder(kind: str) -> Builder:
    offers = {offer.kind: offer for offer in list_builders(LiveHost())}
    found = offers[kind] if offers[kind].builder else offers["buildx" if kind == "buildkit" else kind]
    if found.builder is None:
        pytest.skip(found.reason)
    return found.builder


def render(dockerfile: str, kind: BuilderKind, **more: str) -> Rendered:
    files = (
        ContextFile(path="Dockerfile", content=dockerfile.encode()),
        ContextFile(path="a.txt", content=b"content of a\n"),
        ContextFile(path="deep/b.sh", content=b"#!/bin/bash\n", mode=0o755),
    )
    return Rendered(
        recipe="test", variant="", settings={}, builder=kind, files=files, labels={"io.xpukit.recipe": "test"}, hash="0",
        **more,  # type: ignore[arg-type]
    )  # fmt: skip


Build = Callable[..., BuildOutcome]


@pytest.fixture
def build(engine: DockerEngine, builder: Builder, tmp_path: Path) -> Build:
    def run(dockerfile: str, *, on: DockerEngine = engine, **options: object) -> BuildOutcome:
        return build_image(
            render(dockerfile, builder.kind),
            tags=options.pop("tags", ()),  # type: ignore[arg-type]
            builder=builder,
            daemon=DockerDaemon(on.address),
            log=tmp_path / "build.log",
            host=LiveHost(),
            **options,  # type: ignore[arg-type]
        )

    return run


def test_build_and_unchanged_rebuild(engine: DockerEngine, build: Build, builder: Builder, tmp_path: Path) -> None:
    tags = (f"own/{builder.kind}:1", f"own/{builder.kind}:2")
    events: list[BuildEvent] = []
    # buildx and the client's own BuildKit share the daemon's cache.
    dockerfile = (
        GOOD.replace("AS one\n", f"AS one\nRUN echo {builder.kind} >/kind\n")
        .replace("echo first", f"echo {builder.kind}")
        .replace("echo end", f"echo {builder.kind}; echo end")
    )
    first = build(dockerfile, tags=tags, on_event=events.append)
    assert first.ok, first
    assert first.causes == first.last_lines == ()
    assert first.total_steps >= 4
    assert first.cached_steps == 0
    said = [event.text for event in events if event.kind == "line"]
    assert {"content of a", "to-error", "end"} <= set(said)
    assert "content of a" in (tmp_path / "build.log").read_text(encoding="utf-8")

    daemon = DockerDaemon(engine.address)
    for tag in tags:
        image = daemon.inspect_image(tag)
        assert image is not None
        assert image.id == first.image_id
        assert image.labels == {"from": "dockerfile", "io.xpukit.recipe": "test"}
    time.sleep(1.1)  # the context is written again with other change times, of which nothing may depend
    second = build(dockerfile, tags=tags)
    assert second.ok
    assert second.image_id == first.image_id
    assert second.cached_steps == second.total_steps == first.total_steps
    assert build(dockerfile, tags=tags, no_cache=True).cached_steps == 0
    assert engine.list_left() == []


def test_modes_times_and_trees_reach_the_image(
    engine: DockerEngine, build: Build, builder: Builder, tmp_path: Path
) -> None:
    house = tmp_path / "wheels"
    (house / "sub").mkdir(parents=True)
    (house / "sub" / "x.whl").write_bytes(b"wheel")
    (house / "sub" / "x.whl").chmod(0o600)
    outcome = build(
        f"FROM {TINY}\nCOPY wheelhouse /w\nCOPY deep /d\nRUN stat -c '%a %u %Y %n' /w/sub/x.whl /d/b.sh; echo {builder.kind}",
        trees={"wheelhouse": house}, source_date_epoch=1700000000, tags=("own/modes:1",),
    )  # fmt: skip
    log = (tmp_path / "build.log").read_text(encoding="utf-8")
    assert outcome.ok, log
    assert "644 0 1700000000 /w/sub/x.whl" in log
    assert "755 0 1700000000 /d/b.sh" in log


def test_a_change_of_the_same_size_is_seen(build: Build, builder: Builder, tmp_path: Path) -> None:
    """All times are the same, so that a builder that goes by size and time would take the files of the build before."""
    for word in ("first", "other"):
        (tmp_path / "wheel").write_text(f"{builder.kind} {word} ")
        outcome = build(
            f"FROM {TINY}\nCOPY wheel /wheel\nRUN cat /wheel && echo {word}", trees={"wheel": tmp_path / "wheel"}
        )
        log = (tmp_path / "build.log").read_text(encoding="utf-8")
        assert outcome.ok, log
        assert outcome.cached_steps == 0, log
        assert f"{builder.kind} {word} {word}" in log


def test_secret_and_proxies_stay_in_no_layer(
    engine: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = find_builder("buildkit")
    secret = tmp_path / "ca.pem"
    secret.write_text("the-bundle")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:proxy-password@proxy.invalid:3128")
    rendered = render(f"FROM {TINY}\nRUN --mount=type=secret,id=ca cat /run/secrets/ca && env", builder.kind)
    outcome = build_image(
        msgspec_replace(rendered, secrets=(BuildSecret(id="ca", source=str(secret)),)),
        tags=("own/secret:1",), builder=builder, daemon=DockerDaemon(engine.address), log=tmp_path / "log",
        host=LiveHost(),
    )  # fmt: skip
    said = (tmp_path / "log").read_text(encoding="utf-8")
    assert outcome.ok, said
    assert "the-bundle" in said
    assert "https_proxy=http://user:[proxy password]@proxy.invalid:3128" in said
    assert "proxy-password" not in said
    assert not any("proxy-password" in word for word in outcome.argv)
    saved = tmp_path / "image.tar"
    DockerDaemon(engine.address).save_image("own/secret:1", saved)
    content = saved.read_bytes()
    assert b"the-bundle" not in content
    assert b"proxy-password" not in content


def test_proxies_reach_steps_in_both_spellings_and_no_log(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://user:proxy-password@proxy.invalid:3128")
    # apt and curl know http_proxy only.
    outcome = build(f'FROM {TINY}\nRUN test "$http_proxy" = "$HTTP_PROXY" && echo $http_proxy && ls $HTTP_PROXY')
    said = (tmp_path / "build.log").read_text(encoding="utf-8")
    assert not outcome.ok
    assert "http://user:[proxy password]@proxy.invalid:3128" in said
    assert "proxy-password" not in said + repr(outcome)


def test_failing_step(engine: DockerEngine, build: Build) -> None:
    outcome = build(f"FROM {TINY}\nRUN echo fine\nRUN echo about to fail && ls /absent && echo never")
    assert not outcome.ok
    assert "about to fail && ls /absent" in outcome.failed_step
    assert "about to fail" in outcome.last_lines
    assert any("cannot access '/absent'" in line for line in outcome.last_lines)
    assert outcome.causes == ()
    assert outcome.image_id == ""
    assert engine.list_left() == []


@pytest.mark.parametrize(
    ("dockerfile", "step", "cause"),
    [
        ("FROM registry.invalid/none:1\nRUN true", "registry.invalid/none:1", "registry cannot be reached"),
        (f"FROM {TINY}\nRUN true\nCDM bash", "Dockerfile", "does not understand the Dockerfile"),
        (f"FROM {TINY}\nCOPY absent.txt /", "absent.txt", "not in the build context"),
        (f"FROM {TINY}\nRUN nosuchprogram", "nosuchprogram", "not in the image"),
        (f"FROM {TINY}\nRUN bash -c 'kill -9 $$'", "kill -9", "memory ran out"),
    ],
)
def test_known_causes(build: Build, engine: DockerEngine, dockerfile: str, step: str, cause: str) -> None:
    outcome = build(dockerfile)
    assert not outcome.ok
    assert step in outcome.failed_step, outcome
    assert cause in outcome.causes[0].title, outcome
    assert engine.list_left() == []


def test_no_network(build: Build, engine: DockerEngine) -> None:
    # bash itself opens the connection: the tiny image has no other program that could.
    outcome = build(f"FROM {TINY}\nRUN bash -c 'echo > /dev/tcp/192.0.2.1/80'", network="none")
    assert "/dev/tcp" in outcome.failed_step
    assert "no network" in outcome.causes[0].title
    assert engine.list_left() == []


def test_disk_full(build: Build, builder: Builder) -> None:
    with start_engine(data_mb=80) as small:
        import_tiny(small)
        outcome = build(f"FROM {TINY}\nRUN dd if=/dev/zero of=/big bs=1M count=200", on=small)
        assert not outcome.ok
        assert "of=/big" in outcome.failed_step
        assert "out of disk space" in outcome.causes[0].title, outcome
        assert small.list_left() == []


def test_no_daemon(build: Build, engine: DockerEngine, tmp_path: Path) -> None:
    gone = DockerEngine(address=f"unix://{tmp_path}/none", place=tmp_path, pid=0)
    with pytest.raises(ExternalError, match="the socket is not there") as caught:
        build(GOOD, on=gone)
    assert "systemctl start docker" in caught.value.hint


def test_no_permission_on_the_socket(build: Build, engine: DockerEngine, tmp_path: Path) -> None:
    groups = os.getgroups()
    tmp_path.chmod(0o777)
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    try:
        with pytest.raises(ExternalError, match="may not talk to the Docker daemon") as caught:
            build(GOOD)
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
    assert "group docker" in caught.value.hint


def test_daemon_killed_in_the_middle(build: Build) -> None:
    with start_engine() as doomed:
        import_tiny(doomed)

        def kill_at_line(event: BuildEvent) -> None:
            if event.text == "working":
                kill_engine(doomed)

        outcome = build(f"FROM {TINY}\nRUN echo working && sleep 60", on=doomed, on_event=kill_at_line)
        assert not outcome.ok
        assert "sleep 60" in outcome.failed_step, outcome
        assert "went away during the build" in outcome.causes[0].title, outcome


def test_time_limit_ends_the_build(build: Build, engine: DockerEngine) -> None:
    outcome = build(f"FROM {TINY}\nRUN echo started && sleep 297.5", timeout_s=3.0)
    assert not outcome.ok
    assert "sleep 297.5" in outcome.failed_step
    assert "its limit" in outcome.last_lines[-1]
    assert outcome.causes == ()
    until = time.monotonic() + 10
    while find_processes("sleep 297.5") and time.monotonic() < until:
        time.sleep(0.1)
    assert find_processes("sleep 297.5") == []
    assert engine.list_left() == []


SCRIPT = """
import sys
from pathlib import Path
from tests.live.test_builders import find_builder, render
from tests.live.docker_engine import TINY
from xpukit.host.docker_daemon import DockerDaemon
from xpukit.host.live import LiveHost
from xpukit.images.builders import build_image

builder = find_builder(sys.argv[2])
try:
    build_image(
        render(f"FROM {TINY}\\nRUN echo unique-{sys.argv[2]} > /one\\nRUN echo working && sleep 298.5", builder.kind),
        tags=(), builder=builder, daemon=DockerDaemon(sys.argv[1]), log=Path(sys.argv[3]), host=LiveHost(),
        on_event=lambda event: print(event.text, flush=True),
    )
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_ctrl_c_cancels_and_leaves_nothing(engine: DockerEngine, builder: Builder, tmp_path: Path) -> None:
    before = sorted(engine.docker("images", "-aq", "--no-trunc").split())
    argv = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
    child = subprocess.Popen(
        hear_interrupts([*argv, engine.address, builder.kind, str(tmp_path / "log")]),
        stdout=subprocess.PIPE, text=True, cwd=REPO,
    )  # fmt: skip
    try:
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip() == "working":
                break
        assert find_processes("sleep 298.5")
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=30) == 130
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        child.wait(timeout=10)
    until = time.monotonic() + 15
    while find_processes("sleep 298.5") and time.monotonic() < until:
        time.sleep(0.1)
    assert find_processes("sleep 298.5") == []
    assert engine.list_left() == []
    assert sorted(engine.docker("images", "-aq", "--no-trunc").split()) == before


def test_door_to_containers(engine: DockerEngine, tmp_path: Path) -> None:
    daemon = DockerDaemon(engine.address)
    assert daemon.check().ok
    assert daemon.info().storage_driver == "overlay2"
    assert (daemon.info().free_bytes or 0) > 0
    request = ContainerRequest(
        image=TINY, command=("sleep", "100"), env={"WORD": "two words"}, network="none", labels={"own": "door"},
        shm_bytes=128 << 20,
    )  # fmt: skip
    container = daemon.create_container(request)
    try:
        daemon.start_container(container)
        answer = daemon.exec_in(container, ["bash", "-c", "echo $WORD; echo bad >&2; exit 3"])
        assert (answer.rc, answer.out, answer.err) == (3, b"two words\n", b"bad\n")
        assert daemon.wait_container(container, timeout_s=0.2) is None
        assert daemon.list_containers(label="own=door")[0].status == "running"
        assert b"bash" in daemon.get_archive(container, "/bin/bash")[:512]
        with pytest.raises(ExternalError, match="larger than"):
            daemon.get_archive(container, "/bin/bash", limit_bytes=1000)
        daemon.export_container(container, tmp_path / "root.tar")
        assert (tmp_path / "root.tar").stat().st_size > 1 << 20
    finally:
        assert daemon.remove_container(container)
    assert not daemon.remove_container(container)
    assert daemon.inspect_container(container) is None
    actions = {event.action for event in daemon.read_events(since_s=time.time() - 60, until_s=time.time(), label="own")}
    assert {"create", "start", "destroy"} <= actions
    with pytest.raises(ExternalError, match="No such image"):
        daemon.create_container(ContainerRequest(image="own/absent:1"))


def msgspec_replace(rendered: Rendered, **changes: object) -> Rendered:
    import msgspec

    return msgspec.structs.replace(rendered, **changes)
