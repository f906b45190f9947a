"""Sizes, byte counting and skips of the memory benchmark and its yardstick."""

from __future__ import annotations

import itertools

import pytest

from tests.unit.evaluate.memory_scopes import CPU, GIB, make_gpu, make_host, make_scope, read_request
from xpukit.core.errors import BadFactsError
from xpukit.core.measurement import Target
from xpukit.core.units import MIB
from xpukit.evaluate.benchmarks import memory, memory_ceiling
from xpukit.evaluate.embedded.memory_sizes import ARRAYS, array_bytes, array_offsets, counted_bytes, room_for
from xpukit.evaluate.last_level_cache import read_last_level_cache
from xpukit.facts.suites import list_suites, load_suite


def test_bytes_are_counted_as_stream_counts_them() -> None:
    size = 3 * 4096 * 100
    assert [counted_bytes(op, size) for op in ("read", "write", "copy", "triad")] == [size] * 4
    assert array_bytes("triad", size) == size // 3
    assert array_bytes("copy", size) == size // 2


@pytest.mark.parametrize("op", list(ARRAYS))
@pytest.mark.parametrize("footprint", [4096, 12288, 1 << 20, 1258291200])
def test_arrays_do_not_overlap_and_fit(op: str, footprint: int) -> None:
    size = array_bytes(op, footprint)
    offsets = array_offsets(op, footprint)
    assert len(offsets) == ARRAYS[op]
    assert all(later - earlier >= size for earlier, later in itertools.pairwise(offsets))
    assert offsets[-1] + size <= room_for(footprint)
    assert size % 64 == 0


def test_each_shared_cache_is_counted_once() -> None:
    assert read_last_level_cache(make_host(sockets=2, cache="300M")) == 600 * MIB


def test_a_cache_without_a_readable_size_is_unknown() -> None:
    assert read_last_level_cache(make_host(cache="many")) is None


@pytest.mark.parametrize("suite_name", list_suites())
@pytest.mark.parametrize("target", [CPU, make_gpu(0), make_gpu(1, tile=1)], ids=["cpu", "gpu", "tile"])
def test_shipped_suites_promise_each_size_and_peak_once(suite_name: str, target: Target) -> None:
    suite = load_suite(suite_name)
    plan = memory.plan(make_scope(suite.benchmarks["memory"], target, method=suite.method))
    (job,) = plan.jobs
    request = read_request(job)
    keys = [promise.key for promise in job.promises]
    assert len(set(keys)) == len(keys) == len(request.params["ops"]) * (len(request.params["sizes_bytes"]) + 1)
    assert not plan.skips
    assert request.params["peak_sizes_bytes"]
    assert 0 < job.estimate_s < suite.stated_limit_s


def test_the_cpus_peak_exceeds_four_times_all_caches() -> None:
    scope = make_scope({"sizes_bytes": [4096]}, CPU, host=make_host(sockets=2, cache="100M"))
    (job,) = memory.plan(scope).jobs
    assert read_request(job).params["sizes_bytes"] == [4096, 800 * MIB]
    assert read_request(job).params["peak_sizes_bytes"] == [800 * MIB]


def test_a_peak_that_does_not_fit_is_skipped_with_the_reason() -> None:
    scope = make_scope({"sizes_bytes": [4096]}, CPU, host=make_host(cache="300M"), memory_bytes=2 * GIB)
    plan = memory.plan(scope)
    assert {dict(skip.key.params)["op"] for skip in plan.skips} == set(ARRAYS)
    assert all("1.2 GiB are needed" in skip.reason and "512 MiB may be used" in skip.reason for skip in plan.skips)
    assert all(promise.key.metric == "bandwidth" for promise in plan.jobs[0].promises)
    assert memory_ceiling.plan(scope).jobs == ()
    assert len(memory_ceiling.plan(scope).skips) == 5


def test_sizes_beyond_the_devices_share_are_left_out() -> None:
    scope = make_scope({"sizes_bytes": [4096, GIB, 8 * GIB]}, make_gpu(0, memory_bytes=8 * GIB))
    assert read_request(memory.plan(scope).jobs[0]).params["sizes_bytes"] == [4096, GIB, 2 * GIB]


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(BadFactsError, match="4096"):
        memory.plan(make_scope({"sizes_bytes": [5000]}, CPU))


def test_the_yardstick_is_only_for_the_cpu() -> None:
    assert memory_ceiling.plan(make_scope({}, make_gpu(0))).jobs == ()
    (job,) = memory_ceiling.plan(make_scope({}, CPU)).jobs
    assert read_request(job).params["cpus"] == [0, 1]
    assert job.env["GLIBC_TUNABLES"].startswith("glibc.cpu.x86_non_temporal_threshold=")


def test_a_table_may_change_the_method() -> None:
    (job,) = memory.plan(make_scope({"sizes_bytes": [4096], "time_box_s": 0.01}, CPU)).jobs
    assert read_request(job).method.time_box_s == 0.01
