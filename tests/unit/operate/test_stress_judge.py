"""What counts as a regression over the rounds, and what is only noise."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpukit.facts.bench_stress import list_watched
from xpukit.operate.bench.result import BenchResult, ErrorCount, Latency
from xpukit.operate.stress.directory import StressDirectory, StressRecord
from xpukit.operate.stress.engine_metrics import parse_metrics, read_engine
from xpukit.operate.stress.judge import Rules, default_rules, find_regression, find_slope, list_series
from xpukit.operate.stress.page import draw_series, thin_out, write_stress_page
from xpukit.operate.stress.result import Round, Series, StressReport

from .ready_stub import make_reply

RULES = default_rules()
MIB = 1 << 20


def make_rounds(
    ttft: list[float],
    *,
    rss: list[float] | None = None,
    failed: list[int] | None = None,
    lives: list[int] | None = None,
) -> list[Round]:
    rounds = []
    for place, value in enumerate(ttft):
        wrong = failed[place] if failed else 0
        result = BenchResult(
            format="builtin", completed=10 - wrong, failed=wrong, output_throughput=1000 / value,
            ttft=Latency(median=value), tpot=Latency(median=10.0),
            errors=(ErrorCount(text="HTTP 500", count=wrong),) if wrong else (),
        )  # fmt: skip
        rounds.append(
            Round(
                number=place + 1, scenario="a", started=f"2026-11-21T{place // 60:02d}:{place % 60:02d}:00Z", seconds=60,
                life=lives[place] if lives else 1, result=result,
                idle={"engine_rss_bytes": rss[place]} if rss else {},
            )
        )  # fmt: skip
    return rounds


def judge(rounds: list[Round], rules: Rules = RULES) -> str:
    return find_regression(rounds, list_series(rounds, rules), rules)


def test_one_noisy_round_stops_nothing_and_three_do() -> None:
    steady = [100.0, 101, 99, 100, 102]
    assert judge(make_rounds([*steady, 100, 900, 100, 101, 99])) == ""
    assert judge(make_rounds([*steady, 900, 900])) == ""
    said = judge(make_rounds([*steady, 140, 150, 160]))
    assert said == "TTFT p50 (a) is 150.0 ms over the last 3 rounds, 100.0 ms over the first 5"


def test_a_noisy_beginning_gives_more_room() -> None:
    noisy = [60.0, 140, 100, 70, 130]
    assert judge(make_rounds([*noisy, 135, 140, 138])) == ""
    assert judge(make_rounds([*noisy, 300, 310, 320])) != ""


def test_throughput_is_worse_where_it_is_lower() -> None:
    series = {one.name: one for one in list_series(make_rounds([100.0] * 5 + [50.0] * 3), RULES)}
    assert series["output_throughput"].verdict == "pass"
    series = {one.name: one for one in list_series(make_rounds([100.0] * 5 + [200.0] * 3), RULES)}
    assert series["output_throughput"].verdict == "fail"


def test_memory_counts_from_the_last_start_and_growth_from_the_start_is_no_noise() -> None:
    leak = [1000 * MIB + 100 * MIB * place for place in range(12)]
    said = judge(make_rounds([100.0] * 12, rss=leak))
    assert said.startswith("engine's main process is 2.0 GiB over the last 3 rounds, 1.2 GiB over the first 5")
    assert said.endswith("5.9 GiB an hour")
    # A cache that fills up and stays is none.
    assert judge(make_rounds([100.0] * 12, rss=[1000.0 * MIB, *[1200.0 * MIB] * 11])) == ""
    # After a start it is another process.
    lives = [1] * 6 + [2] * 6
    rounds = make_rounds([100.0] * 12, rss=[100.0 * MIB] * 6 + [900.0 * MIB] * 6, lives=lives)
    assert judge(rounds) == ""
    series = next(one for one in list_series(rounds, RULES) if one.name == "engine_rss_bytes")
    assert (series.baseline, len(series.values)) == (900.0 * MIB, 12)


def test_errors_stop_it_at_once_where_they_are_many_and_by_and_by_where_they_are_few() -> None:
    calm = [100.0] * 6
    assert judge(make_rounds(calm, failed=[0, 1, 0, 1, 0, 1])) == ""
    assert judge(make_rounds(calm, failed=[0, 0, 0, 1, 1, 1])) == "3 of the last 30 requests failed: HTTP 500"
    assert judge(make_rounds(calm, failed=[0, 0, 0, 1, 1, 1]), Rules(baseline=5, window=3, errors=0.2)) == ""
    assert judge(make_rounds(calm, failed=[0, 0, 0, 0, 0, 6])) == "6 of the last 30 requests failed: HTTP 500"
    assert "no request was answered (HTTP 500)" in judge(make_rounds(calm, failed=[0, 0, 0, 0, 0, 10]))


@given(st.lists(st.floats(1, 1e6), min_size=8, max_size=60))
@settings(max_examples=50)
def test_no_series_breaks_the_judge(values: list[float]) -> None:
    series = list_series(make_rounds(values, rss=[value * MIB for value in values]), RULES)
    for one in series:
        assert one.verdict in ("pass", "fail", "shown")
        assert (one.verdict == "fail") == bool(one.reason)
        draw_series([one])


def test_normal_noise_seldom_stops_a_long_run() -> None:
    chance = random.Random(7)
    stopped = 0
    for _ in range(15):
        rounds = make_rounds([chance.gauss(100, 8) for _ in range(60)])
        stopped += any(judge(rounds[:count]) for count in range(8, 61, 13))
    assert stopped <= 1


def test_a_slope_is_not_moved_by_a_few_odd_points() -> None:
    points = [(float(hour), 10.0 * hour) for hour in range(40)]
    points[7] = (7.0, 1e9)
    slope = find_slope(points)
    assert slope is not None
    assert math.isclose(slope, 10.0, rel_tol=0.05)
    assert find_slope([(0.0, 1.0)]) is None


def test_what_metrics_pages_say() -> None:
    page = """# HELP vllm:kv_cache_usage_perc x
