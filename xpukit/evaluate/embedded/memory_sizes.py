"""Sizes and byte counting that the plan of a memory benchmark and its worker must agree on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.core.measurement import Method
from xpukit.core.units import MIB

# Arrays that an operation touches. Bytes are counted as STREAM counts them: each array once, what the caches fetch
# in order to overwrite it (write-allocate) not at all.
ARRAYS = {"read": 1, "write": 1, "copy": 2, "triad": 3}
VECTOR_BYTES = 64
PAGE_BYTES = 4096


def array_bytes(op: str, footprint_bytes: int) -> int:
    """Size of each array when all arrays of `op` together take `footprint_bytes`."""
    return max(VECTOR_BYTES, footprint_bytes // ARRAYS[op] // VECTOR_BYTES * VECTOR_BYTES)


def counted_bytes(op: str, footprint_bytes: int) -> int:
    """Bytes that one run of `op` moves, by STREAM's counting."""
    return ARRAYS[op] * array_bytes(op, footprint_bytes)


def array_offsets(op: str, footprint_bytes: int) -> tuple[int, ...]:
    """Where the arrays begin in one allocation; each on its own page."""
    stride = -(-array_bytes(op, footprint_bytes) // PAGE_BYTES) * PAGE_BYTES
    return tuple(i * stride for i in range(ARRAYS[op]))


def room_for(footprint_bytes: int) -> int:
    """Bytes to allocate so that every operation's arrays of this footprint fit."""
    return footprint_bytes + max(ARRAYS.values()) * (PAGE_BYTES + VECTOR_BYTES)


def round_to_mib(count: float) -> int:
    """Up to whole MiB."""
    return -(-int(count) // MIB) * MIB


def list_sizes(settings: Mapping[str, Any], *, limit_bytes: int, table: str) -> tuple[int, ...]:
    """The suite's `sizes_bytes` that fit into `limit_bytes`, ascending."""
    sizes: Sequence[Any] = settings.get("sizes_bytes", ())
    if not all(isinstance(size, int) and size >= PAGE_BYTES and size % PAGE_BYTES == 0 for size in sizes):
        raise BadFactsError(
            f"suite table [{table}]: sizes_bytes must be multiples of {PAGE_BYTES}",
            hint="each size is a whole number of 4 KiB pages",
        )
    return tuple(sorted({size for size in sizes if size <= limit_bytes}))


def method_for(method: Method, settings: Mapping[str, Any]) -> Method:
    """The suite's method with what its table for this benchmark changes."""
    changes = {name: settings[name] for name in Method.__struct_fields__ if name in settings}
    return msgspec.structs.replace(method, **changes) if changes else method
