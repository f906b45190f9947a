"""`xpukit install` as typed: options, exit codes, documents."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tests.unit.install.step_case import TreeHost, answer
from xpukit.cli import install_options
from xpukit.cli.app import run
from xpukit.host import writable

RECORDED = Path(__file__).parent.parent.parent / "machines" / "recorded"
STACK = """
schema = "xpukit.stack/1"
name = "mine"
summary = "made for a test"
date = "2026-11-21"
source = "this test"
[[files]]
path = "/etc/mine.conf"
content = "mine"
why = "a test"
source = "this test"
[[options]]
name = "more"
summary = "more"
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine's root; the host's commands are answered, its files are real."""
    tree = tmp_path / "root"
    (tree / "etc").mkdir(parents=True)
    (tmp_path / "mine.toml").write_text(STACK)
    monkeypatch.setattr(writable, "WritableHost", lambda: TreeHost({("dpkg-query",): answer("")}))
    monkeypatch.setattr(
        "xpukit.install.site.Site.can_change", property(lambda self: True)
    )  # fmt: skip
    monkeypatch.setattr("xpukit.install.site.Site.changer", property(lambda self: self.host))
    return tree


def words(root: Path, *more: str) -> list[str]:
    stack = ["--stack", str(root.parent / "mine.toml")] if more[0] in ("plan", "apply", "export") else []
    return ["install", *more, "--root", str(root), *stack]


def check(repo: Path, schema: str, text: str) -> dict[str, object]:
    document: dict[str, object] = json.loads(text)
    name = schema.replace("/", "-") + ".json"
    jsonschema.validate(document, json.loads((repo / "docs/schemas" / name).read_text(encoding="utf-8")))
    assert document["schema"] == schema
    return document


def test_plan_apply_status_undo(root: Path, repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words(root, "plan", "--json")) == 0
    plan = check(repo, "xpukit.install-plan/1", capsys.readouterr().out)
    assert plan["changes"] == 1
    assert "+mine" in str(plan["steps"])
    assert run(words(root, "apply", "--yes", "--json")) == 0
    assert (root / "etc/mine.conf").read_text(encoding="utf-8") == "mine"
    check(repo, "xpukit.install-apply/1", capsys.readouterr().out)
    assert run(words(root, "apply", "--yes")) == 0
    assert "nothing to change" in capsys.readouterr().out
    assert run(words(root, "status", "--json")) == 0
    status = check(repo, "xpukit.install-status/1", capsys.readouterr().out)
    assert status["drift"] == 0
    (root / "etc/mine.conf").write_text("theirs")
    assert run(words(root, "status")) == 1
    assert "changed since" in capsys.readouterr().out
    assert run(words(root, "undo", "--yes", "--json")) == 1
    assert check(repo, "xpukit.install-undo/1", capsys.readouterr().out)["refused"]
    assert (root / "etc/mine.conf").read_text(encoding="utf-8") == "theirs"
    assert run(words(root, "undo", "--yes", "--force")) == 0
    assert not (root / "etc/mine.conf").exists()
    assert run(words(root, "undo", "--yes")) == 0
    assert "nothing to take back" in capsys.readouterr().out


def test_plan_as_text_has_the_diff(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words(root, "plan")) == 0
    out = capsys.readouterr().out
    assert "+ write /etc/mine.conf (a test)" in out
    assert "    +mine" in out
    assert out.rstrip().endswith("\n1 change")


def test_apply_says_what_the_plan_would_have_warned_of(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --yes nobody saw the plan."""
    assert run(words(root, "apply", "--yes", "--user", "no:such")) == 0
    assert "groups: warning: user no:such is not in /etc/passwd: left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("plan", "--with", "nothing"), "has no option 'nothing'"),
        (("plan", "--pin", "libze1"), "not PACKAGE=VERSION"),
        (("apply", "--yes", "--user", ""), "--user: the name is empty"),
        (("plan", "--source", "relative"), "not an absolute path"),
        (("plan", "--source-key", "/k"), "need --source"),
        (("plan", "--source", "/x.sources"), "ENOENT"),
        (("plan", "--set", "/none.json"), "cannot be read"),
        (("apply",), "nobody can be asked"),
        (("undo",), "nobody can be asked"),
    ],
)
def test_wrong_usage(root: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], says: str) -> None:
    assert run(words(root, *more)) == 2
    err = capsys.readouterr().err
    assert says in err
    assert "next:" in err


def test_only_root_changes_a_machine(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from xpukit.host.answers import IdentityAnswer

    monkeypatch.setattr(TreeHost, "identity", lambda self: IdentityAnswer(hostname="h", username="worker", uid=1000))
    assert run(words(root, "apply", "--yes")) == 2
    assert "by chroot, which needs root" in capsys.readouterr().err
    assert run(["install", "apply", "--yes"]) == 2
    assert "only root may change a machine" in capsys.readouterr().err


def test_a_root_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["install", "plan", "--root", str(tmp_path)]) == 2
    assert "no root directory" in capsys.readouterr().err


def test_a_recorded_machine_can_be_planned_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--from", str(RECORDED / "b60x4_bmc.tar.xz"), "install", "plan", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["stack"] == "ubuntu-24.04"
    assert {item["check"] for item in document["unchecked"]} >= {"packages"}


def test_a_recorded_machine_cannot_be_changed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--from", str(RECORDED / "vm.tar.xz"), "install", "apply", "--yes"]) == 2
    assert "cannot be changed" in capsys.readouterr().err


def test_the_list_of_stacks(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["install", "plan", "--list"]) == 0
    out = capsys.readouterr().out
    assert "debian-12:" in out
    assert "--with iommu-pt" in out


def test_an_export_of_nothing_cannot_be_judged(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words(root, "export")) == 3
    assert "no package of stack mine" in capsys.readouterr().err


def test_options_are_documented(repo: Path) -> None:
    """docs/install.md names every option of the commands."""
    text = (repo / "docs/install.md").read_text(encoding="utf-8")
    for name in vars(install_options):
        option = getattr(install_options, name)
        for item in getattr(option, "__metadata__", ()):
            for word in item.param_decls or ():
                assert word in text, word
