"""Programs without a package; packages that are known by where their archives lie; and the index of a directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.install.step_case import StepCase, answer, make_stack
from xpukit.core.errors import OutputError, UsageError
from xpukit.facts.stacks import CopyFacts, PackageFacts, SourceFacts
from xpukit.install.change import hash_bytes
from xpukit.install.index_directory import index_directory
from xpukit.install.source_index import find_archived, list_directories, parse_stanzas
from xpukit.install.step import Options, Source
from xpukit.install.steps.copies import STEP
from xpukit.install.steps.packages import STEP as PACKAGES

ROW = CopyFacts(name="lzt", pattern="tools/lzt/*", directory="/opt/lzt", why="a test", source="test")
HERE = SourceFacts(name="own", kind="directory", remedy="unpack the installer", source="test")
ELF = b"\x7fELF program"
INDEX = (
    "Package: gemm\nVersion: 1\nFilename: ./tools/gemm/gemm_1.deb\n\n"
    "Package: libze1\nVersion: 2\nFilename: ./gfxdrv/gpgpu/libze1.deb\nDescription: x\n Package: not-this\n\n"
    "Package: ccl\nVersion: 3\nFilename: ./debs/ccl.deb\nX-Xpukit-Origin: file:/opt/a/./tools/1ccl/ccl.deb\n"
)


def make_case(folder: Path, **more: object) -> StepCase:
    files = {"/opt/source/tools/lzt/ze_peak": ELF, "/opt/source/tools/lzt/ze.spv": b"kernel", **more}
    options = Options(source=Source(directory="/opt/source"), lock_wait_s=0)
    return StepCase(folder, stack=make_stack(copies=(ROW,), sources=(HERE,)), files=files, options=options)  # type: ignore[arg-type]


def test_they_come_with_their_modes_and_go_again(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    (case.root / "opt/source/tools/lzt/folder").mkdir()
    before = case.snapshot()
    assert len(case.apply(STEP).changes) == 2
    for name, data, mode in (("ze_peak", ELF, 0o755), ("ze.spv", b"kernel", 0o644)):
        there = case.root / "opt/lzt" / name
        assert there.read_bytes() == data
        assert there.stat().st_mode & 0o777 == mode
    assert case.apply(STEP).changes == ()
    assert case.plan(STEP).satisfied == ("lzt: 2 files are in /opt/lzt",)
    assert not case.undo().refused
    assert case.snapshot() == before
    assert not (case.root / "opt/lzt").exists()


def test_killed_at_any_write_it_goes_either_way(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    before = case.snapshot()
    at = 0
    while case.crash_apply(STEP, at=at):
        case.undo()
        assert case.snapshot() == before
        at += 1
    assert at > 4


def test_without_a_source_it_says_what_to_give(tmp_path: Path) -> None:
    case = StepCase(tmp_path, stack=make_stack(copies=(ROW,), sources=(HERE,)))
    plan = case.plan(STEP)
    assert plan.changes == ()
    assert [(item.why, item.remedy) for item in plan.unchecked] == [
        ("lzt: no source has tools/lzt/*: left out", "unpack the installer")
    ]
    case.write("/opt/lzt/ze_peak", ELF)
    assert case.plan(STEP).satisfied == ("lzt: /opt/lzt is there",)


def test_what_is_no_file_stops_the_plan(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    (case.root / "opt/source/tools/lzt/broken").symlink_to("/nowhere")
    assert "broken: cannot be copied" in case.plan(STEP).blocked


@pytest.mark.parametrize(
    ("pattern", "names"),
    [("tools/gemm/*.deb", ("gemm",)), ("tools/1ccl/*.deb", ("ccl",)), ("tools/*/*.rpm", ()), ("gpgpu/*", ("libze1",))],
)
def test_packages_are_found_by_where_their_archives_lie(tmp_path: Path, pattern: str, names: tuple[str, ...]) -> None:
    case = StepCase(tmp_path, files={"/opt/source/Packages": INDEX})
    assert find_archived(case.site, ("/opt/source", "/none"), pattern) == names


@pytest.mark.parametrize(
    ("source", "places"),
    [
        (Source(), ()),
        (Source(directory="/opt/a"), ("/opt/a",)),
        (Source(listing="deb [trusted=yes] file:/opt/a ./\ndeb http://x stable main\n"), ("/opt/a",)),
        (Source(listing="Types: deb\nURIs: file:/opt/a/ http://x\nSuites: ./\n"), ("/opt/a",)),
    ],
)
def test_the_directories_of_a_source(source: Source, places: tuple[str, ...]) -> None:
    assert list_directories(source) == places


@given(st.text())
def test_an_index_may_be_anything(text: str) -> None:
    for fields in parse_stanzas(text):
        assert all(name == name.lower() for name in fields)


def test_a_row_takes_its_name_from_the_source_or_is_seen_by_what_it_brings(tmp_path: Path) -> None:
    row = PackageFacts(
        name="gemm-tools", purpose="p", source="s", archives="tools/gemm/*.deb", brings="/usr/bin/mm", required=False
    )
    policy = "gemm:\n  Installed: (none)\n  Candidate: 1\n  Version table:\n     1 500\n        500 file:/opt/source ./ Packages\n"
    case = StepCase(
        tmp_path,
        stack=make_stack(packages=(row,)),
        files={"/opt/source/Packages": INDEX, "/etc/apt/sources.list.d/xpukit.list": "deb file:/opt/source ./\n"},
        options=Options(source=Source(listing="deb file:/opt/source ./\n"), lock_wait_s=0),
        commands={
            ("dpkg-query",): answer(""),
            ("apt-get",): answer("Inst gemm (1 localhost [amd64])\n"),
            ("apt-cache",): lambda argv: answer(policy if "gemm" in argv else ""),
        },
    )
    (change,) = case.plan(PACKAGES).changes
    assert change.request == ("gemm=1",)  # type: ignore[union-attr]
    case.write("/opt/source/Packages", "")
    assert [finding.id for finding in case.plan(PACKAGES).findings] == ["XPK-INSTALL-PACKAGE-MISSING"]
    case.write("/usr/bin/mm", ELF)
    assert case.plan(PACKAGES).satisfied == ("gemm-tools: /usr/bin/mm is there (p)",)


def test_a_tree_of_archives_gets_an_index(tmp_path: Path) -> None:
    archives = {"base/a.deb": b"a", "tools/gemm/g.deb": b"g", "server/a.deb": b"a", "other/a.deb": b"another a"}
    controls = {"a": "Package: a\nVersion: 1\nArchitecture: all\n", "g": "Package: g\nVersion: 2\nArchitecture: all\n"}
    case = StepCase(
        tmp_path,
        files={
            **{f"/opt/i/{path}": data for path, data in archives.items()},
            "/opt/i/broken.deb": "x",
            "/opt/i/README": "",
        },
        commands={
            ("dpkg-deb",): lambda argv: (
                answer(rc=2, err="not a Debian format archive")
                if "broken" in argv[-1]
                else answer(controls[argv[-1].rpartition("/")[2][0]])
            )
        },
    )
    done = index_directory(case.site, "/opt/i")
    assert done.packages == ("a 1", "g 2")
    assert "broken.deb: is no Debian package" in done.damaged[0]
    assert done.doubled == ("other/a.deb: a 1 again, and not the same as base/a.deb",)
    stanzas = list(parse_stanzas(case.read("/opt/i/Packages")))
    assert [fields["filename"] for fields in stanzas] == ["./base/a.deb", "./tools/gemm/g.deb"]
    assert stanzas[0]["sha256"] == hash_bytes(b"a")
    assert find_archived(case.site, ("/opt/i",), "tools/gemm/*.deb") == ("g",)
    assert index_directory(case.site, "/opt/i") == done
    with pytest.raises(UsageError, match="has no \\.deb"):
        index_directory(case.site, "/etc")


def test_a_directory_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = StepCase(
        tmp_path, files={"/opt/i/a.deb": b"a"}, commands={("dpkg-deb",): answer("Package: a\nVersion: 1\n")}
    )

    def refuse(path: Path, data: bytes) -> None:
        raise PermissionError(30, "Read-only file system", str(path))

    monkeypatch.setattr("xpukit.install.index_directory.write_atomic", refuse)
    with pytest.raises(OutputError, match="Read-only file system"):
        index_directory(case.site, "/opt/i")
