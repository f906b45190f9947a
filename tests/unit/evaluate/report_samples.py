"""Evaluations as runs make them, for the report's tests: deterministic, no measuring."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from xpukit.core.finding import Evidence, Finding
from xpukit.core.machine import (
    CpuLayout,
    Device,
    Firmware,
    Link,
    Machine,
    NumaNode,
    SoftwareItem,
    Topology,
    Unread,
)
from xpukit.core.measurement import Param, Verdict
from xpukit.evaluate.result import (
    DeviceSummary,
    Evaluation,
    JobRecord,
    KnownLimit,
    ReferenceUsed,
    Result,
)

KIB, MIB = 1 << 10, 1 << 20
SIZES = (4 * KIB, 32 * KIB, 256 * KIB, 2 * MIB, 16 * MIB, 64 * MIB, 256 * MIB, 1024 * MIB)
_RANDOM = random.Random(1)
DTYPES = {
    "fp32": 11.8,
    "tf32": 44.0,
    "fp16": 92.0,
    "bf16": 91.0,
    "fp8_e4m3": 88.0,
    "fp8_e5m2": 88.0,
    "int8": 181.0,
    "int4_fp16": 90.0,
}


def make_row(
    benchmark: str,
    metric: str,
    devices: tuple[str, ...],
    value: float | None,
    unit: str,
    *,
    verdict: Verdict = "no-baseline",
    reference: float | None = None,
    kind: str = "published",
    limit: float | None = None,
    **rest: Any,
) -> Result:
    """A row with the fields that judging fills in; `rest` with a leading `p_` are parameters."""
    params: dict[str, Param] = {name[2:]: rest.pop(name) for name in list(rest) if name.startswith("p_")}
    higher = rest.setdefault("higher_is_better", not metric.startswith("latency"))
    row = Result(
        benchmark=benchmark,
        metric=metric,
        devices=devices,
        params=params,
        value=value,
        unit=unit,
        engine="embedded",
        verdict=verdict,
        **rest,
    )
    if value is None:
        return row
    ratio = None
    if reference is not None:
        ratio = value / reference if higher else reference / value
        if verdict == "no-baseline":
            verdict = "pass" if ratio >= 0.9 else "warn" if ratio >= 0.8 else "fail"
    return msgspec.structs.replace(
        row,
        n=20,
        median=value,
        mad=value * 0.006,
        min=value * 0.97,
        max=value * 1.02,
        verified=rest.get("verified", True),
        ratio=ratio,
        verdict=verdict,
        reason=rest.get("reason", "")
        or (f"{ratio:.0%} of the reference, 90% expected" if ratio is not None and ratio < 0.9 else ""),
        reference=ReferenceUsed(value=reference, kind=kind, source=f"{kind} figures of the card", tolerance=0.1)
        if reference
        else None,
        limit=KnownLimit(value=limit, source="spec: product page", share=value / limit) if limit else None,
    )


def _ramp(size: int, peak: float, half: float) -> float:
    """Bandwidth that saturates: half of `peak` at `half` bytes."""
    return peak * size / (size + half) * (1 + 0.01 * _RANDOM.uniform(-1, 1))


def make_cpu_run() -> Evaluation:
    """A small host without a GPU: references measured here, pairs not applicable."""
    _RANDOM.seed(2)
    cpu = ("cpu",)
    rows = []
    for dtype, value in (("fp32", 0.31), ("bf16", 0.9), ("int8", 1.6)):
        for size in (1024, 2048):
            unit = "TOPS" if dtype == "int8" else "TFLOPS"
            shape = {"p_dtype": dtype, "p_shape": "square", "p_m": size, "p_n": size, "p_k": size}
            reference = value * 1.02 if dtype == "fp32" else None
            known = {"reference": reference, "kind": "measured-here"}
            rows.append(make_row("gemm", "throughput", cpu, value, unit, **known, **shape))
            if dtype == "fp32":
                rows.append(make_row("gemm_ceiling", "throughput", cpu, value * 1.02, unit, **shape))
    for op, peak in (("read", 14.0), ("write", 9.0), ("copy", 17.0), ("triad", 16.0)):
        for size in SIZES[:6]:
            value = _ramp(size, peak, 2e5)
            rows.append(make_row("memory", "bandwidth", cpu, value, "GB/s", p_op=op, p_bytes=size))
        rows.append(
            make_row(
                "memory", "peak_bandwidth", cpu, peak, "GB/s", reference=peak * 1.03, kind="measured-here", p_op=op
            )
        )
        rows.append(make_row("memory_ceiling", "bandwidth", cpu, peak * 1.03, "GB/s", p_op=op, note="STREAM-like"))
    rows.append(
        make_row("p2p", "access", cpu, None, "yes/no", verdict="not-applicable", reason="needs two GPUs, there is none")
    )
    for size in SIZES[:5]:
        about = {"p_collective": "allreduce", "p_bytes": size, "p_ranks": 2, "p_dtype": "fp32", "p_mode": "p2p"}
        rows.append(make_row("collectives", "busbw", cpu, _ramp(size, 5.2, 1e6), "GB/s", **about))
        rows.append(make_row("collectives", "latency", cpu, 3.1 + size / 5.2e3, "us", **about))
    return Evaluation(
        engine="embedded",
        suite="quick",
        devices=(DeviceSummary(label="cpu", kind="cpu", name="Intel Xeon", memory_bytes=64 << 30, numa_node=0),),
        results=tuple(rows),
        verdict="pass",
        complete=True,
        conditions={
            "before": {"load_average": [0.4, 0.3, 0.2], "memory_available_bytes": 60 << 30, "cpu_governors": []},
            "after": {"load_average": [1.9, 0.8, 0.4], "memory_available_bytes": 60 << 30, "cpu_governors": []},
        },
        jobs=(JobRecord(name="memory cpu", benchmark="memory", seconds=9.1, rc=0, log="logs/memory_cpu.log"),),
        started="2026-01-02T03:04:05Z",
        seconds=48.0,
    )


def bdf_of(index: int) -> str:
    return f"0000:{(0x18, 0x1B, 0x1E, 0x21, 0x98, 0x9B, 0x9E, 0xA1)[index]:02x}:00.0"


def make_gpu_run() -> Evaluation:
    """Eight GPUs on two sockets: one on a narrow link, one that was lost half-way, one with wrong data."""
    _RANDOM.seed(3)
    labels = [bdf_of(index) for index in range(8)]
    rows = [*_gemm_rows(labels), *_memory_rows(labels), *_transfer_rows(labels), *_pair_rows(labels)]
    rows += _collective_rows(labels)
    return Evaluation(
        engine="embedded",
        suite="standard",
        devices=tuple(
            DeviceSummary(
                label=label,
                kind="gpu",
                name="Intel Arc Pro B60",
                bdf=label,
                device_id="0xe211",
                numa_node=index // 4,
                memory_bytes=24385683456,
            )
            for index, label in enumerate(labels)
        ),
        results=tuple(rows),
        verdict="fail",
        complete=True,
        conditions={
            stage: {
                "load_average": [load, 0.6, 0.5],
                "memory_available_bytes": 480 << 30,
                "cpu_governors": ["performance"],
                "cpu_clock_mhz": {"min": 800.0, "max": 3500.0},
                "devices": {
                    label: {"temperature_c": heat + index, "clock_mhz": 2400.0, "throttle": "none", "power_w": None}
                    for index, label in enumerate(labels)
                },
            }
            for stage, load, heat in (("before", 0.4, 41.0), ("after", 7.9, 63.0))
        },
        jobs=(
            JobRecord(
                name=f"memory {bdf_of(6)}",
                benchmark="memory",
                seconds=31.0,
                rc=-9,
                failure="no answer for 30 s: ended",
                log="logs/memory_6.log",
                notes=("last line: UR_RESULT_ERROR_DEVICE_LOST",),
            ),
            *(
                JobRecord(name=f"gemm fp16 {label}", benchmark="gemm", seconds=8.2, rc=0, log=f"logs/gemm_{index}.log")
                for index, label in enumerate(labels)
            ),
        ),
        findings=(
            Finding(id="XPK-LOST", severity="critical", summary=f"{bdf_of(6)} stopped answering during the run"),
        ),
        started="2026-01-02T03:04:05Z",
        seconds=284.0,
    )


def _gemm_rows(labels: list[str]) -> list[Result]:
    rows = []
    shapes = [("square", 4096, 4096, 4096), ("square", 8192, 8192, 8192)]
    shapes += [("Llama-3.1-8B gate_up decode", m, 28672, 4096) for m in (1, 16)]
    shapes += [("Llama-3.1-8B gate_up prefill", 2048, 28672, 4096)]
    for index, label in enumerate(labels):
        for dtype, peak in DTYPES.items():
            for shape, m, n, k in shapes:
                unit = "TOPS" if dtype == "int8" else "TFLOPS"
                about: dict[str, Any] = {"p_dtype": dtype, "p_shape": shape, "p_m": m, "p_n": n, "p_k": k}
                value = peak * (0.012 * m if m < 100 else 1.0) * (1 + 0.015 * _RANDOM.uniform(-1, 1))
                if dtype.startswith("fp8") and index == 0:
                    reason = "oneDNN: no fp8 implementation for this device"
                    rows.append(
                        make_row("gemm", "throughput", (label,), None, unit, verdict="unknown", reason=reason, **about)
                    )
                elif dtype == "int4_fp16" and index == 5 and m == 2048:
                    detail = "17 of 4096 checked elements differ by more than 0.02 (largest 3.1)"
                    rows.append(
                        make_row(
                            "gemm",
                            "throughput",
                            (label,),
                            value,
                            unit,
                            verdict="fail",
                            verified=False,
                            verify_detail=detail,
                            reason=f"the data is wrong: {detail}",
                            **about,
                        )
                    )
                else:
                    reference = peak * 1.03 if dtype in ("fp16", "int8") and m > 100 else None
                    limit = {"fp16": 98.0, "bf16": 98.0, "int8": 197.0}.get(dtype) if m > 100 else None
                    rows.append(
                        make_row("gemm", "throughput", (label,), value, unit, reference=reference, limit=limit, **about)
                    )
    return rows


def _memory_rows(labels: list[str]) -> list[Result]:
    rows = []
    for index, label in enumerate(labels):
        for op, share in (("read", 0.93), ("write", 0.9), ("copy", 0.88), ("triad", 0.89)):
            for size in SIZES:
                if index == 6 and size > 16 * MIB:
                    reason = "the worker ended (signal 9) before this came"
                    rows.append(
                        make_row(
                            "memory", "bandwidth", (label,), None, "GB/s",
                            verdict="unknown", reason=reason, p_op=op, p_bytes=size,
                        )
                    )  # fmt: skip
                    continue
                value = _ramp(size, 456 * share, 1.5e6)
                rows.append(make_row("memory", "bandwidth", (label,), value, "GB/s", p_op=op, p_bytes=size))
            if index != 6:
                rows.append(
                    make_row(
                        "memory", "peak_bandwidth", (label,), 456 * share, "GB/s",
                        reference=456 * 0.92, limit=456.0, p_op=op,
                    )
                )  # fmt: skip
    return rows


def _transfer_rows(labels: list[str]) -> list[Result]:
    rows = []
    for index, label in enumerate(labels):
        narrow = 0.5 if index == 3 else 1.0
        for direction in ("h2d", "d2h"):
            for memory, peak in (("pageable", 11.0), ("pinned", 27.5), ("shared", 6.0)):
                for size in SIZES:
                    if memory == "shared" and size == 2 * MIB and direction == "h2d":
                        rows.append(
                            make_row(
                                "transfer", "bandwidth", (label,), None, "GB/s", verdict="unknown",
                                reason="allocation failed", p_direction=direction, p_memory=memory, p_bytes=size,
                                p_host_node=index // 4,
                            )
                        )  # fmt: skip
                        continue
                    rows.append(
                        make_row(
                            "transfer", "bandwidth", (label,), _ramp(size, peak * narrow, 3e5), "GB/s", limit=31.5,
                            p_direction=direction, p_memory=memory, p_bytes=size, p_host_node=index // 4,
                        )
                    )  # fmt: skip
                rows.append(
                    make_row(
                        "transfer", "peak_bandwidth", (label,), peak * narrow, "GB/s", reference=peak, limit=31.5,
                        p_direction=direction, p_memory=memory, p_host_node=index // 4,
                    )
                )  # fmt: skip
                rows.append(
                    make_row(
                        "transfer", "latency", (label,), 6.1 + index * 0.1, "us",
                        p_direction=direction, p_memory=memory, p_bytes=4 * KIB, p_host_node=index // 4,
                    )
                )  # fmt: skip
    return rows


def _pair_rows(labels: list[str]) -> list[Result]:
    rows = []
    for i, source in enumerate(labels):
        for j, target in enumerate(labels):
            if i == j:
                continue
            pair = (source, target)
            same = i // 4 == j // 4
            rows.append(make_row("p2p", "access", pair, 1.0 if same or i != 7 else 0.0, "yes/no"))
            for direction in ("uni", "bi"):
                for path, peak in (("peer", 26.0 if same else 19.0), ("host", 9.0)):
                    for size in (64 * KIB, 16 * MIB, 256 * MIB):
                        about: dict[str, Any] = {
                            "p_mode": "write", "p_direction": direction, "p_path": path, "p_bytes": size,
                        }  # fmt: skip
                        if 6 in (i, j):
                            rows.append(
                                make_row(
                                    "p2p", "bandwidth", pair, None, "GB/s",
                                    verdict="unknown", reason=f"{bdf_of(6)} is lost", **about,
                                )
                            )  # fmt: skip
                            continue
                        peak_here = peak * (0.5 if 3 in (i, j) else 1) * (1.7 if direction == "bi" else 1)
                        reference = 25.0 if path == "peer" and direction == "uni" and size == 256 * MIB else None
                        rows.append(
                            make_row(
                                "p2p", "bandwidth", pair, _ramp(size, peak_here, 4e5), "GB/s",
                                reference=reference, limit=31.5 * (2 if direction == "bi" else 1), **about,
                            )
                        )  # fmt: skip
            if 6 not in (i, j):
                rows.append(
                    make_row(
                        "p2p", "latency", pair, 3.4 if same else 5.2, "us", p_mode="write", p_direction="uni",
                        p_path="peer", p_bytes=64,
                    )
                )  # fmt: skip
    return rows


def _collective_rows(labels: list[str]) -> list[Result]:
    rows = []
    for collective in ("allreduce", "allgather", "reduce_scatter", "alltoall", "broadcast"):
        for ranks in (2, 4, 8):
            for mode, peak in (("p2p", 22.0), ("usm", 9.0)):
                for size in SIZES[1:7]:
                    about: dict[str, Any] = {
                        "p_collective": collective, "p_bytes": size, "p_ranks": ranks,
                        "p_dtype": "fp16", "p_mode": mode,
                    }  # fmt: skip
                    among = tuple(labels[:ranks])
                    if ranks == 8:
                        reason = f"rank 6 ended: {bdf_of(6)} is lost"
                        for metric, unit in (("algbw", "GB/s"), ("busbw", "GB/s"), ("latency", "us")):
                            rows.append(
                                make_row(
                                    "collectives", metric, among, None, unit,
                                    verdict="unknown", reason=reason, **about,
                                )
                            )  # fmt: skip
                        continue
                    bus = _ramp(size, peak / (1 + 0.1 * ranks), 2e6)
                    rows.append(make_row("collectives", "algbw", among, bus * 0.6, "GB/s", **about))
                    rows.append(make_row("collectives", "busbw", among, bus, "GB/s", **about))
                    rows.append(make_row("collectives", "latency", among, 20 * ranks + size / bus / 1e3, "us", **about))
    return rows


def make_empty_run() -> Evaluation:
    """A run that had nothing to measure and was interrupted."""
    return Evaluation(engine="embedded", suite="quick", devices=(), results=(), verdict="unknown", complete=False)


def make_single_run() -> Evaluation:
    """One metric of a benchmark that the report has never heard of."""
    cpu = ("cpu",)
    rows = tuple(make_row("newthing", "rate", cpu, float(size), "widgets/s", p_bytes=size) for size in (1024, 2048))
    return Evaluation(
        engine="embedded",
        suite="quick",
        devices=(DeviceSummary(label="cpu", kind="cpu", name="some CPU"),),
        results=rows,
        verdict="no-baseline",
        complete=True,
    )


def make_machine() -> Machine:
    """The eight-GPU machine."""
    devices = []
    denied = Unread(what="power limit", why="permission denied", remedy="run as root")
    for index in range(8):
        narrow = index == 3
        devices.append(
            Device(
                index=index,
                bdf=bdf_of(index),
                vendor_id="0x8086",
                device_id="0xe211",
                name="Intel Arc Pro B60",
                known=True,
                driver="xe",
                driver_version="6.17.0",
                numa_node=index // 4,
                memory_bytes=24385683456,
                link=Link(
                    read_at="0000:17:01.0",
                    current_speed_gts=16.0 if narrow else 32.0,
                    current_width=8,
                    max_speed_gts=32.0,
                    max_width=8,
                    limit_gbps=31.5,
                    current_gbps=15.75 if narrow else 31.5,
                    degraded=narrow,
                ),
                firmware=(
                    Firmware(name="GuC", version="70.49.4", source="/sys/kernel/debug/dri/0/gt0/uc/guc_info"),
                    Firmware(name="HuC", version="8.2.10", source="/sys/kernel/debug/dri/0/gt0/uc/huc_info"),
                ),
                unread=(denied,) if index == 0 else (),
            )
        )
    labels = tuple(f"GPU{index}" for index in range(8))
    return Machine(
        devices=tuple(devices),
        cpu=CpuLayout(model="Intel Xeon 6530P", sockets=2, cores=64, allowed="0-127", governor="performance"),
        memory_bytes=512 << 30,
        numa=(NumaNode(node=0, cpus="0-31,64-95"), NumaNode(node=1, cpus="32-63,96-127")),
        topology=Topology(
            labels=labels,
            matrix=tuple(
                tuple("SELF" if i == j else "NODE" if i // 4 == j // 4 else "SYS" for j in range(8)) for i in range(8)
            ),
            legend={"NODE": "same NUMA node", "SYS": "across sockets"},
        ),
        software=(
            SoftwareItem(name="kernel", version="6.17.0-20-generic", source="uname"),
            SoftwareItem(name="xpu-smi", note="not installed"),
        ),
        findings=(
            Finding(
                id="XPK-LINK-DEGRADED",
                severity="critical",
                subject=bdf_of(3),
                summary=f"GPU3 ({bdf_of(3)}) runs its PCIe link at 16 GT/s, 32 GT/s is possible",
                evidence=(
                    Evidence(source="/sys/bus/pci/devices/0000:17:01.0/current_link_speed", value="16.0 GT/s PCIe"),
                ),
                remedy=("reseat the card", "check the riser cable", "look at AER counters: xpukit probe -v"),
            ),
            Finding(id="XPK-IOMMU", severity="info", summary="the IOMMU translates (DMA-FQ)"),
        ),
    )
