"""What is read of the oneCCL benchmark: its rows, and the bandwidths that follow from them.

The public program prints times only. llm-scaler's patch adds algbw and busbw in a "GB/s" that is 1.048576e9 B/s
(bytes * 1000 / t_avg / 1024 / 1024). Formulas: NVIDIA nccl-tests, doc/PERFORMANCE.md. The sizes that the program
prints for allgather, reduce_scatter and alltoall are one rank's share: the formulas' size is ranks times that.
"""

from __future__ import annotations

import msgspec

from xpukit.evaluate.parsers.lines import Note, Problem

PATCH_GB = 1.048576e9
TRUE_GB = 1e9

ITEM_BYTES = {
    "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8,
    "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8,
}  # fmt: skip

_SHARED = frozenset({"allgather", "allgatherv", "reduce_scatter", "reducescatter", "alltoall", "alltoallv"})
_WHOLE = frozenset({"broadcast", "bcast", "reduce"})
# The patch knows this collective as "reducescatter" and so leaves both factors out.
_PATCH_MISSES = frozenset({"reduce_scatter"})


class CclRow(msgspec.Struct, frozen=True, kw_only=True):
    """Times in microseconds are of all buffers together. gbps is 1e9 bytes/s.

    `collectives` has one name, or, where the program was told several, all of them: the times are then their sum and
    there are no bandwidths. `total_bytes` counts all buffers, `message_bytes` and `elements` one of them.
    `algbw_gbps` and `busbw_gbps` are the printed figures converted where those have three digits at least, else
    computed from t_avg (`is_printed` says which); `printed_*` are as printed, with `printed_unit` bytes/s to their
    "GB/s" (None: they contradict t_avg).
    """

    line: int
    collectives: tuple[str, ...]
    ranks: int | None
    datatype: str
    reduction: str
    total_bytes: int
    t_avg_us: float
    buffers: int | None = None
    message_bytes: int | None = None
    elements: int | None = None
    repetitions: int | None = None
    t_min_us: float | None = None
    t_max_us: float | None = None
    stddev_percent: float | None = None
    wait_avg_us: float | None = None
    printed_algbw: float | None = None
    printed_busbw: float | None = None
    printed_unit: float | None = None
    computed_algbw_gbps: float | None = None
    computed_busbw_gbps: float | None = None
    algbw_gbps: float | None = None
    busbw_gbps: float | None = None
    is_printed: bool = False

    @property
    def collective(self) -> str:
        """The only collective; "" if the times are a sum over several."""
        return self.collectives[0] if len(self.collectives) == 1 else ""


class CclOutput(msgspec.Struct, frozen=True, kw_only=True):
    """`readings` belong to one collective each, `summed` to several together. `settings` is the options block.

    `is_finished`: each run ended with "# All done" (2021.1 says nothing at its end and counts as finished).
    """

    readings: tuple[CclRow, ...] = ()
    summed: tuple[CclRow, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    is_finished: bool = False
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()


def compute_bandwidths(
    collective: str, ranks: int | None, total_bytes: int, t_avg_us: float
) -> tuple[float | None, float | None]:
    """(algbw, busbw) in 1e9 bytes/s as nccl-tests defines them; None where the formula or the ranks are unknown."""
    if not ranks or t_avg_us <= 0:
        return None, None
    gbps = total_bytes / t_avg_us / 1000
    if collective == "allreduce":
        return gbps, gbps * 2 * (ranks - 1) / ranks
    if collective in _WHOLE:
        return gbps, gbps
    if collective in _SHARED:
        return gbps * ranks, gbps * (ranks - 1)
    return None, None


def add_bandwidths(row: CclRow, digits_step: float) -> tuple[CclRow, str]:
    """The row with its bandwidths, and a remark if the printed ones are not what they seem.

    `digits_step` is the last printed digit's worth (0.01 in tables, 0 where six significant digits are printed).
    """
    if len(row.collectives) != 1:
        return row, ""
    algbw, busbw = compute_bandwidths(row.collective, row.ranks, row.total_bytes, row.t_avg_us)
    row = msgspec.structs.replace(
        row, computed_algbw_gbps=algbw, computed_busbw_gbps=busbw, algbw_gbps=algbw, busbw_gbps=busbw
    )
    said_alg, said_bus = row.printed_algbw, row.printed_busbw
    if said_alg is None or said_bus is None or algbw is None or busbw is None:
        return row, ""
    ranks = row.ranks or 1
    slack = 2e-5 + digits_step / row.t_avg_us  # both the figures and t_avg were rounded

    def fits(wanted: float, printed: float, unit: float) -> bool:
        want = wanted * 1e9 / unit
        return abs(want - printed) <= digits_step * 0.51 + want * slack

    def both_fit(alg: float, bus: float, unit: float) -> bool:
        return fits(alg, said_alg, unit) and fits(bus, said_bus, unit)

    if row.collective in _PATCH_MISSES and ranks > 1 and both_fit(algbw / ranks, algbw / ranks, PATCH_GB):
        row = msgspec.structs.replace(row, printed_unit=PATCH_GB)
        return row, "printed algbw and busbw lack the factors of a reduce_scatter; computed from t_avg"
    unit = next((unit for unit in (PATCH_GB, TRUE_GB) if both_fit(algbw, busbw, unit)), None)
    if unit is None:
        return row, "printed algbw or busbw contradicts t_avg; computed from t_avg"
    row = msgspec.structs.replace(row, printed_unit=unit)
    if min(said_alg, said_bus) >= 100 * digits_step:
        row = msgspec.structs.replace(
            row, algbw_gbps=said_alg * (unit / 1e9), busbw_gbps=said_bus * (unit / 1e9), is_printed=True
        )
    return row, "this build's GB/s is 1e9 bytes/s, not the patch's 1.048576e9" if unit == TRUE_GB else ""
