from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.evaluate.parsers.damaged_text import (
    FOREIGN,
    check_every_prefix,
    check_prefix,
    check_sound,
    damage,
    read_samples,
)
from xpukit.evaluate.parsers.imb import ImbOutput, ImbRow, parse_imb

TEXTS = read_samples("imb")


def parse(samples: Path, name: str) -> ImbOutput:
    return parse_imb((samples / "imb" / f"{name}.txt").read_text(encoding="utf-8"))


def kinds(output: ImbOutput) -> list[str]:
    return [problem.kind for problem in output.problems]


def test_pingpong_has_one_time_and_a_bandwidth(samples: Path) -> None:
    output = parse(samples, "pingpong-2")
    assert (output.version, output.announced, output.is_finished) == ("2021.11", ("PingPong",), True)
    assert output.notes == output.problems == ()
    assert output.readings[-1] == ImbRow(
        line=38, benchmark="PingPong", processes=2, total_bytes=4194304, repetitions=10, t_avg_us=331.27,
        printed_mbytes_s=12661.29, unit=1e6, bandwidth_gbps=12.66129,
    )  # fmt: skip
    assert output.readings[0].bandwidth_gbps is None  # no bytes, no bandwidth


def test_the_megabyte_of_old_releases(samples: Path) -> None:
    row = parse(samples, "pingpong-2-old-mbytes").readings[-1]
    assert (row.printed_mbytes_s, row.unit) == (12074.74, 1048576.0)
    assert row.bandwidth_gbps == pytest.approx(4194304 / 331.27e-6 / 1e9, rel=1e-5)


def test_collectives_in_groups_of_processes(samples: Path) -> None:
    output = parse(samples, "allreduce-4-groups")
    assert [(row.processes, row.waiting, row.total_bytes) for row in output.readings] == [
        (2, 2, 0), (2, 2, 1024), (2, 2, 65536), (2, 2, 4194304),
        (4, 0, 0), (4, 0, 1024), (4, 0, 65536), (4, 0, 4194304),
    ]  # fmt: skip
    last = output.readings[-1]
    assert (last.t_min_us, last.t_max_us, last.t_avg_us, last.bandwidth_gbps) == (506.84, 619.47, 563.16, None)


def test_several_benchmarks_with_and_without_sizes(samples: Path) -> None:
    output = parse(samples, "exchange-sendrecv-barrier-2")
    assert output.problems == ()
    rows = {(row.benchmark, row.total_bytes): row for row in output.readings}
    # Four messages cross in an Exchange, two in a Sendrecv, in the slowest process's time.
    assert rows["Exchange", 4194304].bandwidth_gbps == pytest.approx(4 * 4194304 / 364.4e-6 / 1e9, rel=1e-4)
    assert rows["Sendrecv", 4194304].bandwidth_gbps == pytest.approx(2 * 4194304 / 364.4e-6 / 1e9, rel=1e-4)
    assert rows["Exchange", 65536].unit == 1e6
    assert rows["Barrier", None].t_avg_us == 0.42


@pytest.mark.parametrize(
    ("name", "rows", "wanted"),
    [
        ("pingpong-1-invalid", 0, ["usage", "unmeasured"]),
        ("unknown-name", 0, ["usage"]),
        ("alltoall-out-of-memory", 3, ["unmeasured"]),
        ("allreduce-killed", 2, ["aborted", "aborted", "aborted"]),
        ("multi-uniband", 0, ["unmeasured"]),
    ],
)
def test_what_exit_code_zero_hides(samples: Path, name: str, rows: int, wanted: list[str]) -> None:
    output = parse(samples, name)
    assert len(output.readings) == rows
    assert kinds(output) == wanted
    assert output.is_finished == ("aborted" not in wanted)


def test_groups_that_run_at_once(samples: Path) -> None:
    output = parse(samples, "pingpong-multi-groups")
    assert [(row.group, row.processes, row.total_bytes) for row in output.readings[:3]] == [
        (0, 2, 0), (1, 2, 0), (0, 2, 1024),
    ]  # fmt: skip
    assert output.problems == ()


def test_defects_are_wrong_data() -> None:
    text = (
        "# Benchmarking Allreduce \n# #processes = 2 \n#---\n"
        "       #bytes #repetitions  t_min[usec]  t_max[usec]  t_avg[usec]      defects\n"
        "         1024           20         0.41         0.43         0.42         1.00\n"
    )
    output = parse_imb(text)
    assert output.readings[0].defects == 1.0
    assert kinds(output)[0] == "bad-data"


