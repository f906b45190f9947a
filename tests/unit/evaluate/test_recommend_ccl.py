"""P2P against USM for oneCCL: what is recommended, on which evidence."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from xpukit.core.machine import Machine
from xpukit.evaluate.explain import explain
from xpukit.evaluate.recommend_ccl import recommend_ccl, report_recommendation
from xpukit.evaluate.result import Result

GPUS = ("0000:18:00.0", "0000:3a:00.0")
MIB = 1 << 20


def row(mode: str, size: int, value: float | None, **rest: Any) -> Result:
    about: dict[str, Any] = {"collective": "allreduce", "bytes": size, "ranks": 2, "dtype": "bf16", "mode": mode}
    about |= {name[2:]: rest.pop(name) for name in list(rest) if name.startswith("p_")}
    return Result(
        benchmark="collectives",
        metric=rest.pop("metric", "busbw"),
        devices=GPUS,
        params=about,
        value=value,
        unit=rest.pop("unit", "GB/s"),
        n=rest.pop("n", 20),
        mad=rest.pop("mad", None if value is None else 0.005 * value),
        **{"verified": True} | rest,
    )


def both(size: int, p2p: float | None, usm: float | None, **rest: Any) -> list[Result]:
    return [row("p2p", size, p2p, **rest), row("usm", size, usm, **rest)]


@pytest.mark.parametrize(
    ("rows", "line", "words"),
    [
        (both(MIB, 12.0, 8.0) + both(64 * MIB, 20.0, 9.0), "CCL_TOPO_P2P_ACCESS=1", "P2P is faster in allreduce"),
        (both(MIB, 5.0, 8.0) + both(64 * MIB, 6.0, 9.0), "CCL_TOPO_P2P_ACCESS=0", "USM is faster in allreduce"),
        (both(MIB, 8.1, 8.0), "", "no significant difference"),
        (both(MIB, 12.0, 8.0, mad=3.0), "", "no significant difference"),
        (both(MIB, 12.0, 8.0, noisy=True), "", "no significant difference"),
        (both(MIB, 12.0, 8.0, n=2), "", "no significant difference"),
        (both(MIB, 12.0, 8.0, mad=None), "", "no significant difference"),
        ([row("p2p", MIB, 12.0)], "", "not measured: only P2P"),
        ([row("p2p", MIB, 12.0), row("usm", 2 * MIB, 8.0)], "", "no collective has the same sizes"),
        # Lower is better: 30 us against 50.
        (
            both(64, 30.0, 50.0, metric="latency", unit="us", higher_is_better=False),
            "CCL_TOPO_P2P_ACCESS=1",
            "P2P is faster",
        ),
    ],
)
def test_recommendation(rows: list[Result], line: str, words: str) -> None:
    found = recommend_ccl(rows)
    assert found is not None
    assert found.line == line
    assert words in found.summary


def test_nothing_without_rows_in_a_mode() -> None:
    assert recommend_ccl([]) is None
    assert recommend_ccl([row("cpu", MIB, 5.0)]) is None
    assert recommend_ccl([row("p2p", MIB, None, verdict="not-applicable", verified=None)]) is None
    assert explain(Machine(), []) == ()


def test_wrong_data_decides_against_any_speed() -> None:
    rows = [*both(MIB, 30.0, 8.0), row("p2p", 4 * MIB, 31.0, verified=False, verify_detail="sum is 0")]
    found = recommend_ccl(rows)
    assert found is not None
    assert found.line == "CCL_TOPO_P2P_ACCESS=0"
    assert "the data is wrong with P2P" in found.summary
    worst, mode = report_recommendation(found)
    assert (worst.id, worst.severity) == ("XPK-CCL-WRONG-DATA", "critical")
    assert worst.remedy[0] == "export CCL_TOPO_P2P_ACCESS=0"
    assert (mode.id, mode.severity) == ("XPK-CCL-MODE", "info")
    both_wrong = [msgspec.structs.replace(one, verified=False) for one in rows]
    neither = recommend_ccl(both_wrong)
    assert neither is not None
    assert neither.line == ""


def test_a_mode_that_does_not_run_loses() -> None:
    rows = [row("p2p", MIB, None, reason="rank 1 was killed by signal 11", verified=None), row("usm", MIB, 8.0)]
    found = recommend_ccl(rows)
    assert found is not None
    assert found.line == "CCL_TOPO_P2P_ACCESS=0"
    assert "killed by signal 11" in found.summary


def test_crossover_and_the_difference_at_each_size() -> None:
    rows = both(MIB, 4.0, 8.0) + both(4 * MIB, 8.0, 8.05) + both(16 * MIB, 16.0, 8.0) + both(64 * MIB, 20.0, 8.0)
    found = recommend_ccl(rows)
    assert found is not None
    (crossing,) = found.crossovers
    assert (crossing.size_bytes, crossing.above) == (16 * MIB, "p2p")
    assert [one.gain_percent for one in found.comparisons] == [-50.0, -0.6, 100.0, 150.0]
    assert [one.winner for one in found.comparisons] == ["usm", "", "p2p", "p2p"]
    (finding,) = report_recommendation(found)
    assert len(finding.evidence) == 4
    assert finding.evidence[2].source == "busbw allreduce 16 MiB bf16 x2"
    assert finding.evidence[2].value == "P2P 16.00, USM 8.00 GB/s: +100.0 % (P2P better)"
    assert any("P2P from 16 MiB on, USM below" in step for step in finding.remedy)
    assert finding.remedy[0] == "export CCL_TOPO_P2P_ACCESS=1"


def test_allreduce_decides_where_it_differs() -> None:
    rows = both(MIB, 12.0, 8.0) + both(MIB, 1.0, 8.0, p_collective="alltoall")
    found = recommend_ccl(rows)
    assert found is not None
    assert found.line == "CCL_TOPO_P2P_ACCESS=1"
    level = both(MIB, 8.0, 8.0) + both(MIB, 1.0, 8.0, p_collective="alltoall")
    other = recommend_ccl(level)
    assert other is not None
    assert other.line == "CCL_TOPO_P2P_ACCESS=0"
    assert "in all collectives" in other.summary


def test_the_bus_figure_stands_for_both_bandwidths() -> None:
    rows = both(MIB, 12.0, 8.0) + both(MIB, 6.0, 4.0, metric="algbw") + both(MIB, 9.0, 4.0, metric="algbw", p_ranks=4)
    found = recommend_ccl(rows)
    assert found is not None
    assert [(one.metric, one.ranks) for one in found.comparisons] == [("busbw", 2), ("algbw", 4)]
