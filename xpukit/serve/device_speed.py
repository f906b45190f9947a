"""How fast a device is at what serving does: measured on this host, published for the device, or specified.

Times of linear layers come from a table of measured shapes where there is one: the nearest shape's part of the roofline
is applied to the roofline of the shape at hand.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Literal

import msgspec

from xpukit.facts.devices import INTEL, DeviceFacts, lookup_device
from xpukit.facts.model_rules import AllReduceTable, GemmTable, list_device_tables
from xpukit.facts.models import find_estimate
from xpukit.facts.pcie import compute_line_rate_gbps
from xpukit.facts.platforms import PlatformGpu, find_by_pci_id

SpeedKind = Literal["measured", "published", "spec", "guess"]
_GUESSED_GBPS = 400.0
_GUESSED_TFLOPS = 80.0
_GUESSED_LINK_GBPS = 25.0


class HostMeasurements(msgspec.Struct, frozen=True, kw_only=True):
    """What an evaluate run measured on this host. `gemm`: (dtype, m, n, k, TFLOPS). None: not measured."""

    source: str
    memory_gbps: float | None = None
    gemm: tuple[tuple[str, int, int, int, float], ...] = ()
    collective_gbps: float | None = None


class DeviceSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """Rates of one device. `memory_gbps` and `tflops` are peaks; efficiencies say what part of them is reached.

    `tflops_8`: of 8-bit products, 0 where the device computes them in 16 bit.
    """

    name: str
    kind: SpeedKind
    source: str
    memory_gbps: float
    tflops: float
    link_gbps: float
    tflops_8: float = 0.0
    link_latency_s: float = 0.0
    memory_efficiency: float = 0.75
    compute_efficiency: float = 0.7
    gemm: tuple[GemmTable, ...] = ()
    all_reduce: tuple[AllReduceTable, ...] = ()
    table_gbps: float = 0.0
    table_tflops: float = 0.0


def find_speed(device_id: str, measured: HostMeasurements | None = None) -> DeviceSpeed:
    """The speed of a device by its PCI id; the host's own run comes first."""
    speed = _find_known(device_id)
    if measured is None or (measured.memory_gbps is None and not measured.gemm and measured.collective_gbps is None):
        return speed
    best = max((row[4] for row in measured.gemm if row[0] in ("bf16", "fp16", "bfloat16", "float16")), default=None)
    return msgspec.structs.replace(
        speed,
        kind="measured" if measured.memory_gbps is not None else speed.kind,
        source=f"{measured.source}; the rest: {speed.source}",
        memory_gbps=measured.memory_gbps or speed.memory_gbps,
        tflops=best or speed.tflops,
        # A measured rate is what is reached: only the small shapes of decoding stay below it.
        memory_efficiency=0.9 if measured.memory_gbps else speed.memory_efficiency,
        compute_efficiency=0.95 if best else speed.compute_efficiency,
        link_gbps=measured.collective_gbps or speed.link_gbps,
        all_reduce=() if measured.collective_gbps else speed.all_reduce,
    )


def _find_known(device_id: str) -> DeviceSpeed:
    named = find_by_pci_id(device_id)
    if named is not None and named.vendor == "nvidia":
        return _read_nvidia(named)
    facts = lookup_device(INTEL, device_id)
    tables = next((table for table in list_device_tables() if device_id.lower() in table.device_ids), None)
    name = facts.name if facts else device_id
    # A rank runs on one tile of a card that has several, and has that part of its rates.
    tiles = (facts.tiles if facts else None) or 1
    bandwidth = (facts.memory_bandwidth_gbps if facts else None) or (named.memory_bandwidth_gbps if named else None)
    tflops = facts.fp16_tflops if facts else None
    if facts and tflops is None and facts.int8_tops:
        tflops = facts.int8_tops / 2  # Xe matrix units do half as many 16-bit operations
    tflops = tflops or (named.fp16_tflops if named else None)
    return DeviceSpeed(
        name=name,
        kind="published" if tables else "spec" if bandwidth and tflops else "guess",
        source=tables.source if tables else _name_spec(facts, named, name, bandwidth, tflops),
        memory_gbps=tables.memory_gbps if tables else bandwidth / tiles if bandwidth else _GUESSED_GBPS,
        tflops=tflops / tiles if tflops else _GUESSED_TFLOPS,
        link_gbps=_find_link(facts, named) or _GUESSED_LINK_GBPS,
        link_latency_s=find_estimate("link_latency_seconds").value,
        memory_efficiency=find_estimate("memory_efficiency").value,
        compute_efficiency=find_estimate("compute_efficiency").value,
        gemm=tables.gemm if tables else (),
        all_reduce=tables.all_reduce if tables else (),
        table_gbps=tables.memory_gbps if tables else 0.0,
        table_tflops=tflops or 0.0,
    )


