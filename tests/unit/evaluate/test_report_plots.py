"""Pictures and the lines that stand for many rows."""

from __future__ import annotations

import re

import pytest

from tests.unit.evaluate import report_samples as samples
from tests.unit.evaluate.report_samples import make_row
from xpukit.core.machine import Machine
from xpukit.evaluate.plot_canvas import drawing
from xpukit.evaluate.plots import make_plots
from xpukit.evaluate.report_headlines import select_lines
from xpukit.evaluate.report_names import DeviceNames, clean_text, describe_params
from xpukit.evaluate.result import DeviceSummary, Evaluation, Result

MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def fonts() -> None:
    import matplotlib.font_manager  # noqa: F401


def name_devices(*labels: str) -> DeviceNames:
    summaries = tuple(
        DeviceSummary(label=label, kind="cpu" if label == "cpu" else "gpu", name="x", bdf=label.partition("/")[0])
        for label in labels
    )
    evaluation = Evaluation(engine="e", suite="s", devices=summaries, results=(), verdict="pass", complete=True)
    return DeviceNames(evaluation, Machine())


def draw(benchmark: str, rows: list[Result], names: DeviceNames) -> list:
    with drawing():
        return make_plots(benchmark, rows, select_lines(rows, names), names, "t")


def find_paths(svg: str, variable: str) -> list[str]:
    """The d of unfilled paths in a colour: lines, without markers."""
    tags = re.findall(r"<path [^>]*>", svg)
    return [
        re.search(r'd="([^"]*)"', tag)[1]  # type: ignore[index]
        for tag in tags
        if f"stroke: var({variable})" in tag and "fill: none" in tag and "clip-path" not in tag
    ]


def test_a_missing_size_is_a_gap_and_a_cross() -> None:
    names = name_devices("cpu")
    values = [10.0, 20.0, None, 40.0, 50.0]
    rows = [
        make_row(
            "memory", "bandwidth", ("cpu",), value, "GB/s",
            verdict="unknown" if value is None else "no-baseline", p_op="copy", p_bytes=MIB << step,
        )
        for step, value in enumerate(values)
    ]  # fmt: skip
    (plot,) = draw("memory", rows, names)
    (line,) = [path for path in find_paths(plot.svg, "--s0") if path.count("L") >= 2]
    assert line.count("M") == 2
    assert line.count("L") == 2
    assert any("not measured" in entry.text for entry in plot.legend)


def test_sizes_that_nobody_promised_are_no_gap() -> None:
    names = name_devices("cpu")
    rows = [
        make_row("memory", "bandwidth", ("cpu",), 5.0, "GB/s", p_op=op, p_bytes=size)
        for op, sizes in (("read", (MIB, 2 * MIB, 4 * MIB)), ("copy", (MIB, 4 * MIB)))
        for size in sizes
    ]
    (plot,) = draw("memory", rows, names)
    assert not any("not measured" in entry.text for entry in plot.legend)
    for variable in ("--s0", "--s1"):
        assert all(path.count("M") == 1 for path in find_paths(plot.svg, variable) if "L" in path)


def test_each_collective_has_its_own_picture_of_bus_bandwidth_and_latency() -> None:
    run = samples.make_gpu_run()
    rows = [row for row in run.results if row.benchmark == "collectives"]
    plots = draw("collectives", rows, DeviceNames(run, samples.make_machine()))
    titles = [plot.title for plot in plots]
    for collective in ("allreduce", "allgather", "reduce_scatter", "alltoall", "broadcast"):
        assert f"bus bandwidth {collective}" in titles
        assert f"latency {collective}" in titles
    assert len(titles) == 10
    legend = {entry.text for entry in plots[0].legend}
    assert {"p2p ranks=2", "usm ranks=4", "p2p ranks=8: not measured"} <= legend


def test_pairs_are_matrices_with_values_holes_and_frames() -> None:
    run = samples.make_gpu_run()
    rows = [row for row in run.results if row.benchmark == "p2p"]
    plots = {plot.title: plot for plot in draw("p2p", rows, DeviceNames(run, samples.make_machine()))}
    access = plots["access"].svg
    assert access.count(">yes<") == 52
    assert access.count(">no<") == 4
    peer = plots["bandwidth uni write peer"].svg
    assert peer.count(">?<") == 14
    assert peer.count("stroke: var(--fail)") == 30
    assert peer.count(">GPU7<") == 2


def test_gemm_bars_carry_reference_limit_missing_and_wrong() -> None:
    names = name_devices("cpu")
    shape = {"p_shape": "square", "p_m": 4096, "p_n": 4096, "p_k": 4096}
    rows = [
        make_row("gemm", "throughput", ("cpu",), 90.0, "TFLOPS", reference=95.0, limit=98.0, p_dtype="fp16", **shape),
        make_row(
            "gemm", "throughput", ("cpu",), 180.0, "TOPS", verdict="fail", verified=False, p_dtype="int8", **shape
        ),
        make_row("gemm", "throughput", ("cpu",), None, "TFLOPS", verdict="unknown", p_dtype="fp8_e4m3", **shape),
    ]
    plot = draw("gemm", rows, names)[0]
    assert plot.title == "square 4096³"
    assert {entry.text for entry in plot.legend} == {"reference", "known limit"}
    for text in ("90.00 TFLOPS", "180.0 TOPS WRONG", "not measured"):
        assert f">{text}<" in plot.svg
    # Types stand in order of their width.
    assert plot.svg.index(">fp16<") < plot.svg.index(">fp8_e4m3<") < plot.svg.index(">int8<")


