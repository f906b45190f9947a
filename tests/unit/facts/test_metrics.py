"""The table of metrics against what benchmarks promise, and the line rate."""

from __future__ import annotations

import pytest

from xpukit.core.measurement import YES_NO, Method, Target
from xpukit.evaluate.benchmark import Benchmark, Scope
from xpukit.evaluate.registry import list_benchmarks
from xpukit.facts.metrics import load_metrics
from xpukit.facts.pcie import compute_line_rate_gbps
from xpukit.facts.references import load_references
from xpukit.facts.suites import list_suites, load_suite
from xpukit.host.live import LiveHost

GPUS = tuple(
    Target(label=f"0000:{bus:02x}:00.0", kind="gpu", name="Arc Pro B60", bdf=f"0000:{bus:02x}:00.0", device_id="e211",
           level_zero_index=index, numa_node=0, memory_bytes=24 << 30)
    for index, bus in enumerate((3, 0x18))
)  # fmt: skip


@pytest.mark.live  # a plan may ask the host what is installed
@pytest.mark.parametrize("suite_name", list_suites())
@pytest.mark.parametrize("benchmark", list_benchmarks(), ids=lambda benchmark: benchmark.name)
def test_every_promised_metric_is_in_the_table(benchmark: Benchmark, suite_name: str) -> None:
    if benchmark.name.endswith("_ceiling"):
        pytest.skip("yardsticks have no references")
    suite = load_suite(suite_name)
    if benchmark.name not in suite.benchmarks:
        pytest.skip("not in this suite")
    scope = Scope(
        targets=GPUS, settings=suite.benchmarks[benchmark.name], method=Method(), host=LiveHost(),
        numa_nodes=((0, "0-1"),), memory_bytes=8 << 30,
    )  # fmt: skip
    for job in benchmark.plan(scope).jobs:
        for promise in job.promises:
            if promise.unit == YES_NO:
                continue
            facts = load_metrics()[promise.key.benchmark, promise.key.metric]
            params = dict(promise.key.params)
            assert facts.find_unit(params) == promise.unit, promise.key
            assert (facts.direction == "higher") == promise.higher_is_better, promise.key
            for name, value in params.items():
                assert (facts.params[name] == "number") == isinstance(value, int | float), promise.key


def test_every_shipped_reference_row_is_of_a_known_metric() -> None:
    metrics = load_metrics()
    assert {(row.benchmark, row.metric) for row in load_references()} <= set(metrics)


@pytest.mark.parametrize(
    ("speed", "width", "gbps"),
    [(2.5, 1, 0.25), (8.0, 16, 15.754), (16.0, 8, 15.754), (32.0, 8, 31.508), (64.0, 1, 7.562)],
)
def test_line_rate(speed: float, width: int, gbps: float) -> None:
    assert compute_line_rate_gbps(speed, width) == gbps
