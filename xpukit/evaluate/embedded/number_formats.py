"""Numbers as the devices store them, in numpy: random values of each format, and their exact float64 values.

Every random float lies in ±[0.5, 2): all mantissa bits are random, the mean is zero, and nothing overflows a 16-bit
result. The moments below are what the tolerances of gemm_check.py stand on.
"""

from __future__ import annotations

import functools
from typing import Any

import msgspec


class FloatFormat(msgspec.Struct, frozen=True, kw_only=True):
    """A binary format by its bits. `keep` masks random bits to sign, lowest exponent bit and mantissa; `base` adds
    the exponent of 0.5. `precision`: significand bits, hidden one included (unit roundoff is 2**-precision)."""

    bits: int
    keep: int
    base: int
    precision: int


FLOATS: dict[str, FloatFormat] = {
    "f64": FloatFormat(bits=64, keep=0x801F_FFFF_FFFF_FFFF, base=0x3FE0 << 48, precision=53),
    "f32": FloatFormat(bits=32, keep=0x80FF_FFFF, base=0x3F00_0000, precision=24),
    "f16": FloatFormat(bits=16, keep=0x87FF, base=0x3800, precision=11),
    "bf16": FloatFormat(bits=16, keep=0x80FF, base=0x3F00, precision=8),
    "f8_e4m3": FloatFormat(bits=8, keep=0x8F, base=0x30, precision=4),
    "f8_e5m2": FloatFormat(bits=8, keep=0x87, base=0x38, precision=3),
}
TF32_PRECISION = 11  # 10 stored mantissa bits

# Half of the values is uniform in ±[0.5, 1), half in ±[1, 2).
FLOAT_MEAN_ABS = 0.5 * 0.75 + 0.5 * 1.5
FLOAT_MEAN_SQUARE = 0.5 * (7 / 12) + 0.5 * (7 / 3)
# -8..7, equally likely
INT4_MEAN_ABS = 4.0
INT4_MEAN_SQUARE = 21.5
SCALE_FACTOR = 1 / 16  # scales of 4-bit weights: positive floats times this, so that products stay near 1


def random_bits(seed: int, count: int, bits: int) -> Any:
    """`count` unsigned integers of `bits` random bits."""
    import numpy as np

    size = count * bits // 8
    words = np.random.SFC64(seed).random_raw((size + 7) // 8)
    return words.view(np.uint8)[:size].view(f"u{bits // 8}")


def random_floats(seed: int, shape: tuple[int, ...], name: str, *, positive: bool = False) -> Any:
    """Random values of a format as its raw unsigned integers, in ±[0.5, 2)."""
    import numpy as np

    form = FLOATS[name]
    raw = random_bits(seed, int(np.prod(shape)), form.bits)
    keep = form.keep & ~(1 << (form.bits - 1)) if positive else form.keep
    raw &= raw.dtype.type(keep)
    raw |= raw.dtype.type(form.base)
    return raw.reshape(shape)


def decode_floats(raw: Any, name: str) -> Any:
    """The exact float64 values of raw bits."""
    import numpy as np

    if name == "f64":
        return raw.view(np.float64)
    if name == "f32":
        return raw.view(np.float32).astype(np.float64)
    if name == "f16":
        return raw.view(np.float16).astype(np.float64)
    if name == "bf16":
        return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    return _decode_table(name)[raw]


def encode_float(value: float, name: str) -> Any:
    """One value in a format, rounded towards zero, as a one-element array of its raw bits (not for fp8)."""
    import numpy as np

    if name == "bf16":
        return (np.array([value], np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    kind = {"f64": np.float64, "f32": np.float32, "f16": np.float16}[name]
    return np.array([value], kind).view(f"u{FLOATS[name].bits // 8}")


@functools.cache
def _decode_table(name: str) -> Any:
    """All 256 values of an OCP 8-bit format (OFP8 1.0, section 5: E4M3 has no infinities, one NaN per sign)."""
    import numpy as np

    exponent_bits, mantissa_bits = (4, 3) if name == "f8_e4m3" else (5, 2)
    bias = (1 << (exponent_bits - 1)) - 1
    codes = np.arange(256)
    sign = np.where(codes & 0x80, -1.0, 1.0)
    exponent = (codes >> mantissa_bits) & ((1 << exponent_bits) - 1)
    mantissa = (codes & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    normal = (1.0 + mantissa) * np.exp2((exponent - bias).astype(np.float64))
    values = sign * np.where(exponent == 0, mantissa * 2.0 ** (1 - bias), normal)
    if name == "f8_e4m3":
        values[(codes & 0x7F) == 0x7F] = np.nan
    else:
        top = exponent == (1 << exponent_bits) - 1
        values[top] = np.where(mantissa[top] == 0, sign[top] * np.inf, np.nan)
    return values


def unpack_int4(packed: Any) -> Any:
    """Signed 4-bit numbers from bytes (low nibble first), as int8; the last axis doubles."""
    import numpy as np

    signed = packed.view(np.int8)
    low = np.left_shift(signed, 4) >> 4
    return np.stack((low, signed >> 4), axis=-1).reshape(*packed.shape[:-1], -1)
