"""PyTorch: its devices, memory and copies. The only importer of torch, which is never a dependency: it is used where
the interpreter that runs us has it, as in a serving container.

Devices are the accelerator's (`xpu`, `cuda`) by the device-agnostic `torch.accelerator`, or what stood in its place
before torch 2.6, or the CPU. Use in worker processes only.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from xpukit.core.errors import CouldNotJudgeError
from xpukit.core.measurement import Target
from xpukit.host.native import libraries

# What torch raises for an operation, type or size that it does not do.
REFUSALS = (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError)
_MESSAGE_LIMIT = 300


class TorchError(CouldNotJudgeError):
    """What PyTorch refused, in its words."""


def load_torch() -> Any:
    """The torch module. Raises TorchError when it is not there or cannot be loaded."""
    try:
        import torch
        import torch.distributed
    except ModuleNotFoundError as err:
        if (err.name or "").partition(".")[0] != "torch":
            raise TorchError(f"torch cannot be imported: {err}") from err
        raise TorchError(
            f"torch is not installed for {sys.executable}", hint="run xpukit with the Python that has torch"
        ) from err
    except (ImportError, OSError) as err:
        raise TorchError(f"torch cannot be imported: {err}") from err
    return torch


def explain_refusal(err: BaseException) -> str:
    """The first lines of what torch said; its C++ traces and advice are left out."""
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return (lines[0] if lines else type(err).__name__)[:_MESSAGE_LIMIT]


class Backend:
    """PyTorch with the kind of device that this worker is to measure: "cpu", or the accelerator's name ("xpu")."""

    def __init__(self) -> None:
        self.torch = load_torch()
        self.kind = "cpu" if libraries.wants_cpu() else _find_accelerator(self.torch)
        # torch.xpu and torch.cuda say more of a device (properties, peers) than torch.accelerator does.
        self.namespace: Any = getattr(self.torch, self.kind, None)
        agnostic = getattr(self.torch, "accelerator", None)
        self._control: Any = agnostic if agnostic is not None and hasattr(agnostic, "synchronize") else self.namespace

    @property
    def is_cpu(self) -> bool:
        return self.kind == "cpu"

    def count_devices(self) -> int:
        return 1 if self.is_cpu else int(self._control.device_count())

    def select(self, index: int) -> None:
        """Make a device the current one, which process groups look at."""
        if not self.is_cpu:
            self.namespace.set_device(index)

    def synchronize(self, index: int) -> None:
        if not self.is_cpu:
            self._control.synchronize(index)

    def device(self, index: int) -> Any:
        return self.torch.device("cpu") if self.is_cpu else self.torch.device(self.kind, index)

    def describe(self, index: int = 0) -> str:
        """'PyTorch 2.13.0+xpu on xpu:0, Intel(R) Arc(TM) Pro B60'."""
        version = f"PyTorch {self.torch.__version__}"
        if self.is_cpu:
            return f"{version} on the CPU, {self.torch.get_num_threads()} threads"
        return f"{version} on {self.kind}:{index}, {self.namespace.get_device_name(index).strip()}"

    def has_fp64(self, index: int) -> bool:
        """Whether the device has fp64 arithmetic (only XPU devices may lack it)."""
        if self.kind != "xpu":
            return True
        return bool(getattr(self.namespace.get_device_properties(index), "has_fp64", True))


def _find_accelerator(torch: Any) -> str:
    """The accelerator's name. Raises TorchError when torch sees none, with what it was built for."""
    agnostic = getattr(torch, "accelerator", None)
    if agnostic is not None and agnostic.is_available():
        return str(agnostic.current_accelerator().type)
    for name in ("xpu", "cuda"):
        namespace = getattr(torch, name, None)
        if namespace is not None and namespace.is_available():
            return name
    versions = getattr(torch, "version", None)
    built = [name for name in ("xpu", "cuda", "hip") if getattr(versions, name, None)]
    raise TorchError(
        f"PyTorch {torch.__version__} shows no device to this worker "
        f"({'built for ' + ', '.join(built) if built else 'built for the CPU alone'})"
    )


class TorchMemory:
    """A uint8 tensor: device memory, or host memory that torch allocated."""

    def __init__(self, backend: Backend, tensor: Any, index: int) -> None:
        self.tensor = tensor
        self.size_bytes = int(tensor.numel())
        self._backend, self._index = backend, index
        self._part: tuple[int, Any] = (self.size_bytes, tensor)

    def first_bytes(self, size_bytes: int) -> Any:
        """A view of the beginning; the last one is kept, so that timings hold no cutting."""
        if self._part[0] != size_bytes:
            self._part = (size_bytes, self.tensor[:size_bytes])
        return self._part[1]

    def window(self, offset_bytes: int, size_bytes: int) -> TorchMemory:
        if offset_bytes < 0 or size_bytes < 1 or offset_bytes + size_bytes > self.size_bytes:
            raise ValueError(f"{offset_bytes}+{size_bytes} is outside an allocation of {self.size_bytes} bytes")
        return TorchMemory(self._backend, self.tensor[offset_bytes : offset_bytes + size_bytes], self._index)

    def set_bytes(self, value: int) -> None:
        self.tensor.fill_(value)
        self._backend.synchronize(self._index)

    def host_words(self) -> Any:
        import numpy as np

        return self.tensor.numpy().view(np.uint32)


