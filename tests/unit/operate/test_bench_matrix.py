"""The declared matrix, the run that can be continued, and the search for a limit."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.core.errors import ExternalError, UsageError, XpukitError
from xpukit.operate.bench.matrix import PointPlan, list_points, load_matrix
from xpukit.operate.bench.report import BenchReport
from xpukit.operate.bench.result import BenchResult, Latency, Load
from xpukit.operate.bench.run_directory import BenchRunDirectory, RunRecord
from xpukit.operate.bench.run_matrix import Measure, run_matrix
from xpukit.operate.bench.sla import find_broken, find_limit, read_term

MATRIX = """
schema = "xpukit.bench-matrix/1"
scenarios = ["standard-low"]
concurrency = [1, 8]
rates = [0.5]
repeats = 2
hardware = "arc-pro-b60"

[[lengths]]
input_len = 1024
output_len = 512

[[model]]
name = "acme/Tiny-7B"
url = "http://127.0.0.1:8000"
quantization = "fp8"
tp = 2

[[model]]
name = "acme/Tiny-7B"
url = "http://127.0.0.1:8001"
"""


def write(tmp_path: Path, text: str, name: str = "m.toml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def plans_of(tmp_path: Path) -> tuple[PointPlan, ...]:
    return list_points(load_matrix(write(tmp_path, MATRIX)))


def test_models_times_loads(tmp_path: Path) -> None:
    plans = plans_of(tmp_path)
    assert [plan.name for plan in plans[:4]] == [
        "Tiny-7B-fp8-tp2-standard-low",
        "Tiny-7B-fp8-tp2-1024-512-c1",
        "Tiny-7B-fp8-tp2-1024-512-c8",
        "Tiny-7B-fp8-tp2-1024-512-r0.5",
    ]
    assert len(plans) == len({plan.key for plan in plans}) == 8
    assert (plans[2].requests, plans[2].concurrency, plans[2].rate_rps) == (80, 8, None)
    assert (plans[3].rate_rps, plans[3].arrival, plans[3].concurrency) == (0.5, "poisson", None)
    assert plans[0].deployment.tp == 2
    assert plans_of(tmp_path) == plans


def test_yaml_says_the_same(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    text = (
        "schema: xpukit.bench-matrix/1\nconcurrency: [1]\n"
        "lengths: [{input_len: 8, output_len: 4}]\nmodel: [{name: m, url: 'http://h:1'}]\n"
    )
    (plan,) = list_points(load_matrix(write(tmp_path, text, "m.yaml")))
    assert (plan.name, plan.input_len) == ("m-8-4-c1", 8)
    with pytest.raises(UsageError, match="YAML"):
        load_matrix(write(tmp_path, "a: [", "b.yaml"))


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("matrix/1", "matrix/9", "schema"),
        ("standard-low", "frob", "no scenario"),
        ("input_len = 1024", "input_len = 0", "at least 1"),
        ("[0.5]", "[-1.0]", "no rate"),
        ("repeats", "repeat", "repeat"),
        ("repeats = 2", "repeats = 0", "at least 1"),
        ("repeats = 2", "repeats = 5000", "more than"),
    ],
)
def test_a_wrong_matrix(tmp_path: Path, old: str, new: str, word: str) -> None:
    with pytest.raises(XpukitError, match=word):
        list_points(load_matrix(write(tmp_path, MATRIX.replace(old, new))))


def result_of(plan: PointPlan, throughput: float = 10.0) -> BenchResult:
    load = Load(
        input_len=plan.input_len, output_len=plan.output_len, concurrency=plan.concurrency, rate_rps=plan.rate_rps
    )
    return BenchResult(
        format="builtin",
        model=plan.model.name,
        load=load,
        completed=plan.requests,
        failed=0,
        output_throughput=throughput,
    )


def start(
    tmp_path: Path, plans: tuple[PointPlan, ...], measure: Measure, *, resume: bool = False, repeats: int = 1
) -> BenchReport:
    record = RunRecord(created="now", points=plans, repeats=repeats)
    directory = BenchRunDirectory.open(tmp_path / "run", record, resume=resume)
    return run_matrix(plans, measure, directory, repeats=repeats)


def test_every_point_is_kept(tmp_path: Path) -> None:
    plans = plans_of(tmp_path)
    asked: list[tuple[str, int]] = []

    def measure(plan: PointPlan, repeat: int) -> BenchResult:
        asked.append((plan.key, repeat))
        return result_of(plan, 10.0 * repeat)

    report = start(tmp_path, plans, measure, repeats=2)
    assert asked == [(plan.key, repeat) for repeat in (1, 2) for plan in plans]
    assert report.verdict == "no-baseline"
    assert report.points[0].figures[0].median == 15.0
    document = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert document["schema"] == "xpukit.bench/1"
    assert len(document["points"]) == 8
    assert (tmp_path / "run" / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_interrupted_and_continued(tmp_path: Path) -> None:
    plans = plans_of(tmp_path)[:4]
    done: list[str] = []

    def stop_at_third(plan: PointPlan, repeat: int) -> BenchResult:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(plan.key)
        return result_of(plan)

    report = start(tmp_path, plans, stop_at_third)
    assert report.interrupted
    assert [point.verdict for point in report.points] == ["no-baseline", "no-baseline", "unknown", "unknown"]
    again: list[str] = []

    def go_on(plan: PointPlan, repeat: int) -> BenchResult:
        again.append(plan.key)
        return result_of(plan)

    with pytest.raises(UsageError, match="not empty"):
        start(tmp_path, plans, go_on)
    whole = start(tmp_path, plans, go_on, resume=True)
    assert again == [plan.key for plan in plans[2:]]
    assert not whole.interrupted
    with pytest.raises(UsageError, match="something else"):
        start(tmp_path, plans[:2], go_on, resume=True)


def test_a_partial_result_is_shown_and_measured_again(tmp_path: Path) -> None:
    plans = plans_of(tmp_path)[:2]
    partial = msgspec.structs.replace(result_of(plans[0]), interrupted=True, complete=False)
    report = start(tmp_path, plans, lambda plan, repeat: partial)
    assert report.interrupted
    assert report.points[0].figures
    asked: list[str] = []

    def go_on(plan: PointPlan, repeat: int) -> BenchResult:
        asked.append(plan.key)
        return result_of(plan)

    start(tmp_path, plans, go_on, resume=True)
    assert asked == [plan.key for plan in plans]


def test_a_failing_point_costs_itself_and_is_tried_again(tmp_path: Path) -> None:
    plans = plans_of(tmp_path)[:3]

    def measure(plan: PointPlan, repeat: int) -> BenchResult:
        if plan is plans[1]:
            raise ExternalError("the server is gone")
        return result_of(plan)

    report = start(tmp_path, plans, measure)
    assert [point.verdict for point in report.points] == ["no-baseline", "unknown", "no-baseline"]
    assert report.points[1].reason == "the server is gone"
    assert start(tmp_path, plans, lambda plan, repeat: result_of(plan), resume=True).verdict == "no-baseline"


def test_a_damaged_outcome_is_measured_again(tmp_path: Path) -> None:
    plans = plans_of(tmp_path)[:1]
    start(tmp_path, plans, lambda plan, repeat: result_of(plan))
    (kept,) = (tmp_path / "run" / "runs").iterdir()
    kept.write_text("{", encoding="utf-8")
    report = start(tmp_path, plans, lambda plan, repeat: result_of(plan, 99.0), resume=True)
    assert report.points[0].figures[0].median == 99.0


def at_rate(rate: float, limit: float, *, failed: int = 0) -> BenchResult:
    """A server that keeps 100 ms up to `limit`."""
    slow = 100.0 if rate <= limit else 900.0
    return BenchResult(
        format="builtin", load=Load(rate_rps=rate), completed=50, failed=failed, ttft=Latency(percentiles={"p99": slow})
    )


@given(st.floats(0.6, 200.0))
def test_the_limit_is_found_within_its_precision(limit: float) -> None:
    found = find_limit(
        lambda rate: at_rate(rate, limit),
        [read_term("ttft_p99<=500ms")],
        lowest_rps=0.5,
        highest_rps=256.0,
        precision=0.05,
        most_steps=40,
    )
    assert found.highest_rps is not None
    assert found.lowest_broken_rps is not None
    assert found.highest_rps <= limit <= found.lowest_broken_rps
    assert found.lowest_broken_rps / found.highest_rps <= 1.05 + 1e-9


def test_the_search_is_bounded() -> None:
    terms = [read_term("ttft_p99<=500ms")]
    above = find_limit(lambda rate: at_rate(rate, 1e9), terms, lowest_rps=1, highest_rps=8)
    assert (above.highest_rps, above.lowest_broken_rps, len(above.steps)) == (8, None, 4)
    assert "lies above" in above.statement
    below = find_limit(lambda rate: at_rate(rate, 0.1), terms, lowest_rps=1, highest_rps=8)
    assert (below.highest_rps, len(below.steps)) == (None, 2)
    few = find_limit(
        lambda rate: at_rate(rate, 5.5), terms, lowest_rps=1, highest_rps=256, precision=0.001, most_steps=6
    )
    assert len(few.steps) == 6
    with pytest.raises(UsageError):
        find_limit(lambda rate: at_rate(rate, 1), terms, lowest_rps=0, highest_rps=1)


def test_one_hiccup_does_not_set_the_limit() -> None:
    seen: list[float] = []

    def measure(rate: float) -> BenchResult:
        seen.append(rate)
        return at_rate(rate, 0.0 if seen == [1.0, 2.0] else 1e9)

    found = find_limit(measure, [read_term("ttft_p99<=500ms")], lowest_rps=1.0, highest_rps=4.0)
    assert found.highest_rps == 4.0
    assert seen == [1.0, 2.0, 2.0, 4.0]


def test_an_interrupted_search_keeps_what_it_knows() -> None:
    def measure(rate: float) -> BenchResult:
        return msgspec.structs.replace(at_rate(rate, 1e9), interrupted=rate > 1)

    found = find_limit(measure, [read_term("ttft_p99<=500ms")], lowest_rps=1, highest_rps=8)
    assert (found.interrupted, found.highest_rps) == (True, 1)


def test_what_breaks_a_promise() -> None:
    terms = [read_term("ttft_p99 <= 0.5s"), read_term("request_throughput>=1")]
    assert "requests failed" in find_broken(at_rate(1, 9, failed=1), terms)
    assert "was not measured" in find_broken(at_rate(1, 9), terms)
    good = msgspec.structs.replace(at_rate(1, 9), request_throughput=2.0)
    assert find_broken(good, terms) == ""
    assert "not >= 1" in find_broken(msgspec.structs.replace(good, request_throughput=0.5), terms)
    # 50 requests at 10/s are sent in 5 s; answered after 20 s, the last after 15 s of its own.
    queue = msgspec.structs.replace(
        good, load=Load(rate_rps=10.0), duration_s=20.0, e2e=Latency(min=100.0, max=15000.0)
    )
    assert "pile up" in find_broken(queue, terms)
    # One long answer at the end of a short run is no queue.
    long = msgspec.structs.replace(
        good, load=Load(rate_rps=10.0), duration_s=20.0, e2e=Latency(min=14000.0, max=15000.0)
    )
    assert find_broken(long, terms) == ""


@pytest.mark.parametrize("text", ["", "ttft_p99", "frob<=1", "ttft_p99<=1tok/s", "ttft_p99<=1..2ms", "ttft_p99<1ms"])
def test_no_promise(text: str) -> None:
    with pytest.raises(UsageError):
        read_term(text)
