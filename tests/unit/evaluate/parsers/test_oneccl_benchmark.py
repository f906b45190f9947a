from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.evaluate.parsers.damaged_text import (
    DATA,
    FOREIGN,
    check_every_prefix,
    check_prefix,
    check_sound,
    damage,
    read_samples,
)
from xpukit.evaluate.parsers.oneccl_benchmark import parse_table
from xpukit.evaluate.parsers.oneccl_csv import parse_csv
from xpukit.evaluate.parsers.oneccl_rows import PATCH_GB, TRUE_GB, CclOutput, CclRow, compute_bandwidths

TEXTS = read_samples("oneccl_benchmark")
CSVS = [path.read_text(encoding="utf-8") for path in sorted((DATA / "oneccl_benchmark").glob("*.csv"))]
MIB = 1 << 20
SUMMED = "times are the sum over allreduce, alltoall: none of them has its own"


def table(samples: Path, name: str) -> CclOutput:
    return parse_table((samples / "oneccl_benchmark" / f"{name}.txt").read_text(encoding="utf-8"))


def csv(samples: Path, name: str) -> CclOutput:
    return parse_csv((samples / "oneccl_benchmark" / f"{name}.csv").read_text(encoding="utf-8"))


def kinds(output: CclOutput) -> list[str]:
    return [problem.kind for problem in output.problems]


def said(output: CclOutput) -> list[str]:
    return [note.text for note in output.notes]


def test_the_public_program_with_two_data_types(samples: Path) -> None:
    output = table(samples, "present-allreduce-2ranks")
    assert output.is_finished
    assert output.notes == output.problems == output.summed == ()
    assert [(row.datatype, row.total_bytes) for row in output.readings] == [
        ("float16", 1024), ("float16", 131072), ("float16", 2 * MIB), ("float16", 128 * MIB),
        ("float32", 2048), ("float32", 262144), ("float32", 4 * MIB), ("float32", 256 * MIB),
    ]  # fmt: skip
    big = output.readings[3]
    # 134217728 bytes in 16021.66 us; an allreduce over two ranks has busbw = algbw.
    assert big == CclRow(
        line=37, collectives=("allreduce",), ranks=2, datatype="float16", reduction="sum", total_bytes=134217728,
        buffers=1, message_bytes=134217728, elements=67108864, repetitions=20, t_avg_us=16021.66, t_min_us=15541.01,
        t_max_us=16662.53, stddev_percent=0.75, computed_algbw_gbps=big.computed_algbw_gbps,
        computed_busbw_gbps=big.computed_algbw_gbps, algbw_gbps=big.computed_algbw_gbps,
        busbw_gbps=big.computed_algbw_gbps,
    )  # fmt: skip
    assert big.busbw_gbps == pytest.approx(134217728 / 16021.66e-6 / 1e9)
    assert dict(output.settings)["backend"] == "sycl"


def test_the_patch_counts_in_its_own_gb(samples: Path) -> None:
    output = table(samples, "patched-alltoall-4ranks")
    row = output.readings[-1]
    assert (row.printed_algbw, row.printed_busbw, row.printed_unit) == (24.58, 18.44, PATCH_GB)
    assert row.is_printed
    assert row.busbw_gbps == 18.44 * 1.048576
    assert row.computed_busbw_gbps == pytest.approx(row.busbw_gbps, rel=1e-3)
    # An alltoall's size is ranks times what is printed, and (n-1)/n of it crosses.
    assert row.computed_algbw_gbps == pytest.approx(4 * 134217728 / row.t_avg_us / 1000)
    small = output.readings[0]
    assert (small.printed_algbw, small.is_printed) == (0.32, False)  # two digits are too few
    assert small.busbw_gbps == small.computed_busbw_gbps
    assert output.notes == ()


