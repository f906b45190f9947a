"""Logs that were made without xpukit."""

from __future__ import annotations

import re
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.evaluate.parsers.damaged_text import DATA, FOREIGN, damage
from xpukit.core.errors import UsageError
from xpukit.core.json_document import build_document, encode_json
from xpukit.core.measurement import Measurement, MetricKey, Target
from xpukit.evaluate.log import LogSource, convert_stretch, judge_logs, read_logs
from xpukit.evaluate.log_devices import read_device_id
from xpukit.evaluate.log_slices import slice_log
from xpukit.evaluate.parsers.matrix_mul import parse_matrix_mul
from xpukit.evaluate.parsers.oneccl_benchmark import parse_table
from xpukit.evaluate.parsers.ze_bandwidth import parse_ze_bandwidth
from xpukit.evaluate.parsers.ze_peak import parse_ze_peak
from xpukit.evaluate.parsers.ze_peer import parse_ze_peer
from xpukit.evaluate.reference import Limits
from xpukit.evaluate.result import Evaluation, Result
from xpukit.evaluate.tools.convert import (
    convert_matrix_mul,
    convert_oneccl,
    convert_ze_bandwidth,
    convert_ze_peak,
    convert_ze_peer,
)
from xpukit.evaluate.upstream_rows import list_upstream_rows
from xpukit.facts.references import COLUMNS, ReferenceRow, parse_reference_csv
from xpukit.facts.suites import JudgeSettings

LOGS = DATA / "logs"
UPSTREAM = (LOGS / "upstream-2xB60.txt").read_text(encoding="utf-8")
NONE: dict[int, str] = {}
RANKS = [f"device{number}" for number in range(64)]
DIRECT = {
    "ze_peer": lambda text: convert_ze_peer(parse_ze_peer(text), NONE),
    "ze_bandwidth": lambda text: convert_ze_bandwidth(parse_ze_bandwidth(text), NONE),
    "matrix_mul": lambda text: convert_matrix_mul(parse_matrix_mul(text), "device0"),
    "oneccl_benchmark": lambda text: convert_oneccl(parse_table(text), RANKS, ""),
    "ze_peak": lambda text: convert_ze_peak(parse_ze_peak(text), NONE),
}
TWO_RUNS = DATA / "ze_peak" / "explicit-two-tiles.txt"  # -x was in force in the first of them only
SAMPLES = [(tool, path) for tool in DIRECT for path in sorted((DATA / tool).glob("*.txt")) if path != TWO_RUNS]


def judge(*texts: str, rows: tuple[ReferenceRow, ...] = (), **more: object) -> Evaluation:
    sources = [LogSource(name=f"log{place}", text=text) for place, text in enumerate(texts)]
    return judge_logs(sources, rows=rows, settings=JudgeSettings(), **more)  # type: ignore[arg-type]


def measure(*texts: str) -> dict[object, tuple[float, ...]]:
    read = read_logs([LogSource(name="log", text=text) for text in texts])
    labels = dict(enumerate(RANKS))
    return {found.key: found.samples for stretch in read.stretches for found in convert_stretch(stretch, labels)}


def find(evaluation: Evaluation, benchmark: str, metric: str, **params: object) -> Result:
    rows = [
        row
        for row in evaluation.results
        if (row.benchmark, row.metric) == (benchmark, metric) and params.items() <= row.params.items()
    ]
    assert len(rows) == 1, [row.params for row in rows]
    return rows[0]


def by_key(found: tuple[Measurement, ...]) -> dict[object, tuple[float, ...]]:
    return {measurement.key: measurement.samples for measurement in found}


