"""Which transfers are planned: NUMA nodes x devices x routes, and what is skipped."""

from __future__ import annotations

import pytest

from tests.unit.evaluate.memory_scopes import CPU, GIB, make_gpu, make_host, make_scope, read_request
from xpukit.core.errors import BadFactsError
from xpukit.core.measurement import Target
from xpukit.core.units import MIB
from xpukit.evaluate.benchmarks import transfer
from xpukit.facts.suites import list_suites, load_suite

SMALL = {"sizes_bytes": [4096, 65536], "directions": ["h2d", "d2h", "d2d"], "memories": ["pinned"]}


@pytest.mark.parametrize("suite_name", list_suites())
@pytest.mark.parametrize("target", [CPU, make_gpu(0)], ids=["cpu", "gpu"])
def test_shipped_suites_promise_each_row_once(suite_name: str, target: Target) -> None:
    suite = load_suite(suite_name)
    plan = transfer.plan(make_scope(suite.benchmarks["transfer"], target, method=suite.method))
    (job,) = plan.jobs
    keys = [promise.key for promise in job.promises]
    params = read_request(job).params
    assert len(set(keys)) == len(keys) == len(params["routes"]) * (len(params["sizes_bytes"]) + 2)
    assert not plan.skips


def test_every_node_meets_every_device_and_inner_copies_run_once() -> None:
    nodes = ((0, "0-1"), (1, "2-3"))
    scope = make_scope(SMALL, make_gpu(0), make_gpu(1), numa_nodes=nodes, host=make_host(sockets=2))
    jobs = transfer.plan(scope).jobs
    assert [(read_request(job).params["host_node"], job.targets[0]) for job in jobs] == [
        (0, "0000:03:00.0"),
        (1, "0000:03:00.0"),
        (0, "0000:04:00.0"),
        (1, "0000:04:00.0"),
    ]
    assert [read_request(job).params["bind_cpus"] for job in jobs] == ["0-1", "2-3"] * 2
    inner = [promise.key for job in jobs for promise in job.promises if dict(promise.key.params)["direction"] == "d2d"]
    assert all("host_node" not in dict(key.params) for key in inner)
    assert len(set(inner)) == len(inner) == 2 * 5  # per device: two small sizes, the peak's size, peak, latency
    keys = [promise.key for job in jobs for promise in job.promises]
    assert len(set(keys)) == len(keys)


def test_one_node_is_not_bound() -> None:
    (job,) = transfer.plan(make_scope(SMALL, CPU)).jobs
    assert read_request(job).params["bind_cpus"] is None


def test_routes_of_one_memory_stand_together() -> None:
    routes = transfer.list_routes({}, with_d2d=True)
    assert routes[-1] == ("d2d", "device")
    assert [memory for _, memory in routes[:-1]] == ["pageable"] * 3 + ["pinned"] * 3 + ["shared"] * 3


def test_latency_is_better_when_lower() -> None:
    (job,) = transfer.plan(make_scope(SMALL, CPU)).jobs
    directions = {(promise.key.metric, promise.higher_is_better) for promise in job.promises}
    assert directions == {("latency", False), ("bandwidth", True), ("peak_bandwidth", True)}


def test_a_peak_beyond_the_memory_is_skipped_with_the_reason() -> None:
    plan = transfer.plan(make_scope(SMALL, CPU, host=make_host(cache="300M"), memory_bytes=2 * GIB))
    assert [skip.key.metric for skip in plan.skips] == ["peak_bandwidth"] * 3
    assert "600 MiB per buffer are needed" in plan.skips[0].reason


def test_on_the_cpu_both_buffers_together_exceed_four_times_its_caches() -> None:
    (job,) = transfer.plan(make_scope(SMALL, CPU, host=make_host(cache="100M"))).jobs
    assert read_request(job).params["peak_sizes_bytes"] == [200 * MIB]


@pytest.mark.parametrize("wrong", [{"directions": ["up"]}, {"memories": ["remembered"]}])
def test_unknown_words_in_a_suite_are_refused(wrong: dict[str, list[str]]) -> None:
    with pytest.raises(BadFactsError, match="unknown"):
        transfer.plan(make_scope({**SMALL, **wrong}, CPU))
