"""Judging one number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.core.measurement import YES_NO, Measurement, Target, Verdict, make_key
from xpukit.evaluate.reference import DeviceLimits, Limits, ReferenceBook
from xpukit.evaluate.result import ReferenceUsed, Result
from xpukit.evaluate.verdict import judge_measurement, judge_run
from xpukit.facts.references import parse_reference_csv
from xpukit.facts.suites import JudgeSettings

GPU = Target(label="0000:03:00.0", kind="gpu", name="Arc Pro B60", bdf="0000:03:00.0", device_id="e211")
CPU = Target(label="cpu", kind="cpu", name="CPU")
KEY = make_key("memory", "peak_bandwidth", (GPU.label,), op="triad")


def judge(
    *samples: float, reference: float | None = 100.0, limit: float | None = None, higher: bool = True, unit: str = "GB/s",
    verified: bool | None = True,
) -> Result:  # fmt: skip
    measurement = Measurement(key=KEY, unit=unit, samples=samples, higher_is_better=higher, verified=verified)
    return judge_measurement(
        measurement,
        engine="embedded",
        reference=ReferenceUsed(value=reference, kind="measured", source="s", tolerance=0.1) if reference else None,
        limit=(limit, "spec") if limit else None,
        settings=JudgeSettings(),
    )


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (judge(100, 100, 100), "pass"),
        (judge(90.1, 90.1, 90.1), "pass"),
        (judge(85, 85, 85), "warn"),
        (judge(79, 79, 79), "fail"),
        (judge(60, 79, 100), "warn"),  # noisy: cannot fail
        (judge(79, 79), "warn"),  # two samples tell no spread
        (judge(100, 100, 100, reference=None), "no-baseline"),
        (judge(100, 100, 100, verified=False), "fail"),
        (judge(100, 100, 100, limit=80), "unknown"),
        (judge(100, 100, 100, limit=95), "pass"),
        (judge(float("nan"), float("inf")), "unknown"),
        (judge(), "unknown"),
        (judge(100, 100, 100, higher=False), "pass"),
        (judge(130, 130, 130, higher=False), "fail"),
        (judge(0, 0, 0), "no-baseline"),
        (judge(1, reference=None, unit=YES_NO), "no-baseline"),
    ],
)
def test_verdicts(row: Result, verdict: Verdict) -> None:
    assert row.verdict == verdict, row.reason
    assert row.reason or verdict == "pass"


@given(st.lists(st.floats(-1e300, 1e300) | st.sampled_from([float("nan"), float("inf")]), max_size=12))
def test_any_samples_give_a_row(samples: list[float]) -> None:
    row = judge(*samples)
    assert row.verdict in ("pass", "warn", "fail", "unknown", "no-baseline")
    if row.value is not None:
        assert row.min is not None
        assert row.max is not None
        assert row.min <= row.value <= row.max


@pytest.mark.parametrize(
    ("verdicts", "strict", "expected"),
    [
        (["pass", "fail", "unknown"], False, "fail"),
        (["pass", "unknown"], False, "unknown"),
        (["pass", "warn"], False, "warn"),
        (["pass", "no-baseline"], False, "pass"),
        (["pass", "no-baseline"], True, "unknown"),
        (["not-applicable"], False, "not-applicable"),
        ([], False, "unknown"),
    ],
)
def test_the_worst_that_counts_decides(verdicts: list[Verdict], strict: bool, expected: str) -> None:
    rows = [
        Result(benchmark="b", metric="m", devices=(), params={}, value=None, unit="", verdict=verdict)
        for verdict in verdicts
    ]
    assert judge_run(rows, strict=strict) == expected


HEADER = "device,benchmark,metric,params,value,unit,direction,kind,tolerance,source,date\n"


def test_rows_apply_by_pci_id_and_parameters_and_measured_beats_spec() -> None:
    rows = parse_reference_csv(
        HEADER
        + "8086:e211,memory,peak_bandwidth,,456,GB/s,higher,spec,0.3,sheet,2025-01-01\n"
        + "8086:e211,memory,peak_bandwidth,op=triad,400,GB/s,higher,measured,0.1,lab,2025-01-01\n"
        + "8086:e212,memory,peak_bandwidth,op=triad,1,GB/s,higher,measured,0.1,lab,2025-01-01\n",
        origin="t.csv",
    )
    book = ReferenceBook(rows, (GPU, CPU))
    found = book.find(KEY)
    assert found is not None
    assert (found.value, found.kind) == (400, "measured")
    other = book.find(make_key("memory", "peak_bandwidth", (GPU.label,), op="copy"))
    assert other is not None
    assert other.kind == "spec"
    assert book.find(make_key("memory", "peak_bandwidth", ("cpu",), op="triad")) is None
    assert book.find(make_key("memory", "peak_bandwidth", ("elsewhere",), op="triad")) is None


def test_limits_count_both_ways_for_bidirectional_and_the_slower_device() -> None:
    limits = Limits(
        {
            "a": DeviceLimits(link_gbps=(16.0, "link a"), memory_gbps=(400.0, "spec")),
            "b": DeviceLimits(link_gbps=(32.0, "link b")),
        }
    )
    assert limits.find(make_key("p2p", "bandwidth", ("a", "b"), direction="uni")) == (16.0, "link a")
    assert limits.find(make_key("p2p", "bandwidth", ("a", "b"), direction="bi")) == (32.0, "link a")
    assert limits.find(make_key("memory", "peak_bandwidth", ("a",))) == (400.0, "spec")
    assert limits.find(make_key("memory", "peak_bandwidth", ("b",))) is None
    assert limits.find(make_key("p2p", "bandwidth", ("a", "unknown"), direction="uni")) is None