def test_log_lines_that_share_a_line_with_rows(samples: Path) -> None:
    output = table(samples, "patched-allreduce-2ranks-interleaved")
    assert [(row.line, row.total_bytes, row.printed_busbw) for row in output.readings] == [
        (30, 1024, 0.10), (31, 131072, 2.99), (32, 2 * MIB, 3.90), (34, 128 * MIB, 7.99),
    ]  # fmt: skip
    assert output.notes == output.problems == ()


def test_a_row_whose_end_a_log_line_cut_is_not_read(samples: Path) -> None:
    text = (samples / "oneccl_benchmark" / "patched-allreduce-2ranks-interleaved.txt").read_text(encoding="utf-8")
    cut = text.replace("          0.102026:03", "          0.12026:03")
    assert cut != text
    output = parse_table(cut)
    assert [row.line for row in output.readings] == [31, 32, 34]
    assert said(output)[0].startswith("the line is cut off")


def test_reduce_scatter_lacks_the_patchs_factors(samples: Path) -> None:
    row = table(samples, "patched-reduce_scatter-4ranks").readings[-1]
    assert (row.printed_algbw, row.printed_busbw, row.printed_unit, row.is_printed) == (14.53, 14.53, PATCH_GB, False)
    gbps = 268435456 / 17623.83 / 1000
    assert row.algbw_gbps == pytest.approx(4 * gbps)
    assert row.busbw_gbps == pytest.approx(3 * gbps)
    assert said(table(samples, "patched-reduce_scatter-4ranks")) == [
        "printed algbw and busbw lack the factors of a reduce_scatter; computed from t_avg"
    ]


@pytest.mark.parametrize(
    ("name", "ranks", "waits", "printed", "elements"),
    [
        ("patched-extended-broadcast-4ranks", 4, True, True, 67108864),  # 10 columns
        ("extended-allgatherv-8ranks", 8, True, False, 67108864),  # 8
        ("2021.12-extended-allreduce-2ranks", 2, True, False, 67108864),  # 7, without #elem_count
        ("2021.4-allreduce-2ranks", 2, False, False, 67108864),  # 6
    ],
)
def test_each_layout(samples: Path, name: str, ranks: int, waits: bool, printed: bool, elements: int) -> None:
    output = table(samples, name)
    assert output.notes == output.problems == ()
    assert output.is_finished
    assert len(output.readings) == 4
    row = output.readings[-1]
    assert (row.ranks, row.t_avg_us, row.elements) == (ranks, 16021.66, elements)
    assert (row.wait_avg_us == 16019.16) == waits
    assert (row.printed_busbw is not None) == printed


def test_several_collectives_belong_to_none(samples: Path) -> None:
    for output in (table(samples, "present-several-collectives"), csv(samples, "present-several-collectives")):
        assert output.readings == ()
        assert said(output) == [SUMMED]
        for row in output.summed:
            assert row.collectives == ("allreduce", "alltoall")
            assert row.collective == ""
            assert row.busbw_gbps is row.algbw_gbps is row.computed_busbw_gbps is None


def test_the_first_releases_table_and_csv(samples: Path) -> None:
    both = table(samples, "2021.1-two-collectives")
    assert both.readings == ()
    assert [(row.total_bytes, row.buffers, row.message_bytes, row.t_avg_us) for row in both.summed] == [
        (64, 16, 4, 233.12), (128, 16, 8, 168.5), (256, 16, 16, 145.06),
    ]  # fmt: skip
    assert both.is_finished
    one = table(samples, "2021.1-bcast")
    assert one.readings[0].busbw_gbps == pytest.approx(64 / 233.12 / 1000)
    # That release's CSV has a time of its own for each collective: they add up to the table's.
    rows = csv(samples, "2021.1-two-collectives").readings
    assert [(row.collective, row.t_avg_us) for row in rows[:2]] == [("allreduce", 150.0), ("bcast", 75.0)]


