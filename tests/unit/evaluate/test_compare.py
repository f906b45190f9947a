"""Two or more runs against the first."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.evaluate.run_files import BDF, gpu, row, write_run
from xpukit.core.errors import UsageError
from xpukit.core.measurement import YES_NO
from xpukit.evaluate.compare import compare_runs
from xpukit.evaluate.compare_fleet import compare_fleet
from xpukit.evaluate.compare_inputs import find_runs
from xpukit.evaluate.compare_report import write_csv, write_html
from xpukit.evaluate.compare_result import Change, Comparison
from xpukit.evaluate.compare_rules import RuleBook, parse_rules
from xpukit.evaluate.result import Result

OTHER = "0000:83:00.0"


def compare(*runs: Path, rules: RuleBook | None = None, force: bool = False) -> Comparison:
    return compare_runs(find_runs(runs), rules or RuleBook(), force=force)


def compare_rows(tmp_path: Path, old: list[Result], new: list[Result], rules: RuleBook | None = None) -> Comparison:
    return compare(write_run(tmp_path / "old", old), write_run(tmp_path / "new", new), rules=rules)


def only_change(comparison: Comparison) -> Change:
    (change,) = comparison.changes
    return change


@pytest.mark.parametrize(
    ("old", "new", "status", "verdict"),
    [
        (row(100.0), row(100.0), "same", "pass"),
        (row(100.0), row(96.0), "same", "pass"),  # below min_change, however many sigmas
        (row(100.0), row(90.0), "worse", "fail"),
        (row(100.0), row(110.0), "better", "pass"),
        (row(100.0, mad=20.0), row(90.0, mad=20.0), "same", "pass"),  # within the spread
        (row(100.0, mad=8.0, noisy=True), row(50.0, mad=4.0), "uncertain", "pass"),
        (row(100.0, n=1), row(50.0, n=1), "uncertain", "pass"),
        (row(100.0, mad=0.0), row(90.0, mad=0.0), "worse", "fail"),
        (
            row(10.0, metric="latency", unit="us", higher_is_better=False),
            row(12.0, metric="latency", unit="us", higher_is_better=False),
            "worse",
            "fail",
        ),
        (
            row(10.0, metric="latency", unit="us", higher_is_better=False),
            row(8.0, metric="latency", unit="us", higher_is_better=False),
            "better",
            "pass",
        ),
        (row(100.0), row(100.0, verified=False, verdict="fail"), "worse", "fail"),
        (row(100.0, verified=False), row(50.0, verified=False), "not-comparable", "unknown"),
        (row(100.0, verified=False), row(50.0), "better", "pass"),
        (row(100.0), row(100.0, unit="GiB/s"), "not-comparable", "unknown"),
        (row(100.0), row(50.0, engine="tools"), "not-comparable", "unknown"),
        (row(1.0, unit=YES_NO, metric="access"), row(0.0, unit=YES_NO, metric="access"), "worse", "fail"),
        (row(1.0, unit="status", n=1), row(0.5, unit="status", n=1), "worse", "fail"),
        (row(4.0, unit="rank", n=1, higher_is_better=False), row(8.0, unit="rank", n=1, higher_is_better=False), "worse", "fail"),
        (row(0.0, unit="count", n=1, higher_is_better=False), row(3.0, unit="count", n=1, higher_is_better=False), "worse", "fail"),
        (row(3.0, unit="count", n=1, higher_is_better=False), row(0.0, unit="count", n=1, higher_is_better=False), "better", "pass"),
        (row(100.0), row(None, reason="the worker crashed"), "missing", "unknown"),
        (row(100.0), row(None, verdict="not-applicable", reason="one device"), "missing", "unknown"),
    ],
)  # fmt: skip
def test_status_and_verdict(tmp_path: Path, old: Result, new: Result, status: str, verdict: str) -> None:
    comparison = compare_rows(tmp_path, [old], [new])
    assert only_change(comparison).status == status
    assert comparison.verdict == verdict


def test_some_rows_that_cannot_be_compared_leave_the_others(tmp_path: Path) -> None:
    """Another engine gave some numbers: the rest is judged, the run is no failure for it; if all are such, it is no pass."""
    size = {"bytes": 4096}
    old, new = [row(100.0), row(10.0, params=size)], [row(100.0), row(10.0, params=size, engine="tools")]
    assert compare_rows(tmp_path / "some", old, new).verdict == "pass"
    alone = compare_rows(tmp_path / "all", old[1:], new[1:])
    assert alone.verdict == "unknown"
    assert "nothing was comparable" in alone.notes


def test_the_same_run_twice_is_told(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [row(100.0)], complete=False)
    notes = compare(run, run).notes
    assert any("the same run, or a copy" in note for note in notes)
    assert any("the first run is incomplete" in note for note in notes)
    later = write_run(tmp_path / "later", [row(100.0)], created="2026-01-02T05:04:05Z")
    assert not any("same run" in note for note in compare(run, later).notes)


def test_sigmas_follow_the_stated_formula(tmp_path: Path) -> None:
    change = only_change(compare_rows(tmp_path, [row(100.0, mad=2.0, n=25)], [row(90.0, mad=3.0, n=16)]))
    error_old = 1.25331 * 1.4826 * (25 / 24.2) * 2 / 5
    error_new = 1.25331 * 1.4826 * (16 / 15.2) * 3 / 4
    assert change.sigmas == pytest.approx(-10 / (error_old**2 + error_new**2) ** 0.5, abs=0.02)
    assert change.change_percent == pytest.approx(-10)


def test_runs_that_do_not_differ_are_rarely_accused(tmp_path: Path) -> None:
    """200 comparisons of 20 metrics drawn from the same distribution, without the floor of min_change."""
    draw = random.Random(3)
    accused = 0
    for index in range(200):
        runs = []
        for name in ("old", "new"):
            rows = []
            for size in range(20):
                samples = sorted(draw.gauss(100, 2) for _ in range(21))
                mad = sorted(abs(value - samples[10]) for value in samples)[10]
                rows.append(row(samples[10], mad=mad, n=21, params={"bytes": size}))
            runs.append(write_run(tmp_path / str(index) / name, rows))
        changes = compare(*runs, rules=RuleBook(min_change=0.0)).changes
        accused += sum(change.status in ("worse", "better") for change in changes)
    # 3.5 sigmas of a normal distribution are 4.7e-4; a spread estimated from 21 samples has heavier tails.
    assert accused / 4000 < 0.005


def test_missing_because_not_asked_for_does_not_count(tmp_path: Path) -> None:
    old = [row(100.0), row(50.0, benchmark="gemm"), row(60.0, benchmark="memory_ceiling")]
    comparison = compare(
        write_run(tmp_path / "old", old), write_run(tmp_path / "new", old[1:2], only=("gemm",))
    )  # fmt: skip
    reasons = {change.benchmark: (change.status, change.counts, change.reason) for change in comparison.changes}
    assert reasons["memory"] == ("missing", False, "not asked for (--only, --skip)")
    assert reasons["memory_ceiling"][1] is False
    assert comparison.verdict == "pass"


def test_a_device_that_was_not_measured_does_not_count(tmp_path: Path) -> None:
    old = write_run(tmp_path / "old", [row(100.0), row(99.0, devices=(OTHER,))], devices=(gpu(), gpu(OTHER)))
    new = write_run(tmp_path / "new", [row(99.0, devices=(OTHER,))], devices=(gpu(OTHER),))
    comparison = compare(old, new)
    assert {change.devices: change.status for change in comparison.changes} == {(BDF,): "missing", (OTHER,): "same"}
    assert comparison.verdict == "pass"


def test_a_row_that_vanished_gives_unknown(tmp_path: Path) -> None:
    comparison = compare_rows(tmp_path, [row(100.0), row(7.0, metric="bandwidth")], [row(100.0)])
    assert comparison.verdict == "unknown"
    assert comparison.changes[1].reason == "no such row"


def test_other_hosts_are_matched_by_position(tmp_path: Path) -> None:
    old = write_run(tmp_path / "old", [row(100.0)])
    new = write_run(tmp_path / "new", [row(80.0, devices=(OTHER,))], devices=(gpu(OTHER),), host="srv2")
    comparison = compare(old, new)
    assert only_change(comparison).status == "worse"
    assert any("other addresses" in note for note in comparison.notes)


def test_incompatible_runs_are_said(tmp_path: Path) -> None:
    old = write_run(tmp_path / "old", [row(100.0)])
    other_card = write_run(tmp_path / "card", [row(50.0)], devices=(gpu(device_id="e223"),))
    quick = write_run(tmp_path / "quick", [row(50.0)], suite="quick")
    newer = write_run(tmp_path / "newer", [row(100.0)], version="9.9.9")
    comparison = compare(old, other_card, quick, newer)
    assert [run.problem.split(":")[0] for run in comparison.runs] == ["", "other devices", "another suite", ""]
    assert "8086:e223 instead of 8086:e211" in comparison.runs[1].problem
    assert [change.run for change in comparison.changes] == [3]
    assert any("xpukit 9.9.9" in note for note in comparison.notes)
    assert comparison.verdict == "unknown"
    assert compare(old, quick, force=True).verdict == "fail"


def test_nothing_comparable_is_unknown(tmp_path: Path) -> None:
    comparison = compare_rows(tmp_path, [row(1.0, metric="a")], [row(1.0, metric="b")])
    assert comparison.verdict == "unknown"
    assert "nothing was comparable" in comparison.notes


def test_each_of_several_is_compared_with_the_first(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / str(value), [row(value)]) for value in (100.0, 80.0, 120.0)]
    comparison = compare(*runs)
    assert [(change.run, change.status) for change in comparison.changes] == [(1, "worse"), (2, "better")]


def rules_of(*rules: dict[str, object], **more: object) -> RuleBook:
    raw = {"schema": "xpukit.compare-rules/1", "rule": list(rules), **more}
    return RuleBook(parse_rules(raw, source="test"))


def test_rules_change_thresholds_and_limits(tmp_path: Path) -> None:
    old, new = write_run(tmp_path / "old", [row(100.0)]), write_run(tmp_path / "new", [row(90.0)])
    loose = rules_of({"name": "loose", "metric": "peak*", "params": {"op": "read"}, "min_change": 0.2})
    assert only_change(compare(old, new, rules=loose)).status == "same"
    elsewhere = rules_of({"name": "loose", "device": "8086:e223", "min_change": 0.2})
    assert only_change(compare(old, new, rules=elsewhere)).status == "worse"
    limit = rules_of({"name": "least", "at_least": 95.0, "unit": "GB/s", "min_change": 0.2})
    change = only_change(compare(old, new, rules=limit))
    assert (change.status, change.reason) == ("worse", "below the 95 GB/s that is asked for")
    other_unit = rules_of({"name": "least", "at_least": 95.0, "unit": "us", "min_change": 0.2})
    assert compare(old, new, rules=other_unit).verdict == "pass"
    assert compare(old, new, rules=rules_of({"name": "no", "ignore": True})).changes == ()


def test_missing_by_rule(tmp_path: Path) -> None:
    old, new = write_run(tmp_path / "old", [row(100.0)]), write_run(tmp_path / "new", [row(None)])
    assert compare(old, new, rules=rules_of({"name": "must", "missing": "fail"})).verdict == "fail"
    gone = compare(old, new, rules=rules_of({"name": "may", "missing": "ignore"}))
    assert not only_change(gone).counts


def test_a_combination_of_rules(tmp_path: Path) -> None:
    both = [
        {"name": "read", "params": {"op": "read"}, "alone": False},
        {"name": "write", "params": {"op": "write"}, "alone": False},
    ]
    combine = [{"name": "memory is slow", "rules": ["read", "write"], "at_least": 2}]
    old = write_run(tmp_path / "old", [row(100.0), row(100.0, params={"op": "write"})])
    one = write_run(tmp_path / "one", [row(50.0), row(100.0, params={"op": "write"})])
    two = write_run(tmp_path / "two", [row(50.0), row(50.0, params={"op": "write"})])
    rules = rules_of(*both, combine=combine)
    assert compare(old, one, rules=rules).verdict == "pass"
    found = compare(old, two, rules=rules)
    assert found.verdict == "fail"
    assert [(item.name, item.violated) for item in found.combined] == [("memory is slow", ("read", "write"))]


def test_yardsticks_do_not_count(tmp_path: Path) -> None:
    comparison = compare_rows(
        tmp_path, [row(100.0, benchmark="memory_ceiling")], [row(50.0, benchmark="memory_ceiling")]
    )  # fmt: skip
    assert only_change(comparison).status == "worse"
    assert comparison.verdict == "pass"


def test_one_run_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one run"):
        compare(write_run(tmp_path / "a", [row(1.0)]))


def test_same_input_same_bytes_and_everything_is_escaped(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>\x00\x1b[31m"
    old = write_run(tmp_path / "old", [row(100.0, params={"op": nasty}), row(5.0, metric="=cmd()")], host=nasty)
    new = write_run(tmp_path / "new", [row(50.0, params={"op": nasty}), row(None, metric="=cmd()", reason="=1+1")])
    pages = [write_html(compare(old, new)) for _ in range(2)]
    assert pages[0] == pages[1]
    assert "<script" not in pages[0]
    assert "\x00" not in pages[0]
    assert "\x1b" not in pages[0]
    assert "http" not in pages[0].replace("http-equiv", "")
    tables = [write_csv(compare(old, new)) for _ in range(2)]
    assert tables[0] == tables[1]
    assert "'=cmd()" in tables[0]
    assert "'=1+1" in tables[0]


DAMAGE = st.sampled_from(
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"schema": "xpukit.evaluate/1"}', b'{"schema": 1}', b"[" * 5000]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_runs_are_bad_input_or_compared_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    good = write_run(folder / "a", [row(100.0), row(7.0, metric="latency", unit="us")])
    text = (good / "results.json").read_bytes()
    kind = data.draw(st.integers(0, 3))
    if kind == 0:
        text = data.draw(DAMAGE)
    elif kind == 1:
        text = text[: data.draw(st.integers(0, len(text)))]
    elif kind == 2:
        place = data.draw(st.integers(0, len(text) - 1))
        text = text[:place] + data.draw(st.binary(min_size=1, max_size=3)) + text[place + 1 :]
    else:
        document = json.loads(text)
        where = document["results"][0] if data.draw(st.booleans()) else document
        name = data.draw(st.sampled_from(sorted(where)))
        where[name] = data.draw(
            st.one_of(
                st.none(),
                st.text(max_size=3),
                st.integers(),
                st.floats(allow_nan=False, allow_infinity=False),
                st.just({"a": []}),
                st.just([None]),
            )
        )
        text = json.dumps(document).encode()
    (folder / "b").mkdir()
    (folder / "b" / "results.json").write_bytes(text)
    try:
        comparison = compare(good, folder / "b")
        write_csv(comparison)
    except UsageError:
        pass
    fleet = compare_fleet(find_runs([folder]), RuleBook())
    assert len(fleet.runs) == 2
    write_csv(fleet)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({}, "schema is None"),
        ({"schema": "xpukit.compare-rules/1", "rule": [{"name": "x", "when": "lambda x: x"}]}, "unknown field"),
        ({"schema": "xpukit.compare-rules/1", "rule": [{"name": "x"}, {"name": "x"}]}, "two rules"),
        ({"schema": "xpukit.compare-rules/1", "rule": [{"name": "x", "at_least": 1.0}]}, "need a unit"),
        ({"schema": "xpukit.compare-rules/1", "rule": [{"name": "x", "unit": "us"}]}, "says nothing"),
        ({"schema": "xpukit.compare-rules/1", "default": {"sigmas": 0}}, "sigmas must be positive"),
        ({"schema": "xpukit.compare-rules/1", "default": {"min_change": -1}}, "min_change is a fraction"),
        ({"schema": "xpukit.compare-rules/1", "default": {"min_hosts": 1}}, "min_hosts"),
        ({"schema": "xpukit.compare-rules/1", "combine": [{"name": "c", "rules": ["y"], "at_least": 1}]}, "no rule named 'y'"),
        ({"schema": "xpukit.compare-rules/1", "rule": [{"name": "x"}], "combine": [{"name": "c", "rules": ["x"], "at_least": 2}]}, "at_least must lie"),
    ],
)  # fmt: skip
def test_bad_rules_are_named(raw: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_rules(raw, source="rules.toml")
