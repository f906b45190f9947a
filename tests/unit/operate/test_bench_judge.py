"""Judged by references and by earlier runs."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.operate import bench_samples as samples
from xpukit.core.errors import BadFactsError
from xpukit.facts.bench_formats import load_bench_formats
from xpukit.facts.bench_references import COLUMNS, ServingReference, load_serving_references, parse_serving_references
from xpukit.operate.bench.curve import list_log_ticks, list_ticks
from xpukit.operate.bench.judge import compare, judge_points, make_point
from xpukit.operate.bench.page import write_page
from xpukit.operate.bench.parse import parse_bench, read_report
from xpukit.operate.bench.report import BenchReport, Deployment, Point
from xpukit.operate.bench.result import BenchResult, Latency, Load

B200 = Deployment(hardware="b200", devices=8, tp=8)


def measured(
    throughput: float, *, p99: float = 100.0, model: str = "internlm/Intern-S1", **more: object
) -> BenchResult:
    load = Load(input_len=1000, output_len=1000, requests=10, concurrency=1)
    result = BenchResult(
        format="sglang-table",
        engine="sglang",
        model=model,
        load=load,
        completed=10,
        failed=0,
        output_throughput=throughput,
        ttft=Latency(percentiles={"p99": p99}),
    )
    return msgspec.structs.replace(result, **more)  # type: ignore[arg-type]


def judged(*runs: BenchResult, deployment: Deployment = B200, earlier: tuple[Point, ...] = ()) -> Point:
    report = judge_points([make_point("p", runs, deployment)], load_serving_references(), earlier)
    return report.points[0]


def test_shipped_references_have_sources_and_units() -> None:
    rows = load_serving_references()
    assert {row.hardware for row in rows} == {"b200", "arc-pro-b60"}
    assert all(row.source and row.date and row.kind == "published" for row in rows)
    # The guide's table of the standard load at low concurrency.
    value = next(
        row.value
        for row in rows
        if (row.metric, row.input_len, row.output_len, row.concurrency) == ("ttft_p99", 1000, 1000, 1)
    )
    assert value == 69.72


def test_pass_warn_fail_by_the_guide() -> None:
    assert judged(measured(97.64, p99=69.72)).verdict == "pass"
    assert judged(measured(80.0, p99=69.72)).verdict == "warn"
    slow = judged(measured(50.0, p99=69.72))
    assert slow.verdict == "fail"
    assert "49% lower than 97.64 tok/s" in slow.reason


def test_latencies_are_better_when_lower() -> None:
    point = judged(measured(97.64, p99=700.0))
    assert point.verdict == "fail"
    assert point.reason.startswith("ttft_p99")


@pytest.mark.parametrize(
    ("deployment", "model", "word"),
    [
        (Deployment(), "internlm/Intern-S1", "hardware was not said"),
        (Deployment(hardware="arc-pro-b70"), "internlm/Intern-S1", "no reference"),
        (Deployment(hardware="b200", tp=4), "internlm/Intern-S1", "no reference"),
        (B200, "acme/Tiny-7B", "no reference"),
    ],
)
def test_no_baseline(deployment: Deployment, model: str, word: str) -> None:
    point = judged(measured(1.0, model=model), deployment=deployment)
    assert point.verdict == "no-baseline"
    assert word in point.reason


def test_a_folder_of_the_model_is_the_model() -> None:
    assert judged(measured(97.64, p99=69.72, model="/models/Intern-S1/")).verdict == "pass"


def test_a_load_at_a_rate_is_another_load() -> None:
    load = Load(input_len=1000, output_len=1000, requests=10, concurrency=1, rate_rps=2.0)
    assert judged(measured(1.0, load=load)).verdict == "no-baseline"


def test_failed_requests_fail() -> None:
    point = judged(measured(97.64, p99=69.72, failed=2))
    assert (point.verdict, point.reason) == ("fail", "2 of 12 requests failed")
    assert judged(measured(97.64, completed=0)).verdict == "fail"


def test_a_cut_result_is_not_judged_good() -> None:
    assert judged(measured(97.64, p99=69.72, complete=False, notes=("cut",))).verdict == "unknown"
    assert judged(measured(10.0, complete=False)).verdict == "fail"


def test_nothing_measured_is_unknown() -> None:
    assert judged().verdict == "unknown"
    assert judge_points([], ()).verdict == "unknown"


def test_earlier_runs_of_the_same_load_only() -> None:
    before = make_point("before", [measured(100.0, model="m")], Deployment())
    worse = judged(measured(80.0, model="m"), deployment=Deployment(), earlier=(before,))
    assert (worse.verdict, worse.comparisons[0].against) == ("fail", "earlier")
    other = make_point("before", [measured(100.0, model="m", load=Load(input_len=1))], Deployment())
    assert judged(measured(80.0, model="m"), deployment=Deployment(), earlier=(other,)).verdict == "no-baseline"


def test_what_repeats_differ_by_is_no_regression() -> None:
    before = make_point("b", [measured(value, model="m") for value in (80.0, 100.0, 120.0)], Deployment())
    point = judged(measured(70.0, model="m"), deployment=Deployment(), earlier=(before,))
    assert point.verdict == "pass"


def test_median_over_repeats_leaves_cut_runs_out() -> None:
    point = make_point("p", [measured(1.0, interrupted=True), measured(10.0), measured(30.0), measured(20.0)], B200)
    figure = next(one for one in point.figures if one.metric == "output_throughput")
    assert (figure.median, figure.min, figure.max, figure.runs) == (20.0, 10.0, 30.0, 3)


def test_no_ratio_of_nothing() -> None:
    assert compare("itl_p99", 0.0, 1.0, 0.1, against="earlier", source="x") is None


def test_report_survives_its_document() -> None:
    (result,) = parse_bench(samples.VLLM_TABLE)
    report = judge_points([make_point("p", [result], B200)], ())
    text = '{"schema":"xpukit.bench/1",' + msgspec.json.encode(report).decode()[1:]
    assert read_report(text) == report
    assert parse_bench(text) == (result,)
    assert read_report('{"schema":"xpukit.bench/1"') is None


def test_page_is_closed_and_the_same() -> None:
    points = [
        make_point(
            f"<b>{places}",
            [
                measured(
                    100.0 * places,
                    load=Load(input_len=9, output_len=9, concurrency=places),
                    ttft=Latency(median=9.0 * places, percentiles={"p99": 20.0 * places}),
                )
            ],
            B200,
        )
        for places in (1, 4, 16)
    ]
    report = judge_points(points, ())
    page = write_page(report)
    assert page == write_page(report)
    assert "<b>" not in page
    assert "&lt;b&gt;1" in page
    assert page.count("<svg") == 2
    assert page.count("<circle") == 6
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_page_of_nothing() -> None:
    assert "unknown" in write_page(BenchReport(points=(), verdict="unknown"))


GOOD = "b200,8,8,sglang,1,m,,10,10,1,1,ttft_p99,5,ms,lower,published,0.1,a guide,2026-01-01"


def rows_of(*lines: str) -> tuple[ServingReference, ...]:
    return parse_serving_references("\n".join([",".join(COLUMNS), *lines]), origin="x.csv")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (",5,", ",-5,", "positive"),
        (",5,", ",x,", "not a number"),
        ("a guide", "", "source"),
        ("ttft_p99", "frob", "no metric"),
        ("lower", "higher", "direction"),
        (",ms,", ",s,", "unit"),
        ("published", "guessed", "kind"),
        ("0.1,", "1.5,", "tolerance"),
        (",10,10,", ",,10,", "lengths"),
    ],
)
def test_a_bad_row_names_its_line(old: str, new: str, word: str) -> None:
    assert len(rows_of(GOOD)) == 1
    with pytest.raises(BadFactsError, match=rf"x\.csv:3.*{word}"):
        rows_of(GOOD, GOOD.replace(old, new, 1))


def test_metrics_have_units() -> None:
    formats = load_bench_formats()
    assert formats.find_metric("itl_p99.9").unit == "ms"
    assert not formats.find_metric("e2e_median").higher_is_better
    for name in ("frob_p99", "ttft_frob", "ttft", ""):
        with pytest.raises(KeyError):
            formats.find_metric(name)


@pytest.mark.parametrize("most", [0.003, 0.9, 1.0, 7.0, 97.64, 3073.06, 1e6])
def test_ticks_are_few_and_hold_the_values(most: float) -> None:
    ticks = list_ticks(most)
    assert ticks[0] == 0
    assert ticks[-1] >= most * (1 - 1e-9)
    assert 3 <= len(ticks) <= 12
    for least in (most, most / 3, most / 5000):
        up = list_log_ticks(least, most)
        assert up[0] <= least * (1 + 1e-9)
        assert up[-1] >= most * (1 - 1e-9)
        assert 2 <= len(up) <= 8
