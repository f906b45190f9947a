"""The door to a Docker daemon as far as it goes without one: addresses, decoding, what a build made."""

from __future__ import annotations

import json
import socket
from hashlib import sha256
from pathlib import Path

import pytest

from xpukit.core.errors import ExternalError
from xpukit.host.docker_address import DEFAULT_ADDRESS, check_address, find_address
from xpukit.host.docker_build import BuildTrace
from xpukit.host.docker_daemon import DockerDaemon
from xpukit.host.docker_decode import (
    decode_container,
    decode_event,
    decode_image,
    decode_version,
    encode_container,
    split_tag,
)
from xpukit.host.docker_values import ContainerRequest

DATA = Path(__file__).parents[2] / "data" / "builders"


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("unix:///nonexistent/socket", "no-daemon"),
        ("bogus", "bad-address"),
        ("tcp://host:notaport", "bad-address"),
        ("tcp://", "bad-address"),
        ("unix:///" + "x" * 200, "bad-address"),
    ],
)
def test_addresses_that_cannot_work(address: str, kind: str) -> None:
    reach = DockerDaemon(address).check()
    assert (reach.kind, reach.ok) == (kind, False)
    assert reach.message
    assert reach.hint
    with pytest.raises(ExternalError) as caught:
        DockerDaemon(address).require()
    assert caught.value.hint == reach.hint


def test_socket_of_a_daemon_that_ended(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    assert "nothing listens" in check_address(f"unix://{path}").message


def test_address_follows_the_docker_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert find_address() == DEFAULT_ADDRESS
    (tmp_path / "config.json").write_text('{"currentContext": "rootless"}')
    assert find_address() == DEFAULT_ADDRESS
    meta = tmp_path / "contexts" / "meta" / sha256(b"rootless").hexdigest()
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(
        json.dumps({"Endpoints": {"docker": {"Host": "unix:///run/user/1000/docker.sock"}}})
    )
    assert find_address() == "unix:///run/user/1000/docker.sock"
    monkeypatch.setenv("DOCKER_HOST", "tcp://other:2375")
    assert find_address() == "tcp://other:2375"
    assert DockerDaemon().given_address == ""
    assert DockerDaemon("unix:///x").given_address == "unix:///x"


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("name", ("name", "latest")),
        ("name:1", ("name", "1")),
        ("registry:5000/name", ("registry:5000/name", "latest")),
        ("registry:5000/name:2", ("registry:5000/name", "2")),
    ],
)
def test_split_tag(reference: str, parts: tuple[str, str]) -> None:
    assert split_tag(reference) == parts


def test_trace_names_only_what_this_build_made() -> None:
    def trace(name: str) -> BuildTrace:
        found = BuildTrace()
        for line in (DATA / f"classic_{name}.jsonl").read_text(encoding="utf-8").splitlines():
            found.feed(json.loads(line))
        return found

    fresh, cached, failed = trace("ok"), trace("cached"), trace("failing_step")
    base = "d865136fce11"
    assert fresh.succeeded
    assert len(fresh.images) == 7
    assert base not in fresh.images
    assert len(fresh.containers) == 5
    assert (cached.images, cached.containers) == ([], [])
    assert (failed.images, failed.containers, failed.succeeded) == ([], ["b32e6ee12cfd"], False)


def test_decoders_take_what_is_absent() -> None:
    assert decode_image({}).labels == {}
    assert not decode_image({"Config": {"Labels": None, "Env": None}}).has_healthcheck
    image = decode_image({"Id": "i", "Config": {"Env": ["A=b=c"], "Healthcheck": {"Test": ["CMD", "x"]}}})
    assert (image.env, image.has_healthcheck) == ({"A": "b=c"}, True)
    assert not decode_image({"Config": {"Healthcheck": {"Test": ["NONE"]}}}).has_healthcheck
    assert decode_version({"Components": [{"Name": "Podman Engine"}]}).engine == "podman"
    assert decode_event({"timeNano": 1_500_000_000, "Actor": {"ID": "x"}}).time_s == 1.5


def test_decode_container() -> None:
    ports = {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "49153"}], "9/tcp": None}
    state = {"Status": "running", "ExitCode": 0, "Health": {"Status": "healthy", "Log": [{"Output": "ok\n"}]}}
    info = decode_container({"Id": "i", "Name": "/n", "State": state, "NetworkSettings": {"Ports": ports}})
    assert (info.name, info.exit_code, info.health, info.health_log) == ("n", None, "healthy", ("ok",))
    assert info.ports == {"8000/tcp": 49153}
    assert decode_container({"State": {"Status": "exited", "ExitCode": 137, "OOMKilled": True}}).oom_killed


def test_encode_container_leaves_out_what_is_not_set() -> None:
    plain = encode_container(ContainerRequest(image="i"), lambda **options: options)
    assert plain == {"image": "i", "environment": {}, "labels": {}, "host_config": {}}
    request = ContainerRequest(
        image="i", command=(), entrypoint=("e",), devices=("/dev/dri/renderD128",), groups=("993",), cpuset_mems="0",
        ports={"8000/tcp": 0}, shm_bytes=1, health_interval_s=1.5, health_retries=4,
    )  # fmt: skip
    full = encode_container(request, lambda **options: options)
    assert (full["command"], full["entrypoint"], full["ports"]) == ([], ["e"], [(8000, "tcp")])
    assert full["healthcheck"] == {"interval": 1_500_000_000, "retries": 4}
    assert full["host_config"] == {
        "devices": ["/dev/dri/renderD128"], "group_add": ["993"], "cpuset_mems": "0", "shm_size": 1,
        "port_bindings": {"8000/tcp": ("127.0.0.1", None)},
    }  # fmt: skip