vllm:kv_cache_usage_perc{engine="0",model_name="a{}b"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="a"} 0.5
vllm:num_requests_running{engine="0"} 2.0
vllm:num_requests_running{engine="1"} 1.0 1700000000
vllm:num_preemptions_total{engine="0"} 7
process_resident_memory_bytes 1.5e+09
process_start_time_seconds 1.7e9
broken line
x NaN
"""
    found = read_engine(lambda *a, **k: make_reply(page.encode()), timeout_s=1)
    assert found == {
        "kv_usage": 0.5, "running": 3.0, "preemptions_total": 7.0, "engine_rss_bytes": 1.5e9, "start_time_s": 1.7e9,
    }  # fmt: skip
    assert read_engine(lambda *a, **k: make_reply(b"", 404), timeout_s=1) == {}
    sglang = b'sglang:token_usage{x="y"} 0.125\nsglang:num_running_reqs 4\n'
    assert read_engine(lambda *a, **k: make_reply(sglang), timeout_s=1) == {"kv_usage": 0.125, "running": 4.0}


@given(st.text(max_size=300))
@settings(max_examples=50)
def test_any_page_is_read(text: str) -> None:
    parse_metrics(text)


@pytest.mark.parametrize("tail", [b"", b'{"number": 3, "scen', b'{"number": 9, "scenario": "a"}\n', b"\xff\xff\n"])
def test_rounds_are_kept_up_to_the_first_that_is_damaged(tail: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("run")
    record = StressRecord(rules=RULES)
    directory = StressDirectory.open(place, record, resume=False)
    rounds = make_rounds([1.0, 2.0, 3.0])
    for one in rounds[:2]:
        directory.append(one)
    with (place / "rounds.jsonl").open("ab") as file:
        file.write(tail)
    again = StressDirectory.open(place, record, resume=True)
    assert again.read_rounds() == rounds[:2]
    again.append(rounds[2])
    assert StressDirectory(place).read_rounds() == rounds


def test_the_page_shows_why_it_stopped() -> None:
    rounds = make_rounds([100.0] * 5 + [300.0] * 3)
    series = list_series(rounds, RULES)
    report = StressReport(
        verdict="fail", regression=judge(rounds), finished=False, interrupted=False, url="http://h:1", model="<m>",
        rounds=tuple(rounds), series=series, hours=0.1, requests=80, failed=0,
    )  # fmt: skip
    page = write_stress_page(report)
    assert "TTFT p50 (a) is 300.0 ms" in page
    assert "&lt;m&gt;" in page
    assert page.count("<svg") == 4
    assert "stroke-dasharray" in page
    assert len(thin_out([(number, float(number % 7)) for number in range(5000)])) <= 600
    assert all(one.why for one in list_watched())
    draw_series([Series(name="x", label="x", unit="bytes", scenario="", values=((1, 0.0), (2, 0.0)))])