@pytest.mark.parametrize(("tool", "path"), SAMPLES, ids=[f"{tool}-{path.stem}" for tool, path in SAMPLES])
def test_a_tool_alone_gives_what_its_parser_gives(tool: str, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert measure(text) == by_key(DIRECT[tool](text))


def test_explicit_scaling_is_of_one_run() -> None:
    evaluation = judge(TWO_RUNS.read_text(encoding="utf-8"))
    rows = [row for row in evaluation.results if row.params.get("vector") == "float" and row.benchmark == "memory"]
    assert {row.params.get("scaling"): row.value for row in rows} == {"explicit": 634.3, None: 300.0}
    assert {row.devices for row in rows} == {("device0",)}  # the same UUID in both


# What gen_evaluation_report.py writes for this log (its rules, by hand): category, subcategory, size, value.
UPSTREAM_SEES = (
    ("p2p", "Unidirectional Write", "128 MB", 25.90),
    ("p2p", "Unidirectional Write", "256 MB", 26.03),
    ("p2p", "Unidirectional Read", "128 MB", 24.48),
    ("p2p", "Unidirectional Read", "256 MB", 24.61),
    ("p2p", "Bidirectional Write", "128 MB", 33.29),
    ("p2p", "Bidirectional Write", "256 MB", 33.42),
    ("p2p", "Bidirectional Read", "128 MB", 30.94),
    ("p2p", "Bidirectional Read", "256 MB", 31.07),
    ("gemm", "int8", "", 171.314),
    ("1ccl", "allreduce", "128MB", 18.25),
    ("1ccl", "allgather", "128MB", 21.69),
    ("1ccl", "alltoall", "128MB", 20.91),
    ("GPU memory bandwidth", "H2D", "", 25.8731),
    ("GPU memory bandwidth", "D2H", "", 25.2508),
    ("GPU memory bandwidth", "D2D", "float8", 391.75),
    ("GPU memory bandwidth", "D2D", "float16", 402.5),
)


@pytest.mark.parametrize(("category", "subcategory", "size", "value"), UPSTREAM_SEES)
def test_what_upstream_extracts(category: str, subcategory: str, size: str, value: float) -> None:
    evaluation = judge(UPSTREAM)
    rows = [
        row for row in list_upstream_rows(evaluation) if row.category == category and row.subcategory == subcategory
    ]
    rows = [row for row in rows if row.size == size]
    unit = 1.048576 if category == "1ccl" else 1.0  # its "GB/s" is 1.048576e9 bytes/s
    assert [row.value for row in rows] == [pytest.approx(value * unit, rel=1e-12)]
    if category == "1ccl":
        notes = [row.note for row in evaluation.results if row.metric == "busbw" and f"{value:g} busbw" in row.note]
        assert len(notes) == 1  # the raw figure is kept
        assert "134217728 bytes" in notes[0]


def test_nothing_is_seen_that_upstream_does_not() -> None:
    seen = {(row.category, row.subcategory, row.size) for row in list_upstream_rows(judge(UPSTREAM))}
    assert seen == {row[:3] for row in UPSTREAM_SEES}


def apply_upstream_rules(text: str) -> set[tuple[str, str, float]]:
    """P2P and oneCCL as gen_evaluation_report.py finds them in a log where it works (blank line after each block)."""
    found: set[tuple[str, str, float]] = set()
    section = test = ""
    for line in text.splitlines():
        header = re.search(r"Bandwidth (Write|Read) : Device\( 0 \)(<->|->|<-)Device\( 1 \)", line)
        row = re.fullmatch(r"BW \[GBPS\]: +(128 MB|256 MB): +([\d.]+)", line)
        named = re.match(r"# Benchmarking: (\w+)", line)
        if header:
            section = f"{'Bidirectional' if header[2] == '<->' else 'Unidirectional'} {header[1]}"
        elif not line.strip():
            section = ""
        elif row and section:
            found.add((section, row[1], float(row[2])))
        test = named[1] if named else test
        if line.split()[:1] == ["134217728"] and test:
            found.add((test, "128MB", float(line.split()[8])))
            test = ""
    return found


def test_upstream_rules_by_program() -> None:
    assert {(name, size, value) for kind, name, size, value in UPSTREAM_SEES if kind in ("p2p", "1ccl")} == (
        apply_upstream_rules(UPSTREAM)
    )


def test_more_than_upstream() -> None:
    evaluation = judge(UPSTREAM)
    assert [device.device_id for device in evaluation.devices] == ["e211", "e211"]
    assert evaluation.complete
    assert find(evaluation, "p2p", "access").value == 1.0
    assert find(evaluation, "p2p", "latency", mode="read", bytes=8).value == 6.12
    assert find(evaluation, "transfer", "peak_bandwidth", direction="h2d", memory="pageable").value == 26.0125
    assert find(evaluation, "memory", "peak_bandwidth").value == 402.5
    assert {row.engine for row in evaluation.results} == {"log"}
    build_document("xpukit.evaluate/1", "", evaluation)


def test_every_tool_has_its_lines() -> None:
    tools = [piece.tool for piece in slice_log(UPSTREAM).slices]
    assert tools == [
        *("sycl-ls", "xpu-smi discovery", "xpu-smi dump", "ze_peer", "ze_peak", "ze_peak", "matrix_mul"),
        *("oneccl", "oneccl", "oneccl"),
    ]
    assert not [note for stretch in read_logs([LogSource(name="", text=UPSTREAM)]).stretches for note in stretch.notes]


PARTS = {
    "ze_peer": "touching-blocks",
    "ze_peak": "transfer-system-usm",
    "ze_bandwidth": "csv-2dev",
    "matrix_mul": "installer-int8",
    "oneccl_benchmark": "patched-alltoall-4ranks",
}


@pytest.mark.parametrize("order", list(permutations(PARTS))[::7], ids="-".join)
@pytest.mark.parametrize(
    "between", ["", "\x1b[1;34m[INFO]\x1b[0m Running GEMM MKL test (int8)\n", "--- ze_peer 0 -> 1 ---\n"]
)
def test_tools_in_any_order(order: tuple[str, ...], between: str) -> None:
    texts = [(DATA / tool / f"{PARTS[tool]}.txt").read_text(encoding="utf-8") for tool in order]
    apart: dict[object, tuple[float, ...]] = {}
    for text in texts:
        apart |= measure(text)
    assert measure(between.join(texts)) == apart


def test_measured_twice_is_pooled() -> None:
    text = (DATA / "matrix_mul" / "2023-single.txt").read_text(encoding="utf-8")
    (row,) = judge(text, text).results
    assert row.n == 2
    assert row.mad == 0


CCL = (DATA / "oneccl_benchmark" / "patched-alltoall-4ranks.txt").read_text(encoding="utf-8")


def test_p2p_and_usm_are_kept_apart() -> None:
    slower = CCL.replace("20828.16", "41656.32").replace("24.58", "12.29").replace("18.44", "9.22")
    evaluation = judge(f"+ CCL_TOPO_P2P_ACCESS=1 mpirun\n{CCL}+ CCL_TOPO_P2P_ACCESS=0 mpirun\n{slower}")
    values = [
        find(evaluation, "collectives", "busbw", bytes=536870912, mode=mode).value for mode in ("p2p", "usm")
    ]  # fmt: skip
    assert values == [pytest.approx(18.44 * 1.048576), pytest.approx(9.22 * 1.048576)]


def test_the_csv_of_the_same_run_adds_nothing() -> None:
    folder = DATA / "oneccl_benchmark"
    table, rows = ((folder / f"present-allreduce-2ranks.{end}").read_text(encoding="utf-8") for end in ("txt", "csv"))
    both = judge(table, rows)
    assert {row.n for row in both.results} == {1}
    assert len(both.results) == len(judge(table).results) > 0
    assert judge(rows).results


def test_wrong_data_fails() -> None:
    evaluation = judge((DATA / "ze_peer" / "wrong-data.txt").read_text(encoding="utf-8"))
    assert evaluation.verdict == "fail"
    assert find(evaluation, "p2p", "bandwidth").verified is False
    folder = DATA / "ze_bandwidth"
    died = judge(
        (folder / "wrong-data.txt").read_text(encoding="utf-8")
        + (folder / "wrong-data.err").read_text(encoding="utf-8")
    )
    assert died.verdict == "fail"
    assert "verification failed" in find(died, "transfer", "output").reason


def test_what_was_announced_and_did_not_come_is_unknown() -> None:
    cut = UPSTREAM[: UPSTREAM.index("Average performance")]
    evaluation = judge(cut)
    row = find(evaluation, "gemm", "output")
    assert (row.verdict, evaluation.verdict, evaluation.complete) == ("unknown", "unknown", False)
    number = next(n for n, line in enumerate(UPSTREAM.splitlines(), 1) if "int8 precision" in line)
    assert f"line {number}: unmeasured" in row.reason  # lines are those of the log


def test_nothing_known_is_unknown() -> None:
    for text in ("", "hello\n", "0\n[ERROR] Script failed during: 'x' (line 137, exit code 1)\n"):
        evaluation = judge(text)
        assert evaluation.verdict == "unknown"
        assert not evaluation.results
    assert "line 137" in str(evaluation.conditions["outside"])


def test_measurements_of_nobody_are_told() -> None:
    evaluation = judge("my own test\nread: 17.5 GB/s\n")
    assert evaluation.conditions["outside"] == ["log0:2: belongs to no tool that is known: read: 17.5 GB/s"]


def reference(value: float, device: str = "8086:e211") -> tuple[ReferenceRow, ...]:
    line = f"{device},gemm,throughput,dtype=int8,{value},TOPS,higher,measured,0.1,a test,2026-01-01"
    return parse_reference_csv(",".join(COLUMNS) + f"\n{line}\n", origin="test.csv")


GEMM = UPSTREAM[UPSTREAM.index("oneMKL") : UPSTREAM.index("options:")]
NAMELESS = GEMM.replace("Device:                  Intel(R) Graphics [0xe211]\n", "")


@pytest.mark.parametrize(
    ("text", "device", "asked", "verdict"),
    [
        (GEMM, "8086:e211", "", "pass"),  # the id in brackets
        (GEMM.replace("Graphics [0xe211]", "Arc(TM) Pro B60 Graphics"), "8086:e211", "", "pass"),
        (GEMM, "8086:e212", "", "no-baseline"),
        (GEMM, "8086:e212", "e212", "no-baseline"),  # the log knows better
        (NAMELESS, "8086:e211", "", "no-baseline"),
        (NAMELESS, "8086:e211", "e211", "pass"),
    ],
)
def test_the_device_decides_the_reference(text: str, device: str, asked: str, verdict: str) -> None:
    (row,) = judge(text, rows=reference(175, device), asked_id=asked).results
    assert row.verdict == verdict


def test_a_value_alone_warns_and_an_impossible_one_is_not_believed() -> None:
    assert find(judge(GEMM, rows=reference(400)), "gemm", "throughput").verdict == "warn"
    assert find(judge(GEMM.replace("171.314TF", "1.02PF")), "gemm", "throughput").verdict == "unknown"


def test_a_recorded_machine_gives_labels_and_ids() -> None:
    here = tuple(
        Target(label=bdf, kind="gpu", name="B60", bdf=bdf, device_id="e211") for bdf in ("0000:18:00.0", "0000:3b:00.0")
    )
    evaluation = judge(UPSTREAM, targets=here, limits=Limits({}))
    assert find(evaluation, "p2p", "access").devices == ("0000:18:00.0", "0000:3b:00.0")
    other = tuple(Target(label=t.label, kind="gpu", name="A770", bdf=t.bdf, device_id="56a0") for t in here)
    evaluation = judge(UPSTREAM, targets=other, limits=Limits({}))
    assert find(evaluation, "p2p", "access").devices == ("device0", "device1")
    assert "not the same" in str(evaluation.conditions["assumed"])


@pytest.mark.parametrize(
    ("text", "device_id"),
    [("8086:e211", "e211"), ("0xE211", "e211"), ("Arc Pro B60", "e211"), ("b70", "e223"),
     ("Intel(R) Arc(TM) Pro B50 Graphics", "e212")],
)  # fmt: skip
def test_device_by_id_or_name(text: str, device_id: str) -> None:
    assert read_device_id(text) == device_id


@pytest.mark.parametrize("text", ["nothing like it", "arc", ""])
def test_device_that_is_none_or_several(text: str) -> None:
    with pytest.raises(UsageError):
        read_device_id(text)


ALL = [UPSTREAM, *(path.read_text(encoding="utf-8") for _, path in SAMPLES)]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damage(ALL))
def test_damaged_logs(text: str) -> None:
    encode_json(build_document("xpukit.evaluate/1", "", judge(text, asked_id="e211")))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(sorted({*UPSTREAM.splitlines(True), *FOREIGN})), st.text(max_size=60))))