@pytest.mark.parametrize("cell", ["331,27", "-nan", "inf", "1.234,5", "-3.0", "abc"])
def test_times_that_are_none(samples: Path, cell: str) -> None:
    text = (samples / "imb" / "pingpong-2.txt").read_text(encoding="utf-8").replace("331.27", cell)
    output = parse_imb(text)
    assert len(output.readings) == 3
    assert output.notes[0].line == 38


def check_rows(output: ImbOutput) -> None:
    for row in output.readings:
        for number in (getattr(row, name) for name in row.__struct_fields__):
            assert not isinstance(number, float) or (math.isfinite(number) and number >= 0)


@settings(max_examples=500, deadline=None)
@given(damage(TEXTS))
@example("".join(FOREIGN))
def test_damaged_output(text: str) -> None:
    """500 samples after one to four accidents: cut, spliced, interleaved, shuffled, coloured."""
    check_sound(parse_imb, text)
    check_rows(parse_imb(text, text))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=400), st.binary(max_size=400))
def test_any_text(text: str, data: bytes) -> None:
    """300 texts and as many byte strings, decoded as the program's output is."""
    for given_text in (text, data.decode("utf-8", errors="replace")):
        assert msgspec.json.encode(parse_imb(given_text, given_text))


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_a_cut_output_gives_a_subset(number: int) -> None:
    """Every prefix of one sample, and of the others each that ends at a line's end or in its middle."""
    text = TEXTS[number]
    if number == 0:
        check_every_prefix(parse_imb, text)
    for place in [place for place, char in enumerate(text) if char == "\n"]:
        for step in (-5, 0, 1):
            check_prefix(parse_imb, text, max(0, place + step))


def captured(corpus_dir: Path, name: str) -> ImbOutput:
    path = corpus_dir / "captured" / "imb-mpi1" / f"{name}.txt"
    return parse_imb(path.read_bytes().decode(errors="replace"), path.with_suffix(".err").read_text(encoding="utf-8"))


def test_every_captured_output_parses(corpus_dir: Path) -> None:
    """Each announced benchmark has rows, or a problem says that it has not; every bandwidth has its unit."""
    paths = sorted((corpus_dir / "captured" / "imb-mpi1").glob("*.txt"))
    assert len(paths) > 15
    for path in paths:
        output = captured(corpus_dir, path.stem)
        assert {row.benchmark for row in output.readings} == set(output.announced) or output.problems, path
        assert output.is_finished == bool(output.version), path
        for row in output.readings:
            assert (row.bandwidth_gbps is None) == (not row.printed_mbytes_s), (path, row)


@pytest.mark.parametrize(
    ("name", "place", "benchmark", "processes", "total", "t_avg", "gbps"),
    [
        # Read from the files.
        ("allgather_np2", -1, "Allgather", 2, 4194304, 588.96, None),
        ("allreduce_np4", 1, "Allreduce", 4, 1024, 10.34, None),
        ("allreduce_np4_all_groups", 5, "Allreduce", 2, 16384, 8.76, None),
        ("barrier_np2", 0, "Barrier", 2, None, 0.32, None),
        ("err_badopt_np2", -1, "PingPong", 2, 4194304, 317.79, 13.19815),
        ("exchange_np2", -1, "Exchange", 2, 4194304, 1200.58, 13.97414),
        ("multi_np2", -1, "Alltoall", 2, 65536, 8.02, None),
        ("pingping_np2", 21, "PingPing", 2, 1048576, 119.71, 8.75964),
        ("reduce_scatter_np2", 1, "Reduce_scatter", 2, 4, 3.63, None),
        ("sendrecv_np2", -1, "Sendrecv", 2, 4194304, 597.12, 14.04746),
    ],
)
def test_captured_figures(
    corpus_dir: Path, name: str, place: int, benchmark: str, processes: int, total: int | None, t_avg: float,
    gbps: float | None,
) -> None:  # fmt: skip
    row = captured(corpus_dir, name).readings[place]
    assert (row.benchmark, row.processes, row.total_bytes, row.t_avg_us) == (benchmark, processes, total, t_avg)
    assert row.bandwidth_gbps == (None if gbps is None else pytest.approx(gbps, rel=1e-9))
