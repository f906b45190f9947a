"""Every problem of a reference file, with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xpukit.evaluate.baseline_lint import lint_files
from xpukit.facts.paths import shipped_dir
from xpukit.facts.references import COLUMNS

HEADER = ",".join(COLUMNS)
GOOD = "8086:e211,memory,peak_bandwidth,op=read,400,GB/s,higher,measured,0.1,somebody/repo#1,2026-01-01"
TODAY = "2026-06-01"


def lint(tmp_path: Path, *lines: str, header: str = HEADER, name: str = "perf.csv") -> list[tuple[int, str, str]]:
    path = tmp_path / name
    path.write_text("\n".join((header, *lines)) + "\n")
    report = lint_files([path], today=TODAY)
    assert all(finding.file == str(path) for finding in report.findings)
    assert report.problems == sum(finding.severity == "problem" for finding in report.findings)
    return [(finding.line, finding.check, finding.text) for finding in report.findings]


def test_what_we_ship_is_clean() -> None:
    report = lint_files(sorted(shipped_dir("reference_perf").glob("*.csv")), today="9999-12-31")
    assert report.findings == ()
    assert report.rows > 500


def test_a_good_row_is_good(tmp_path: Path) -> None:
    assert lint(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("change", "check", "words"),
    [
        (("GB/s", "MB/s"), "unit", "measured in GB/s"),
        (("higher", "lower"), "direction", "not higher"),
        (("peak_bandwidth", "peek_bandwidth"), "metric", "nothing measures memory peek_bandwidth"),
        (("op=read", "opp=read"), "params", "no parameter 'opp'"),
        (("op=read", "op=3"), "params", "op=3 is not a text"),
        (("op=read", "op=read;op=write"), "params", "op is given twice"),
        (("op=read", "read"), "schema", "name=value"),
        (("400", "x"), "schema", "numbers"),
        (("400", "-1"), "schema", "positive"),
        (("400", "457"), "", ""),  # 456 GB/s is the specification; rounding is allowed
        (("400", "500"), "limit", "above the 456.0 GB/s of its specification"),
        (("0.1", "1.5"), "schema", "tolerance"),
        (("measured", "dreamt"), "schema", "kind"),
        (("somebody/repo#1", "estimated"), "source", "no source"),
        (("somebody/repo#1", "?"), "source", "no source"),
        (("somebody/repo#1", ""), "schema", "source"),
        (("2026-01-01", "2026-02-30"), "date", "not a date"),
        (("2026-01-01", "01.02.2026"), "date", "not a date"),
        (("2026-01-01", "20260101"), "date", "not a date"),
        (("2026-01-01", "2026-06-02"), "date", "future"),
        (("2026-01-01", "2026-06-01"), "", ""),
        (("8086:e211", "e211"), "schema", "PCI id"),
        (("8086:e211", "8086:ffff"), "device", "not in the table"),
        (("somebody/repo#1", "a,b"), "columns", "comma"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, change: tuple[str, str], check: str, words: str) -> None:
    findings = (
        lint(tmp_path, "", GOOD.replace(*change)) if check != "columns" else lint(tmp_path, GOOD.replace(*change))
    )
    if not check:
        assert findings == []
        return
    # Blank lines are no rows but count as lines.
    assert {line for line, _, _ in findings} == {2 if check == "columns" else 3}
    assert any(found == check and words in text for _, found, text in findings), findings


@pytest.mark.parametrize(
    ("params", "value", "fine"),
    [
        ("transfer,peak_bandwidth,direction=h2d;memory=pinned", "31.5", True),
        ("transfer,peak_bandwidth,direction=h2d;memory=pinned", "32.5", False),
        ("p2p,bandwidth,direction=bi;mode=write;path=peer", "60", True),
        ("p2p,bandwidth,direction=bi;mode=write;path=peer", "64", False),
        ("transfer,peak_bandwidth,direction=d2d;memory=pinned", "300", True),
    ],
)
def test_the_line_rate_is_a_limit(tmp_path: Path, params: str, value: str, fine: bool) -> None:
    line = GOOD.replace("memory,peak_bandwidth,op=read", params).replace("400", value)
    findings = lint(tmp_path, line)
    assert findings == [] if fine else [check for _, check, _ in findings] == ["limit"]


def test_peaks_are_limits(tmp_path: Path) -> None:
    gemm = GOOD.replace("memory,peak_bandwidth,op=read", "gemm,throughput,dtype=bf16;m=8192").replace("GB/s", "TFLOPS")
    assert [check for _, check, _ in lint(tmp_path, gemm.replace("400", "99"))] == ["limit"]
    assert lint(tmp_path, gemm.replace("400", "90")) == []
    int8 = gemm.replace("bf16", "int8").replace("400", "90")
    assert [check for _, check, _ in lint(tmp_path, int8)] == ["unit"]
    assert lint(tmp_path, int8.replace("TFLOPS", "TOPS")) == []


def test_measured_above_spec_is_a_contradiction(tmp_path: Path) -> None:
    spec = GOOD.replace("400", "390").replace("measured", "spec")
    assert lint(tmp_path, GOOD, spec) == [
        (3, "contradiction", "memory peak_bandwidth op=read: measured 400 (line 2) is better than spec 390 (line 3)")
    ]


def test_a_minimum_above_a_reference(tmp_path: Path) -> None:
    low = GOOD.replace("400", "350").replace("repo#1", "repo#2")
    ((line, check, text),) = lint(tmp_path, low, GOOD)
    assert (line, check) == (3, "minimum")
    assert "the minimum of line 3, 360, is not reached by the reference of line 2, 350" in text
    assert lint(tmp_path, low.replace("350", "365"), GOOD) == []


def test_a_minimum_of_what_should_be_low(tmp_path: Path) -> None:
    latency = GOOD.replace("memory,peak_bandwidth,op=read,400,GB/s,higher", "transfer,latency,bytes=64,5,us,lower")
    slow = latency.replace(",5,", ",9,").replace("repo#1", "repo#2")
    assert [check for _, check, _ in lint(tmp_path, latency, slow)] == ["minimum"]
    assert lint(tmp_path, latency, slow.replace(",9,", ",5.5,")) == []


def test_duplicates(tmp_path: Path) -> None:
    assert [(line, check) for line, check, _ in lint(tmp_path, GOOD, GOOD.replace("400", "399"))] == [(3, "duplicate")]
    assert lint(tmp_path, GOOD, GOOD.replace("repo#1", "repo#2")) == []


def test_columns(tmp_path: Path) -> None:
    assert lint(tmp_path, GOOD, header=HEADER.replace(",unit", "")) == [(1, "columns", "no column unit")]
    assert lint(tmp_path, GOOD + ",x", header=HEADER + ",note") == [(1, "columns", "not read: note")]
    assert "twice" in lint(tmp_path, GOOD + ",x", header=HEADER + ",source")[0][2]


def test_upstream_files(tmp_path: Path) -> None:
    header = "Category,Subcategory,size,value"
    good = lint(tmp_path, "gemm,int8,,170", header=header, name="reference_perf_b60.csv")
    assert [check for _, check, _ in good] == ["upstream"]
    bad = lint(tmp_path, "gemm,int8,,210", "gemm,int4,,1", header=header, name="reference_perf_b60.csv")
    assert [(line, check) for line, check, _ in bad] == [(1, "upstream"), (2, "limit"), (3, "upstream")]
    nameless = lint(tmp_path, "gemm,int8,,170", header=header, name="reference_perf.csv")
    assert (1, "device") in [(line, check) for line, check, _ in nameless]


def test_unreadable_files(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xff\xfe\x00")
    (finding,) = lint_files(
        [
            path,
        ],
        today=TODAY,
    ).findings
    assert (finding.line, finding.check) == (0, "readable")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.data())
def test_damaged_files_are_reported_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    text = "\n".join((HEADER, GOOD, GOOD.replace("400", "390"), "")).encode()
    place = data.draw(st.integers(0, len(text)))
    text = text[:place] + data.draw(st.binary(max_size=6)) + text[place + data.draw(st.integers(0, 20)) :]
    path = tmp_path_factory.mktemp("lint") / data.draw(st.sampled_from(["perf.csv", "reference_perf_b60.csv"]))
    path.write_bytes(text)
    first = lint_files([path], today=TODAY)
    assert first == lint_files([path], today=TODAY)
    lines = text.count(b"\n") + text.count(b"\r") + 1
    assert all(0 <= finding.line <= lines for finding in first.findings)