def test_buffers_in_the_table_and_in_the_csv(samples: Path) -> None:
    shown = table(samples, "patched-4buffers-2ranks").readings[-1]
    written = csv(samples, "patched-4buffers-2ranks").readings[-1]
    for row in (shown, written):
        assert (row.total_bytes, row.buffers, row.message_bytes, row.elements) == (1 << 30, 4, 256 * MIB, 67108864)
    assert written.t_avg_us == 6408660.0  # "6.40866e+06"
    assert written.busbw_gbps == 0.159784 * 1.048576
    assert written.is_printed


def test_one_rank_has_no_bus(samples: Path) -> None:
    output = table(samples, "patched-one-rank")
    assert [row.busbw_gbps for row in output.readings] == [0.0] * 4
    assert output.readings[-1].algbw_gbps == pytest.approx(268435456 / 16021.66 / 1000)
    assert said(output) == ["one rank: nothing crosses a link, busbw says nothing"]


def test_what_killed_the_ranks(samples: Path) -> None:
    output = table(samples, "present-killed")
    assert len(output.readings) == 2
    assert not output.is_finished
    assert [(p.line, p.kind) for p in output.problems] == [
        (32, "error"),
        (35, "aborted"),
        (41, "aborted"),
        (2, "aborted"),
    ]
    assert "ze error at zeCommandQueueExecuteCommandLists" in output.problems[0].text
    assert output.problems[1].text == "BAD TERMINATION of rank 1: KILLED BY SIGNAL: 9 (Killed)"
    assert output.problems[2].text == "BAD TERMINATION of rank 0: EXIT CODE: 134"


def test_a_run_without_its_end_before_another(samples: Path) -> None:
    output = table(samples, "two-runs-first-unfinished")
    assert [(row.collective, row.datatype) for row in output.readings] == [("allreduce", "float32")] * 3 + [
        ("reduce", "int8")
    ] * 4
    assert [(p.line, p.text) for p in output.problems] == [
        (2, "the run that begins here does not end with '# All done'")
    ]


def test_help_in_place_of_a_table(samples: Path) -> None:
    output = table(samples, "usage")
    assert (output.readings, output.is_finished, said(output)) == ((), False, ["no table"])
    assert set(kinds(output)) == {"usage"}


def test_standard_error_and_silence() -> None:
    err = (
        "benchmark: base_utils.hpp:12: check: Assertion `0' failed.\n[proxy:0:0@host] HYD_spawn (spawn.c:177): execvp\n"
    )
    output = parse_table("", err)
    assert [(p.kind, p.stream) for p in output.problems] == [("aborted", "err"), ("error", "err")]
    assert kinds(parse_table("")) == ["silent"]


COLUMNS = "#bytes #elem_count #repetitions t_min[usec] t_max[usec] t_avg[usec] stddev[%] algbw[GB/s] busbw[GB/s]"
RULE = "#------------------------------------------------------------"
HEAD = f"""datatype: float32
reduction: sum
{RULE}
# Benchmarking: allreduce\x20
# #processes: 2
{RULE}

{"".join(f" {name:>13}" for name in COLUMNS.split())}
"""


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("4194304 1048576 20 390.0 410.0 400,5 0.7 9.99 9.99", "t_avg: number in a local form"),
        ("4194304 1048576 20 390.0 410.0 -nan 0.7 9.99 9.99", "t_avg: not a number or infinite"),
        ("4194304 1048576 20 390.0 410.0 N/A 0.7 9.99 9.99", "t_avg: not available"),
        ("4194304 1048576 20 390.0 410.0 400.0 0.7 9.99", "8 values under 9 columns"),
        ("4194304 1048570 20 390.0 410.0 400.0 0.7 9.99 9.99", "bytes are not #elem_count times"),
        ("4194304 1.5 20 390.0 410.0 400.0 0.7 9.99 9.99", "not a count"),
    ],
)
def test_rows_that_are_refused(row: str, reason: str) -> None:
    output = parse_table(f"{HEAD}   {row}\n")
    assert output.readings == ()
    assert any(text.startswith(reason) for text in said(output)), said(output)


