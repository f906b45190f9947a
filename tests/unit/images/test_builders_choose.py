"""Which builder is taken, and the exact command for it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from xpukit.core.errors import ExternalError, UsageError
from xpukit.host.answers import FoundAnswer, Ran, StatAnswer
from xpukit.host.live import LiveHost
from xpukit.host.overlay import OverlayHost
from xpukit.images.build import BuilderKind, BuildSecret, ContextFile, Rendered
from xpukit.images.builders import build_image
from xpukit.images.builders import choose as choose_module
from xpukit.images.builders.buildkit import list_proxies, plan_command
from xpukit.images.builders.choose import Builder, choose_builder, list_builders
from xpukit.images.builders.labels import list_missing_labels
from xpukit.images.builders.mask import MARK, make_mask, mask_message

OLD_HELP = "Usage:  docker build [OPTIONS] PATH | URL | -\n      --secret stringArray      Secret file\n"
NO_BUILDX = "ERROR: BuildKit is enabled but the buildx component is missing or broken.\n"


class Clients(LiveHost):
    """A machine with these docker clients: path -> (buildx version, BuildKit built in)."""

    def __init__(self, clients: dict[str, tuple[str, bool]], env: dict[str, str] | None = None) -> None:
        super().__init__()
        self._clients = clients
        self._env = env or {}

    def which(self, name: str) -> FoundAnswer:
        return FoundAnswer(value=next(iter(self._clients), None))

    def stat(self, path: str) -> StatAnswer:
        return StatAnswer(kind="file") if path in self._clients else StatAnswer(error="ENOENT")

    def env(self, name: str) -> FoundAnswer:
        return FoundAnswer(value=self._env.get(name))

    def run(self, argv, *, env=None, **options):  # type: ignore[no-untyped-def]
        buildx, built_in = self._clients[argv[0]]
        rest = tuple(argv[1:])
        if rest == ("buildx", "version") and buildx:
            return Ran(argv=tuple(argv), rc=0, out=f"github.com/docker/buildx {buildx} abc\n".encode())
        if rest == ("buildx", "build", "--help") and buildx:
            return Ran(argv=tuple(argv), rc=0, out=b"      --provenance string\n")
        if rest == ("build", "--help") and env == {"DOCKER_BUILDKIT": "1"} and built_in:
            return Ran(argv=tuple(argv), rc=0, out=OLD_HELP.encode())
        if rest == ("--version",):
            return Ran(argv=tuple(argv), rc=0, out=b"Docker version 20.10.24+dfsg1, build 297e128\n")
        return Ran(argv=tuple(argv), rc=1, err=NO_BUILDX.encode())


def test_plugins_are_looked_for_where_the_client_will() -> None:
    asked = []

    class Watching(Clients):
        def run(self, argv, *, env=None, **options):  # type: ignore[no-untyped-def]
            asked.append(dict(env or {}))
            return super().run(argv, env={k: v for k, v in (env or {}).items() if k == "DOCKER_BUILDKIT"}, **options)

    host = Watching({"/usr/bin/docker": ("0.13.1+ds1", True)}, {"DOCKER_CONFIG": "/etc/own", "HOME": "/home/a"})
    builder = choose_builder(host)
    assert (builder.kind, builder.version) == ("buildx", "0.13.1+ds1")  # Debian's version has no v
    assert asked[0] == {"DOCKER_CONFIG": "/etc/own", "HOME": "/home/a"}


def test_buildx_comes_first() -> None:
    builder = choose_builder(Clients({"/usr/bin/docker": ("v0.17.1", False)}))
    assert builder == Builder(kind="buildx", program="/usr/bin/docker", version="v0.17.1", provenance=True)


def test_second_client_is_taken_where_the_first_cannot() -> None:
    host = Clients({"/usr/local/bin/docker": ("", False), "/usr/bin/docker": ("", True)})
    builder = choose_builder(host)
    assert builder == Builder(kind="buildkit", program="/usr/bin/docker", version="20.10.24+dfsg1")
    reasons = {offer.kind: offer.reason for offer in list_builders(host)}
    assert reasons["buildx"] == "/usr/local/bin/docker, /usr/bin/docker: without the plugin buildx"


def test_classic_where_no_client_is() -> None:
    assert choose_builder(Clients({})).kind == "classic"
    assert choose_builder(Clients({"/usr/bin/docker": ("v0.17.1", False)}), forced="classic").kind == "classic"


def test_forced_builder_that_is_absent() -> None:
    with pytest.raises(ExternalError, match="buildx: /usr/bin/docker: without the plugin buildx"):
        choose_builder(Clients({"/usr/bin/docker": ("", True)}), forced="buildx")
    with pytest.raises(UsageError, match="no such builder") as caught:
        choose_builder(Clients({}), forced="kaniko")
    assert caught.value.hint == "one of buildx, buildkit, classic"


def test_nothing_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = choose_module.BuilderOffer(kind="classic", builder=None, reason="no SDK")
    monkeypatch.setattr(choose_module, "_find_classic", lambda: absent)
    with pytest.raises(ExternalError, match=r"no docker client is installed.*classic: no SDK"):
        choose_builder(Clients({}))


def render(kind: BuilderKind = "buildkit") -> Rendered:
    return Rendered(
        recipe="r", variant="", settings={}, builder=kind, hash="0", network="host",
        files=(ContextFile(path="Dockerfile", content=b"FROM x\n"),), labels={"b": "2", "a": "1 with space"},
        args={"KEY": "value"}, secrets=(BuildSecret(id="ca", source="/etc/ca.pem"),),
    )  # fmt: skip


def test_command_of_old_client() -> None:
    command = plan_command(
        render(), tags=("n:1", "n:2"), builder=Builder(kind="buildkit", program="/usr/bin/docker"),
        proxies={"HTTPS_PROXY": "http://user:secret@proxy:1"}, source_date_epoch=7,
    )  # fmt: skip
    assert command.argv == (
        "/usr/bin/docker", "build", "--progress=plain", "--iidfile", "IMAGE-ID-FILE", "--tag", "n:1", "--tag", "n:2",
        "--label", "a=1 with space", "--label", "b=2", "--build-arg", "KEY=value", "--build-arg", "HTTPS_PROXY",
        "--secret", "id=ca,src=/etc/ca.pem", "--network", "host", "CONTEXT",
    )  # fmt: skip
    assert command.env == {"DOCKER_BUILDKIT": "1", "SOURCE_DATE_EPOCH": "7"}


def test_command_of_buildx() -> None:
    builder = Builder(kind="buildx", program="docker", provenance=True)
    command = plan_command(
        render("buildx"), tags=(), builder=builder, proxies={}, context="/c", id_file="/i", address="unix:///s",
        network="none", pull=True, no_cache=True,
    )  # fmt: skip
    assert command.argv[:8] == (
        "docker", "--host", "unix:///s", "buildx", "build", "--load", "--provenance=false", "--progress=plain",
    )  # fmt: skip
    assert command.argv[-5:] == ("--network", "none", "--pull", "--no-cache", "/c")
    assert command.env == {"DOCKER_BUILDKIT": "1"}


def test_proxies_of_the_environment() -> None:
    host = Clients({}, env={"https_proxy": "http://p:1", "NO_PROXY": "localhost", "HTTP_PROXY": ""})
    assert list_proxies(host) == {
        "HTTPS_PROXY": "http://p:1",
        "https_proxy": "http://p:1",
        "NO_PROXY": "localhost",
        "no_proxy": "localhost",
    }
    both = Clients({}, env={"https_proxy": "http://p:1", "HTTPS_PROXY": "http://p:2"})
    assert list_proxies(both) == {"https_proxy": "http://p:1", "HTTPS_PROXY": "http://p:2"}


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://user:pass%40word@proxy.example:3128", "HTTP_PROXY=http://user:pass%40word@proxy.example:3128"),
        ("http://user:pass%40word@proxy.example:3128", "password is pass@word"),
        ("user:Zx81Zx81@proxy.example:3128", "curl: Proxy-Authorization: Basic dXNlcjpaeDgxWng4MQ=="),
        ("http://user:Zx81Zx81@proxy.example:3128", "http_proxy=http://user:Zx81Zx81@proxy.example:3128/"),
        ("socks5h://user:abc@proxy.example", "all_proxy=socks5h://user:abc@proxy.example"),
    ],
)
def test_a_proxys_password_is_in_no_line(address: str, said: str) -> None:
    mask = make_mask({"HTTP_PROXY": address, "NO_PROXY": "localhost,127.0.0.1", "X": "http://[bad"})
    masked = mask(said)
    assert MARK in masked
    assert not any(secret in masked for secret in ("pass%40word", "pass@word", "Zx81Zx81", "dXNlcjpa", ":abc"))
    assert mask("the abc of proxy.example and user") == "the abc of proxy.example and user"
    assert mask_message({"stream": said, "errorDetail": {"message": said, "code": 1}}, mask) == {
        "stream": masked,
        "errorDetail": {"message": masked, "code": 1},
    }


def test_recipe_rendered_for_another_builder(tmp_path: Path) -> None:
    from xpukit.host.docker_daemon import DockerDaemon

    with pytest.raises(UsageError, match="rendered for buildkit"):
        build_image(
            render(), tags=(), builder=Builder(kind="classic"), daemon=DockerDaemon("unix:///nonexistent"),
            log=tmp_path / "log", host=OverlayHost(Clients({}), {}),
        )  # fmt: skip
    with pytest.raises(ExternalError, match="no Docker daemon"):
        build_image(
            render(), tags=(), builder=Builder(kind="buildkit", program="docker"), log=tmp_path / "log",
            daemon=DockerDaemon("unix:///nonexistent"), host=Clients({}),
        )  # fmt: skip
    assert not (tmp_path / "log").exists()


def test_only_labels_that_the_last_stage_lacks() -> None:
    dockerfile = 'FROM x AS one\nLABEL a="in the first"\nfrom x\nLABEL b="2" \\\n      c="an \\"odd\\" one"\n'
    rendered = msgspec.structs.replace(
        render(),
        files=(ContextFile(path="Dockerfile", content=dockerfile.encode()),),
        labels={"d": "4", "c": 'an "odd" one', "b": "2", "a": "in the first"},
    )
    assert list(list_missing_labels(rendered).items()) == [("a", "in the first"), ("d", "4")]
