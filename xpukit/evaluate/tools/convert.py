"""Readings of the vendor's tools as measurements, under the names, parameters and units of the embedded engine.

What the embedded engine has no row for gets a name of its own: `parallel_bandwidth` and `parallel_latency` (several
pairs or devices at once), `vector_bandwidth` (per vector width), the benchmarks `compute` (vector units) and `launch`.
`labels` maps a tool's device numbers to target labels; a number that is not in it is called "device<number>".
GB/s is 1e9 bytes/s. Every printed figure is one sample: the tools print averages without their spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xpukit.core.measurement import YES_NO, Measurement, MetricKey, Param, make_key
from xpukit.core.units import MIB
from xpukit.evaluate.parsers.lines import Problem
from xpukit.evaluate.parsers.matrix_mul import MatrixOutput
from xpukit.evaluate.parsers.oneccl_rows import PATCH_GB, CclOutput, CclRow
from xpukit.evaluate.parsers.ze_bandwidth import TransferOutput, TransferReading
from xpukit.evaluate.parsers.ze_peak import WRAPPED_US, PeakOutput, PeakReading
from xpukit.evaluate.parsers.ze_peer import PeerOutput, PeerReading
from xpukit.evaluate.tools.pool import MeasurementPool

# Where benchmarks/p2p.py and transfer.py begin to look for a GPU's peak.
PEAK_FROM_BYTES = 64 * MIB

_DIRECTIONS = {"unidirectional": "uni", "bidirectional": "bi"}
_DTYPES = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32", "float64": "fp64"}
# The benchmark prints one rank's share for these; nccl-tests (and our rows) count the buffer of all ranks.
_PRINTED_SHARE = frozenset({"allgather", "allgatherv", "reduce_scatter", "reducescatter", "alltoall", "alltoallv"})
_CCL_NAMES = {"reducescatter": "reduce_scatter", "bcast": "broadcast"}

# ze_peak copies between a std::vector (pageable) and device memory, or shared USM (`memory` is then "shared", as in
# facts/references_upstream.py). Its name -> (direction, memory).
# Copies of the CPU itself need not cross the link: they are h2h.
_PEAK_ROUTES = {
    "enqueueWriteBuffer": ("h2d", "pageable"),
    "enqueueReadBuffer": ("d2h", "pageable"),
    "GPU Copy Host to Shared Memory": ("h2d", "shared"),
    "GPU Copy Shared Memory to Host": ("d2h", "shared"),
    "GPU Copy Shared System Memory to Shared Memory": ("h2d", "system-shared"),
    "GPU Copy Shared System Memory from Shared Memory": ("d2h", "system-shared"),
    "GPU Copy Shared System Memory to Shared Memory with Memory Advice": ("h2d", "system-shared-advised"),
    "GPU Copy Shared System Memory from Shared Memory with Memory Advice": ("d2h", "system-shared-advised"),
    "System Memory Copy to Shared Memory": ("h2h", "memcpy-to-shared"),
    "System Memory Copy from Shared Memory": ("h2h", "memcpy-from-shared"),
}
_PEAK_DTYPES = {
    "hp_compute": ("fp16", "TFLOPS"),
    "sp_compute": ("fp32", "TFLOPS"),
    "dp_compute": ("fp64", "TFLOPS"),
    "int_compute": ("int32", "TOPS"),
}
_LAUNCHES = {
    "Kernel launch latency": ("latency", "regular"),
    "Kernel launch latency with Immediate Command List": ("latency", "immediate"),
    "Kernel duration": ("duration", "regular"),
}


def name_device(labels: Mapping[int, str], number: int) -> str:
    """The label of a tool's device number."""
    return labels.get(number, f"device{number}")


def convert_ze_peer(parsed: PeerOutput, labels: Mapping[int, str]) -> tuple[Measurement, ...]:
    """`p2p` rows. The first device of a key is the one that copies (-s), as in the embedded engine.

    Access is 1 for a pair that was measured and 0 for one that ze_peer refused. Pairs of a parallel run are
    `parallel_bandwidth` with all `pairs` as a parameter; their sum has all devices in its key.
    """
    pool = MeasurementPool()
    wrong = _find_wrong_rows(parsed)
    for reading in parsed.readings:
        detail = wrong.get(reading.line, "")
        pool.add(
            _peer_key(reading, labels),
            reading.unit,
            reading.value,
            higher_is_better=reading.kind == "bandwidth",
            verified=False if detail else None,
            verify_detail=detail,
            note="" if reading.bytes is not None else "the program does not print the size",
        )
    singles = [reading for reading in parsed.readings if reading.scope == "one" and reading.src != reading.dst]
    for pair in dict.fromkeys(_name_all(labels, (*reading.src, *reading.dst)) for reading in singles):
        pool.add(make_key("p2p", "access", pair), YES_NO, 1.0)
    for problem in parsed.problems:
        if problem.kind == "no-p2p" and len(problem.devices) == 2:
            pool.add(make_key("p2p", "access", _name_all(labels, problem.devices)), YES_NO, 0.0, note=problem.text)
    pool.add_peaks("bandwidth", "peak_bandwidth", from_bytes=PEAK_FROM_BYTES)
    return pool.done()