class TorchDevice:
    """One device as torch counts them, with the methods of usm.UsmDevice that copies need."""

    def __init__(self, backend: Backend, label: str, index: int) -> None:
        self.backend, self.label, self.index = backend, label, index
        self.device = backend.device(index)

    @property
    def is_cpu(self) -> bool:
        return self.backend.is_cpu

    @property
    def cache_bytes(self) -> int:
        """The device's last cache, where torch knows it (0: not stated)."""
        if self.is_cpu:
            return 0
        properties = self.backend.namespace.get_device_properties(self.index)
        return int(getattr(properties, "last_level_cache_size", 0) or getattr(properties, "L2_cache_size", 0) or 0)

    def _allocate(self, size_bytes: int, **where: Any) -> TorchMemory:
        torch = self.backend.torch
        try:
            tensor = torch.empty(size_bytes, dtype=torch.uint8, **where)
        except REFUSALS as err:
            raise TorchError(f"{self.label}: {size_bytes} bytes refused: {explain_refusal(err)}") from err
        return TorchMemory(self.backend, tensor, self.index)

    def allocate_device(self, size_bytes: int) -> TorchMemory:
        return self._allocate(size_bytes, device=self.device)

    def allocate_host(self, size_bytes: int) -> TorchMemory:
        """Pinned memory; ordinary memory where the device is the CPU, which has nobody to pin it for."""
        return self._allocate(size_bytes, pin_memory=not self.is_cpu)

    def allocate_shared(self, size_bytes: int) -> TorchMemory:
        raise TorchError("PyTorch has no memory that migrates between host and device")

    def copy(self, destination: Any, source: Any, size_bytes: int) -> None:
        self.time_copies(destination, source, size_bytes, 1)

    def start_copies(self, destination: Any, source: Any, size_bytes: int, repeats: int) -> None:
        self._submit(self._view(destination, size_bytes), self._view(source, size_bytes), repeats)

    def time_copies(self, destination: Any, source: Any, size_bytes: int, repeats: int) -> float:
        to, frm = self._view(destination, size_bytes), self._view(source, size_bytes)
        start = time.perf_counter()
        self._submit(to, frm, repeats)
        self.wait()
        return time.perf_counter() - start

    def _submit(self, to: Any, frm: Any, repeats: int) -> None:
        # Of pageable memory torch promises nothing before the copy is over: it is to wait by itself.
        queued = not self.is_cpu and all(side.device.type != "cpu" or side.is_pinned() for side in (to, frm))
        try:
            for _ in range(repeats):
                to.copy_(frm, non_blocking=queued)
        except REFUSALS as err:
            raise TorchError(f"{self.label}: copy of {to.numel()} bytes refused: {explain_refusal(err)}") from err

    def _view(self, buffer: Any, size_bytes: int) -> Any:
        if isinstance(buffer, TorchMemory):
            return buffer.first_bytes(size_bytes)
        torch = self.backend.torch
        return torch.frombuffer(buffer, dtype=torch.uint8, count=size_bytes)

    def wait(self) -> None:
        self.backend.synchronize(self.index)

    def can_access(self, peer: TorchDevice) -> bool:
        """Whether copies go from one to the other without the host. Raises TorchError where this torch cannot say."""
        if self.is_cpu and peer.is_cpu:
            return True
        ask = getattr(self.backend.namespace, "can_device_access_peer", None)
        if ask is None:
            raise TorchError(f"PyTorch {self.backend.torch.__version__} cannot say whether devices reach each other")
        return bool(ask(self.index, peer.index))

    def enable_access(self, peer: TorchDevice) -> str:
        """Torch switches it on by itself at the first copy."""
        return ""


def open_torch_devices(targets: Sequence[Target]) -> list[TorchDevice]:
    """The worker's devices, in the order of `targets`.

    Torch counts what ZE_AFFINITY_MASK leaves in the order of Level Zero, so a target's number is its place among the
    sorted targets. Raises TorchError when torch shows another number of XPU devices than that.
    """
    backend = Backend()
    if backend.is_cpu:
        return [TorchDevice(backend, target.label, 0) for target in targets]
    places = sorted({(target.level_zero_index or 0, target.tile or 0) for target in targets})
    shown = backend.count_devices()
    if shown < len(places) or (backend.kind == "xpu" and shown != len(places)):
        raise TorchError(
            f"PyTorch shows {shown} devices, {len(places)} are to be measured "
            f"(ZE_AFFINITY_MASK={os.environ.get('ZE_AFFINITY_MASK', '')} "
            f"ZE_FLAT_DEVICE_HIERARCHY={os.environ.get('ZE_FLAT_DEVICE_HIERARCHY', '')})"
        )
    return [
        TorchDevice(backend, target.label, places.index((target.level_zero_index or 0, target.tile or 0)))
        for target in targets
    ]
