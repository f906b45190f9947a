"""The packages step on what dpkg and apt say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.unit.install.step_case import StepCase, answer, make_stack
from xpukit.core.errors import ExternalError
from xpukit.facts.stacks import KernelFacts, PackageFacts, SourceFacts
from xpukit.host.answers import FoundAnswer, Ran
from xpukit.install.apt_sources import list_addresses, render_source
from xpukit.install.change import PackagesChange
from xpukit.install.step import Options, Source
from xpukit.install.steps.packages import STEP, list_versions
from xpukit.install.steps.repository import STEP as REPOSITORY


def row(name: str, **more: object) -> PackageFacts:
    return PackageFacts(name=name, purpose="test", source="test", **more)  # type: ignore[arg-type]


def policy(name: str, installed: str, *available: str) -> str:
    table = "".join(
        f"     {version} 500\n        500 http://deb.example x/main amd64 Packages\n" for version in available
    )
    candidate = available[0] if available else installed or "(none)"
    return f"{name}:\n  Installed: {installed or '(none)'}\n  Candidate: {candidate}\n  Version table:\n{table}"


def make_case(
    folder: Path, *rows: PackageFacts, dpkg: str = "", policies: str = "", simulation: str = "", **options: object
) -> StepCase:
    return StepCase(
        folder,
        stack=make_stack(
            packages=rows,
            sources=(SourceFacts(name="own", kind="directory", remedy="give one", source="test"),),
            kernel=KernelFacts(package="linux-image-amd64", minimum="6.12", source="test"),
        ),
        files={"/var/lib/apt/lists/deb.example_dists_x_main_binary-amd64_Packages": ""},
        options=Options(lock_wait_s=0, **options),  # type: ignore[arg-type]
        commands={
            ("dpkg-query",): answer(dpkg),
            ("apt-cache", "policy"): answer(policies),
            ("apt-get",): answer(simulation),
        },
    )


def test_what_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    case = make_case(tmp_path, row("a"), row("b", minimum="1.0"), dpkg="a\t0.1\tamd64\tii \nb\t1.0\tamd64\thi \n")
    plan = case.plan(STEP)
    assert plan.changes == ()
    assert plan.satisfied == ("a 0.1 (test)", "b 1.0 (test)")
    assert list_versions(case.scene) == {"a": "0.1", "b": "1.0"}
    assert not any(words[0] == "apt-get" for words in case.host.ran)


def test_versions_origins_and_the_untested(tmp_path: Path) -> None:
    case = make_case(
        tmp_path,
        row("a", tested=("1.0",)),
        policies=policy("a", "", "1.1", "1.0"),
        simulation="Inst dep (3 here [all])\nInst a (1.1 Debian:12 [amd64])\n"
        "After this operation, 5 MB of additional disk space will be used.\n'u' a_1.1_amd64.deb 77 SHA256:0\n",
    )
    plan = case.plan(STEP)
    (change,) = plan.changes
    assert isinstance(change, PackagesChange)
    assert change.request == ("a=1.1",)
    assert [(item.name, item.asked_for, item.download_bytes) for item in change.actions] == [
        ("dep", False, 0),
        ("a", True, 77),
    ]
    assert change.disk_bytes == 5_000_000
    assert [finding.id for finding in plan.findings] == ["XPK-INSTALL-PACKAGE-UNTESTED"]


@pytest.mark.parametrize("required", [True, False])
def test_a_pin_keeps_it_away(tmp_path: Path, required: bool) -> None:
    policies = "a:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n     1.0 -1\n        -1 file:/opt ./ Packages\n"
    plan = make_case(tmp_path, row("a", required=required), policies=policies).plan(STEP)
    assert bool(plan.blocked) is required
    (finding,) = plan.findings
    assert finding.id == "XPK-INSTALL-PACKAGE-PINNED"
    assert finding.severity == ("critical" if required else "warning")
    assert "--pin a=1.0" in finding.remedy[0]


@pytest.mark.parametrize("required", [True, False])
def test_no_source_has_it(tmp_path: Path, required: bool) -> None:
    plan = make_case(tmp_path, row("a", required=required), policies=policy("a", "")).plan(STEP)
    assert bool(plan.blocked) is required
    (finding,) = plan.findings
    assert finding.id == "XPK-INSTALL-PACKAGE-MISSING"
    assert finding.severity == ("critical" if required else "warning")
    assert finding.remedy == ("give one",)


def test_a_pin_that_no_source_has_blocks(tmp_path: Path) -> None:
    case = make_case(tmp_path, row("a", required=False), policies=policy("a", "", "1.0"), pins={"a": "9"})
    assert case.plan(STEP).blocked == "no source that apt knows has: a 9"


def test_removals_are_refused(tmp_path: Path) -> None:
    text = "Remv other-driver [1.0]\nInst a (1.0 x [amd64])\n"
    plan = make_case(tmp_path, row("a"), policies=policy("a", "", "1.0"), simulation=text).plan(STEP)
    assert plan.blocked == "installing would remove: other-driver 1.0"
    assert plan.changes == ()


def test_a_held_package_is_left(tmp_path: Path) -> None:
    case = make_case(tmp_path, row("a", minimum="2"), dpkg="a\t1\tamd64\thi \n", policies=policy("a", "1", "2"))
    assert "a is held at 1" in case.plan(STEP).blocked


def test_an_upgrade_without_a_way_back_is_said(tmp_path: Path) -> None:
    case = make_case(
        tmp_path, row("a", minimum="2"), dpkg="a\t1\tamd64\tii \n", policies=policy("a", "1", "2"),
        simulation="Inst a [1] (2 x [amd64])\n",
    )  # fmt: skip
    assert [finding.id for finding in case.plan(STEP).findings] == ["XPK-INSTALL-NO-WAY-BACK"]


def test_broken_packages_of_the_machine_itself(tmp_path: Path) -> None:
    case = make_case(tmp_path, row("a"), policies=policy("a", "", "1"))
    case.host.commands[("apt-get",)] = answer(rc=100, err="E: Unmet dependencies. Try 'apt --fix-broken install'")
    plan = case.plan(STEP)
    assert plan.blocked == "apt refuses to install a=1"
    assert "broken already" in plan.findings[0].summary
    assert plan.findings[0].evidence
    needs = "E: The package tzdata needs to be reinstalled, but I can't find an archive for it."
    case.host.commands[("apt-get",)] = answer(rc=100, err=needs)
    (finding,) = case.plan(STEP).findings
    assert "broken already" in finding.summary
    assert "--reinstall" in finding.remedy[0]
    assert needs in finding.evidence[-1].value


def test_a_kernel_only_when_asked_for_and_with_a_reboot(tmp_path: Path) -> None:
    case = make_case(
        tmp_path, policies=policy("linux-image-amd64", "", "6.12"), chosen=frozenset({"kernel"}),
        simulation="Inst linux-image-6.12 (6.12 x [amd64])\nInst linux-image-amd64 (6.12 x [amd64])\n",
    )  # fmt: skip
    assert case.plan(STEP).reboot == "a kernel comes: linux-image-6.12"
    assert make_case(tmp_path).plan(STEP).changes == ()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (Source(directory="/opt/r"), "no key was given"),
        (Source(directory="/opt/none", trusted=True), "no Packages in it"),
        (Source(directory="/opt/r", key="/opt/no.gpg"), "/opt/no.gpg: ENOENT"),
    ],
)
def test_a_source_that_cannot_be_used(tmp_path: Path, source: Source, says: str) -> None:
    case = StepCase(tmp_path, files={"/opt/r/Packages": ""}, options=Options(source=source))
    assert says in case.plan(REPOSITORY).blocked


def pretend_apt(case: StepCase, name: str, address: str) -> Callable[[tuple[str, ...]], Ran]:
    """An apt that copies the one index there is, and says where to."""

    def run(words: tuple[str, ...]) -> Ran:
        if "indextargets" in words:
            return answer(f"{address.partition('./')[0]}\t{name}\t{address}\n")
        if "update" in words:
            case.write(name, case.read("/" + unquote(address.partition(":")[2]).lstrip("/")))
        return answer()

    return run


def test_a_signed_source_with_its_key_and_lists(tmp_path: Path) -> None:
    source = Source(directory="/opt/r", key="/opt/key.asc")
    case = StepCase(
        tmp_path, files={"/opt/r/Packages": "p\n", "/opt/key.asc": "key"}, options=Options(source=source, lock_wait_s=0)
    )

    case.host.commands[("apt-get",)] = pretend_apt(
        case, "/var/lib/apt/lists/_opt_r_._Packages", "file:/opt/r/./Packages"
    )
    before = case.snapshot()
    assert len(case.apply(REPOSITORY).changes) == 3
    written = case.read("/etc/apt/sources.list.d/xpukit.sources")
    assert "Signed-By: /etc/apt/keyrings/xpukit.asc" in written
    assert "Check-Date: no" in written
    assert case.apply(REPOSITORY).changes == ()
    # A repository that changed since is read anew.
    case.write("/opt/r/Packages", "q\n")
    assert [change.__class__.__name__ for change in case.plan(REPOSITORY).changes] == ["ListsChange"]
    case.write("/opt/r/Packages", "p\n")
    case.undo()
    assert case.snapshot() == before


def test_the_lists_of_a_source_are_where_apt_says(tmp_path: Path) -> None:
    """Underscores and blanks are spelled otherwise in the names of lists, and twice otherwise in addresses."""
    source = Source(directory="/opt/my_own repo", trusted=True)
    case = StepCase(tmp_path, files={"/opt/my_own repo/Packages": "p\n"}, options=Options(source=source, lock_wait_s=0))
    name = "/var/lib/apt/lists/_opt_my%5fown%2520repo_._Packages"
    case.host.commands[("apt-get",)] = pretend_apt(case, name, "file:/opt/my_own%20repo/./Packages")
    assert len(case.apply(REPOSITORY).changes) == 2
    assert "URIs: file:/opt/my_own%20repo\n" in case.read("/etc/apt/sources.list.d/xpukit.sources")
    assert case.apply(REPOSITORY).changes == ()


def test_lists_that_apt_keeps_compressed_are_compared_as_text(tmp_path: Path) -> None:
    """As in Debian's and Ubuntu's container images."""
    source = Source(directory="/opt/r", trusted=True)
    case = StepCase(tmp_path, files={"/opt/r/Packages": "p\n"}, options=Options(source=source, lock_wait_s=0))
    name = "/var/lib/apt/lists/_opt_r_._Packages"
    case.host.commands[("apt-get",)] = pretend_apt(case, name, "file:/opt/r/./Packages")
    case.apply(REPOSITORY)
    (case.root / name[1:]).rename(case.root / f"{name[1:]}.lz4")
    case.host.commands[("/usr/lib/apt/apt-helper", "cat-file", f"{name}.lz4")] = answer("p\n")
    assert case.plan(REPOSITORY).changes == ()
    case.write("/opt/r/Packages", "q\n")
    assert len(case.plan(REPOSITORY).changes) == 1


@pytest.mark.parametrize(
    ("listing", "ending", "addresses"),
    [
        ("# mine\ndeb [trusted=yes] file:/opt/a ./\n#deb http://no ./\n", "list", ["file:/opt/a"]),
        ("deb-src http://s x main\ndeb [signed-by=/k.gpg arch=amd64] http://a x main\n", "list", ["http://a"]),
        ("Trusted: yes\nTypes: deb\nURIs: file:/opt/a\nSuites: ./\n", "sources", ["file:/opt/a"]),
        ("# mine\n\nX-Note: deb\nTypes: deb deb-src\nURIs:\n http://a\n# b\n http://c\n", "sources", ["http://a", "http://c"]),
        ("types: deb\nuris: http://a\nenabled: no\n\nTypes: deb-src\nURIs: http://b\n", "sources", []),
        ("Types: deb\r\nURIs: http://a http://b\r\nSuites: ./\r\n", "sources", ["http://a", "http://b"]),
        ("# nothing\n", "list", []),
    ],
)  # fmt: skip
def test_both_formats_of_a_file_of_sources(listing: str, ending: str, addresses: list[str]) -> None:
    assert render_source(Source(listing=listing), key="")[0] == f"/etc/apt/sources.list.d/xpukit.{ending}"
    assert list_addresses(listing) == addresses


def test_a_source_that_cannot_be_reached_is_said_in_apts_words(tmp_path: Path) -> None:
    """apt calls it a warning and ends with 0, unless it is told to be strict; then the packages would seem missing."""
    case = make_case(tmp_path, row("a"), source=Source(listing="deb https://none ./\n"))
    said = "E: Failed to fetch https://none/./InRelease  407  Proxy Authentication Required\nE: Some index files failed"

    def run(words: tuple[str, ...]) -> Ran:
        if "indextargets" in words:
            return answer("https://none/\t/var/lib/apt/lists/none_._Packages\thttps://none/./Packages\n")
        return answer(rc=100, err=said) if "APT::Update::Error-Mode=any" in words else answer()

    case.host.commands[("apt-get",)] = run
    blocked = case.plan(STEP).blocked
    assert blocked.startswith("the source cannot be read: Failed to fetch https://none/./InRelease  407")
    assert "APT::Update::Error-Mode=any" in " ".join(case.host.ran[-2])
    case.host.commands[("apt-get", "-q")] = run
    with pytest.raises(ExternalError, match="407"):
        case.apply(REPOSITORY)


def test_programs_that_fetch_get_the_proxies_of_who_runs_this(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case(tmp_path)
    given: list[Any] = []
    monkeypatch.setattr(case.host, "env", lambda name: FoundAnswer(value={"http_proxy": "http://p:1"}.get(name, "")))
    monkeypatch.setattr(case.host, "run", lambda argv, **settings: given.append(settings["env"]) or answer())
    case.site.run(("apt-get", "-q", "update"), timeout_s=1, env={"A": "b"})
    case.site.run(("env", "--chdir=/", "apt-get", "download", "a"), timeout_s=1)
    case.site.run(("dpkg-query", "-W"), timeout_s=1)
    assert given == [{"http_proxy": "http://p:1", "A": "b"}, {"http_proxy": "http://p:1"}, None]


def test_apt_without_any_lists_says_so(tmp_path: Path) -> None:
    """A fresh container image: no source lacks anything, apt has not read one."""
    case = make_case(tmp_path, row("a"), policies=policy("a", ""))
    (case.root / "var/lib/apt/lists/deb.example_dists_x_main_binary-amd64_Packages").unlink()
    (finding,) = case.plan(STEP).findings
    assert finding.id == "XPK-INSTALL-PACKAGE-MISSING", "there is no source to read"
    case.write("/etc/apt/sources.list.d/debian.sources", "Types: deb\nURIs: http://deb.example\nSuites: x\n")
    (finding,) = case.plan(STEP).findings
    assert finding.id == "XPK-INSTALL-APT-LISTS"
    assert finding.severity == "critical"
    assert finding.commands == ("apt-get update",)
    case.write("/var/lib/apt/lists/deb.example_dists_x_main_binary-amd64_Packages.lz4", "")
    (finding,) = case.plan(STEP).findings
    assert finding.id == "XPK-INSTALL-PACKAGE-MISSING"
