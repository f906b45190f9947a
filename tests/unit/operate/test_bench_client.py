"""The load that is planned, events of a stream, and what becomes of answers. Made clocks only."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.core.errors import UsageError
from xpukit.host.http_stream import HttpFailure, Piece, read_url
from xpukit.operate.bench.client import WordCount, read_word_count
from xpukit.operate.bench.openai_stream import Answer, EventReader, ask, build_body, take_event
from xpukit.operate.bench.schedule import LoadPlan, check_plan, make_prompt, plan_arrivals
from xpukit.operate.bench.tally import find_percentile, summarize_ms, summarize_overhead, tally


def plan(**more: object) -> LoadPlan:
    return LoadPlan(**{"input_len": 10, "output_len": 5, "requests": 1000, **more})  # type: ignore[arg-type]


def test_arrivals() -> None:
    assert plan_arrivals(plan(requests=3)) == (0.0, 0.0, 0.0)
    assert plan_arrivals(plan(requests=3, rate_rps=4.0, arrival="fixed")) == (0.0, 0.25, 0.5)
    poisson = plan_arrivals(plan(requests=4000, rate_rps=50.0, arrival="poisson"))
    gaps = [later - earlier for earlier, later in itertools.pairwise(poisson)]
    # Exponential gaps: mean and deviation are the same.
    assert statistics.fmean(gaps) == pytest.approx(0.02, rel=0.1)
    assert statistics.pstdev(gaps) == pytest.approx(0.02, rel=0.1)
    assert poisson[-1] == pytest.approx(3999 / 50)
    assert plan_arrivals(plan(requests=1, rate_rps=2.0, arrival="poisson")) == (0.0,)
    assert poisson == plan_arrivals(plan(requests=4000, rate_rps=50.0, arrival="poisson"))
    assert poisson != plan_arrivals(plan(requests=4000, rate_rps=50.0, arrival="poisson", seed=2))


@pytest.mark.parametrize("more", [{"rate_rps": 0.0, "arrival": "fixed"}, {"rate_rps": 1.0}, {"shared_prefix": 1.5}])
def test_bad_plans(more: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        check_plan(plan(**more))


def test_prompts_share_their_beginning_only() -> None:
    one, two = (make_prompt(number, 100, 40, 7).split() for number in (1, 2))
    assert len(one) == len(two) == 100
    assert one[:40] == two[:40]
    assert one[40:] != two[40:]
    assert make_prompt(1, 5, 40, 7).split() == one[:5]


def test_words_by_what_the_server_counts() -> None:
    count = read_word_count(32 * 2 + 7, 160 * 2 + 7)
    assert count == WordCount(fixed=7.0, each=2.0, known=True)
    assert count.find_words(207) == 100
    assert count.find_words(1) == 1
    assert not read_word_count(None, None).known
    assert not read_word_count(50, 50).known


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("127.0.0.1:8000/v1/", "http://127.0.0.1:8000"),
        ("https://host/llm/v1", "https://host:443/llm"),
        ("http://[::1]:9", "http://[::1]:9"),
    ],
)
def test_addresses(url: str, shown: str) -> None:
    assert read_url(url).url == shown


@pytest.mark.parametrize(
    "url", ["", "ftp://x", "http://", "http://a:b", "http://user:pw@host", "http://h/?q=1", "http://h:99999"]
)
def test_no_addresses(url: str) -> None:
    with pytest.raises(UsageError):
        read_url(url)


STREAM = (
    b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n'
    b': comment\r\n\r\ndata: {"choices":[{"delta":{"content":"a"}}]}\r\n\r\n'
    b'data: {"choices":[{"delta":{"reasoning_content":"b"}}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}\n\ndata: [DONE]\n\n'
)


@given(
    st.lists(st.integers(0, len(STREAM) + 40), max_size=12),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.booleans(),
)
def test_events_however_they_are_cut(cuts: list[int], line_end: bytes, mark: bytes, ended: bool) -> None:
    """By the standard a line ends in LF, CRLF or CR, and a byte order mark may come first."""
    stream = mark + STREAM.replace(b"\r\n", b"\n").replace(b"\n", line_end)
    stream = stream if ended else stream.rstrip(b"\r\n")
    reader, answer = EventReader(), Answer(intended=0.0)
    edges = [0, *sorted(cuts), max([len(stream), *cuts])]
    for first, last in itertools.pairwise(edges):
        for payload in reader.feed(stream[first:last]):
            take_event(answer, payload, float(last))
    for payload in reader.finish():
        take_event(answer, payload, float(len(stream)))
    assert len(answer.pieces) == 2
    assert answer.over
    assert (answer.input_tokens, answer.output_tokens, answer.counted) == (9, 4, True)


@pytest.mark.parametrize(
    ("last", "over"),
    [
        (b'data: {"choices":[{"delta":{"content":"b"}}]}\n\n', False),
        (b'data: {"choices":[{"delta":{},"finish_reason":"length"}]}\n\n', True),
        (b'data: {"choices":null,"usage":{"completion_tokens":4}}\n\ndata: [DONE]', True),
    ],
)
def test_a_stream_says_that_it_is_over(last: bytes, over: bool) -> None:
    """A proxy that drops its engine ends such a stream as if it were whole."""

    class Client:
        async def stream(self, method: str, path: str, body: bytes) -> AsyncIterator[Piece]:
            yield Piece(b"", 1.0)
            yield Piece(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n' + last, 2.0)

    answer = asyncio.run(ask(Client(), "chat", b"", intended=0.0, timeout_s=10.0))  # type: ignore[arg-type]
    assert (answer.error == "") is over
    assert over or "ended in the middle" in answer.error


@given(st.binary(max_size=200))
def test_any_event_is_taken_or_refused(payload: bytes) -> None:
    with contextlib.suppress(HttpFailure):
        take_event(Answer(intended=0.0), payload, 1.0)


def test_an_error_in_the_stream() -> None:
    with pytest.raises(HttpFailure, match="out of memory"):
        take_event(Answer(intended=0.0), b'{"error":{"message":"out of memory"}}', 1.0)


def test_bodies() -> None:
    assert b'"ignore_eos":true' in build_body("m", "chat", "hi", 5, ignore_eos=True)
    body = build_body("m", "completions", "hi", 5, ignore_eos=False)
    assert b'"prompt":"hi"' in body
    assert b"ignore_eos" not in body


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0, 100))
def test_percentiles_lie_between(values: list[float], percent: float) -> None:
    ordered = sorted(values)
    assert ordered[0] <= find_percentile(ordered, percent) <= ordered[-1] * (1 + 1e-12)


def test_percentiles_as_numpy_interpolates() -> None:
    assert find_percentile([1.0, 2.0, 3.0, 4.0], 50) == 2.5
    assert find_percentile([1.0, 2.0, 3.0, 4.0], 99) == pytest.approx(3.97)
    assert summarize_ms([]) is None


def answered(intended: float, first: float, gap: float, tokens: int = 4, **more: object) -> Answer:
    pieces = [first + gap * number for number in range(tokens)]
    values = {"sent": first - 0.01, "ended": pieces[-1], "pieces": pieces, "input_tokens": 10, "output_tokens": tokens}
    return Answer(intended=intended, counted=True, **{**values, **more})  # type: ignore[arg-type]


def test_latencies_count_from_the_intended_start() -> None:
    # The server stood still for 1 s: three requests were meant to start in it, all were sent after it.
    answers = [answered(start, 1.1, 0.1) for start in (0.0, 0.5, 0.9)]
    result = tally(
        answers,
        plan(requests=3, rate_rps=2.0, arrival="fixed"),
        started_at=0.0,
        ended_at=2.0,
        model="m",
        started="",
        origin="",
    )
    assert result.ttft is not None
    assert result.e2e is not None
    assert result.tpot is not None
    assert (result.ttft.max, result.ttft.min, result.ttft.median) == (1100.0, 200.0, 600.0)
    assert result.e2e.max == pytest.approx(1400.0)
    assert result.tpot.mean == pytest.approx(100.0)
    assert (result.completed, result.output_tokens, result.input_tokens) == (3, 12, 30)
    assert result.output_throughput == 6.0
    assert result.total_throughput == 21.0
    assert result.concurrency_peak == 3.0
    assert not [note for note in result.notes if "closed loop" in note]


def test_errors_are_counted_and_measure_nothing() -> None:
    bad = Answer(intended=0.0, sent=0.1, ended=0.2, error="HTTP 500")
    answers = [answered(0.0, 1.0, 0.1), bad, bad, Answer(intended=0.0, cut=True)]
    result = tally(answers, plan(), started_at=0.0, ended_at=2.0, model="m", started="", origin="", interrupted=True)
    assert (result.completed, result.failed, result.interrupted, result.complete) == (1, 2, True, False)
    assert [(one.text, one.count) for one in result.errors] == [("HTTP 500", 2)]
    assert any("1 requests were cut off" in note for note in result.notes)


def test_nothing_answered() -> None:
    result = tally([], plan(), started_at=0.0, ended_at=1.0, model="m", started="", origin="")
    assert (result.completed, result.ttft, result.output_throughput) == (0, None, 0.0)


def test_overhead_is_stated() -> None:
    answers = [answered(0.0, 1.0, 0.1)]
    calm = summarize_overhead(answers, cpu_s=0.1, wall_s=1.0, ticks_late=[0.0005] * 100, event_s=2e-5)
    assert not calm.limited
    assert "10% of a CPU" in calm.statement
    assert calm.send_delay.max == pytest.approx(990.0)
    busy = summarize_overhead(answers, cpu_s=0.9, wall_s=1.0, ticks_late=[0.0005] * 100, event_s=2e-5)
    assert busy.limited
    assert "90% of a CPU" in busy.statement
    late = summarize_overhead(answers, cpu_s=0.1, wall_s=1.0, ticks_late=[0.05] * 100, event_s=2e-5)
    assert late.limited
    assert "50.0 ms late" in late.statement
