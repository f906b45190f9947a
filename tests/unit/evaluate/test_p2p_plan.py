"""Pairs, skips and promises of the peer-to-peer benchmark."""

from __future__ import annotations

import pytest

from tests.unit.evaluate.memory_scopes import CPU, make_gpu, make_host, make_scope, read_request
from xpukit.core.measurement import Target
from xpukit.evaluate.benchmarks import p2p
from xpukit.facts.suites import list_suites, load_suite
from xpukit.host.level_zero.snapshot import Peer

SMALL = {"sizes_bytes": [4096, 1 << 26]}


@pytest.mark.parametrize("targets", [(CPU,), (make_gpu(0),), (make_gpu(0), CPU)], ids=["cpu", "gpu", "both"])
def test_fewer_than_two_devices_give_one_row_per_metric(targets: tuple[Target, ...]) -> None:
    plan = p2p.plan(make_scope(SMALL, *targets))
    assert plan.jobs == ()
    assert [skip.key.metric for skip in plan.skips] == ["access", "bandwidth", "peak_bandwidth", "latency"]
    assert all("two devices" in skip.reason for skip in plan.skips)


@pytest.mark.parametrize("suite_name", list_suites())
def test_all_ordered_pairs_are_promised_once(suite_name: str) -> None:
    suite = load_suite(suite_name)
    gpus = tuple(make_gpu(index) for index in range(4))
    plan = p2p.plan(make_scope(suite.benchmarks["p2p"], *gpus, method=suite.method))
    keys = [promise.key for job in plan.jobs for promise in job.promises]
    assert len(set(keys)) == len(keys)
    assert not plan.skips
    access = {key.devices for key in keys if key.metric == "access"}
    assert len(access) == 12
    both_ways = {key.devices for key in keys if dict(key.params).get("direction") == "bi"}
    assert len(both_ways) == 6
    assert {frozenset(pair) for pair in both_ways} == {frozenset(pair) for pair in access}
    assert [job.env["ZE_AFFINITY_MASK"] for job in plan.jobs] == ["0,1,2,3"] * 4


def test_tiles_of_one_card_are_devices_too() -> None:
    plan = p2p.plan(make_scope(SMALL, make_gpu(0, tile=0), make_gpu(0, tile=1)))
    assert plan.jobs[0].env["ZE_AFFINITY_MASK"] == "0.0,0.1"


def test_pairs_that_the_driver_refuses_are_skipped_but_go_through_the_host() -> None:
    host = make_host(peers=(Peer(driver_index=0, src="0", dst="1", can_access=False),))
    plan = p2p.plan(make_scope(SMALL, make_gpu(0), make_gpu(1), make_gpu(2), host=host))
    skipped = {skip.key.devices for skip in plan.skips}
    assert skipped == {("0000:03:00.0", "0000:04:00.0"), ("0000:04:00.0", "0000:03:00.0")}
    assert {dict(skip.key.params)["path"] for skip in plan.skips} == {"peer"}
    promised = {
        dict(promise.key.params).get("path", promise.key.metric)
        for promise in plan.jobs[0].promises
        if promise.key.devices == ("0000:03:00.0", "0000:04:00.0")
    }
    assert promised == {"access", "host"}
    assert read_request(plan.jobs[0]).params["refused"] == [[0, 1]]