def _find_wrong_rows(parsed: PeerOutput) -> dict[int, str]:
    """Lines of readings whose data did not arrive as sent. ze_peer says so just before the row."""
    wrong: dict[int, str] = {}
    for problem in parsed.problems:
        if problem.kind != "bad-data":
            continue
        for line in _lines_meant(problem, [reading.line for reading in parsed.readings]):
            wrong.setdefault(line, problem.text)
    return wrong


def _lines_meant(problem: Problem, lines: Sequence[int]) -> list[int]:
    if problem.stream == "err":  # its place is lost: any of them
        return list(lines)
    later = [line for line in lines if line > problem.line]
    return later[:1] or list(lines[-1:])


def _peer_key(reading: PeerReading, labels: Mapping[int, str]) -> MetricKey:
    params: dict[str, Param] = {
        "mode": reading.operation,
        "direction": _DIRECTIONS[reading.direction],
        "path": "ipc" if reading.ipc else "peer",
    }
    if reading.bytes is not None:
        params["bytes"] = reading.bytes
    if reading.queue is not None:
        params["queue"] = reading.queue
    metric: str = reading.kind
    if reading.scope != "one":
        metric = f"parallel_{reading.kind}"
        params["pairs"] = reading.together
    return make_key("p2p", metric, _name_all(labels, (*reading.src, *reading.dst)), **params)


def _name_all(labels: Mapping[int, str], numbers: Sequence[int]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name_device(labels, number) for number in numbers))


def convert_ze_bandwidth(
    parsed: TransferOutput, labels: Mapping[int, str], *, host_node: int | None = None
) -> tuple[Measurement, ...]:
    """`transfer` rows of pinned host memory. `host_node`: the NUMA node that ze_bandwidth was bound to, if known.

    Devices that ran together give `parallel_bandwidth`, their sum with all of them in its key.
    """
    pool = MeasurementPool()
    for group in _group_devices(parsed.readings):
        numbers = [reading.device or 0 for reading in group if not reading.is_total]
        count = max(len(numbers), group[0].devices)
        for reading in group:
            if reading.is_total and (len(numbers) < 2 or len(numbers) < count):
                continue  # of one device it says the same again; of some that are missing here it says too much
            devices = numbers if reading.is_total else [reading.device or 0]
            direction = "bi" if reading.direction == "bidirectional" else reading.direction
            params: dict[str, Param] = {"direction": direction, "memory": "pinned", "bytes": reading.bytes}
            if host_node is not None:
                params["host_node"] = host_node
            together = "parallel_" if count > 1 else ""
            names = _name_all(labels, devices)
            for metric, unit, value in (
                ("bandwidth", "GB/s", reading.gbps),
                ("latency", "us", reading.latency_us),
            ):
                pool.add(
                    make_key("transfer", together + metric, names, **params),
                    unit,
                    value,
                    higher_is_better=metric == "bandwidth",
                    verified=reading.verified,
                    verify_detail="ze_bandwidth -v" if reading.verified else "",
                )
    pool.add_peaks("bandwidth", "peak_bandwidth", from_bytes=PEAK_FROM_BYTES)
    return pool.done()


def _group_devices(readings: Sequence[TransferReading]) -> list[list[TransferReading]]:
    """The rows of each size: its devices and their total. Generations without totals: every row alone."""
    groups: list[list[TransferReading]] = []
    rows: list[TransferReading] = []
    for reading in readings:
        is_next = bool(rows) and not reading.is_total and (reading.device is None or reading.bytes != rows[0].bytes)
        if is_next or (rows and reading.direction != rows[0].direction):
            groups.append(rows)
            rows = []
        rows.append(reading)
        if reading.is_total:
            groups.append(rows)
            rows = []
    return [*groups, rows] if rows else groups


def convert_ze_peak(parsed: PeakOutput, labels: Mapping[int, str]) -> tuple[Measurement, ...]:
    """`transfer`, `memory`, `compute` and `launch` rows. Numbers in `labels` count the device blocks of the output.

    A run of several tiles together (-x) has `scaling=explicit` among its parameters.
    """
    pool = MeasurementPool()
    for reading in parsed.readings:
        device = name_device(labels, reading.device or 0)
        made = _read_peak(reading, device, {"scaling": "explicit"} if parsed.explicit_scaling else {})
        if made is not None:
            key, unit, value = made
            pool.add(key, unit, value, higher_is_better=unit != "us")
    pool.add_peaks("vector_bandwidth", "peak_bandwidth", of="vector")
    pool.add_peaks("vector_throughput", "peak_throughput", of="vector")
    return pool.done()


