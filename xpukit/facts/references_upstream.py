"""Reference files in the form that llm-scaler's `gen_evaluation_report.py` reads: Category,Subcategory,size,value.

That script keys a value by the first three columns and takes the fourth, whatever the header says; the categories and
sizes below are the only ones that it writes (vllm/tools/platform/evaluation, commit 799344cb). What each becomes here:

    p2p, Uni-/Bidirectional Write/Read, "128 MB" or "256 MB"   p2p bandwidth, path=peer; MB of ze_peer is 2**20 bytes
    GPU memory bandwidth, H2D / D2H                            transfer peak_bandwidth, memory=shared: ze_peak's "GPU
                                                               Copy Host to Shared Memory" and back
    GPU memory bandwidth, D2D, float8 / float16                memory vector_bandwidth, op=read: ze_peak's global_bw
                                                               kernels, which read
    gemm, int8                                                 gemm throughput of the 40960 cube that the script runs,
                                                               in TOPS
    1ccl, allreduce / allgather / alltoall, 128MB              collectives busbw of fp16; the patched benchmark's "GB/s"
                                                               is 1.048576e9 bytes/s: converted. It prints one rank's
                                                               share of allgather and alltoall, our `bytes` are ranks
                                                               times that: a row for each of 2 to 8 ranks

The files name no device (their own name does: reference_perf_b60.csv), no date, no source and no tolerance. The kind is
`published`, the tolerance ours.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Sequence

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.core.measurement import Param
from xpukit.facts.devices import list_devices
from xpukit.facts.references import ReferenceRow

TOLERANCE = 0.2
CCL_GB = 1.048576
_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*")
_SIZE = re.compile(r"\s*([0-9]+)\s*([KMG]?)i?B\s*", re.IGNORECASE)
_FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_CUBE = 40960
_RANKS = range(2, 9)
Params = tuple[tuple[str, Param], ...]


class Mapped(msgspec.Struct, frozen=True, kw_only=True):
    """What an upstream row means here; `factor` converts its value to `unit`."""

    benchmark: str
    metric: str
    params: Params
    unit: str = "GB/s"
    factor: float = 1.0


def is_upstream(text: str) -> bool:
    """Whether the first line is the header of such a file."""
    columns = [column.strip().strip('"').lower() for column in text.lstrip("\ufeff").split("\n", 1)[0].split(",")]
    return len(columns) >= 4 and columns[:2] == ["category", "subcategory"]


def map_upstream(category: str, subcategory: str, size: str) -> tuple[Mapped, ...]:
    """The metrics that a row is about; none for what the upstream script never writes."""
    read = _CATEGORIES.get(category.strip().lower())
    return read(subcategory.strip().lower(), size.strip()) if read is not None else ()


def _parse_size(text: str) -> int | None:
    match = _SIZE.fullmatch(text)
    return int(match[1]) * _FACTORS[match[2].upper()] if match else None


def _order(**params: Param) -> Params:
    return tuple(sorted(params.items()))


def _map_p2p(subcategory: str, size: str) -> tuple[Mapped, ...]:
    directions, _, mode = subcategory.partition(" ")
    direction = {"unidirectional": "uni", "bidirectional": "bi"}.get(directions)
    size_bytes = _parse_size(size)
    if direction is None or mode not in ("write", "read") or size_bytes is None:
        return ()
    params = _order(direction=direction, mode=mode, path="peer", bytes=size_bytes)
    return (Mapped(benchmark="p2p", metric="bandwidth", params=params),)


def _map_memory(subcategory: str, size: str) -> tuple[Mapped, ...]:
    if subcategory in ("h2d", "d2h"):
        params = _order(direction=subcategory, memory="shared")
        return (Mapped(benchmark="transfer", metric="peak_bandwidth", params=params),)
    if subcategory == "d2d" and size.lower() in ("float8", "float16"):
        params = _order(op="read", vector=size.lower())
        return (Mapped(benchmark="memory", metric="vector_bandwidth", params=params),)
    return ()


def _map_gemm(subcategory: str, size: str) -> tuple[Mapped, ...]:
    if subcategory != "int8":
        return ()
    params = _order(dtype="int8", m=_CUBE, n=_CUBE, k=_CUBE)
    return (Mapped(benchmark="gemm", metric="throughput", params=params, unit="TOPS"),)


def _map_collectives(subcategory: str, size: str) -> tuple[Mapped, ...]:
    size_bytes = _parse_size(size)
    if size_bytes is None or subcategory not in ("allreduce", "allgather", "alltoall"):
        return ()
    about: list[Params] = [_order(collective=subcategory, bytes=size_bytes, dtype="fp16")]
    if subcategory != "allreduce":
        about = [
            _order(collective=subcategory, bytes=ranks * size_bytes, dtype="fp16", ranks=ranks) for ranks in _RANKS
        ]
    return tuple(Mapped(benchmark="collectives", metric="busbw", params=params, factor=CCL_GB) for params in about)


_CATEGORIES: dict[str, Callable[[str, str], tuple[Mapped, ...]]] = {
    "p2p": _map_p2p,
    "gpu memory bandwidth": _map_memory,
    "gemm": _map_gemm,
    "1ccl": _map_collectives,
}


def guess_devices(name: str) -> tuple[str, ...]:
    """PCI ids that a file's name means: 'reference_perf_b60.csv' is every desktop card of that name in our table."""
    words = set(re.split(r"[^a-z0-9]+", name.lower().removesuffix(".csv")))
    return tuple(f"8086:{facts.id}" for facts in list_devices() if words & set(facts.name.lower().split()) - _COMMON)


