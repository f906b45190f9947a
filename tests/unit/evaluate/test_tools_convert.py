"""A tool's figure stands in the row of the embedded engine's figure for the same thing."""

from __future__ import annotations

import pytest

from tests.unit.evaluate.parsers.damaged_text import DATA
from xpukit.core.measurement import Measurement, MetricKey, make_key
from xpukit.evaluate.embedded.gemm_cases import Case
from xpukit.evaluate.embedded.kinds.p2p import Way, way_key
from xpukit.evaluate.embedded.kinds.transfer import route_key
from xpukit.evaluate.embedded.ranks import Case as CollectiveCase
from xpukit.evaluate.embedded.ranks import RankParams, key_of
from xpukit.evaluate.parsers.matrix_mul import parse_matrix_mul
from xpukit.evaluate.parsers.oneccl_benchmark import parse_table
from xpukit.evaluate.parsers.ze_bandwidth import parse_ze_bandwidth
from xpukit.evaluate.parsers.ze_peak import parse_ze_peak
from xpukit.evaluate.parsers.ze_peer import parse_ze_peer
from xpukit.evaluate.tools.convert import (
    convert_matrix_mul,
    convert_oneccl,
    convert_ze_bandwidth,
    convert_ze_peak,
    convert_ze_peer,
)
from xpukit.evaluate.tools.pool import MeasurementPool

LABELS = {0: "a", 1: "b"}
WAY = Way(mode="read", direction="uni", path="peer")
RANKS = RankParams(benchmark="collectives", ranks=4, mode="usm", devices=tuple("abcd"), cases=())
ALLTOALL = CollectiveCase(collective="alltoall", size_bytes=4 * 134217728, dtype="fp16", metrics=())


def read(tool: str, name: str) -> dict[MetricKey, Measurement]:
    text = (DATA / tool / f"{name}.txt").read_text(encoding="utf-8")
    found = {
        "ze_peer": lambda: convert_ze_peer(parse_ze_peer(text), LABELS),
        "ze_bandwidth": lambda: convert_ze_bandwidth(parse_ze_bandwidth(text), LABELS, host_node=1),
        "ze_peak": lambda: convert_ze_peak(parse_ze_peak(text), LABELS),
        "matrix_mul": lambda: convert_matrix_mul(parse_matrix_mul(text), "a"),
        "oneccl_benchmark": lambda: convert_oneccl(parse_table(text), tuple("abcd"), "usm"),
    }[tool]()
    return {measurement.key: measurement for measurement in found}


@pytest.mark.parametrize(
    ("tool", "name", "key", "value", "unit"),
    [
        ("ze_peer", "uni-2dev", way_key("peak_bandwidth", ("a", "b"), WAY, None), 24.72, "GB/s"),
        ("ze_peer", "uni-2dev", make_key("p2p", "access", ("a", "b")), 1.0, "yes/no"),
        ("ze_peer", "uni-2dev", way_key("bandwidth", ("a", "b"), WAY, 256 << 20), 24.72, "GB/s"),
        (
            "ze_bandwidth", "table-1dev-verified",
            route_key("peak_bandwidth", "a", "h2d", "pinned", 1, None), 25.8, "GB/s",
        ),
        ("ze_bandwidth", "table-1dev-verified", route_key("latency", "a", "h2d", "pinned", 1, 1), 4.04, "us"),
        ("ze_peak", "all", make_key("memory", "peak_bandwidth", ("a",), op="read"), 402.0, "GB/s"),
        ("ze_peak", "all", make_key("compute", "peak_throughput", ("a",), dtype="fp32"), 12.288, "TFLOPS"),
        (
            "matrix_mul", "installer-int8",
            Case(dtype="int8", shape="square", m=40960, n=40960, k=40960).build_key("gemm", "a"), 1020.0, "TOPS",
        ),
        ("oneccl_benchmark", "patched-alltoall-4ranks", key_of(RANKS, ALLTOALL, "busbw"), 18.44 * 1.048576, "GB/s"),
        ("oneccl_benchmark", "patched-alltoall-4ranks", key_of(RANKS, ALLTOALL, "latency"), 20828.16, "us"),
    ],
)  # fmt: skip
def test_rows_are_shared(tool: str, name: str, key: MetricKey, value: float, unit: str) -> None:
    found = read(tool, name)[key]
    assert found.samples == (pytest.approx(value),)
    assert found.unit == unit
    assert found.higher_is_better == (unit != "us")


def test_pairs_at_once_are_no_pair_alone() -> None:
    found = read("ze_peer", "pair-targets-6dev")
    assert {key.metric for key in found} == {"parallel_bandwidth"}
    total = [
        measurement
        for key, measurement in found.items()
        if len(key.devices) == 6 and dict(key.params)["bytes"] == 768 << 20
    ]
    assert sorted(measurement.samples[0] for measurement in total) == [52.2, 54.6]


def test_devices_at_once_are_no_device_alone() -> None:
    found = read("ze_bandwidth", "csv-2dev")
    assert {key.metric for key in found} == {"parallel_bandwidth", "parallel_latency"}


def test_refused_access_and_wrong_data() -> None:
    err = (DATA / "ze_peer" / "no-p2p.err").read_text(encoding="utf-8")
    text = (DATA / "ze_peer" / "no-p2p.txt").read_text(encoding="utf-8")
    access = [m for m in convert_ze_peer(parse_ze_peer(text, err), LABELS) if m.key.metric == "access"]
    assert {(m.key.devices, m.samples[0]) for m in access} == {(("a", "b"), 1.0), (("a", "device2"), 0.0)}
    (row,) = (m for key, m in read("ze_peer", "wrong-data").items() if key.metric == "bandwidth")
    assert row.verified is False
    assert "validate_buffer" in row.verify_detail


def test_a_wrong_sample_spoils_the_pool_in_either_order() -> None:
    key = make_key("p2p", "bandwidth", ("a", "b"))
    for order in ((True, False), (False, True), (None, False), (False, None)):
        pool = MeasurementPool()
        for verified in order:
            pool.add(key, "GB/s", 1.0, verified=verified, verify_detail="why" if verified is False else "")
        (found,) = pool.done()
        assert (found.verified, found.verify_detail, len(found.samples)) == (False, "why", 2)
