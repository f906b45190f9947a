"""A peer of engine_gemm.py: one square product by torch, MKL or numpy, timed as xpukit's worker times its own.

Uses nothing of xpukit, so that it runs in an environment that has only the library. Prints one line of JSON:
`{"seconds": [...], "note": "..."}`, seconds per product.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_BATCH_TARGET_S = 0.002
_WARMUP_WINDOW = 4
_WARMUP_SPREAD = 0.05

# cblas enumerations of mkl_cblas.h
_ROW_MAJOR, _NO_TRANSPOSE, _PACKED, _B_MATRIX, _FIX_OFFSET = 101, 111, 151, 162, 173
# mkl_rt loads the other parts itself, from where it lies.
_MKL_LIBRARIES = ("libintlc.so.5", "libimf.so", "libsvml.so", "libirng.so", "libiomp5.so", "libmkl_rt.so.3")


def collect(multiply: Callable[[], object], *, samples: int, warmup_s: float) -> list[float]:
    """Seconds per product: `samples` batches of about 2 ms or one product, after a warm-up until stable."""

    def run(times: int) -> float:
        start = time.perf_counter()
        for _ in range(times):
            multiply()
        return time.perf_counter() - start

    run(1)
    batch = 1
    while (seconds := run(batch)) < _BATCH_TARGET_S / 2:
        batch = max(batch * 2, int(batch * _BATCH_TARGET_S / max(seconds, 1e-7)))
    warm: list[float] = []
    deadline = time.perf_counter() + warmup_s
    while time.perf_counter() < deadline:
        warm.append(run(batch))
        window = sorted(warm[-_WARMUP_WINDOW:])
        if len(window) == _WARMUP_WINDOW and window[-1] - window[0] <= _WARMUP_SPREAD * window[1]:
            break
    return [run(batch) / batch for _ in range(samples)]


def prepare_torch(dtype: str, size: int) -> tuple[Callable[[], object], str]:
    """torch's own matrix product on the CPU."""
    import torch  # type: ignore[import-not-found,unused-ignore]

    torch.manual_seed(1)
    if dtype == "int8":
        left = torch.randint(-128, 128, (size, size), dtype=torch.int8)
        right = torch.randint(-128, 128, (size, size), dtype=torch.int8)
        # Out of place as everybody calls it; the result is allocated by torch's caching of the C library.
        product: Callable[[], Any] = lambda: torch._int_mm(left, right)  # noqa: E731
        exact = (left[:4].long() @ right[:, :4].long()).double()
    else:
        kind = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[dtype]
        left, right = torch.randn(size, size).to(kind), torch.randn(size, size).to(kind)
        result = torch.zeros(size, size, dtype=kind)
        product = lambda: torch.mm(left, right, out=result)  # noqa: E731
        exact = left[:4].double() @ right[:, :4].double()
    with torch.inference_mode():
        error = (product()[:4, :4].double() - exact).abs().max().item()
    _require_small(error, dtype, size)
    return product, f"torch {torch.__version__}, {torch.get_num_threads()} threads"


def prepare_numpy(dtype: str, size: int) -> tuple[Callable[[], object], str]:
    """numpy's own BLAS, fp32 only (its integers and halves do not go to a library)."""
    import numpy as np

    if dtype != "fp32":
        sys.exit(f"numpy has no fast {dtype} product")
    random = np.random.default_rng(1)
    left, right = (random.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    result: Any = np.zeros((size, size), np.float32)
    np.matmul(left, right, out=result)
    exact = left[:4].astype(np.float64) @ right[:, :4].astype(np.float64)
    _require_small(float(np.abs(result[:4, :4] - exact).max()), dtype, size)
    blas: Any = np.show_config(mode="dicts")  # type: ignore[call-overload,unused-ignore]
    about = blas["Build Dependencies"]["blas"]
    return lambda: np.matmul(left, right, out=result), f"numpy {np.__version__}, {about['name']} {about['version']}"


def _load_mkl() -> ctypes.CDLL:
    folder = Path(sys.prefix) / "lib"
    if not (folder / _MKL_LIBRARIES[-1]).exists():
        sys.exit("the pip package mkl is not installed in this environment")
    os.environ.setdefault("KMP_BLOCKTIME", "1")
    return [ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL) for name in _MKL_LIBRARIES][-1]


