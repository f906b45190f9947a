"""Matrix products by the CPU's BLAS libraries: numpy's own (OpenBLAS), and MKL by ctypes where its wheel is installed.

These are the yardstick beside oneDNN, and the only fp64 on a CPU. MKL's C signatures: mkl_cblas.h, 32-bit integers.
"""

from __future__ import annotations

import ctypes
import functools
import os
from ctypes import c_double, c_float, c_int, c_int8, c_int32, c_void_p
from typing import Any, Literal

from xpukit.core.errors import CouldNotJudgeError
from xpukit.host.native import libraries

Library = Literal["numpy", "mkl"]

_MKL = "libmkl_rt.so.3"
_ROW_MAJOR, _NO_TRANSPOSE, _FIXED_OFFSET = 101, 111, 173

# dtype -> (function, type of alpha and beta, numpy type of the result)
_MKL_FUNCTIONS: dict[str, tuple[str, Any, str]] = {
    "fp64": ("cblas_dgemm", c_double, "f8"),
    "fp32": ("cblas_sgemm", c_float, "f4"),
    "fp16": ("cblas_gemm_f16f16f32", c_float, "f4"),
    "bf16": ("cblas_gemm_bf16bf16f32", c_float, "f4"),
    "int8": ("cblas_gemm_s8u8s32", c_float, "i4"),
}
_NUMPY_TYPES = {"fp64": "f8", "fp32": "f4"}


def has_mkl() -> bool:
    """Whether MKL came with the environment (its wheel is `mkl`)."""
    return libraries.find_library(_MKL) is not None


def list_dtypes(library: Library) -> tuple[str, ...]:
    """The types that a library multiplies fast."""
    return tuple(_NUMPY_TYPES if library == "numpy" else _MKL_FUNCTIONS)


@functools.cache
def _mkl() -> ctypes.CDLL:
    """MKL's single library. Raises CouldNotJudgeError naming what is missing."""
    if not has_mkl():
        raise CouldNotJudgeError("the pip package mkl is not installed", hint="pip install mkl")
    # Idle OpenMP threads spin for 200 ms by default, into whatever is measured or checked next.
    os.environ.setdefault("KMP_BLOCKTIME", "1")
    libraries.preload(libraries.MKL[:-1])
    return libraries.load(_MKL)


def describe_library(library: Library) -> str:
    """The library's name and version."""
    if library == "mkl":
        text = ctypes.create_string_buffer(256)
        _mkl().mkl_get_version_string(text, 256)
        words = text.value.decode("ascii", "replace").split()  # "... Library Version 2026.2-Product Build ..."
        version = words[words.index("Version") + 1] if "Version" in words[:-1] else ""
        return f"MKL {version.removesuffix('-Product')}".strip()
    import numpy as np

    config: Any = np.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    return f"numpy {np.__version__} with {blas['name']} {blas['version']}"


class BlasMatmul:
    """result[m,n] = source[m,k] x weights[k,n] by a BLAS library, the same interface as onednn.Matmul.

    `source` and `weights` hold raw bits. int8: `source` must hold 0..127 only, since MKL wants one side unsigned.
    fp16 and bf16 give fp32 results.
    """

    repacked = False

    def __init__(self, library: Library, dtype: str, *, source: Any, weights: Any) -> None:
        import numpy as np

        if dtype not in list_dtypes(library):
            raise CouldNotJudgeError(f"{library} has no fast {dtype} product")
        self._library = library
        (m, k), n = source.shape, weights.shape[1]
        kind = _NUMPY_TYPES[dtype] if library == "numpy" else _MKL_FUNCTIONS[dtype][2]
        self._source, self._weights = np.ascontiguousarray(source), np.ascontiguousarray(weights)
        self._result = np.full((m, n), -1 if kind == "i4" else np.nan, kind)
        if library == "numpy":
            self.implementation = "numpy.matmul"
            self._source, self._weights = self._source.view(kind), self._weights.view(kind)
            return
        name, scalar, _ = _MKL_FUNCTIONS[dtype]
        self.implementation = name
        self._function = getattr(_mkl(), name)
        self._function.restype = None
        integer = dtype == "int8"
        layout = [c_int(_ROW_MAJOR), c_int(_NO_TRANSPOSE), c_int(_NO_TRANSPOSE)]
        layout += [c_int(_FIXED_OFFSET)] if integer else []
        left, right = c_void_p(self._source.ctypes.data), c_void_p(self._weights.ctypes.data)
        result = c_void_p(self._result.ctypes.data)
        self._offset = c_int32(0)
        self._arguments = [*layout, c_int(m), c_int(n), c_int(k), scalar(1.0), left, c_int(k)]
        self._arguments += [c_int8(0)] if integer else []
        self._arguments += [right, c_int(n)]
        self._arguments += [c_int8(0)] if integer else []
        self._arguments += [scalar(0.0), result, c_int(n)]
        self._arguments += [ctypes.byref(self._offset)] if integer else []

    def run(self, times: int) -> None:
        """Multiply `times` times."""
        if self._library == "numpy":
            import numpy as np

            for _ in range(times):
                np.matmul(self._source, self._weights, out=self._result)
            return
        for _ in range(times):
            self._function(*self._arguments)

    def read_result(self) -> bytes:
        """The result's bytes, row-major."""
        return bytes(self._result.tobytes())

    def write_result(self, data: bytes) -> None:
        """Overwrite the result (xpukit's check of its own verification plants errors this way)."""
        import numpy as np

        self._result[...] = np.frombuffer(data, self._result.dtype).reshape(self._result.shape)

    def close(self) -> None:
        """Nothing to free: the arrays go with the object."""