def test_a_printed_figure_that_cannot_be_is_not_used() -> None:
    """4 MiB in 400 us are 10.49 GB/s: 10.00 of the patch's; 10.49 of true GB; 5.00 of nothing."""
    rows = [f"{HEAD}   4194304 1048576 20 390.0 410.0 400.0 0.7 {x} {x}\n" for x in ("10.00", "10.49", "5.00")]
    patched, true, wrong = (parse_table(text) for text in rows)
    assert patched.readings[0].printed_unit == PATCH_GB
    assert patched.readings[0].busbw_gbps == 10.0 * 1.048576
    assert true.readings[0].printed_unit == TRUE_GB
    assert true.readings[0].busbw_gbps == 10.49
    assert "1e9 bytes/s" in said(true)[1]
    assert wrong.readings[0].printed_unit is None
    assert wrong.readings[0].busbw_gbps == pytest.approx(10.48576)
    assert said(wrong) == [
        "buf_count is not printed; taken as 1",
        "printed algbw or busbw contradicts t_avg; computed from t_avg",
    ]


def test_unnamed_context_is_not_invented() -> None:
    table_only = HEAD[HEAD.index("        #bytes") :] + "   4194304 1048576 20 390.0 410.0 400.0 0.7 10.0 10.0\n"
    assert parse_table(table_only).readings == ()
    # A second table whose data type was lost must not get the first one's.
    lost = HEAD.replace("datatype: float32\n", "").replace("reduction: sum\n", "")
    row = "   4194304 1048576 20 390.0 410.0 400.0 0.7 10.0 10.0\n"
    assert [r.datatype for r in parse_table(HEAD + row + lost + row).readings] == ["float32", ""]


def test_units_of_columns_are_read_not_assumed() -> None:
    text = HEAD.replace("t_avg[usec]", "t_avg[msec]") + "   4194304 1048576 20 390.0 410.0 400.0 0.7 10.0 10.0\n"
    output = parse_table(text)
    assert output.readings == ()
    assert any("no average time in microseconds" in text for text in said(output))


def test_csv_of_a_known_command_with_one_row_left(samples: Path) -> None:
    lines = (
        (samples / "oneccl_benchmark" / "present-several-collectives.csv")
        .read_text(encoding="utf-8")
        .splitlines(keepends=True)
    )
    first = "".join(lines[:2])
    assert len(parse_csv(first).readings) == 1  # one row cannot tell
    known = parse_csv(first, collectives=("allreduce", "alltoall"))
    assert (known.readings, len(known.summed)) == ((), 1)
    # Cut in the middle of a pair: the last row is a sum like those before it.
    assert (parse_csv("".join(lines[:4])).readings, len(parse_csv("".join(lines[:4])).summed)) == ((), 3)


@pytest.mark.parametrize(
    ("collective", "algbw", "busbw"),
    [
        ("allreduce", 1.0, 1.75), ("allgather", 8.0, 7.0), ("reduce_scatter", 8.0, 7.0), ("reducescatter", 8.0, 7.0),
        ("alltoallv", 8.0, 7.0), ("broadcast", 1.0, 1.0), ("reduce", 1.0, 1.0), ("barrier", None, None),
    ],
)  # fmt: skip
def test_formulas_of_nccl_tests(collective: str, algbw: float | None, busbw: float | None) -> None:
    """8 ranks, 1 MB each in 1 ms."""
    assert compute_bandwidths(collective, 8, 1_000_000, 1000.0) == (algbw, busbw)
    assert compute_bandwidths(collective, None, 1_000_000, 1000.0) == (None, None)
    assert compute_bandwidths(collective, 8, 1_000_000, 0.0) == (None, None)