def _read_nvidia(gpu: PlatformGpu) -> DeviceSpeed:
    return DeviceSpeed(
        name=gpu.full_name,
        kind="spec" if gpu.memory_bandwidth_gbps and gpu.fp16_tflops else "guess",
        source=gpu.source,
        memory_gbps=gpu.memory_bandwidth_gbps or _GUESSED_GBPS,
        tflops=gpu.fp16_tflops or _GUESSED_TFLOPS,
        tflops_8=gpu.fp8_tflops or 0.0,
        link_gbps=gpu.fabric_gbps or _GUESSED_LINK_GBPS,
        link_latency_s=find_estimate("nvlink_latency_seconds").value,
        memory_efficiency=find_estimate("memory_efficiency").value,
        compute_efficiency=find_estimate("compute_efficiency").value,
    )


def _find_link(facts: DeviceFacts | None, named: PlatformGpu | None) -> float | None:
    """What the card's PCIe way carries, 1e9 bytes/s."""
    for row in (facts, named):
        if row is not None and row.pcie_speed_gts and row.pcie_width:
            return compute_line_rate_gbps(row.pcie_speed_gts, row.pcie_width)
    return None


def _name_spec(
    facts: DeviceFacts | None, named: PlatformGpu | None, name: str, bandwidth: float | None, tflops: float | None
) -> str:
    limit = facts.find_limit("memory_bandwidth") if facts else None
    source = limit.source if limit else named.source if named else ""
    missing = [
        f"{what} ({value:g} {unit} is taken)"
        for what, known, value, unit in (
            ("memory bandwidth", bandwidth, _GUESSED_GBPS, "GB/s"),
            ("matrix rate", tflops, _GUESSED_TFLOPS, "TFLOPS"),
        )
        if not known
    ]
    if missing:
        rest = f"; the rest by specification: {source}" if source else ""
        return f"no source gives the {' and the '.join(missing)} of {name or 'this device'}{rest}"
    return source or "specification"


def time_linear(speed: DeviceSpeed, *, m: float, n: float, k: float, weight_bytes: float, eight_bit: bool) -> float:
    """Seconds of [m, k] × [k, n] whose weights take `weight_bytes` each. `eight_bit`: held in at most 8 bit."""
    peak = speed.tflops_8 if eight_bit and speed.tflops_8 else speed.tflops
    memory = n * k * weight_bytes / (speed.memory_gbps * 1e9)
    compute = 2 * m * n * k / (peak * 1e12)
    table = next((item for item in speed.gemm if item.dtype == ("fp8" if eight_bit else "bfloat16")), None)
    if table is None:
        return max(memory / speed.memory_efficiency, compute / speed.compute_efficiency)
    return max(memory, compute) / _find_efficiency(speed, table, m, n, k)


def _find_efficiency(speed: DeviceSpeed, table: GemmTable, m: float, n: float, k: float) -> float:
    """The part of the roofline that the nearest measured shape reached, between its two nearest m."""
    row_n, row_k = _nearest(table.n, n), _nearest(table.k, k)
    each = 1.0 if table.dtype == "fp8" else 2.0

    def reached(index: int) -> float:
        count, size_n, size_k = table.m[index], table.n[row_n], table.k[row_k]
        roof = max(
            size_n * size_k * each / (speed.table_gbps * 1e9), 2 * count * size_n * size_k / (speed.table_tflops * 1e12)
        )
        return min(1.0, roof / (table.microseconds[index][row_n][row_k] * 1e-6))

    high = min(bisect_left(table.m, m), len(table.m) - 1)
    low = max(0, high - 1) if table.m[high] > m else high
    if low == high:
        return reached(high)
    part = (math.log(m) - math.log(table.m[low])) / (math.log(table.m[high]) - math.log(table.m[low]))
    return reached(low) * (1 - part) + reached(high) * part


def _nearest(sizes: tuple[int, ...], wanted: float) -> int:
    return min(range(len(sizes)), key=lambda index: abs(math.log(sizes[index] / max(1.0, wanted))))


def time_all_reduce(speed: DeviceSpeed, *, ranks: int, message_bytes: float) -> float:
    """Seconds of an all-reduce between `ranks` devices."""
    if ranks <= 1:
        return 0.0
    table = next((item for item in speed.all_reduce if item.gpus >= ranks), None)
    if table is not None:
        return _interpolate(table, message_bytes) * 1e-6
    latency = speed.link_latency_s
    rate = speed.link_gbps * find_estimate("link_efficiency").value * 1e9
    return latency + 2 * (ranks - 1) / ranks * message_bytes / rate


def _interpolate(table: AllReduceTable, size: float) -> float:
    if size <= table.bytes[0]:
        return min(table.microseconds[:4])
    high = bisect_left(table.bytes, size)
    if high >= len(table.bytes):
        return table.microseconds[-1] * size / table.bytes[-1]
    low = high - 1
    part = (size - table.bytes[low]) / (table.bytes[high] - table.bytes[low])
    return table.microseconds[low] * (1 - part) + table.microseconds[high] * part
