"""Memory, transfers and copies between devices for real on this CPU: plausible, right, planted errors caught."""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from xpukit.core.measurement import Job, Measurement, Method, Target
from xpukit.evaluate.benchmarks import p2p
from xpukit.evaluate.embedded.environment import build_worker_environment
from xpukit.evaluate.embedded.protocol import Request, build_job, parse_worker_output
from xpukit.host.live import LiveHost
from xpukit.host.native import libraries

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "xpukit" / "host" / "native" / "kernels"
CPU = Target(label="cpu", kind="cpu", name="CPU")
PARTS = tuple(Target(label=f"cpu/part{place}", kind="cpu", name="half a CPU", tile=place) for place in range(2))
QUICK = Method(warmup_limit_s=0.02, time_box_s=0.02, min_samples=3, max_samples=8)
MIB = 1 << 20
# More than any two-socket server's memory or cache gives to one process's copies, and less than a nonsense clock.
IMPOSSIBLE_GBPS = 20_000.0

needs_engine = pytest.mark.skipif(
    bool(libraries.describe_missing()), reason=f"not installed: {', '.join(libraries.describe_missing())}"
)


def run_kind(kind: str, targets: tuple[Target, ...], params: dict[str, Any]) -> list[Measurement]:
    job: Job = build_job(
        benchmark=kind,
        name=kind,
        request=Request(kind=kind, targets=targets, method=QUICK, params=params),
        promises=(),
        estimate_s=15.0,
        env=build_worker_environment(targets),
    )
    ran = LiveHost().run(job.argv, timeout_s=120, input=job.input, env=job.env, cwd=str(ROOT))
    parsed = parse_worker_output(job, ran)
    assert not parsed.problem, ran.err_text
    assert parsed.reasons == ()
    return list(parsed.measurements)


def assert_plausible(rows: list[Measurement]) -> None:
    for row in rows:
        if row.unit == "GB/s":
            assert 0 < statistics.median(row.samples) < IMPOSSIBLE_GBPS, row
        elif row.unit == "us":
            assert 0.01 < statistics.median(row.samples) < 1e6, row


MEMORY = {
    "sizes_bytes": [4096, 65536, 48 * MIB],
    "peak_sizes_bytes": [48 * MIB],
    "ops": ["read", "write", "copy", "triad"],
}


@needs_engine
@pytest.mark.parametrize("stores", ["best", "plain", "streaming"])
def test_memory_is_measured_and_right(stores: str) -> None:
    rows = run_kind("memory", (CPU,), {**MEMORY, "stores": stores})
    assert len(rows) == 4 * 4
    assert_plausible(rows)
    assert all(row.verified for row in rows), [row.verify_detail for row in rows]
    large = {
        dict(row.key.params)["op"]: statistics.median(row.samples) for row in rows if row.key.metric == "peak_bandwidth"
    }
    small = max(statistics.median(row.samples) for row in rows if dict(row.key.params).get("bytes") == 4096)
    assert min(large.values()) > small  # a kernel launch costs more than 4 KiB


@needs_engine
def test_memory_catches_planted_errors() -> None:
    rows = run_kind("memory", (CPU,), {**MEMORY, "plant_error": True})
    assert len(rows) == 16
    for row in rows:
        assert row.verified is False, row
        assert "1 of" in row.verify_detail
        assert "(byte " in row.verify_detail


TRANSFER = {
    "routes": [
        *([way, memory] for memory in ("pageable", "pinned", "shared") for way in ("h2d", "d2h", "h2h")),
        ["d2d", "device"],
    ],
    "sizes_bytes": [4096, MIB, 16 * MIB],
    "peak_sizes_bytes": [16 * MIB],
    "host_node": 0,
    "bind_cpus": None,
}


@needs_engine
def test_transfers_are_measured_and_right() -> None:
    rows = run_kind("transfer", (CPU,), TRANSFER)
    assert len(rows) == len({row.key for row in rows}) == 10 * 5
    assert_plausible(rows)
    assert all(row.verified for row in rows), [row.verify_detail for row in rows]