def test_a_setting_that_is_well_is_one_line_with_its_slowest_device() -> None:
    labels = ("0000:03:00.0", "0000:04:00.0", "0000:05:00.0")
    names = name_devices(*labels)
    rows = [
        make_row("memory", "bandwidth", (label,), peak * share, "GB/s", p_op="copy", p_bytes=size)
        for label, peak in zip(labels, (400.0, 380.0, 410.0), strict=True)
        for size, share in ((MIB, 0.3), (64 * MIB, 1.0), (256 * MIB, 0.9))
    ]
    (line,) = select_lines(rows, names)
    assert (line.what, line.where) == ("copy", "GPU1")
    assert line.row.value == 380.0
    assert line.at == "at 64 MiB, best of 3 sizes"
    assert line.among == "380.0–410.0 GB/s, 3 devices"
    assert len(line.rows) == 9


def test_a_time_is_best_when_small_and_its_slowest_device_is_the_largest() -> None:
    names = name_devices("0000:03:00.0", "0000:04:00.0")
    rows = [
        make_row("transfer", "latency", (label,), value, "us", p_bytes=size)
        for label, size, value in (
            ("0000:03:00.0", 4096, 5.0),
            ("0000:03:00.0", 65536, 9.0),
            ("0000:04:00.0", 4096, 7.0),
            ("0000:04:00.0", 65536, 8.0),
        )
    ]
    (line,) = select_lines(rows, names)
    assert line.row.value == 7.0
    assert line.among == "5.00–7.00 µs, 2 devices"


def test_failures_keep_their_lines_and_missing_ones_fold_by_reason() -> None:
    labels = ("0000:03:00.0", "0000:04:00.0")
    names = name_devices(*labels)
    rows = [
        make_row("transfer", "bandwidth", (label,), 5.0, "GB/s", reference=20.0, p_direction="h2d", p_bytes=size)
        for label in labels
        for size in (MIB, 2 * MIB)
    ]
    rows += [
        make_row(
            "transfer", "bandwidth", (label,), None, "GB/s",
            verdict="unknown", reason="lost", p_direction="d2h", p_bytes=size,
        )
        for label in labels
        for size in (MIB, 2 * MIB)
    ]  # fmt: skip
    lines = select_lines(rows, names)
    assert [(line.row.verdict, line.where, len(line.rows)) for line in lines] == [
        ("fail", "GPU0", 2),
        ("fail", "GPU1", 2),
        ("unknown", "2 devices", 4),
    ]
    assert lines[2].what == "d2h 1 MiB–2 MiB"


def test_no_row_is_lost_by_folding() -> None:
    run = samples.make_gpu_run()
    names = DeviceNames(run, samples.make_machine())
    for benchmark in ("gemm", "p2p", "collectives"):
        rows = [row for row in run.results if row.benchmark == benchmark]
        lines = select_lines(rows, names)
        assert sum(len(line.rows) for line in lines) == len(rows)


def test_device_names_follow_the_probe_and_never_collide() -> None:
    run = samples.make_gpu_run()
    machine = samples.make_machine()
    names = DeviceNames(run, machine)
    assert names.name(samples.bdf_of(3)) == "GPU3"
    assert names.join([samples.bdf_of(0), samples.bdf_of(1)], directed=True) == "GPU0 → GPU1"
    assert names.join([samples.bdf_of(index) for index in range(8)]) == "GPU0–GPU7"
    assert names.join([samples.bdf_of(0), samples.bdf_of(2)]) == "GPU0, GPU2"
    assert names.name("elsewhere") == "elsewhere"
    tiles = name_devices("0000:03:00.0/tile0", "0000:03:00.0/tile1", "0000:04:00.0", "cpu")
    assert [tiles.name(label) for label in ("0000:03:00.0/tile1", "0000:04:00.0", "cpu")] == ["GPU0.1", "GPU1", "CPU"]


def test_parameters_in_words() -> None:
    row = make_row("gemm", "throughput", ("cpu",), 1.0, "TFLOPS", p_shape="square", p_m=8, p_n=8, p_k=8, p_dtype="fp16")
    assert describe_params([row]) == "fp16 square 8³"
    rows = [
        make_row("transfer", "bandwidth", ("cpu",), 1.0, "GB/s", p_direction=direction, p_bytes=size, p_host_node=0)
        for direction in ("h2d", "d2h")
        for size in (4096, MIB)
    ]
    assert describe_params(rows) == "d2h/h2d host_node=0 4 KiB–1 MiB"
    assert clean_text("a\x00b\udc80c\u202ed") == "a\ufffdb\ufffdc\ufffdd"
