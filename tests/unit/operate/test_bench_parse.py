"""Tables, documents and logs of serving benchmarks, by version."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.operate import bench_samples as samples
from xpukit.operate.bench.numbers import read_count, read_float
from xpukit.operate.bench.parse import parse_bench
from xpukit.operate.bench.result import BenchResult, describe_load


def only(text: str) -> BenchResult:
    (result,) = parse_bench(text, origin="x.log")
    return result


def test_sglang_table() -> None:
    result = only(samples.SGLANG_TABLE)
    assert (result.format, result.engine, result.backend) == ("sglang-table", "sglang", "sglang-oai-chat")
    assert (result.model, result.load.input_len, result.load.output_len) == ("acme/Tiny-7B", 128, 64)
    assert (result.load.concurrency, result.load.rate_rps, result.load.requests) == (4, None, 20)
    assert (result.completed, result.failed, result.duration_s) == (20, None, 10.0)
    assert (result.input_tokens, result.output_tokens) == (640, 1000)
    assert (result.concurrency_mean, result.concurrency_peak) == (3.8, 6.0)
    assert result.peak_output_throughput == 120.0
    assert result.itl is not None
    assert result.itl.percentiles == {"p95": 44.0, "p99": 60.0}
    assert result.itl.max == 212.5
    assert result.e2e is not None
    assert result.e2e.median == 1850.5
    assert result.complete
    assert result.notes == ()


def test_old_sglang_table() -> None:
    result = only(samples.SGLANG_OLD_TABLE)
    assert (result.engine, result.load.rate_rps, result.total_throughput) == ("sglang", 2.0, 297.0)
    assert result.tpot is None
    assert result.find_value("itl_p99") == 0.0


def test_vllm_table() -> None:
    result = only(samples.VLLM_TABLE)
    assert (result.format, result.completed, result.failed) == ("vllm-table", 18, 2)
    assert (result.model, describe_load(result)) == ("acme/Tiny-7B", "128/64, 4 at a time")
    assert result.total_throughput == 345.6
    # It prints the sum and the answers; the prompts are what is left.
    assert result.input_throughput == pytest.approx(230.4)
    assert result.ttft is not None
    assert result.ttft.percentiles == {"p50": 49.0, "p99.9": 95.0}
    assert result.find_value("e2e_p99") == 2100.0


def test_a_cut_table_says_so() -> None:
    cut = samples.SGLANG_TABLE[: samples.SGLANG_TABLE.index("P99 TPOT")]
    result = only(cut)
    assert not result.complete
    assert "cut" in result.notes[0]
    assert result.find_value("ttft_p99") == 90.0


def test_tables_in_a_container_log_and_in_color() -> None:
    lines = [f"bench-1  | \x1b[0m{line}" for line in samples.VLLM_TABLE.splitlines()]
    assert only("\r\n".join(lines)).find_value("tpot_p99") == 33.0
    stamped = [f"2026-11-20T10:00:00Z {line}" for line in samples.SGLANG_TABLE.splitlines()]
    assert only("\n".join(stamped)).completed == 20


def test_numbers_with_a_decimal_comma_are_left_out_not_guessed() -> None:
    # The tools never write them; a log that was rewritten may. 1.090,00 and 12,50 could mean two things each.
    local = samples.SGLANG_TABLE.replace("              90.00", "           1.090,00")
    assert "1.090,00" in local
    result = only(local)
    assert result.find_value("ttft_p99") is None
    assert result.completed == 20


def test_several_tables_keep_their_own_load() -> None:
    other = (
        samples.VLLM_TABLE.replace("--max-concurrency 4", "--max-concurrency 16")
        .replace("Maximum request concurrency: 4", "Maximum request concurrency: 16")
        .replace("concurrency:             4 ", "concurrency:             16")
    )
    first, second = parse_bench(samples.VLLM_TABLE + other)
    assert (first.load.concurrency, second.load.concurrency) == (4, 16)


def test_a_table_that_cannot_be_of_the_command_above_it_has_no_load() -> None:
    result = only(
        samples.VLLM_TABLE.replace("Successful requests:                     18", "Successful requests:   497")
    )
    assert result.load.input_len is None
    assert "cannot be of the command" in result.notes[0]


def test_words_of_a_sentence_are_no_arguments() -> None:
    text = "the model is large and the backend was vllm\n" + samples.SGLANG_OLD_TABLE
    assert only(text).model == ""


def test_vllm_document() -> None:
    result = only(json.dumps(samples.VLLM_DOCUMENT))
    assert (result.format, result.model, result.load.concurrency) == ("vllm-json", "acme/Tiny-7B", 4)
    assert (result.completed, result.failed) == (18, 3)
    assert {one.text: one.count for one in result.errors} == {"Bad Request": 2, "ValueError: too long": 1}
    assert result.find_value("e2e_mean") == 1950.0
    assert result.ttft is not None
    assert result.ttft.std == 3.0


def test_vllm_document_of_05_lists_percentiles() -> None:
    document = {**samples.VLLM_DOCUMENT, "percentiles_ttft_ms": [[90, 80.0], [99.9, 99.0], ["x", 1], [500, 2]]}
    result = only(json.dumps(document))
    assert result.ttft is not None
    assert result.ttft.percentiles == {"p90": 80.0, "p99": 90.0, "p99.9": 99.0}


def test_asked_but_not_completed_is_failed() -> None:
    document = {**samples.VLLM_DOCUMENT, "errors": []}
    assert only(json.dumps(document)).failed == 2


def test_sglang_jsonl() -> None:
    line = json.dumps(samples.SGLANG_DOCUMENT)
    assert "Infinity" in line
    first, second = parse_bench(line + "\n" + line.replace('"completed": 20', '"completed": 19') + "\n")
    assert (first.format, first.load.rate_rps, first.load.input_len) == ("sglang-json", None, 128)
    assert (first.completed, second.completed) == (20, 19)
    assert first.find_value("itl_p95") == 31.0
    assert first.concurrency_mean == 3.8


def test_documents_after_each_other_and_one_damaged() -> None:
    good = json.dumps(samples.SGLANG_DOCUMENT, indent=1)
    assert len(parse_bench(good + good + '\n{"broken": \n' + good)) == 3


def test_a_log_with_table_and_document_counts_once() -> None:
    document = {**samples.VLLM_DOCUMENT, "completed": 18, "total_output_tokens": 1152}
    assert only(samples.VLLM_TABLE + json.dumps(document)).format == "vllm-table"


def test_one_batch_logs() -> None:
    result = only(samples.ONE_BATCH_LOG)
    assert result.one_batch is not None
    assert (result.one_batch.batch, result.one_batch.prefill_s) == (4, 0.4)
    assert (result.load.input_len, result.load.output_len) == (1024, 8)
    assert result.find_value("decode_median_throughput") == 400.0
    assert result.total_throughput == 8600.0
    old = only(samples.ONE_BATCH_OLD_LOG)
    assert old.one_batch is not None
    assert (old.one_batch.prefill_throughput, old.one_batch.batch) == (3200.0, None)


def test_one_batch_warm_up_only() -> None:
    text = samples.ONE_BATCH_LOG[: samples.ONE_BATCH_LOG.index("Benchmark ...")]
    result = only(text)
    assert not result.complete
    assert "only a warm-up" in result.notes[-1]


def test_one_batch_document() -> None:
    result = only(json.dumps(samples.ONE_BATCH_DOCUMENT))
    assert result.one_batch is not None
    assert (result.one_batch.batch, result.one_batch.decode_median_s) == (8, 0.02)


@pytest.mark.parametrize(
    "text",
    ["", "no benchmark", "{}", "[1]", '{"mean_ttft_ms": "x"}', "Serving Benchmark Result", "{" * 5000, "[" * 99999],
)
def test_nothing_there(text: str) -> None:
    assert parse_bench(text) == ()


WHOLE = (
    samples.SGLANG_TABLE,
    samples.VLLM_TABLE,
    samples.ONE_BATCH_LOG,
    json.dumps(samples.VLLM_DOCUMENT),
    json.dumps(samples.SGLANG_DOCUMENT),
)


@given(st.data())
def test_damaged_texts_never_raise(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(WHOLE))
    at = data.draw(st.integers(0, len(text)))
    upto = data.draw(st.integers(at, min(len(text), at + 200)))
    rubbish = data.draw(st.text(max_size=40) | st.sampled_from(["9" * 5000, "inf", "nan", "-1", "{", "\x00", "1e999"]))
    for result in parse_bench(text[:at] + rubbish + text[upto:]):
        assert all(math.isfinite(value) for _, value in result.iterate_metrics())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(
            sorted(
                {
                    **samples.VLLM_DOCUMENT,
                    **samples.SGLANG_DOCUMENT,
                    **samples.ONE_BATCH_DOCUMENT,
                    "percentiles_itl_ms": 0,
                }
            )
        ),
        JSON,
    )
)
def test_documents_of_any_values_never_raise(document: dict[str, object]) -> None:
    parse_bench(json.dumps(document))


@given(st.text())
def test_any_text(text: str) -> None:
    parse_bench(text)


def test_a_document_after_lines_that_only_look_like_one() -> None:
    assert only('x {"a \n' * 200 + json.dumps(samples.SGLANG_DOCUMENT)).completed == 20


@pytest.mark.parametrize(
    ("given", "number", "count"),
    [
        ("100.00", 100.0, 100), ("1.000", 1.0, None), ("12.345.678", None, None), (-1, None, None), ("-1", None, None),
        (0, 0.0, 0), ("1e3", 1000.0, 1000), (float("nan"), None, None), ("inf", None, None), ("1,5", None, None),
    ],
)  # fmt: skip
def test_numbers_that_are_none_are_left_out(given: object, number: float | None, count: int | None) -> None:
    """Less than nothing was never measured, and "1.000" is one to some and a thousand to others."""
    assert read_float(given) == number
    assert read_count(given) == count