_COMMON = {"intel", "arc", "pro", "graphics", "data", "center", "gpu", "max", "iris", "xe", "flex", "series", "uhd"}


def read_upstream(
    text: str, *, origin: str, devices: Sequence[str]
) -> tuple[tuple[ReferenceRow, ...], tuple[str, ...]]:
    """Rows for each of `devices` (PCI ids), and what could not be used, as 'file:line: why'."""
    rows: dict[tuple[str, str, str, Params], ReferenceRow] = {}
    problems: list[str] = []
    reader = csv.reader(io.StringIO(text.lstrip("\ufeff"), newline=""))
    try:
        for cells in reader:
            where = f"{origin}:{reader.line_num}"
            if reader.line_num == 1 or not any(cell.strip() for cell in cells):
                continue
            if len(cells) < 4:
                problems.append(f"{where}: {len(cells)} columns instead of 4")
                continue
            meant = map_upstream(*cells[:3])
            match = _NUMBER.fullmatch(cells[3])
            value = float(match[1]) if match else math.nan
            if not meant:
                problems.append(f"{where}: no metric of ours is {', '.join(cells[:3])}")
            elif not (math.isfinite(value) and value > 0):
                problems.append(f"{where}: {cells[3]!r} is not a positive number")
            else:
                made = [_make_row(device, mapped, value, where) for device in devices for mapped in meant]
                known = [(row.device, row.benchmark, row.metric, row.params) for row in made]
                if known and known[0] in rows:
                    problems.append(f"{where}: says again what {rows[known[0]].origin} says")
                rows.update(zip(known, made, strict=True))
    except csv.Error as err:
        problems.append(f"{origin}:{reader.line_num}: not CSV: {err}")
    return tuple(rows.values()), tuple(problems)


def _make_row(device: str, mapped: Mapped, value: float, where: str) -> ReferenceRow:
    return ReferenceRow(
        device=device,
        benchmark=mapped.benchmark,
        metric=mapped.metric,
        params=mapped.params,
        value=value * mapped.factor,
        unit=mapped.unit,
        higher_is_better=True,
        kind="published",
        tolerance=TOLERANCE,
        source=f"upstream-format file {where.rpartition(':')[0]}",
        date="undated",
        origin=where,
    )


def parse_upstream(text: str, *, origin: str, devices: Sequence[str] = ()) -> tuple[ReferenceRow, ...]:
    """The rows of such a file. Raises BadFactsError when a line cannot be used or the device is not known."""
    meant = tuple(devices) or guess_devices(origin.rpartition("/")[2])
    if not meant:
        raise BadFactsError(
            f"{origin}: a file of this form does not say which device it is for",
            hint="name it after the card (reference_perf_b60.csv) or give --device",
        )
    rows, problems = read_upstream(text, origin=origin, devices=meant)
    if problems:
        raise BadFactsError("; ".join(problems[:5]), hint="see xpukit baseline lint")
    return rows