def check_rows(output: CclOutput) -> None:
    for row in (*output.readings, *output.summed):
        for name in row.__struct_fields__:
            number = getattr(row, name)
            if isinstance(number, float):
                assert math.isfinite(number), name
                assert number >= 0, name
    assert all(len(row.collectives) == 1 for row in output.readings)
    assert all(row.busbw_gbps is None for row in output.summed)


@pytest.mark.parametrize("text", TEXTS)
def test_crlf_changes_nothing(text: str) -> None:
    assert parse_table(text.replace("\n", "\r\n")) == parse_table(text)


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_line_by_line_no_reading_is_lost_or_invented(number: int) -> None:
    """Every prefix of one sample, and of the others each that ends at a line's end or in its middle."""
    text = TEXTS[number]
    if number == 0:
        check_every_prefix(parse_table, text)
    ends = [place + step for place, char in enumerate(text) if char == "\n" for step in (-7, 0, 1)]
    for end in ends:
        check_prefix(parse_table, text, max(0, end))


@settings(max_examples=600, deadline=None)
@given(damage(TEXTS))
@example("".join(FOREIGN))
def test_damaged_tables(text: str) -> None:
    """600 samples after one to four accidents: cut, spliced, interleaved, shuffled, coloured."""
    check_sound(parse_table, text)
    check_rows(parse_table(text, text))


@settings(max_examples=300, deadline=None)
@given(damage(CSVS))
def test_damaged_csv(text: str) -> None:
    """300 CSV files after one to four accidents."""
    check_sound(parse_csv, text)
    check_rows(parse_csv(text))


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=400), st.binary(max_size=400))
def test_any_text(text: str, data: bytes) -> None:
    """400 texts and as many byte strings, decoded as the program's output is; parsed as table and as CSV."""
    for given_text in (text, data.decode("utf-8", errors="replace")):
        for output in (parse_table(given_text, given_text), parse_csv(given_text)):
            assert msgspec.json.encode(output)
            check_rows(output)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TEXTS), st.data())
def test_a_cut_table_gives_a_subset(text: str, data: st.DataObject) -> None:
    """300 random cuts; summed rows too."""
    end = data.draw(st.integers(0, len(text)))
    check_prefix(parse_table, text, end)
    assert set(parse_table(text[:end]).summed) <= set(parse_table(text).summed)


CAPTURED = "captured"


def captured(corpus_dir: Path, name: str) -> CclOutput:
    path = corpus_dir / CAPTURED / f"{name}.txt"
    return parse_table(path.read_bytes().decode(errors="replace"), path.with_suffix(".err").read_text(encoding="utf-8"))


def test_every_captured_output_parses(corpus_dir: Path) -> None:
    """Readings wherever the program wrote a CSV, as many as in it, with the same figures but for rounding."""
    compared = 0
    for path in sorted((corpus_dir / CAPTURED).glob("oneccl*/*.txt")):
        shown = parse_table(
            path.read_bytes().decode(errors="replace"), path.with_suffix(".err").read_text(encoding="utf-8")
        )
        assert bool(shown.readings or shown.summed) == shown.is_finished, path
        assert bool(shown.readings or shown.summed) != bool(shown.problems), path
        if not path.with_suffix(".csv").exists():
            continue
        written = parse_csv(path.with_suffix(".csv").read_text(encoding="utf-8"))
        if shown.summed:
            continue
        for a, b in zip(shown.readings, written.readings, strict=True):
            assert (a.collective, a.datatype, a.ranks, a.total_bytes, a.message_bytes, a.elements) == (
                b.collective, b.datatype, b.ranks, b.total_bytes, b.message_bytes, b.elements,
            ), path  # fmt: skip
            assert a.t_avg_us == pytest.approx(b.t_avg_us, rel=1e-5, abs=0.0051), path
            assert a.computed_busbw_gbps == pytest.approx(b.computed_busbw_gbps, rel=2e-3), path
        compared += 1
    assert compared > 25