def prepare_mkl(dtype: str, size: int, *, packed: bool) -> tuple[Callable[[], object], str]:
    """MKL's cblas product; `packed`: the right matrix laid out beforehand by MKL's own packing, as ours is.

    16-bit floats give fp32 results, int8 int32: MKL has no narrower ones. Its int8 wants one side unsigned: 0..127.
    """
    import numpy as np

    library = _load_mkl()
    random = np.random.default_rng(1)
    floats = [random.standard_normal((size, size), dtype=np.float32) for _ in range(2)]
    if dtype == "int8":
        operands: list[Any] = [random.integers(0, 128, (size, size), dtype=np.int8) for _ in range(2)]
        exact = operands[0][:4].astype(np.float64) @ operands[1][:, :4].astype(np.float64)
    elif dtype == "bf16":
        operands = [(value.view(np.uint32) >> 16).astype(np.uint16) for value in floats]
        wide = [(value.astype(np.uint32) << 16).view(np.float32).astype(np.float64) for value in operands]
        exact = wide[0][:4] @ wide[1][:, :4]
    else:
        operands = [value.astype({"fp32": np.float32, "fp16": np.float16}[dtype]) for value in floats]
        exact = operands[0][:4].astype(np.float64) @ operands[1][:, :4].astype(np.float64)
    result: Any = np.zeros((size, size), np.int32 if dtype == "int8" else np.float32)
    stem = {
        "fp32": "cblas_sgemm", "fp16": "cblas_gemm_f16f16f32", "bf16": "cblas_gemm_bf16bf16f32",
        "int8": "cblas_gemm_s8u8s32",
    }[dtype]  # fmt: skip
    number = ctypes.c_int(size)
    left, right, into = (value.ctypes.data_as(ctypes.c_void_p) for value in (*operands, result))
    one, zero = ctypes.c_float(1.0), ctypes.c_float(0.0)
    sizes, no_offset, offset = (number, number, number), ctypes.c_int8(0), ctypes.c_int32(0)
    name, second = stem, _NO_TRANSPOSE
    keep: Any = None
    if packed:
        ask = getattr(library, f"{stem}_pack_get_size")
        ask.restype = ctypes.c_size_t
        keep = np.zeros(ask(_B_MATRIX, *sizes) + 4096, np.uint8)
        room = ctypes.c_void_p((keep.ctypes.data + 63) // 64 * 64)
        scale = (one,) if dtype == "fp32" else ()  # sgemm scales while packing
        getattr(library, f"{stem}_pack")(_ROW_MAJOR, _B_MATRIX, _NO_TRANSPOSE, *sizes, *scale, right, number, room)
        name, second, right = f"{stem}_compute", _PACKED, room
    if dtype == "int8":
        head: tuple[Any, ...] = (_ROW_MAJOR, _NO_TRANSPOSE, second, _FIX_OFFSET, *sizes, one)
        tail: tuple[Any, ...] = (
            left,
            number,
            no_offset,
            right,
            number,
            no_offset,
            zero,
            into,
            number,
            ctypes.byref(offset),
        )
    else:
        scale = () if dtype == "fp32" and packed else (one,)
        head = (_ROW_MAJOR, _NO_TRANSPOSE, second, *sizes, *scale)
        tail = (left, number, right, number, zero, into, number)
    function = getattr(library, name)
    arguments = (*head, *tail)
    function(*arguments)
    _require_small(float(np.abs(result[:4, :4] - exact).max()), dtype, size)
    held = (operands, result, keep)  # ctypes keeps addresses only

    def multiply() -> object:
        return function(*arguments) and held

    return multiply, name


def _require_small(error: float, dtype: str, size: int) -> None:
    """A peer that is wrong is no peer. Elements are sums of `size` products of standard normals (or exact integers)."""
    limit = {"int8": 0.0, "fp32": 1e-5, "fp16": 2e-2, "bf16": 2e-1}[dtype] * size**0.5
    if not error <= limit:
        sys.exit(f"wrong result: {dtype} {size} differs by {error:g}, {limit:g} is allowed")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=("torch", "mkl", "mkl-packed", "numpy"))
    parser.add_argument("dtype", choices=("fp32", "fp16", "bf16", "int8"))
    parser.add_argument("size", type=int)
    parser.add_argument("--samples", type=int, default=9)
    parser.add_argument("--warmup-s", type=float, default=0.4)
    options = parser.parse_args()
    if options.library == "torch":
        multiply, note = prepare_torch(options.dtype, options.size)
    elif options.library == "numpy":
        multiply, note = prepare_numpy(options.dtype, options.size)
    else:
        multiply, note = prepare_mkl(options.dtype, options.size, packed=options.library == "mkl-packed")
    seconds = collect(multiply, samples=options.samples, warmup_s=options.warmup_s)
    print(json.dumps({"seconds": seconds, "note": note}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
