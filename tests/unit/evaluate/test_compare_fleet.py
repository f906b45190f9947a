"""Outlier hosts, missing rows and the ranking."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tests.unit.evaluate.run_files import BDF, gpu, row, write_run
from xpukit.core.errors import UsageError
from xpukit.core.measurement import YES_NO
from xpukit.evaluate.compare_fleet import compare_fleet
from xpukit.evaluate.compare_inputs import find_runs
from xpukit.evaluate.compare_report import write_csv, write_html
from xpukit.evaluate.compare_result import Comparison
from xpukit.evaluate.compare_rules import RuleBook, parse_rules
from xpukit.evaluate.result import Result

SECOND = "0000:83:00.0"


def fleet_of(tmp_path: Path, hosts: Sequence[Sequence[Result]], rules: RuleBook | None = None) -> Comparison:
    for number, rows in enumerate(hosts):
        write_run(tmp_path / f"host{number:03d}", rows, host=f"host{number:03d}")
    return compare_fleet(find_runs([tmp_path]), rules or RuleBook())


def healthy(count: int = 20, metrics: int = 5) -> list[list[Result]]:
    draw = random.Random(5)
    return [
        [row((10 + index) * draw.gauss(1, 0.01), params={"bytes": index}) for index in range(metrics)]
        for _ in range(count)
    ]


def test_a_healthy_fleet_has_no_outliers(tmp_path: Path) -> None:
    comparison = fleet_of(tmp_path, healthy(60, 20))
    assert comparison.outliers == ()
    assert comparison.missing == ()
    assert comparison.verdict == "pass"
    assert len(comparison.metrics) == 20
    assert all(metric.judged and metric.kept >= 55 for metric in comparison.metrics)


def test_planted_faults_are_named_exactly(tmp_path: Path) -> None:
    hosts = healthy()
    hosts[3] = [msgspec.structs.replace(item, value=(item.value or 0) * 0.8) for item in hosts[3]]
    hosts[7] = [msgspec.structs.replace(item, value=(item.value or 0) * 0.9) for item in hosts[7][:2]] + hosts[7][2:]
    hosts[11] = hosts[11][1:]
    hosts[13] = [
        *hosts[13][:-1],
        msgspec.structs.replace(hosts[13][-1], value=None, reason="crashed", verdict="unknown"),
    ]
    hosts[15] = [*hosts[15][:-1], msgspec.structs.replace(hosts[15][-1], verified=False, reason="the data is wrong")]
    comparison = fleet_of(tmp_path, hosts)
    found = {(item.host, item.kind) for item in comparison.outliers}
    assert found == {("host003", "outlier"), ("host007", "outlier"), ("host015", "wrong-data")}
    assert sum(item.host == "host003" for item in comparison.outliers) == 5
    assert all(item.change_percent and item.change_percent < -5 for item in comparison.outliers if item.sigmas)
    assert [(item.host, item.reason) for item in comparison.missing] == [
        ("host011", "no such row"),
        ("host013", "crashed"),
    ]
    assert comparison.verdict == "fail"
    assert [host.host for host in comparison.hosts[:3]] == ["host015", "host003", "host007"]
    assert {host.host for host in comparison.hosts if host.missing} == {"host011", "host013"}
    assert [host.rank for host in comparison.hosts] == list(range(1, 21))


def test_missing_rows_alone_are_unknown(tmp_path: Path) -> None:
    hosts = healthy()
    hosts[2] = hosts[2][1:]
    assert fleet_of(tmp_path, hosts).verdict == "unknown"


def test_a_fast_host_is_shown_and_does_not_count(tmp_path: Path) -> None:
    hosts = healthy()
    hosts[2] = [msgspec.structs.replace(item, value=(item.value or 0) * 1.4) for item in hosts[2]]
    comparison = fleet_of(tmp_path, hosts)
    assert comparison.verdict == "pass"
    assert {(item.host, item.worse) for item in comparison.outliers} == {("host002", False)}
    raw = {"schema": "xpukit.compare-rules/1", "default": {"better": "fail"}}
    strict = compare_fleet(find_runs([tmp_path]), RuleBook(parse_rules(raw, source="t")))
    assert strict.verdict == "fail"


def test_an_ability_that_one_host_lacks(tmp_path: Path) -> None:
    hosts = [[row(1.0, benchmark="p2p", metric="access", unit=YES_NO, params={})] for _ in range(8)]
    hosts[5] = [row(0.0, benchmark="p2p", metric="access", unit=YES_NO, params={})]
    comparison = fleet_of(tmp_path, hosts)
    assert [(item.host, item.kind, item.sigmas) for item in comparison.outliers] == [("host005", "ability", None)]
    assert comparison.verdict == "fail"


def test_lower_is_better_is_understood(tmp_path: Path) -> None:
    hosts = [[row(5.0 + 0.01 * n, metric="latency", unit="us", higher_is_better=False)] for n in range(8)]
    hosts[1] = [row(9.0, metric="latency", unit="us", higher_is_better=False)]
    (outlier,) = fleet_of(tmp_path, hosts).outliers
    assert outlier.worse


def test_devices_are_pooled_but_pairs_are_not(tmp_path: Path) -> None:
    devices = (gpu(), gpu(SECOND))
    for number in range(6):
        rows = [
            row(100.0 + number / 10),
            row(100.0 - number / 10, devices=(SECOND,)),
            # The way there is always half as fast as the way back: topology, no fault.
            row(10.0, benchmark="p2p", metric="bandwidth", devices=(BDF, SECOND), params={"mode": "write"}),
            row(20.0, benchmark="p2p", metric="bandwidth", devices=(SECOND, BDF), params={"mode": "write"}),
        ]
        if number == 4:
            rows[2] = msgspec.structs.replace(rows[2], value=7.0)
        write_run(tmp_path / str(number), rows, devices=devices, host=f"h{number}")
    comparison = compare_fleet(find_runs([tmp_path]), RuleBook())
    assert {(metric.benchmark, metric.place, metric.n) for metric in comparison.metrics} == {
        ("memory", "", 12),
        ("p2p", "#0 #1", 6),
        ("p2p", "#1 #0", 6),
    }
    assert [(item.host, item.devices) for item in comparison.outliers] == [("h4", (BDF, SECOND))]


def test_other_cards_and_suites_are_judged_among_their_own(tmp_path: Path) -> None:
    for number in range(6):
        write_run(tmp_path / f"b60-{number}", [row(400.0 + number)], host=f"b60-{number}")
        card = gpu(device_id="e223")
        write_run(tmp_path / f"b70-{number}", [row(550.0 + number)], devices=(card,), host=f"b70-{number}")
        write_run(tmp_path / f"quick-{number}", [row(300.0 + number)], suite="quick", host=f"quick-{number}")
    comparison = compare_fleet(find_runs([tmp_path]), RuleBook())
    assert comparison.outliers == ()
    assert comparison.missing == ()
    assert [(metric.device, metric.suite, metric.hosts) for metric in comparison.metrics] == [
        ("8086:e211", "quick", 6),
        ("8086:e211", "standard", 6),
        ("8086:e223", "standard", 6),
    ]
    assert any("2 suites" in note for note in comparison.notes)


def test_runs_of_one_host_are_told_apart(tmp_path: Path) -> None:
    for number in range(6):
        write_run(tmp_path / f"run{number}", [row(50.0 if number == 2 else 100.0)], host="same")
    (outlier,) = compare_fleet(find_runs([tmp_path]), RuleBook()).outliers
    assert outlier.host == "same (run2)"


def test_too_few_hosts_are_not_judged(tmp_path: Path) -> None:
    comparison = fleet_of(tmp_path, [[row(100.0)], [row(100.0)], [row(50.0)]])
    assert comparison.outliers == ()
    assert comparison.verdict == "unknown"
    assert comparison.metrics[0].reason == "3 hosts; 5 are needed"


def test_a_limit_of_the_rules_holds_for_few_hosts_too(tmp_path: Path) -> None:
    raw = {"schema": "xpukit.compare-rules/1", "rule": [{"name": "least", "at_least": 90.0, "unit": "GB/s"}]}
    comparison = fleet_of(tmp_path, [[row(100.0)], [row(50.0)]], RuleBook(parse_rules(raw, source="t")))
    assert [(item.host, item.kind) for item in comparison.outliers] == [("host001", "limit")]
    assert comparison.verdict == "fail"


def test_a_damaged_file_of_a_folder_is_a_row_and_a_named_one_an_error(tmp_path: Path) -> None:
    comparison = fleet_of(tmp_path / "fleet", healthy(6))
    assert comparison.verdict == "pass"
    (tmp_path / "fleet" / "host002" / "results.json").write_text('{"schema": "xpukit.eval')
    damaged = compare_fleet(find_runs([tmp_path / "fleet"]), RuleBook())
    assert damaged.verdict == "unknown"
    assert "not a results document" in damaged.runs[2].problem
    assert len(damaged.hosts) == 5
    with pytest.raises(UsageError, match="not a results document"):
        compare_fleet(find_runs(sorted((tmp_path / "fleet").iterdir())), RuleBook())


def test_a_folder_of_collected_files(tmp_path: Path) -> None:
    for number in range(5):
        run = write_run(tmp_path / "runs" / str(number), [row(100.0 + number)], host=f"h{number}")
        (tmp_path / "flat").mkdir(exist_ok=True)
        (run / "results.json").rename(tmp_path / "flat" / f"h{number}.json")
    comparison = compare_fleet(find_runs([tmp_path / "flat"]), RuleBook())
    assert [run.path for run in comparison.runs] == [f"h{number}.json" for number in range(5)]
    assert comparison.verdict == "pass"


def test_the_same_key_in_another_order_is_the_same_metric(tmp_path: Path) -> None:
    for number in range(5):
        run = write_run(tmp_path / str(number), [row(100.0, params={"op": "read", "bytes": 1})], host=f"h{number}")
        if number % 2:
            text = (run / "results.json").read_text(encoding="utf-8")
            swapped = text.replace('"op": "read",\n        "bytes": 1', '"bytes": 1,"op": "read"')
            assert swapped != text
            (run / "results.json").write_text(swapped)
    (metric,) = compare_fleet(find_runs([tmp_path]), RuleBook()).metrics
    assert metric.hosts == 5


def test_same_input_same_bytes(tmp_path: Path) -> None:
    hosts = healthy()
    hosts[3] = [msgspec.structs.replace(item, value=(item.value or 0) * 0.8) for item in hosts[3]]
    first = fleet_of(tmp_path, hosts)
    second = compare_fleet(find_runs([tmp_path]), RuleBook())
    assert msgspec.json.encode(first) == msgspec.json.encode(second)
    assert write_html(first) == write_html(second)
    assert write_csv(first) == write_csv(second)
    assert write_csv(first).count("\n") == 6


def test_a_page_of_many_outliers_stays_small(tmp_path: Path) -> None:
    hosts = healthy(20, 100)
    for number in range(8):
        hosts[number] = [msgspec.structs.replace(item, value=(item.value or 0) / 2) for item in hosts[number]]
    comparison = fleet_of(tmp_path, hosts)
    assert len(comparison.outliers) == 800
    assert "and 300 more, in the CSV and JSON" in write_html(comparison)