@needs_engine
def test_transfers_catch_planted_errors() -> None:
    rows = run_kind("transfer", (CPU,), {**TRANSFER, "plant_error": True})
    assert all(row.verified is False and "1 of" in row.verify_detail for row in rows)


@needs_engine
def test_a_worker_bound_to_a_node_still_measures() -> None:
    online = Path("/sys/devices/system/node/node0/cpulist")
    if not online.exists():
        pytest.skip("this kernel shows no NUMA node")
    params = {**TRANSFER, "routes": [["h2d", "pinned"]], "bind_cpus": online.read_text(encoding="utf-8").strip()}
    rows = run_kind("transfer", (CPU,), params)
    assert all(row.verified for row in rows)


@pytest.mark.skipif(sys.platform != "linux", reason="NUMA binding is Linux's")
def test_binding_takes_effect_in_the_kernel() -> None:
    script = (
        "from xpukit.host.native.numa_binding import bind_to_node\n"
        "said = bind_to_node(0, '0')\n"
        "memory = bytearray(8 << 20)\n"
        "import os\n"
        "print(said); print(sorted(os.sched_getaffinity(0)))\n"
        "print(open('/proc/self/numa_maps').read())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    said, cpus, *maps = ran.stdout.splitlines()
    assert cpus == "[0]"
    if said:  # a container that refuses the policy says so
        assert "not bound" in said
    else:
        assert any(" bind:0 " in line and " anon=" in line for line in maps)
    wrong = subprocess.run(
        [sys.executable, "-c", "from xpukit.host.native.numa_binding import bind_to_node; print(bind_to_node(63, ''))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert "not bound to node 63" in wrong.stdout


P2P = {
    "pairs": [[0, 1], [1, 0]],
    "both_ways": [[0, 1]],
    "modes": ["write", "read"],
    "paths": ["peer", "host"],
    "sizes_bytes": [4096, 9 * MIB],
    "peak_sizes_bytes": [9 * MIB],
}


@needs_engine
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU cannot be divided into two devices")
@pytest.mark.parametrize("plant_error", [False, True])
def test_halves_of_the_cpu_copy_to_each_other(plant_error: bool) -> None:
    rows = run_kind("p2p", PARTS, {**P2P, "plant_error": plant_error})
    assert_plausible(rows)
    copies = [row for row in rows if row.key.metric != "access"]
    # One way: 2 modes and the host, each 2 sizes, peak, latency; both ways: 2 modes, no latency.
    assert len(copies) == len({row.key for row in copies}) == 2 * 3 * 4 + 2 * 3
    assert all(row.verified is not plant_error for row in copies), [row.verify_detail for row in copies]
    assert [row.samples for row in rows if row.key.metric == "access"] == [(1.0,), (1.0,)]
    promised = {
        key
        for labels, both in ((("cpu/part0", "cpu/part1"), True), (("cpu/part1", "cpu/part0"), False))
        for way in p2p.list_ways(["write", "read"], ["peer", "host"], both_ways=both)
        for key, _ in p2p._rows(labels, way, P2P["sizes_bytes"], P2P["peak_sizes_bytes"])  # type: ignore[arg-type]
    }
    assert {row.key for row in copies} == promised


CEILING = {"footprint_bytes": 48 * MIB, "ops": ["copy", "triad", "read", "write", "copy_one_process"]}


@pytest.mark.parametrize("plant_error", [False, True])
def test_the_hosts_yardstick(plant_error: bool) -> None:
    pytest.importorskip("numpy")
    cpus = sorted(os.sched_getaffinity(0))[:2]
    rows = run_kind("memory_ceiling", (CPU,), {**CEILING, "cpus": cpus, "plant_error": plant_error})
    assert [dict(row.key.params)["op"] for row in rows] == CEILING["ops"]
    assert_plausible(rows)
    assert all(row.verified is not plant_error for row in rows), [row.verify_detail for row in rows]


def test_a_process_that_dies_is_said_and_does_not_block() -> None:
    pytest.importorskip("numpy")
    script = (
        "import os, xpukit.host.native.host_stream as hs\n"
        "real = hs._prepare\n"
        "def broken(op, arrays):\n"
        "    if 0 in os.sched_getaffinity(0): os._exit(9)\n"
        "    return real(op, arrays)\n"
        "hs._prepare = broken\n"
        "try: hs.measure_host_stream('copy', footprint_bytes=8 << 20, cpus=[0, 1], rounds=3)\n"
        "except hs.CouldNotJudgeError as err: print(err.message)\n"
    )
    if not {0, 1} <= os.sched_getaffinity(0):
        pytest.skip("needs CPUs 0 and 1")
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    assert "without an answer" in ran.stdout or "Broken" in ran.stdout


def test_committed_kernels_belong_to_their_source() -> None:
    listed = dict(reversed(line.split()) for line in (KERNELS / "SHA256SUMS").read_text(encoding="utf-8").splitlines())
    assert set(listed) == {"memory.cl", "memory.spv"}
    for name, digest in listed.items():
        assert hashlib.sha256((KERNELS / name).read_bytes()).hexdigest() == digest, f"{name}: run scripts/build-kernels"


@needs_engine
def test_committed_spirv_runs_like_the_source() -> None:
    """Level Zero gets the SPIR-V; the CPU device takes it too, so that it is not committed untried."""
    script = (
        "import msgspec, os\n"
        "from xpukit.core.measurement import Method, Target\n"
        "from xpukit.evaluate.embedded.kinds import memory\n"
        "from xpukit.evaluate.embedded.protocol import Request\n"
        "from xpukit.evaluate.embedded.worker import Emitter\n"
        "from xpukit.host.native.usm import UsmDevice\n"
        "UsmDevice.build_from_source = UsmDevice.build_from_spirv\n"
        "cpu = memory.list_shapes\n"
        "def gpu_like(device, op, stores):\n"
        "    few = 16 if op == 'read' else 1\n"
        "    gpu = [memory.Shape(layout='strided', width=w, item_vectors=v * few, group_size=64)\n"
        "        for w, v in ((4, 1), (4, 8), (16, 1))]\n"
        "    return {'gpu': gpu, 'cpu': cpu(device, op, 'best')}[os.environ['SHAPES']]\n"
        "memory.list_shapes = gpu_like\n"
        "request = Request(kind='memory', targets=(Target(label='cpu', kind='cpu', name='CPU'),),\n"
        "    method=Method(warmup_limit_s=0.01, time_box_s=0.01, min_samples=2),\n"
        "    params={'sizes_bytes': [4096, 12582912], 'peak_sizes_bytes': [],\n"
        " 'ops': list(memory.memory_sizes.ARRAYS)})\n"
        "class Show(Emitter):\n"
        "    def measured(self, m): print(m.key.params, m.verified, m.verify_detail)\n"
        "    def missing(self, key, reason): assert key.metric == 'peak_bandwidth', reason\n"
        "memory.measure(request, Show(1))\n"
        "os._exit(0) if not os.sys.stdout.flush() else None\n"
    )
    for shapes in ("cpu", "gpu"):
        ran = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, **build_worker_environment([CPU]), "SHAPES": shapes},
        )
        assert ran.returncode == 0, ran.stderr
        lines = ran.stdout.splitlines()
        assert len(lines) == 8, ran.stderr
        assert all(" True " in line for line in lines), lines


def test_requests_survive_the_trip() -> None:
    request = Request(kind="transfer", targets=(CPU,), method=QUICK, params=TRANSFER)
    assert msgspec.json.decode(msgspec.json.encode(request), type=Request).params["routes"] == TRANSFER["routes"]
