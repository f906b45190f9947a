"""`xpukit build-image`, as far as it needs no daemon: what it prints, and what it refuses with which hint."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.machines.dict_host import DictHost
from xpukit.cli.app import run
from xpukit.cli.session import Session
from xpukit.facts.recipes import list_recipes
from xpukit.host.answers import FoundAnswer, Ran, StatAnswer

Golden = Callable[[str, str], None]
CLIENT = "/usr/bin/docker"
OLD_HELP = b"Usage:  docker build [OPTIONS] PATH | URL | -\n      --secret stringArray      Secret file\n"


class Client(DictHost):
    """A machine with a docker client that has buildx, or BuildKit built in."""

    def __init__(self, *, buildx: bool = False, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(environment=environment)
        self.buildx = buildx

    def which(self, name: str) -> FoundAnswer:
        return FoundAnswer(value=CLIENT if name == "docker" else None)

    def stat(self, path: str) -> StatAnswer:
        return StatAnswer(kind="file") if path == "/etc/firm.pem" else StatAnswer(error="ENOENT")

    def run(self, argv: Sequence[str], **more: object) -> Ran:  # type: ignore[override]
        said = {
            ("buildx", "version"): b"github.com/docker/buildx v0.17.1 abc\n" if self.buildx else None,
            ("buildx", "build", "--help"): b"      --provenance string\n" if self.buildx else None,
            ("build", "--help"): OLD_HELP,
            ("--version",): b"Docker version 20.10.24+dfsg1, build 297e128\n",
        }.get(tuple(argv[1:]))
        return Ran(argv=tuple(argv), rc=1 if said is None else 0, out=said or b"")


@pytest.fixture
def use_host(monkeypatch: pytest.MonkeyPatch) -> Callable[[Client], None]:
    def use(host: Client) -> None:
        monkeypatch.setattr(Session, "_open_live", lambda _: host)

    return use


def hide_hashes(text: str) -> str:
    """The stub server changes more often than what is printed about it."""
    text = re.sub(r"\b[0-9a-f]{64}\b", "HASH", text)
    text = re.sub(r"(smoke:1-)[0-9a-f]{8}", r"\1HASH", text)
    return re.sub(r"(\.(?:sh|py) +)\d+", lambda found: found[1] + "N", text)


def check_schema(repo: Path, document: dict[str, Any]) -> None:
    name = document["schema"].replace("/", "-") + ".json"
    jsonschema.validate(document, json.loads((repo / "docs" / "schemas" / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize("command", ["build-image", "build-image diff"])
def test_help_is_golden(command: str, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    assert run([*command.split(), "--help"]) == 0
    golden(f"help-{command.replace(' ', '-')}.txt", capsys.readouterr().out)


def test_every_option_is_documented(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["build-image", "--help"])
    options = set(re.findall(r"(--[a-z][a-z-]+)", capsys.readouterr().out)) - {"--help"}
    page = (repo / "docs" / "build-image.md").read_text(encoding="utf-8")
    assert not {option for option in options if f"`{option}" not in page and f" {option}" not in page}


def test_list_has_every_recipe(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["build-image", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[3:] if line] == list(list_recipes())
    assert run(["build-image", "--list", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    check_schema(repo, document)
    assert document["schema"] == "xpukit.recipes/1"
    assert [recipe["name"] for recipe in document["recipes"]] == list(list_recipes())
    assert all(recipe["folder"] == "" for recipe in document["recipes"])


def test_show_is_golden(capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    assert run(["build-image", "--show", "smoke"]) == 0
    golden("build-image-show-smoke.txt", capsys.readouterr().out)


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_is_shown_and_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["build-image", "--show", name]) == 0
    assert "Settings" in capsys.readouterr().out
    for builder in ("buildkit", "classic"):
        assert run(["build-image", name, "--print", "--builder", builder]) == 0
        said = capsys.readouterr().out
        assert "\nENTRYPOINT [" in said
        assert builder == "buildkit" or "--mount=" not in said


@pytest.mark.parametrize(("kind", "buildx"), [("buildkit", False), ("buildx", True), ("classic", False)])
def test_dry_run_is_golden(
    kind: str, buildx: bool, use_host: Callable[[Client], None], capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    environment = {"HTTPS_PROXY": "http://user:word@proxy.example:3128", "SOURCE_DATE_EPOCH": "1700000000"}
    use_host(Client(buildx=buildx, environment={**environment, "SSL_CERT_FILE": "/etc/firm.pem"}))
    forced = ["--builder", "classic", "--ca-bundle", "none"] if kind == "classic" else []
    assert run(["build-image", "smoke", "--dry-run", "--network", "host", "--pull", "--no-cache", *forced]) == 0
    said = capsys.readouterr()
    assert "word@" not in said.out
    golden(f"build-image-dry-run-{kind}.txt", hide_hashes(said.out))
    if not forced:
        assert "this host trusts /etc/firm.pem (SSL_CERT_FILE)" in said.err


def test_dry_run_document(repo: Path, use_host: Callable[[Client], None], capsys: pytest.CaptureFixture[str]) -> None:
    use_host(Client())
    assert run(["build-image", "smoke", "--dry-run", "--json", "-t", "team/smoke:7"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["builder"]) == ("xpukit.image-plan/1", "buildkit")
    assert document["tags"] == ["team/smoke:7"]
    assert document["argv"][:2] == [CLIENT, "build"]
    assert document["env"] == {"DOCKER_BUILDKIT": "1"}
    check_schema(repo, document)
    assert "Dockerfile" in [file["path"] for file in document["files"]]


def test_settings_by_file_option_and_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.toml").write_text('port = 9000\nbase_image = "own/debian:1"\npackages = ["jq", "htop"]\n')
    file = ["--settings", str(tmp_path / "s.toml")]
    assert run(["build-image", "smoke", "--print", *file, "--set", "port=9001"]) == 0
    said = capsys.readouterr().out
    assert "EXPOSE 9001\n" in said
    assert "FROM own/debian:1 AS runtime\n" in said
    assert "      jq \\\n      htop\n" in said
    # base image, packages, wheels, python, port: empty keeps, a bad answer is asked again.
    monkeypatch.setattr("sys.stdin", io.StringIO("\ncurl\n\n\nport\n9002\n"))
    assert run(["build-image", "smoke", "--print", *file, "-i"]) == 0
    asked = capsys.readouterr()
    assert "EXPOSE 9002\n" in asked.out
    assert "      curl\n" in asked.out
    assert "'port' is not allowed (port: an integer from 1 to 65535)" in asked.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "see: xpukit build-image --list"),
        (["smok"], "did you mean smoke?"),
        (["--show", "smok"], "did you mean smoke?"),
        (["--show", "smoke", "platform"], "name one"),
        (["./no/such/recipe"], "no/such/recipe"),
        (["smoke", "--list", "--print"], "--list and --print exclude each other"),
        (["smoke", "--variant", "lean"], "recipe smoke has no variant 'lean'"),
        (["vllm-xpu", "--variant", "venv-0.27"], "did you mean venv-0.26? variants: venv-0.26,"),
        (["smoke", "--dryrun"], "see: xpukit build-image --help"),
        (["smoke", "--set", "prot=1"], "did you mean port?"),
        (["smoke", "--set", "port"], "for example --set python=3.12"),
        (["smoke", "--set", "port=99999"], "an integer from 1 to 65535"),
        (["smoke", "--settings", "/no/such.toml"], "/no/such.toml"),
        (["smoke", "--builder", "clasic"], "did you mean classic? one of auto, buildx, buildkit, classic"),
        (["smoke", "--base-image", "debian", "--print"], "name a version's tag or a digest, never latest"),
        (["smoke", "--base-image", "Debian:12", "--print"], "--base-image: base_image = 'Debian:12' is not allowed"),
        (["smoke", "--tag", "own/smoke:latest"], "latest says nothing"),
        (["smoke", "--lock", "/l", "--wheelhouse", "/w"], "leave out --wheelhouse"),
        (["smoke", "--ca-bundle", "/no/such.pem", "--print"], "name a PEM file, or none"),
        (["smoke", "--wheelhouse", "/no/such", "--print"], "/no/such: no such folder"),
        (["smoke", "--apt-repo", "/no/such", "--print"], "/no/such: no such folder"),
        (["--from", "/no/such", "smoke"], "No such option"),
        (["diff", "/no/such", "b"], "/no/such: not there"),
    ],
)
def test_what_is_refused(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["build-image", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in " ".join(said.err.split())


@pytest.mark.parametrize("value", ["soon", "-1", "1.5", "253402300800"])
def test_an_epoch_that_is_none(
    value: str, use_host: Callable[[Client], None], capsys: pytest.CaptureFixture[str]
) -> None:
    use_host(Client(environment={"SOURCE_DATE_EPOCH": value}))
    assert run(["build-image", "smoke", "--dry-run"]) == 2
    assert "seconds since 1970" in capsys.readouterr().err


def test_a_context_is_not_written_over_other_files(
    tmp_path: Path, use_host: Callable[[Client], None], capsys: pytest.CaptureFixture[str]
) -> None:
    use_host(Client())
    place = tmp_path / "context"
    assert run(["build-image", "smoke", "--context", str(place)]) == 0
    first = (place / "Dockerfile").read_bytes()
    assert run(["build-image", "smoke", "--context", str(place)]) == 2
    assert "or --force to write into it" in capsys.readouterr().err
    assert run(["build-image", "smoke", "--context", str(place), "--force"]) == 0
    assert (place / "Dockerfile").read_bytes() == first
