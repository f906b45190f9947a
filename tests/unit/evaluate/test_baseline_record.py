"""References from repeated runs; which row wins."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.evaluate.run_files import BDF, gpu, make_machine, row, write_run
from xpukit.core.errors import BadFactsError, CouldNotJudgeError, UsageError
from xpukit.core.measurement import YES_NO, Target, make_key
from xpukit.evaluate.baseline import merge_rows, save_recording, side_path, write_reference_csv
from xpukit.evaluate.baseline_lint import lint_files
from xpukit.evaluate.baseline_record import choose_tolerance, make_rows, record_baseline
from xpukit.evaluate.baseline_result import Recording
from xpukit.evaluate.baseline_runs import load_runs
from xpukit.evaluate.baseline_show import choose_devices, show_baseline
from xpukit.evaluate.reference import ReferenceBook
from xpukit.evaluate.result import DeviceSummary
from xpukit.facts.references import ReferenceRow, parse_reference_csv

CPU = DeviceSummary(label="cpu", kind="cpu", name="Intel Xeon")


def record(tmp_path: Path, values: list[float], *, force: bool = False) -> Recording:
    runs = [
        write_run(
            tmp_path / f"run{number}", [row(value)], created=f"2026-01-{number + 1:02d}T00:00:00Z", machine=make_machine()
        )
        for number, value in enumerate(values)
    ]  # fmt: skip
    return record_baseline(load_runs(runs), force=force)


def test_median_spread_and_an_outlier_run(tmp_path: Path) -> None:
    recording = record(tmp_path, [400.0, 401.0, 399.0, 402.0, 300.0])
    (metric,) = recording.metrics
    assert (metric.value, metric.runs, metric.kept, metric.min, metric.max) == (400.5, 5, 4, 399.0, 402.0)
    assert [(item.run.rpartition("/")[2], item.value) for item in metric.removed] == [("run4", 300.0)]
    assert metric.removed[0].sigmas is not None
    assert metric.removed[0].sigmas < -3.5
    assert (metric.tolerance, metric.tolerance_reason) == (0.05, "the least")
    assert recording.date == "2026-01-05"


def test_provenance_is_complete_and_hides_the_host(tmp_path: Path) -> None:
    recording = record(tmp_path, [400.0, 401.0, 399.0])
    run = recording.runs[0]
    assert run.host.startswith("host-")
    assert "srv1" not in json.dumps([item.host for item in recording.runs])
    assert (run.cpu, run.kernel, run.missing) == ("Intel Xeon 6530P", "6.17.0-20", ())
    assert run.devices == (
        {
            "name": "Intel Arc Pro B60",
            "driver": "xe 6.17.0",
            "link": "32 GT/s x8 of 32 GT/s x8",
            "firmware": "GuC 70.49.4",
        },
    )
    for part in ("Intel Xeon 6530P", "32 GT/s x8", "6.17.0-20", "GuC 70.49.4", "25.40.1", "suite standard"):
        assert part in recording.source


def test_a_run_without_probe_says_what_is_missing(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / str(n), [row(400.0 + n)], created=f"2026-01-0{n}T00:00:00Z") for n in (1, 2, 3)
    ]  # fmt: skip
    recording = record_baseline(load_runs(runs))
    assert recording.runs[0].missing == ("probe.json", "CPU", "kernel", "link", "firmware", "driver")


def test_too_few_repeated_and_mixed_runs_are_refused(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / str(n), [row(400.0)], created=f"2026-01-0{n}T00:00:00Z") for n in (1, 2)]
    with pytest.raises(UsageError, match="2 runs tell no spread"):
        record_baseline(load_runs(runs))
    assert record_baseline(load_runs(runs), force=True).metrics[0].runs == 2
    with pytest.raises(UsageError, match="the same run"):
        record_baseline(load_runs([*runs, tmp_path / "1" / "results.json"]))
    with pytest.raises(UsageError, match="was given twice"):  # three times one run tells no spread
        record_baseline(load_runs([runs[0], runs[0], runs[0]]))
    quick = write_run(tmp_path / "q", [row(400.0)], suite="quick", created="2026-01-09T00:00:00Z")
    with pytest.raises(UsageError, match="different suites"):
        record_baseline(load_runs([*runs, quick]))


def test_what_is_no_reference_is_left_out_with_the_reason(tmp_path: Path) -> None:
    devices = (gpu(), gpu("0000:83:00.0", "e223"), CPU)
    runs = []
    for number in range(3):
        rows = [
            row(400.0),
            row(1.0, metric="wrong", verified=False),
            row(1.0, metric="access", unit=YES_NO),
            row(None, metric="none"),
            row(9000.0, metric="impossible", verdict="unknown"),
            row(50.0, metric="cpu", devices=("cpu",)),
            row(50.0, metric="mixed", devices=(BDF, "0000:83:00.0")),
            row(50.0, benchmark="memory_ceiling"),
            row(50.0, metric="noisy", noisy=True, mad=10.0),
            row(50.0, metric="odd", params={"op": "a;b"}),
            row(50.0, metric="odder", params={"op": "007"}),
            *([row(50.0, metric="rare")] if number == 0 else []),
        ]
        runs.append(
            write_run(tmp_path / str(number), rows, devices=devices, created=f"2026-01-0{number + 1}T00:00:00Z")
        )
    recording = record_baseline(load_runs(runs))
    assert [metric.metric for metric in recording.metrics] == ["peak_bandwidth"]
    assert {item.reason: item.rows for item in recording.left_out} == {
        "the data was wrong": 3,
        "an ability or a state, not a speed": 3,
        "no value": 3,
        "not believed": 3,
        "not on a GPU: references are kept by PCI id": 3,
        "between devices of different kinds": 3,
        "a yardstick of its own run": 3,
        "noisy in most runs": 1,
        "its parameters cannot be written in a reference file": 6,
        "in fewer than 3 runs": 1,
    }


def test_nothing_to_record_cannot_be_judged(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / str(n), [row(1.0, devices=("cpu",))], devices=(CPU,), created=f"2026-01-0{n}T00:00:00Z")
        for n in (1, 2, 3)
    ]
    with pytest.raises(CouldNotJudgeError, match="not on a GPU"):
        record_baseline(load_runs(runs))


def test_a_card_on_a_narrow_link_does_not_widen_the_tolerance(tmp_path: Path) -> None:
    bdfs = [f"0000:{bus:02x}:00.0" for bus in range(3, 11)]
    draw = random.Random(2)
    runs = []
    for number in range(4):
        rows = [
            row(13.5 if bdf == bdfs[5] else draw.gauss(27, 0.1), devices=(bdf,), metric="h2d") for bdf in bdfs
        ]  # fmt: skip
        created = f"2026-01-0{number + 1}T00:00:00Z"
        runs.append(write_run(tmp_path / str(number), rows, devices=[gpu(bdf) for bdf in bdfs], created=created))
    (metric,) = record_baseline(load_runs(runs)).metrics
    assert metric.value == pytest.approx(27, abs=0.2)
    assert metric.removed_devices == 4
    assert metric.tolerance == 0.05


@pytest.mark.parametrize(
    ("mad", "worst", "higher", "tolerance"),
    [(0.0, 100.0, True, 0.05), (0.0, 93.0, True, 0.07), (0.0, 92.9, True, 0.08), (4.0, 99.0, True, 0.20), (0.0, 125.0, False, 0.20)],
)  # fmt: skip
def test_tolerance(mad: float, worst: float, higher: bool, tolerance: float) -> None:
    # 3 * 1.4826 * (20/19.2) * 4 = 18.5 %, in whole per cent 19; 10 runs have a larger correction.
    found, _ = choose_tolerance(100.0, mad, 10, worst, higher_is_better=higher)
    assert found == tolerance


def test_what_is_recorded_passes_lint_and_judges_its_own_runs(tmp_path: Path) -> None:
    values = [400.0, 396.0, 404.0, 398.0, 402.0]
    recording = record(tmp_path, values)
    out = tmp_path / "b60.csv"
    saved = save_recording(recording, out)
    assert saved.rows == 1
    assert lint_files([out], today="2026-12-31").findings == ()
    rows = parse_reference_csv(out.read_text(encoding="utf-8"), origin="b60.csv")
    target = Target(label=BDF, kind="gpu", name="B60", bdf=BDF, device_id="0xe211")
    used = ReferenceBook(rows, [target]).find(make_key("memory", "peak_bandwidth", (BDF,), op="read"))
    assert used is not None
    assert all(value / used.value >= 1 - used.tolerance for value in values)
    side = json.loads(side_path(out).read_text(encoding="utf-8"))
    assert side["schema"] == "xpukit.baseline-record/1"
    assert side["recordings"][0]["metrics"][0]["runs"] == 5


def test_same_runs_same_bytes(tmp_path: Path) -> None:
    recording = record(tmp_path, [400.0, 401.0, 399.0])
    for name in ("a.csv", "b.csv"):
        save_recording(recording, tmp_path / name)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert side_path(tmp_path / "a.csv").read_bytes() == side_path(tmp_path / "b.csv").read_bytes()


def test_merge_keeps_both_sources(tmp_path: Path) -> None:
    out = tmp_path / "b60.csv"
    save_recording(record(tmp_path / "first", [400.0, 401.0, 399.0]), out)
    second = [
        write_run(tmp_path / f"s{n}", [row(380.0 + n)], created=f"2026-02-0{n}T00:00:00Z", host="srv2") for n in (1, 2, 3)
    ]  # fmt: skip
    recording = record_baseline(load_runs(second))
    saved = save_recording(recording, out, merge=out)
    rows = parse_reference_csv(out.read_text(encoding="utf-8"), origin="b60.csv")
    assert [(item.value, item.date) for item in rows] == [(400.0, "2026-01-03"), (382.0, "2026-02-03")]
    assert len({item.source for item in rows}) == 2
    assert "1 metrics now have two sources or more; the newest of the same kind is used" in saved.notes
    assert len(json.loads(side_path(out).read_text(encoding="utf-8"))["recordings"]) == 2
    again = save_recording(recording, out, merge=out)
    assert again.rows == 2
    assert len(json.loads(side_path(out).read_text(encoding="utf-8"))["recordings"]) == 2
    shown = show_baseline(rows, ["8086:e211"])
    assert (shown.metrics[0].winner.value, shown.metrics[0].losers[0].why) == (382.0, "older")


def test_merging_into_a_broken_file_writes_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text("device,benchmark\n8086:e211,x\n")
    with pytest.raises(BadFactsError, match="no column"):
        save_recording(record(tmp_path, [1.0, 1.0, 1.0]), tmp_path / "out.csv", merge=broken)
    assert not (tmp_path / "out.csv").exists()
    assert not side_path(tmp_path / "out.csv").exists()


def reference(value: float = 400.0, **more: object) -> ReferenceRow:
    fields: dict[str, object] = {
        "device": "8086:e211", "benchmark": "memory", "metric": "peak_bandwidth", "params": (("op", "read"),),
        "value": value, "unit": "GB/s", "higher_is_better": True, "kind": "measured", "tolerance": 0.1, "source": "s",
        "date": "2026-01-01", "origin": "f.csv:2",
    } | more  # fmt: skip
    return ReferenceRow(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("better", "worse", "why"),
    [
        ({"layer": 1, "kind": "spec"}, {"layer": 0}, "a lower layer"),
        ({"layer": 2}, {"layer": 1}, "a lower layer"),
        ({}, {"kind": "published"}, "published counts less than measured"),
        ({"kind": "published"}, {"kind": "spec"}, "spec counts less than published"),
        ({}, {"params": ()}, "names fewer parameters"),
        ({"date": "2026-02-01"}, {}, "older"),
        ({"origin": "f.csv:9"}, {"origin": "f.csv:10"}, "stands later in its file"),
    ],
)
def test_show_agrees_with_the_judge(better: dict[str, object], worse: dict[str, object], why: str) -> None:
    rows = [reference(300.0, **worse), reference(400.0, **better)]
    shown = show_baseline(rows, ["8086:e211"], layers=["one.csv", "two.csv"])
    metric = next(item for item in shown.metrics if item.params == {"op": "read"})
    assert metric.winner.value == 400.0
    assert [loser.why for loser in metric.losers] == [why]
    target = Target(label=BDF, kind="gpu", name="B60", bdf=BDF, device_id="e211")
    used = ReferenceBook(rows, [target]).find(make_key("memory", "peak_bandwidth", (BDF,), op="read"))
    assert used is not None
    assert used.value == metric.winner.value


def test_a_device_without_rows_is_said() -> None:
    shown = show_baseline([reference()], ["8086:e223", "8086:e211"])
    assert shown.without == ("8086:e223",)
    assert len(shown.metrics) == 1


@pytest.mark.parametrize(
    ("pattern", "devices"),
    [
        ("8086:e211", ("8086:e211",)),
        ("E211", ("8086:e211",)),
        ("0xe211", ("8086:e211",)),
        ("B60", ("8086:e211",)),
        ("*Pro B7*", ("8086:e223",)),
        ("10de:2330", ("10de:2330",)),
    ],
)
def test_devices_by_id_and_name(pattern: str, devices: tuple[str, ...]) -> None:
    assert choose_devices([pattern]) == devices


TEXT = st.text(
    st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=20
).map(str.strip).filter(bool)  # fmt: skip


@given(
    st.lists(
        st.builds(
            reference,
            value=st.floats(min_value=1e-6, max_value=1e9),
            source=TEXT,
            params=st.dictionaries(
                st.sampled_from("abc"), st.one_of(st.integers(0, 10**12), st.sampled_from(["x", "1x", "Llama 8B qkv"]))
            ).map(lambda params: tuple(sorted(params.items()))),
        ),
        max_size=5,
    )
)
def test_what_is_written_reads_back(rows: list[ReferenceRow]) -> None:
    read = parse_reference_csv(write_reference_csv(rows), origin="f.csv")
    assert [(item.value, item.source, item.params) for item in read] == [
        (item.value, item.source, item.params) for item in rows
    ]


def test_merge_adds_nothing_twice() -> None:
    rows, notes = merge_rows([reference()], [reference(), reference(source="other")])
    assert [item.source for item in rows] == ["s", "other"]
    assert "1 rows of the same source stood there already" in notes


def test_rows_of_latency_say_lower(tmp_path: Path) -> None:
    runs = [
        write_run(
            tmp_path / str(n), [row(5.0, metric="duration", unit="us", higher_is_better=False)], created=f"2026-01-0{n}T00:00:00Z"
        )
        for n in (1, 2, 3)
    ]  # fmt: skip
    assert not make_rows(record_baseline(load_runs(runs)))[0].higher_is_better
