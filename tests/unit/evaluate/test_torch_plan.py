"""Plans of the engine `torch`: the embedded engine's rows, and what torch has not as skips with the reason."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.machines.dict_host import DictHost
from tests.unit.evaluate.memory_scopes import CPU, GIB, make_gpu, make_host, make_scope, read_request
from xpukit.core.measurement import MetricKey, Target
from xpukit.evaluate.benchmark import Benchmark, Plan
from xpukit.evaluate.benchmarks import (
    collectives,
    gemm,
    memory,
    p2p,
    torch_collectives,
    torch_gemm,
    torch_memory,
    torch_p2p,
    torch_transfer,
    transfer,
)
from xpukit.evaluate.embedded.protocol import WORKER_MODULE
from xpukit.evaluate.torch_engine.presence import TorchFound, explain_absence, find_torch
from xpukit.facts.suites import list_suites, load_suite
from xpukit.host.answers import IdentityAnswer
from xpukit.host.level_zero.snapshot import Peer

PAIRS = [
    (gemm.BENCHMARK, torch_gemm.BENCHMARK),
    (memory.BENCHMARK, torch_memory.BENCHMARK),
    (transfer.BENCHMARK, torch_transfer.BENCHMARK),
    (p2p.BENCHMARK, torch_p2p.BENCHMARK),
    (collectives.BENCHMARK, torch_collectives.BENCHMARK),
]
MACHINES = {
    "cpu": (CPU,),
    "gpu": (make_gpu(0),),
    "gpus": (make_gpu(0), make_gpu(1)),
    "tiles": (make_gpu(0, 0), make_gpu(0, 1)),
}


def list_keys(plan: Plan) -> list[MetricKey]:
    return [promise.key for job in plan.jobs for promise in job.promises] + [skip.key for skip in plan.skips]


def plan_suite(benchmark: Benchmark, suite_name: str, targets: tuple[Target, ...]) -> Plan:
    suite = load_suite(suite_name)
    return benchmark.plan(make_scope(suite.benchmarks[benchmark.table], *targets, method=suite.method))


@pytest.mark.live  # the plans of collectives ask where mpiexec is
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("suite_name", list_suites())
@pytest.mark.parametrize(("embedded", "ours"), PAIRS, ids=[ours.name for _, ours in PAIRS])
def test_the_rows_are_the_embedded_engines(embedded: Benchmark, ours: Benchmark, suite_name: str, machine: str) -> None:
    """Each row of the embedded plan is promised or skipped here too, once, and nothing else is."""
    targets = MACHINES[machine]
    mine = plan_suite(ours, suite_name, targets)
    keys = list_keys(mine)
    assert len(keys) == len(set(keys))
    assert set(keys) == set(list_keys(plan_suite(embedded, suite_name, targets)))
    assert all(skip.reason for skip in mine.skips)
    for job in mine.jobs:
        request = read_request(job)
        assert request.kind == job.benchmark == ours.name
        assert job.timeout_s > job.estimate_s > 0


def test_the_benchmarks_say_whose_rows_they_give() -> None:
    for embedded, ours in PAIRS:
        assert (ours.name, ours.engine) == (f"torch_{embedded.name}", "torch")
        assert ours.row_name == ours.table == embedded.name
        assert ours.order == embedded.order


def test_two_workers_share_the_types_of_a_device() -> None:
    plan = plan_suite(torch_gemm.BENCHMARK, "standard", MACHINES["gpu"])
    assert [job.name for job in plan.jobs] == [f"torch gemm {name} 0000:03:00.0" for name in ("floats", "quantized")]
    assert {dict(skip.key.params)["dtype"] for skip in plan.skips} == {"int4_fp16", "int4_bf16"}
    assert all("4-bit" in skip.reason for skip in plan.skips)
    dtypes = [{dict(promise.key.params)["dtype"] for promise in job.promises} for job in plan.jobs]
    assert dtypes == [{"fp64", "fp32", "tf32", "fp16", "bf16"}, {"int8", "fp8_e4m3", "fp8_e5m2"}]


def test_a_planted_error_is_asked_for_in_every_request() -> None:
    for _, ours in PAIRS[:4]:
        settings: dict[str, Any] = {**load_suite("quick").benchmarks[ours.table], "plant_error": True}
        for job in ours.plan(make_scope(settings, *MACHINES["gpus"])).jobs:
            assert read_request(job).params["plant_error"]


def test_torch_has_no_shared_memory() -> None:
    settings = {"sizes_bytes": [4096], "memories": ["pinned", "shared"], "directions": ["h2d", "d2d"]}
    plan = torch_transfer.BENCHMARK.plan(make_scope(settings, make_gpu(0)))
    (job,) = plan.jobs
    assert read_request(job).params["routes"] == [["h2d", "pinned"], ["d2d", "device"]]
    assert {dict(skip.key.params)["memory"] for skip in plan.skips} == {"shared"}
    only_shared = {**settings, "memories": ["shared"], "directions": ["h2d"]}
    plan = torch_transfer.BENCHMARK.plan(make_scope(only_shared, make_gpu(0)))
    assert plan.jobs == ()
    assert len(plan.skips) == 4


def test_torch_copies_between_devices_by_writing() -> None:
    settings = {"sizes_bytes": [4096], "modes": ["write", "read"]}
    scope = make_scope(settings, *MACHINES["gpus"])
    plan = torch_p2p.BENCHMARK.plan(scope)
    assert [read_request(job).params["modes"] for job in plan.jobs] == [["write"]] * 2
    assert {dict(skip.key.params)["mode"] for skip in plan.skips} == {"read"}
    # What the driver refuses stays what it is.
    refused = make_host(peers=(Peer(driver_index=0, src="0", dst="1", can_access=False),))
    plan = torch_p2p.BENCHMARK.plan(make_scope(settings, *MACHINES["gpus"], host=refused))
    reasons = {skip.reason for skip in plan.skips if dict(skip.key.params)["mode"] == "write"}
    assert reasons == {"the driver gives these devices no access to each other"}


def test_devices_are_shown_to_torch_in_level_zero_order() -> None:
    settings = {"sizes_bytes": [4096]}
    one = make_gpu(2, 1)
    (job,) = torch_memory.BENCHMARK.plan(make_scope(settings, one)).jobs
    assert job.env["ZE_AFFINITY_MASK"] == "2.1"  # one tile is a device of its own in either hierarchy
    for job in torch_p2p.BENCHMARK.plan(make_scope(settings, make_gpu(3), make_gpu(1))).jobs:
        assert (job.env["ZE_AFFINITY_MASK"], job.env["ZE_FLAT_DEVICE_HIERARCHY"]) == ("1,3", "COMPOSITE")
    # Torch never divides a card: several tiles are devices only where the hierarchy is flat.
    for job in torch_p2p.BENCHMARK.plan(make_scope(settings, make_gpu(1, 0), make_gpu(1, 1))).jobs:
        assert (job.env["ZE_AFFINITY_MASK"], job.env["ZE_FLAT_DEVICE_HIERARCHY"]) == ("2,3", "FLAT")


def test_ranks_start_without_mpi() -> None:
    settings = {"sizes": [1 << 20], "ranks": "max", "modes": ["p2p", "usm"]}
    plan = torch_collectives.BENCHMARK.plan(make_scope(settings, *MACHINES["gpus"]))
    launcher = (sys.executable, "-m", "xpukit.host.native.rank_launcher", "2")
    assert [job.argv for job in plan.jobs] == [(*launcher, sys.executable, "-m", WORKER_MODULE)] * 2
    assert [job.env["CCL_TOPO_P2P_ACCESS"] for job in plan.jobs] == ["1", "0"]
    assert not any(name.startswith(("I_MPI", "CCL_PLUGIN", "CCL_ATL")) for job in plan.jobs for name in job.env)


@pytest.mark.parametrize(("chosen", "given"), [(None, "1"), ("4", None)])
def test_a_cpu_rank_has_one_thread_unless_the_user_said_more(
    chosen: str | None, given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if chosen is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    (job,) = torch_collectives.BENCHMARK.plan(make_scope({"sizes": [1 << 20]}, CPU)).jobs
    assert job.env.get("OMP_NUM_THREADS") == given


VERSION = """from typing import Optional
__all__ = ['__version__', 'debug', 'cuda', 'xpu']
__version__ = '2.13.0+xpu'
debug = False
cuda: Optional[str] = None
hip: Optional[str] = None
xpu: Optional[str] = '20250302'
"""


def make_python(files: dict[str, str]) -> DictHost:
    identity = IdentityAnswer(executable="/opt/venv/bin/python", site_packages=("/a/site-packages", "/b/site-packages"))
    return DictHost(files, answers={("identity",): identity})


def test_torch_is_found_without_importing_it() -> None:
    host = make_python({"/b/site-packages/torch/version.py": VERSION})
    assert find_torch(host) == TorchFound(version="2.13.0+xpu", directory="/b/site-packages", backends=("xpu",))
    assert explain_absence(host) == ""
    odd = make_python({"/a/site-packages/torch/version.py": "\x00 nothing of the kind"})
    assert find_torch(odd) == TorchFound(version="", directory="/a/site-packages")


def test_without_torch_the_reason_names_the_python() -> None:
    assert explain_absence(make_python({})) == "torch is not installed for /opt/venv/bin/python"


def test_memory_of_the_device_bounds_what_is_planned() -> None:
    small = make_gpu(0, memory_bytes=GIB // 4)
    plan = torch_memory.BENCHMARK.plan(make_scope({"sizes_bytes": [4096, GIB]}, small))
    (job,) = plan.jobs
    assert read_request(job).params["sizes_bytes"] == [4096]
    assert {skip.key.metric for skip in plan.skips} == {"peak_bandwidth"}
