"""A matrix product to be measured: its type, its shape and its name in the results."""

from __future__ import annotations

import msgspec

from xpukit.core.measurement import MetricKey, make_key

INT4_GROUP = 128  # rows of weights that share a scale, as GPTQ, AWQ and sym_int4 checkpoints usually have it


class DataType(msgspec.Struct, frozen=True, kw_only=True):
    """A row's type in oneDNN's terms. `fpmath`: what the library may convert to; see onednn.MatmulSpec."""

    src: str
    weights: str
    dst: str
    fpmath: str = "strict"
    scale: str = ""


DATA_TYPES: dict[str, DataType] = {
    "fp64": DataType(src="f64", weights="f64", dst="f64"),
    "fp32": DataType(src="f32", weights="f32", dst="f32"),
    "tf32": DataType(src="f32", weights="f32", dst="f32", fpmath="tf32"),
    "fp16": DataType(src="f16", weights="f16", dst="f16"),
    "bf16": DataType(src="bf16", weights="bf16", dst="bf16"),
    "int8": DataType(src="s8", weights="s8", dst="s32"),
    "fp8_e4m3": DataType(src="f8_e4m3", weights="f8_e4m3", dst="bf16"),
    "fp8_e5m2": DataType(src="f8_e5m2", weights="f8_e5m2", dst="bf16"),
    "int4_fp16": DataType(src="f16", weights="s4", dst="f16", fpmath="f16", scale="f16"),
    "int4_bf16": DataType(src="bf16", weights="s4", dst="bf16", fpmath="bf16", scale="bf16"),
}


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """result[m,n] = activations[m,k] x weights[k,n]. `shape` says where it comes from ("square", "decode ...")."""

    dtype: str
    shape: str
    m: int
    n: int
    k: int

    @property
    def operations(self) -> int:
        """Multiplications and additions."""
        return 2 * self.m * self.n * self.k

    @property
    def unit(self) -> str:
        return "TOPS" if self.dtype == "int8" else "TFLOPS"

    def build_key(self, benchmark: str, label: str) -> MetricKey:
        """The row's identity on the device `label`."""
        return make_key(
            benchmark, "throughput", (label,), dtype=self.dtype, m=self.m, n=self.n, k=self.k, shape=self.shape
        )

    def describe(self) -> str:
        """'bf16 1024x1024x1024'."""
        return f"{self.dtype} {self.m}x{self.n}x{self.k}"
