"""Where the vendor's tools are found, and oneAPI's environment as values."""

from __future__ import annotations

from pathlib import Path

import pytest

from xpukit.evaluate.tools.locate import expand, explain_unavailable, find_tool
from xpukit.evaluate.tools.oneapi import capture_oneapi, capture_script
from xpukit.facts.tools import get_tool, load_tools
from xpukit.host.answers import FoundAnswer
from xpukit.host.level_zero.snapshot import LevelZeroAnswer, LevelZeroDevice
from xpukit.host.live import LiveHost
from xpukit.host.overlay import OverlayHost

pytestmark = pytest.mark.live  # files and a shell


def make_program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def oneapi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty oneAPI folder that ONEAPI_ROOT names, and a PATH with only the system's programs."""
    root = tmp_path / "one api"
    root.mkdir()
    monkeypatch.setenv("ONEAPI_ROOT", str(root))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("CCL_ROOT", raising=False)
    return root


def test_every_fact_has_a_source_and_a_next_step() -> None:
    table = load_tools()
    assert {tool.name for tool in table.tools} >= {"ze_peak", "ze_bandwidth", "ze_peer", "matrix_mul_mkl", "mpirun"}
    for tool in table.tools:
        assert tool.source
        assert tool.date
        assert tool.programs
        assert tool.package in tool.explain_missing()


def test_a_tool_below_a_folder_tree(tmp_path: Path) -> None:
    made = make_program(tmp_path / "multi-arc-1.2" / "tools" / "level-zero-tests" / "ze_peer")
    (tmp_path / "multi-arc-1.2" / "loop").symlink_to(tmp_path)
    found = next(expand(LiveHost(), f"{tmp_path}/**/ze_peer"))
    assert Path(found) == made
    assert list(expand(LiveHost(), f"{tmp_path}/nowhere/**/ze_peer")) == []


def test_oneapis_own_mpirun_goes_before_another_on_path(oneapi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make_program(oneapi.parent / "openmpi" / "mpirun")
    monkeypatch.setenv("PATH", f"{other.parent}:/usr/bin:/bin")
    assert find_tool(LiveHost(), "mpirun").path == str(other)
    make_program(oneapi / "mpi" / "2021.9" / "bin" / "mpirun")
    newest = make_program(oneapi / "mpi" / "2021.17" / "bin" / "mpirun")
    older_first = find_tool(LiveHost(), "mpirun").path
    assert older_first.startswith(str(oneapi / "mpi"))
    (oneapi / "mpi" / "latest").symlink_to(newest.parents[1])
    assert find_tool(LiveHost(), "mpirun").path == str(oneapi / "mpi" / "latest" / "bin" / "mpirun")


def test_anybodys_benchmark_on_path_is_not_oneccls(oneapi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make_program(oneapi.parent / "bin" / "benchmark")
    monkeypatch.setenv("PATH", f"{other.parent}:/usr/bin:/bin")
    assert find_tool(LiveHost(), "oneccl_benchmark").path == ""
    ours = make_program(oneapi / "ccl" / "2021.15" / "examples" / "benchmark" / "benchmark")
    found = find_tool(LiveHost(), "oneccl_benchmark")
    assert (found.path, found.form) == (str(ours), "public")


def test_ze_peak_that_is_a_link_runs_beside_its_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_program(tmp_path / "tools" / "ze_peak")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ze_peak").symlink_to(made)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    without = find_tool(LiveHost(), "ze_peak")
    assert without.path == str(tmp_path / "bin" / "ze_peak")
    assert "without ze_global_bw.spv" in without.reason
    for name in get_tool("ze_peak").beside:
        (made.parent / name).touch()
    found = find_tool(LiveHost(), "ze_peak")
    assert (found.folder, found.reason) == (str(made.parent), "")


def test_why_a_tool_cannot_run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    nobody = OverlayHost(LiveHost(), {("level-zero",): LevelZeroAnswer(status="no-loader")})
    assert "level-zero-tests" in explain_unavailable(nobody, "ze_peer")
    monkeypatch.setenv("PATH", f"{make_program(tmp_path / 'ze_peer').parent}:/usr/bin:/bin")
    assert "shows no GPU" in explain_unavailable(nobody, "ze_peer")
    device = LevelZeroDevice(
        driver_index=0, index=0, name="GPU", type="gpu", vendor_id=0x8086, device_id=0xE211, uuid="0"
    )
    somebody = OverlayHost(LiveHost(), {("level-zero",): LevelZeroAnswer(status="ok", devices=(device,))})
    assert explain_unavailable(somebody, "ze_peer") == ""


def test_the_environment_is_a_difference_of_values(oneapi: Path) -> None:
    script = oneapi / "setvars.sh"
    script.write_text(
        'echo ":: initializing oneAPI environment ..."\n'
        'export CCL_ROOT="/opt/my ccl" PATH="/opt/new:$PATH" LINES_OF="one\ntwo"\n'
        f'echo run >> "{oneapi.parent}/runs"\nfalse\n'
    )
    host = LiveHost()
    captured = capture_oneapi(host)
    assert captured.values == {"CCL_ROOT": "/opt/my ccl", "PATH": "/opt/new:/usr/bin:/bin", "LINES_OF": "one\ntwo"}
    assert captured.script == str(script)
    assert capture_oneapi(host) is captured
    assert (oneapi.parent / "runs").read_text(encoding="utf-8") == "run\n", "sourced once"


def test_a_path_is_never_shell_text(oneapi: Path) -> None:
    folder = oneapi / '$(touch planted)"; touch planted; "'
    folder.mkdir()
    script = folder / "vars.sh"
    script.write_text("export CCL_ROOT=here\n")
    assert capture_script(LiveHost(), str(script)).values == {"CCL_ROOT": "here"}
    assert not Path("planted").exists()


@pytest.mark.parametrize("text", ["exit 3\n", "kill -9 $$\n"])
def test_a_script_that_ends_the_shell(oneapi: Path, text: str) -> None:
    script = oneapi / "setvars.sh"
    script.write_text(text)
    captured = capture_oneapi(LiveHost())
    assert captured.values == {}
    assert str(script) in captured.problem


def test_no_oneapi_at_all(oneapi: Path) -> None:
    host = OverlayHost(LiveHost(), {("env", "ONEAPI_ROOT"): FoundAnswer(value=str(oneapi))})
    captured = capture_oneapi(host)
    assert captured.values == {}
    assert captured.problem == ""
