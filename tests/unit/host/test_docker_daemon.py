"""The door to a Docker daemon as far as it goes without one: addresses, decoding, what a build made."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path

import docker
import docker.errors
import pytest

from xpukit.core.errors import ExternalError
from xpukit.host import docker_address
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


def test_a_rootless_daemon_is_named_where_the_usual_one_is_not_to_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(docker_address, "DEFAULT_ADDRESS", absent := f"unix://{tmp_path}/absent")
    assert "systemctl start docker" in check_address(absent).hint
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "docker.sock"))
        assert check_address(absent).hint.endswith(f"export DOCKER_HOST=unix://{tmp_path}/docker.sock")


def test_ssh_without_its_package_says_what_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: object) -> None:
        raise docker.errors.DockerException("Install paramiko package to enable ssh:// support")

    monkeypatch.setattr(docker, "APIClient", refuse)
    reach = DockerDaemon("ssh://user@host.example").check()
    assert "paramiko" in reach.message
    assert "ssh -NL" in reach.hint


class _Answer(BaseHTTPRequestHandler):
    """As much of a daemon as its version; of everything else it knows nothing."""

    def do_GET(self) -> None:
        found = self.path.endswith("/version") and self.server.server_name != "stranger"  # type: ignore[attr-defined]
        body = b'{"Version": "99.0", "ApiVersion": "1.41"}' if found else b"no such page"
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[ssl.SSLContext | None], HTTPServer]]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    servers = []

    def start(tls: ssl.SSLContext | None = None) -> HTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_what_listens_and_is_no_daemon(serve: Callable[..., HTTPServer]) -> None:
    server = serve()
    server.server_name = "stranger"
    reach = DockerDaemon(f"tcp://127.0.0.1:{server.server_port}").check()
    assert reach.kind == "no-answer"
    assert "DOCKER_TLS_VERIFY" in reach.hint


@pytest.mark.live
def test_tls_as_the_docker_client_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Callable[..., HTTPServer]
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    certs = tmp_path / "certs"
    certs.mkdir()
    key, cert = certs / "key.pem", certs / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    shutil.copy(cert, certs / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    tls.load_verify_locations(cert)
    tls.verify_mode = ssl.CERT_REQUIRED  # as dockerd --tlsverify: the client shows a certificate, too
    address = f"tcp://127.0.0.1:{serve(tls).server_port}"

    for name in ("DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("DOCKER_HOST", address)
    assert "DOCKER_TLS_VERIFY" in DockerDaemon().check().hint
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    assert not DockerDaemon().check().ok  # no certificates are there
    monkeypatch.setenv("DOCKER_CERT_PATH", str(certs))
    assert DockerDaemon().version().version == "99.0"

    # The same as a context of the client: what `docker context create` writes.
    for name in ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name)
    digest = sha256(b"far").hexdigest()
    meta = tmp_path / "config" / "contexts" / "meta" / digest
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(json.dumps({"Endpoints": {"docker": {"Host": address}}}))
    (tmp_path / "config" / "config.json").write_text('{"currentContext": "far"}')
    assert not DockerDaemon().check().ok
    shutil.copytree(certs, tmp_path / "config" / "contexts" / "tls" / digest / "docker")
    assert DockerDaemon().version().version == "99.0"


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