@pytest.mark.parametrize(
    ("name", "place", "ranks", "collective", "datatype", "total", "t_avg", "busbw"),
    [
        # Read from the files; busbw by hand where the program prints none.
        ("oneccl-benchmark/allreduce_f32_np2", -1, 2, "allreduce", "float32", 4194304, 1871.38, 2.241),
        ("oneccl-benchmark/allreduce_float16_np2", 0, 2, "allreduce", "float16", 1024, 7.94, 0.129),
        ("oneccl-benchmark/allgatherv_f32_np4", -1, 4, "allgatherv", "float32", 4194304, 100675.38, 0.12498),
        ("oneccl-benchmark/reduce_scatter_f32_np4", -1, 4, "reduce_scatter", "float32", 4194304, 160107.12, 0.07859),
        ("oneccl-benchmark/broadcast_f32_np4", 0, 4, "broadcast", "float32", 2048, 8.14, 0.2516),
        ("oneccl-benchmark/multi_dtype_np2", -1, 2, "allreduce", "bfloat16", 131072, 27.97, 4.686),
        ("oneccl-benchmark/np1_nompiexec", 0, 1, "allreduce", "float32", 2048, 7501.92, 0.0),
        ("oneccl-benchmark-2021.4/allreduce_f32_np2", -1, 2, "allreduce", "float32", 262144, 40.88, 6.4125),
        ("oneccl-benchmark-2021.12/ext_on_np2", 0, 2, "allreduce", "float32", 2048, 5.33, 0.3842),
        ("oneccl-benchmark-llmscaler/allreduce_upstreamsizes_f16_np2", -1, 2, "allreduce", "float16", 134217728,
         61460.12, 2.08 * 1.048576),
        ("oneccl-benchmark-llmscaler/alltoall_upstreamsizes_f16_np2", -1, 2, "alltoall", "float16", 134217728,
         30207.0, 4.24 * 1.048576),
        ("oneccl-benchmark-llmscaler/alltoallv_f32_np2", -1, 2, "alltoallv", "float32", 262144, 26.97, 9.27 * 1.048576),
        ("oneccl-benchmark-llmscaler/slow_scientific_np4", 0, 4, "allreduce", "float32", 1073741824, 2162156.75,
         0.7449),
    ],
)  # fmt: skip
def test_captured_figures(
    corpus_dir: Path, name: str, place: int, ranks: int, collective: str, datatype: str, total: int, t_avg: float,
    busbw: float,
) -> None:  # fmt: skip
    row = captured(corpus_dir, name).readings[place]
    assert (row.ranks, row.collective, row.datatype, row.total_bytes, row.t_avg_us) == (
        ranks, collective, datatype, total, t_avg,
    )  # fmt: skip
    assert row.busbw_gbps == pytest.approx(busbw, rel=5e-4)


def test_captured_sums_and_failures(corpus_dir: Path) -> None:
    assert captured(corpus_dir, "oneccl-benchmark-2021.1/multi_np2").readings == ()
    both = parse_csv((corpus_dir / CAPTURED / "oneccl-benchmark-2021.4" / "multi_np2.csv").read_text(encoding="utf-8"))
    assert (both.readings, len(both.summed)) == ((), 20)
    killed = captured(corpus_dir, "oneccl-benchmark/killed_np2_1")
    assert [p.text for p in killed.problems] == [
        f"BAD TERMINATION of rank {rank}: KILLED BY SIGNAL: 15 (Terminated)" for rank in (0, 1)
    ]
    warnings = parse_table((corpus_dir / "ccl" / "vllm_ccl_warn_lines_4xB70.txt").read_text(encoding="utf-8"))
    assert (warnings.readings, warnings.problems, said(warnings)) == ((), (), ["no table"])
    missing = captured(corpus_dir, "oneccl-benchmark/err_missing_binary_np2")
    assert "execvp error" in missing.problems[0].text