def test_any_text(pieces: list[str]) -> None:
    encode_json(build_document("xpukit.evaluate/1", "", judge("".join(pieces))))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(UPSTREAM)))
def test_a_truncated_log_gives_no_number_of_its_own(end: int) -> None:
    whole, cut = measure(UPSTREAM), measure(UPSTREAM[:end])
    derived = ("peak_bandwidth",)  # the best of fewer
    assert all(whole[key] == samples for key, samples in cut.items() if key.metric not in derived)  # type: ignore[attr-defined]


@pytest.mark.parametrize("tool", ["ze_peer", "ze_bandwidth", "ze_peak"])
def test_captured_outputs(corpus_dir: Path, tool: str) -> None:
    for path in sorted((corpus_dir / "captured" / tool).glob("*.txt")):
        text = path.read_text(errors="replace")
        assert measure(text) == by_key(DIRECT[tool](text)), path.name


def test_logs_of_failed_evaluations(corpus_dir: Path) -> None:
    for path in sorted((corpus_dir / "eval_log").glob("*.txt")):
        assert judge(path.read_text(encoding="utf-8")).verdict == "unknown", path.name


SMI = DATA / "xpu-smi"


def read_smi(name: str) -> str:
    return (SMI / f"{name}.txt").read_text(encoding="utf-8")