def _read_peak(reading: PeakReading, device: str, more: dict[str, Param]) -> tuple[MetricKey, str, float] | None:
    if reading.test == "transfer_bw" and reading.name in _PEAK_ROUTES:
        direction, memory = _PEAK_ROUTES[reading.name]
        params: dict[str, Param] = {"direction": direction, "memory": memory, **more}
        return make_key("transfer", "peak_bandwidth", (device,), **params), "GB/s", reading.value
    if reading.test == "global_bw":
        params = {"op": "read", "vector": reading.name, **more}
        return make_key("memory", "vector_bandwidth", (device,), **params), "GB/s", reading.value
    if reading.test in _PEAK_DTYPES:
        dtype, unit = _PEAK_DTYPES[reading.test]
        params = {"dtype": dtype, "vector": reading.name, **more}
        return make_key("compute", "vector_throughput", (device,), **params), unit, reading.value / 1000
    if reading.test == "kernel_lat" and reading.name in _LAUNCHES and reading.value <= WRAPPED_US:
        metric, commands = _LAUNCHES[reading.name]
        return make_key("launch", metric, (device,), commands=commands, **more), "us", reading.value
    return None


def convert_matrix_mul(parsed: MatrixOutput, label: str) -> tuple[Measurement, ...]:
    """`gemm` rows in TFLOPS (int8: TOPS). Both runs of -c are samples of the same product."""
    pool = MeasurementPool()
    for reading in parsed.readings:
        shape = "square" if reading.m == reading.n == reading.k else "rectangular"
        params: dict[str, Param] = {
            "dtype": reading.precision, "m": reading.m, "n": reading.n, "k": reading.k, "shape": shape,
        }  # fmt: skip
        said = "matrix_mul_mkl's own check" + ("" if reading.verified else " failed")
        pool.add(
            make_key("gemm", "throughput", (label,), **params),
            "TOPS" if reading.precision.startswith("int") else "TFLOPS",
            reading.flops / 1e12,
            verified=reading.verified,
            verify_detail="" if reading.verified is None else said,
        )
    return pool.done()


def convert_oneccl(parsed: CclOutput, devices: Sequence[str], mode: str) -> tuple[Measurement, ...]:
    """`collectives` rows; `devices` are the labels of the ranks in order, `mode` is p2p or usm ("": not known).

    Bandwidths are in 1e9 bytes/s; where the program printed one, its own figure (in 1.048576e9 B/s) is in the note.
    `bytes` counts as nccl-tests does: of allgather, reduce_scatter and alltoall ranks times the printed size. Rows
    whose times are a sum over several collectives belong to none of them and are left out.
    """
    pool = MeasurementPool()
    for row in parsed.readings:
        if not row.ranks:
            continue
        names = tuple(devices[: row.ranks]) if len(devices) >= row.ranks else tuple(devices)
        about = _describe_collective(row, mode)
        note = _describe_printed(row)
        if row.algbw_gbps is not None:
            pool.add(make_key("collectives", "algbw", names, **about), "GB/s", row.algbw_gbps, note=note)
        if row.busbw_gbps is not None and row.ranks > 1:
            pool.add(make_key("collectives", "busbw", names, **about), "GB/s", row.busbw_gbps, note=note)
        latency = row.t_avg_us / (row.buffers or 1)
        pool.add(make_key("collectives", "latency", names, **about), "us", latency, higher_is_better=False)
    return pool.done()


def _describe_collective(row: CclRow, mode: str) -> dict[str, Param]:
    collective = _CCL_NAMES.get(row.collective, row.collective)
    size = row.message_bytes if row.message_bytes is not None else row.total_bytes
    about: dict[str, Param] = {
        "collective": collective,
        "bytes": size * (row.ranks or 1) if collective in _PRINTED_SHARE else size,
        "ranks": row.ranks or 0,
        "dtype": _DTYPES.get(row.datatype, row.datatype),
    }
    return {**about, "mode": mode} if mode else about


def _describe_printed(row: CclRow) -> str:
    if row.printed_algbw is None or row.printed_busbw is None:
        return ""
    unit = "a unit that contradicts the time" if row.printed_unit is None else f"{row.printed_unit / 1e9:.7g}e9 B/s"
    said = f"printed {row.printed_algbw:g} algbw, {row.printed_busbw:g} busbw at {row.total_bytes} bytes, in {unit}"
    return said if row.printed_unit == PATCH_GB or row.printed_unit is None else f"{said} (not the patch's)"
