"""Formulas of nccl-tests, and data whose result is known exactly.

Bytes, as nccl-tests counts them: allreduce and broadcast: one rank's buffer; allgather: the gathered buffer (ranks ×
what each sends); reduce_scatter: the buffer before scattering; alltoall: one rank's whole send buffer.
Source: NVIDIA nccl-tests doc/PERFORMANCE.md.
"""

from __future__ import annotations

from typing import Any

import msgspec

COLLECTIVES = ("allreduce", "allgather", "reduce_scatter", "alltoall", "broadcast")
ITEM_BYTES = {"fp16": 2, "bf16": 2, "fp32": 4}
# Buffers divide evenly among the ranks at any type: 16 bytes each at least.
_GRAIN_BYTES = 16
# bf16 holds every integer up to 256 exactly: sums must stay below, so that equality is the test.
_EXACT_LIMIT = 256
_PRIMES = (251, 127, 83, 61, 47, 41, 31, 23, 19, 17, 13, 11, 7, 5, 3)
_RANK_STRIDE = 3


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Elements in the buffers of one rank; `count` is what the API is told."""

    send: int
    receive: int
    count: int


def round_bytes(size_bytes: int, ranks: int) -> int:
    """The size that is really measured: rounded down so that it divides among the ranks, at least 16 bytes each."""
    grain = ranks * _GRAIN_BYTES
    return max(grain, size_bytes // grain * grain)


def bus_factor(collective: str, ranks: int) -> float:
    """busbw / algbw: what the slowest link must carry, per byte of the algorithm's size."""
    if collective == "allreduce":
        return 2 * (ranks - 1) / ranks
    return 1.0 if collective == "broadcast" else (ranks - 1) / ranks


def lay_out(collective: str, size_bytes: int, ranks: int, dtype: str) -> Layout:
    """The buffers for `size_bytes` (of `round_bytes`)."""
    elements = size_bytes // ITEM_BYTES[dtype]
    share = elements // ranks
    return {
        "allreduce": Layout(send=elements, receive=elements, count=elements),
        "broadcast": Layout(send=elements, receive=elements, count=elements),
        "allgather": Layout(send=share, receive=elements, count=share),
        "reduce_scatter": Layout(send=elements, receive=share, count=share),
        "alltoall": Layout(send=elements, receive=elements, count=share),
    }[collective]


def choose_modulus(collective: str, ranks: int) -> int:
    """The period of the data: a prime, so that a block at a wrong place (sizes are powers of two) shows.

    Where ranks are summed, the largest whose sums bf16 still holds exactly. Raises ValueError for more ranks than
    that works for (128).
    """
    terms = ranks if collective in ("allreduce", "reduce_scatter") else 1
    for prime in _PRIMES:
        if terms * (prime - 1) <= _EXACT_LIMIT:
            return prime
    raise ValueError(f"{ranks} ranks: sums would not be exact in bf16")


def make_send(collective: str, rank: int, layout: Layout, ranks: int, dtype: str) -> Any:
    """What a rank puts into its send buffer: element i (of the whole operation) is (i + 3·rank) mod a prime."""
    modulus = choose_modulus(collective, ranks)
    start = rank * layout.count if collective == "allgather" else 0
    return _periodic(_row(rank, modulus), start, layout.send, dtype)


def make_expected(collective: str, rank: int, layout: Layout, ranks: int, dtype: str) -> Any:
    """What must be in a rank's receive buffer afterwards, element by element."""
    import numpy as np

    modulus = choose_modulus(collective, ranks)
    if collective in ("allreduce", "reduce_scatter"):
        total = [sum(column) for column in zip(*(_row(one, modulus) for one in range(ranks)), strict=True)]
        start = rank * layout.count if collective == "reduce_scatter" else 0
        return _periodic(total, start, layout.receive, dtype)
    if collective == "broadcast":
        return _periodic(_row(0, modulus), 0, layout.receive, dtype)
    blocks = []
    for source in range(ranks):
        start = (source if collective == "allgather" else rank) * layout.count
        blocks.append(_periodic(_row(source, modulus), start, layout.count, dtype))
    return np.concatenate(blocks)


def make_unset(layout: Layout, dtype: str) -> Any:
    """What the receive buffer holds before: a value that no result has."""
    return _periodic([-1], 0, layout.receive, dtype)


def _row(rank: int, modulus: int) -> list[int]:
    return [(index + _RANK_STRIDE * rank) % modulus for index in range(modulus)]


def _periodic(values: list[int], start: int, count: int, dtype: str) -> Any:
    import numpy as np

    at = start % len(values)
    period = encode(values[at:] + values[:at], dtype)
    whole = np.empty(count, dtype=period.dtype)
    filled = min(count, period.size)
    whole[:filled] = period[:filled]
    while filled < count:  # doubling: `filled` stays a multiple of the period
        more = min(filled, count - filled)
        whole[filled : filled + more] = whole[:more]
        filled += more
    return whole


def encode(values: list[int], dtype: str) -> Any:
    """Small integers as raw elements: float32, float16, or bf16 in uint16 (numpy has no bf16)."""
    import numpy as np

    whole = np.array(values, dtype=np.float32)
    if dtype == "fp32":
        return whole
    if dtype == "fp16":
        return whole.astype(np.float16)
    # The low half of these floats is zero, so cutting it off is exact.
    return (whole.view(np.uint32) >> 16).astype(np.uint16)


def decode(raw: Any, dtype: str) -> float:
    """One raw element as a number."""
    import numpy as np

    if dtype == "bf16":
        return float((np.array([raw], dtype=np.uint32) << 16).view(np.float32)[0])
    return float(raw)


def compare(got: Any, expected: Any, dtype: str) -> str:
    """'' when every element is bit for bit as expected, else where the first wrong one is and how many are wrong."""
    import numpy as np

    bits = np.uint32 if dtype == "fp32" else np.uint16
    if np.array_equal(got.view(bits), expected.view(bits)):
        return ""
    wrong = np.flatnonzero(got.view(bits) != expected.view(bits))
    first = int(wrong[0])
    return (
        f"element {first} is {decode(got[first], dtype):g} where {decode(expected[first], dtype):g} was expected "
        f"({wrong.size} of {expected.size} wrong)"
    )