def test_xpu_smi_between_other_tools() -> None:
    stats = read_smi("1.3.7-stats-d1")
    later = stats.replace("Mem Errors Uncorrectable    | 2", "Mem Errors Uncorrectable    | 5")
    parts = [read_smi("1.3.7-topology-m"), stats, UPSTREAM, read_smi("1.3.7-health-l"), later]
    text = "".join(f"$ xpu-smi {place}\n{part}" for place, part in enumerate(parts))
    evaluation = judge(text)
    wiring = [row for row in evaluation.results if row.metric == "wiring" and row.devices == ("device0", "device1")]
    assert wiring[0].note.startswith("NODE: ")
    assert find(evaluation, "health", "health", component="memory").verdict == "fail"
    grown = find(evaluation, "health", "errors", counter="memory_errors_uncorrectable")
    assert (grown.devices, grown.value, grown.verdict) == (("device1",), 3.0, "fail")
    assert len(evaluation.conditions["errors_counted"]) == 2
    alone = {row.key: row.value for row in judge(UPSTREAM).results}
    assert alone.items() <= {row.key: row.value for row in evaluation.results}.items()


def test_counts_said_once_are_no_growth() -> None:
    evaluation = judge(read_smi("1.3.7-stats-d1"))
    assert not evaluation.results
    assert evaluation.conditions["errors_counted"] == [
        "device 1: 2 errors in the device's memory that could not be corrected, counted so far"
    ]


