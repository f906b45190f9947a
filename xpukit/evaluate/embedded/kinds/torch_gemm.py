"""Matrix products by PyTorch on the worker's device; data, checks and rows are those of `gemm`.

`params` as for `gemm`. Several types may be asked for, since loading torch takes seconds.
"""

from __future__ import annotations

from xpukit.core.errors import CouldNotJudgeError
from xpukit.evaluate.embedded.gemm_cases import INT4_GROUP, Case
from xpukit.evaluate.embedded.gemm_check import CheckResult
from xpukit.evaluate.embedded.gemm_measure import Product
from xpukit.evaluate.embedded.gemm_problem import Problem
from xpukit.evaluate.embedded.kinds.gemm import TF32_ERROR, Bench, measure_on
from xpukit.evaluate.embedded.protocol import Request
from xpukit.evaluate.embedded.worker import Emitter
from xpukit.host.native.torch_device import TorchDevice, open_torch_devices
from xpukit.host.native.torch_matmul import TorchMatmul


class TorchBench(Bench):
    """The bench with torch's products."""

    def __init__(self, request: Request, emit: Emitter, device: TorchDevice) -> None:
        super().__init__(request, emit)
        self._device = device

    def check_dtype(self, case: Case) -> None:
        if case.dtype == "fp64" and not self._device.backend.has_fp64(self._device.index):
            raise CouldNotJudgeError("this GPU has no fp64 arithmetic")

    def prepare(self, case: Case, problem: Problem) -> Product:
        source = problem.source[: case.m]
        return TorchMatmul(
            self._device,
            case.dtype,
            source=source,
            weights=problem.weights,
            scales=problem.scales,
            group=INT4_GROUP,
        )

    def describe(self, case: Case, product: Product, checked: CheckResult) -> str:
        if case.dtype != "tf32":
            return product.implementation
        ran = "tf32" if checked.relative_error > TF32_ERROR else "fp32, tf32 was not used"
        return f"{product.implementation}; arithmetic by its error ({checked.relative_error:.1g} of the result): {ran}"


def measure(request: Request, emit: Emitter) -> None:
    """Measure every case; one that cannot be had gives its reason, the others go on."""
    try:
        (device,) = open_torch_devices(request.targets)
    except CouldNotJudgeError as err:
        emit.failed(err.message)
        return
    emit.note(device.backend.describe(device.index))
    measure_on(TorchBench(request, emit, device), request, emit)
