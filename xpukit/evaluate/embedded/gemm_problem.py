"""Seeded inputs of a matrix product, as a device wants them and as exact float64 values."""

from __future__ import annotations

import zlib
from typing import Any

from xpukit.evaluate.embedded.gemm_cases import DATA_TYPES, INT4_GROUP
from xpukit.evaluate.embedded.number_formats import (
    FLOAT_MEAN_ABS,
    FLOAT_MEAN_SQUARE,
    FLOATS,
    INT4_MEAN_ABS,
    INT4_MEAN_SQUARE,
    SCALE_FACTOR,
    decode_floats,
    random_bits,
    random_floats,
    unpack_int4,
)


class Problem:
    """Activations [m,k] and weights [k,n] for one type. `source`, `weights`, `scales`: raw bits, row-major."""

    def __init__(self, dtype: str, *, m: int, n: int, k: int, seed: int) -> None:
        self.dtype, self.m, self.n, self.k = dtype, m, n, k
        self.type = DATA_TYPES[dtype]
        mark = zlib.crc32(f"{dtype} {n} {k}".encode())
        self.source = _draw(self.type.src, (m, k), seed * 4 + mark)
        self.weights = _draw(self.type.weights, (k, n), seed * 4 + mark + 1)
        self.scales: Any = None
        if self.type.scale:
            if k % INT4_GROUP or n % 2:
                raise ValueError(f"{dtype}: k must be a multiple of {INT4_GROUP} and n even, not k={k} n={n}")
            self.scales = random_floats(seed * 4 + mark + 2, (k // INT4_GROUP, n), self.type.scale, positive=True)
            # Four binades down, exactly: 1/16 of the value, by the exponent.
            mantissa_bits = FLOATS[self.type.scale].precision - 1
            self.scales -= self.scales.dtype.type(4 << mantissa_bits)

    @property
    def is_integer(self) -> bool:
        return self.type.dst == "s32"

    def source_rows(self, rows: Any) -> Any:
        """Rows of the activations (a slice or row numbers) as float64."""
        return _decode(self.source[rows], self.type.src)

    def weight_columns(self, first: int, last: int) -> Any:
        """Columns of the weights as float64, scales applied. `first` and `last` must be even for 4-bit weights."""
        import numpy as np

        if not self.type.scale:
            return _decode(self.weights[:, first:last], self.type.weights)
        numbers = unpack_int4(self.weights[:, first // 2 : last // 2]).astype(np.float64)
        scales = decode_floats(np.ascontiguousarray(self.scales[:, first:last]), self.type.scale)
        grouped = numbers.reshape(self.k // INT4_GROUP, INT4_GROUP, last - first)
        grouped *= scales[:, None, :]
        return grouped.reshape(self.k, last - first)

    @property
    def expected_abs_sum(self) -> float:
        """The expected sum of |a||b| over k."""
        source = INT8_MEAN_ABS if self.is_integer else FLOAT_MEAN_ABS
        weights = source if not self.type.scale else INT4_MEAN_ABS * FLOAT_MEAN_ABS * SCALE_FACTOR
        return self.k * source * weights

    @property
    def expected_rms(self) -> float:
        """The expected root mean square of the result's elements (the products are independent, mean zero)."""
        source = INT8_MEAN_SQUARE if self.is_integer else FLOAT_MEAN_SQUARE
        scaled = INT4_MEAN_SQUARE * FLOAT_MEAN_SQUARE * SCALE_FACTOR**2
        weights = scaled if self.type.scale else source
        return float((self.k * source * weights) ** 0.5)


INT8_MEAN_ABS = 64.0
INT8_MEAN_SQUARE = (256**2 - 1) / 12 + 0.25


def _draw(name: str, shape: tuple[int, int], seed: int) -> Any:
    if name in FLOATS:
        return random_floats(seed, shape, name)
    if name == "s4":
        return random_bits(seed, shape[0] * shape[1] // 2, 8).reshape(shape[0], shape[1] // 2)
    return random_bits(seed, shape[0] * shape[1], 8).view("i1").reshape(shape)


def _decode(raw: Any, name: str) -> Any:
    import numpy as np

    if name in FLOATS:
        return decode_floats(np.ascontiguousarray(raw), name)
    return raw.astype(np.float64)