def test_a_check_beforehand_names_cards_by_address() -> None:
    evaluation = judge(read_smi("1.3.7-diag-precheck"))
    failed = [row.devices for row in evaluation.results if row.verdict == "fail" and row.params]
    assert failed == [("0000:4e:00.0",)]
    (row,) = judge(read_smi("1.2-diag-precheck")).results
    assert (row.metric, row.verdict) == ("output", "unknown")
    assert "GPU Status : fail" in row.reason


@pytest.mark.parametrize("name", ["1.0-topology-m", "1.3.7-health-l", "1.3.7-diag-l1", "2.0-health-l"])
def test_tables_cut_anywhere_give_rows_of_the_whole(name: str) -> None:
    text = read_smi(name)
    whole = {(row.key, row.value) for row in judge(text).results}
    for end in range(0, len(text), 7):
        for row in judge(text[:end]).results:
            known = (row.key, row.value) in whole
            # A card's own row is its worst, which may not have come yet.
            assert known or row.metric == "output" or not row.params, (end, row)


@pytest.mark.parametrize(("tool", "path"), SAMPLES, ids=[f"{tool}-{path.stem}" for tool, path in SAMPLES])
def test_a_log_that_ends_early_has_no_row_of_its_own(tool: str, path: Path) -> None:
    """As after Ctrl-C: it tells less, and nothing else."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = measure("".join(lines))
    step = max(1, len(lines) // 40)
    for place in range(0, len(lines), step):
        found = measure("".join(lines[:place]))
        assert {key for key in found if not is_peak(key)} <= set(whole), place


def is_peak(key: object) -> bool:
    """The best of what there is may be another one."""
    return isinstance(key, MetricKey) and key.metric.startswith("peak_")


def lose_line(text: str, words: str) -> str:
    lines = text.splitlines(keepends=True)
    place = next(place for place, line in enumerate(lines) if words in line)
    return "".join(lines[:place] + lines[place + 1 :])


@pytest.mark.parametrize(
    ("tool", "name", "words"),
    [
        ("ze_bandwidth", "csv-2dev", "Host->Device"),  # whose rows follow
        ("ze_bandwidth", "table-2dev", "[Device 3    1048576]"),
        ("ze_peer", "pair-targets-6dev", "Device 0 - Device 1 using queue 0: BW [GBPS]:  512  B"),
        ("ze_peer", "pair-targets-6dev", "BW [GBPS]:"),
    ],
)
def test_a_lost_line_gives_no_row_of_its_own(tool: str, name: str, words: str) -> None:
    text = (DATA / tool / f"{name}.txt").read_text(encoding="utf-8")
    less = measure(lose_line(text, words))
    assert less
    assert {key for key in less if not is_peak(key)} <= set(measure(text))
