"""Rows under the names that llm-scaler's gen_evaluation_report.py gives them, for people who have scripts on them.

Source: intel/llm-scaler vllm/tools/platform/evaluation/gen_evaluation_report.py (2026-10). It sees P2P between devices
0 and 1 at 128 and 256 MB, ze_peak's H2D and D2H through shared memory, its float8 and float16 reads, the int8 GEMM,
and oneCCL's busbw at 128 MB. What else is of the same kind (other pairs, ranks, modes) follows with a longer name.
"""

from __future__ import annotations

import csv
import io

import msgspec

from xpukit.core.units import MIB
from xpukit.evaluate.result import Evaluation, Result

COLUMNS = ("Category", "Subcategory", "Data/Packet Size", "Measured (GB/s)", "Reference (GB/s)")
_P2P_SIZES = {128 * MIB: "128 MB", 256 * MIB: "256 MB"}
_DIRECTIONS = {"uni": "Unidirectional", "bi": "Bidirectional"}
_CCL_BYTES = 128 * MIB
# Of these the benchmark prints one rank's share: our `bytes` are ranks times that.
_OF_ALL_RANKS = ("allgather", "alltoall")


class UpstreamRow(msgspec.Struct, frozen=True, kw_only=True):
    """`more` tells rows of one name apart; GB/s is 1e9 bytes/s, the GEMM is in TOPS as upstream's."""

    category: str
    subcategory: str
    size: str
    value: float
    reference: float | None
    more: str


def list_upstream_rows(evaluation: Evaluation) -> tuple[UpstreamRow, ...]:
    """The rows that upstream's rules can see, in its order of categories; those without a value are left out."""
    order = ("p2p", "gemm", "1ccl", "GPU memory bandwidth")
    found = [row for result in evaluation.results if (row := _name_row(result)) is not None]
    return tuple(sorted(found, key=lambda row: order.index(row.category)))


def _name_row(result: Result) -> UpstreamRow | None:
    named = _find_name(result)
    if named is None or result.value is None:
        return None
    category, subcategory, size, more = named
    reference = result.reference.value if result.reference else None
    return UpstreamRow(
        category=category, subcategory=subcategory, size=size, value=result.value, reference=reference, more=more
    )  # fmt: skip


def _find_name(result: Result) -> tuple[str, str, str, str] | None:
    params, where = result.params, " ".join(result.devices)
    match (result.benchmark, result.metric):
        case ("p2p", "bandwidth"):
            size, direction = _P2P_SIZES.get(_count(params.get("bytes"))), _DIRECTIONS.get(str(params.get("direction")))
            if size is None or direction is None or params.get("path") != "peer":
                return None
            return "p2p", f"{direction} {str(params.get('mode')).capitalize()}", size, where
        case ("transfer", "peak_bandwidth"):
            direction = str(params.get("direction"))
            if direction not in ("h2d", "d2h") or params.get("memory") != "shared":
                return None
            return "GPU memory bandwidth", direction.upper(), "", where
        case ("memory", "vector_bandwidth"):
            vector = str(params.get("vector"))
            return ("GPU memory bandwidth", "D2D", vector, where) if vector in ("float8", "float16") else None
        case ("gemm", "throughput"):
            return ("gemm", "int8", "", where) if params.get("dtype") == "int8" else None
        case ("collectives", "busbw"):
            collective, ranks = str(params.get("collective")), _count(params.get("ranks"))
            if collective not in ("allreduce", *_OF_ALL_RANKS) or params.get("dtype") != "fp16":
                return None
            size_bytes = _CCL_BYTES * (ranks if collective in _OF_ALL_RANKS else 1)
            more = f"{ranks} ranks {params.get('mode', '')}".strip()
            return ("1ccl", collective, "128MB", more) if params.get("bytes") == size_bytes else None
    return None


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def write_upstream_rows(evaluation: Evaluation) -> str:
    """Upstream's five columns. The first row of a name has exactly that name, further ones say what they are of."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    seen: set[tuple[str, str, str]] = set()
    for row in list_upstream_rows(evaluation):
        name = (row.category, row.subcategory, row.size)
        subcategory = f"{row.subcategory} ({row.more})" if name in seen else row.subcategory
        seen.add(name)
        reference = "" if row.reference is None else f"{row.reference:.6g}"
        writer.writerow((row.category, subcategory, row.size, f"{row.value:.6g}", reference))
    return out.getvalue()
