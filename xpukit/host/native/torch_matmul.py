"""Matrix products by PyTorch: torch.mm, and its private products of 8- and 4-bit numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from xpukit.host.native.torch_device import REFUSALS, TorchDevice, TorchError, explain_refusal

_FLOATS = {"fp64": "float64", "fp32": "float32", "tf32": "float32", "fp16": "float16", "bf16": "bfloat16"}
_FP8 = {"fp8_e4m3": "float8_e4m3fn", "fp8_e5m2": "float8_e5m2"}
_INT4 = {"int4_fp16": "float16", "int4_bf16": "bfloat16"}
_TRIES = 2
_LONG_S = 0.25  # a run of that length says which way is faster without being repeated

Run = Callable[[], Any]


def set_float32_precision(torch: Any, *, tf32: bool) -> None:
    """Whether fp32 products may be done in tf32, on every backend that this version of torch can say it to."""
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    flags = getattr(torch.backends, "mkldnn", None)
    # XPU before torch 2.9: a switch of its own, which `set_float32_matmul_precision` did not reach.
    if flags is not None and not hasattr(flags, "matmul") and hasattr(flags, "allow_tf32"):
        flags.allow_tf32 = tf32
    matmul = torch.backends.cuda.matmul
    # Sums in 16 bits are another arithmetic than the one that is checked here.
    for name in ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction"):
        if hasattr(matmul, name):
            setattr(matmul, name, False)


class TorchMatmul:
    """result[m,n] = source[m,k] x weights[k,n], the same interface as onednn.Matmul; arrays hold raw bits.

    Weights are tried as they are (rows of n) and transposed in memory (as torch.nn.Linear keeps them); the faster
    way is measured. Raises TorchError where torch does not do it.
    """

    def __init__(self, device: TorchDevice, dtype: str, *, source: Any, weights: Any, scales: Any, group: int) -> None:
        self._device, self._dtype = device, dtype
        self._torch = device.backend.torch
        self._result: Any = None
        set_float32_precision(self._torch, tf32=dtype == "tf32")
        refusals: list[str] = []
        ways: list[tuple[float, str, Run]] = []
        for name, prepare in self._list_ways(source, weights, scales, group):
            try:
                run = prepare()
                seconds = self._time(run)
                if seconds < _LONG_S:
                    seconds = min(self._time(run) for _ in range(_TRIES))
                ways.append((seconds, name, run))
            except REFUSALS as err:
                refusals.append(explain_refusal(err))
        if not ways:
            raise TorchError(f"PyTorch {self._torch.__version__} does not do {dtype} here: {refusals[0]}")
        _, self.implementation, self._run = min(ways, key=lambda way: way[0])
        self.repacked = "packed" in self.implementation

    def _time(self, run: Run) -> float:
        start = time.perf_counter()
        self._result = run()
        self._device.wait()
        return time.perf_counter() - start

    def _upload(self, raw: Any, dtype: str) -> Any:
        import numpy as np

        # Torch takes few unsigned types from numpy: the bits travel as signed integers.
        plain = np.ascontiguousarray(raw).view(f"i{raw.dtype.itemsize}")
        return self._torch.from_numpy(plain).to(self._device.device).view(getattr(self._torch, dtype))

    def _list_ways(self, source: Any, weights: Any, scales: Any, group: int) -> list[tuple[str, Callable[[], Run]]]:
        if self._dtype in _INT4:
            return [("torch._weight_int4pack_mm_for_cpu, packed", lambda: self._int4(source, weights, scales, group))]

        def make(product: Callable[[Any, Any], Run], dtype: str, *, linear: bool) -> Run:
            left, right = self._upload(source, dtype), self._upload(weights, dtype)
            # Copying the transpose and transposing back: the same numbers, stored by columns.
            return product(left, right.t().contiguous().t() if linear else right)

        name, product, dtype = {
            "int8": ("torch._int_mm", self._int8, "int8"),
            **{key: ("torch._scaled_mm", self._fp8, value) for key, value in _FP8.items()},
            **{key: ("torch.mm", self._float, value) for key, value in _FLOATS.items()},
        }[self._dtype]
        ways = [(f"{name}, weights as in Linear", lambda: make(product, dtype, linear=True))]
        if self._dtype not in _FP8:  # _scaled_mm is defined for that layout only
            ways.insert(0, (f"{name}, weights by rows", lambda: make(product, dtype, linear=False)))
        return ways

    def _float(self, left: Any, right: Any) -> Run:
        out = self._torch.empty((left.shape[0], right.shape[1]), dtype=left.dtype, device=left.device)
        return lambda: self._torch.mm(left, right, out=out)

    def _int8(self, left: Any, right: Any) -> Run:
        out = self._torch.empty((left.shape[0], right.shape[1]), dtype=self._torch.int32, device=left.device)
        return lambda: self._torch._int_mm(left, right, out=out)

    def _fp8(self, left: Any, right: Any) -> Run:
        one = self._torch.ones((), dtype=self._torch.float32, device=left.device)
        kind = self._torch.bfloat16
        return lambda: self._torch._scaled_mm(left, right, one, one, out_dtype=kind)

    def _int4(self, source: Any, weights: Any, scales: Any, group: int) -> Run:
        """Torch's numbers are 0..15 and mean (number - 8) * scale + zero; ours are signed, so zero is 0.

        Only the CPU's operator: those of the GPUs pack weights each in its own way.
        """
        import numpy as np

        torch, dtype = self._torch, _INT4[self._dtype]
        if not self._device.is_cpu:
            raise TorchError("its 4-bit products of GPUs are not measured")
        low = np.left_shift(weights.view(np.int8), 4) >> 4
        numbers = np.stack((low, weights.view(np.int8) >> 4), axis=-1).reshape(weights.shape[0], -1)
        shifted = torch.from_numpy(np.ascontiguousarray(numbers.T.astype(np.int32) + 8))
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(shifted, 2)
        left, scale = self._upload(source, dtype), self._upload(scales, dtype)
        pairs = torch.stack((scale, torch.zeros_like(scale)), dim=-1).contiguous()
        return lambda: torch.ops.aten._weight_int4pack_mm_for_cpu(left, packed, group, pairs)

    def run(self, times: int) -> None:
        """Multiply `times` times, and wait."""
        run = self._run
        for _ in range(times):
            self._result = run()
        self._device.wait()

    def read_result(self) -> bytes:
        """The result's bytes, row-major."""
        return bytes(self._result.cpu().contiguous().view(self._torch.uint8).numpy().tobytes())

    def write_result(self, data: bytes) -> None:
        """Overwrite the result (xpukit's check of its own verification plants errors this way)."""
        import numpy as np

        raw = self._torch.from_numpy(np.frombuffer(data, np.uint8).copy()).view(self._result.dtype)
        self._result = raw.view(self._result.shape).to(self._device.device)

    def close(self) -> None:
        """Give the device its memory back: the next product may need it."""
        self._result = None
        del self._run
        empty = getattr(self._device.backend.namespace, "empty_cache", None)
        if empty is not None and not self._device.is_cpu:
            empty()
