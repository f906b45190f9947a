"""Devices, queues, USM memory, copies and kernels through dpctl. Use in worker processes only.

A worker sees exactly the devices that its environment names (evaluate/embedded/environment.py); `open_devices` gives
them in the order of its targets.
"""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from xpukit.core.errors import CouldNotJudgeError
from xpukit.core.measurement import Target
from xpukit.host.native import libraries

_KERNELS = Path(__file__).parent / "kernels"
ALIGNMENT_BYTES = 4096


class DeviceError(CouldNotJudgeError):
    """A device, queue, allocation, copy or kernel that dpctl refused."""


class _Window:
    """A part of an allocation in the form that dpctl and kernels take (`__sycl_usm_array_interface__`)."""

    def __init__(self, pointer: int, size_bytes: int, queue: Any) -> None:
        self.__sycl_usm_array_interface__ = {
            "data": (pointer, False),
            "shape": (size_bytes,),
            "strides": None,
            "typestr": "|u1",
            "version": 1,
            "syclobj": queue,
            "offset": 0,
        }


class Allocation:
    """USM memory (or a window of one). Its content is undefined until written: untouched memory reads too fast."""

    def __init__(self, memory: Any, queue: Any, owner: Any = None) -> None:
        self.memory = memory
        self.size_bytes: int = memory.nbytes
        self._queue = queue
        self._owner = owner if owner is not None else memory

    def window(self, offset_bytes: int, size_bytes: int) -> Allocation:
        """Part of this allocation, which stays alive as long as the part."""
        import dpctl.memory

        if offset_bytes < 0 or size_bytes < 1 or offset_bytes + size_bytes > self.size_bytes:
            raise ValueError(f"{offset_bytes}+{size_bytes} is outside an allocation of {self.size_bytes} bytes")
        if offset_bytes == 0 and size_bytes == self.size_bytes:
            return self
        view = dpctl.memory.as_usm_memory(_Window(self.memory._pointer + offset_bytes, size_bytes, self._queue))
        return Allocation(view, self._queue, self._owner)

    def set_bytes(self, value: int) -> None:
        """Write one byte value everywhere, and wait."""
        self.memory.memset(value)

    def host_words(self) -> Any:
        """Host or shared memory as a numpy array of uint32, without a copy."""
        import numpy as np

        return np.frombuffer(self.memory, dtype=np.uint32)


Buffer = Any
"""What a copy takes: an Allocation, or host memory with the buffer protocol (numpy, bytearray)."""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel with its arguments and work size, ready to submit."""

    kernel: Any
    arguments: tuple[Any, ...]
    global_size: int
    group_size: int


class UsmDevice:
    """One device (or tile) with an in-order queue."""

    def __init__(self, label: str, device: Any, context: Any = None) -> None:
        import dpctl

        self.label = label
        self.device = device
        try:
            self.queue = (
                dpctl.SyclQueue(device, property="in_order")
                if context is None
                else dpctl.SyclQueue(context, device, property="in_order")
            )
        except dpctl.SyclQueueCreationError as err:
            raise DeviceError(f"{label}: no queue: {err}") from err

    @property
    def is_cpu(self) -> bool:
        return bool(self.device.is_cpu)

    @property
    def memory_bytes(self) -> int:
        return int(self.device.global_mem_size)

    @property
    def largest_allocation_bytes(self) -> int:
        return int(self.device.max_mem_alloc_size)

    @property
    def cache_bytes(self) -> int:
        """The device's own last cache as the driver states it (0: not stated)."""
        return int(self.device.global_mem_cache_size)

    @property
    def compute_units(self) -> int:
        return max(1, int(self.device.max_compute_units))

    @property
    def max_group_size(self) -> int:
        return max(1, int(self.device.max_work_group_size))

    def _allocate(self, kind: str, size_bytes: int) -> Allocation:
        import dpctl.memory

        make = getattr(dpctl.memory, kind)
        try:
            return Allocation(make(size_bytes, alignment=ALIGNMENT_BYTES, queue=self.queue), self.queue)
        except (dpctl.memory.USMAllocationError, ValueError, MemoryError) as err:
            raise DeviceError(f"{self.label}: {size_bytes} bytes of {kind} refused: {err}") from err

    def allocate_device(self, size_bytes: int) -> Allocation:
        return self._allocate("MemoryUSMDevice", size_bytes)

    def allocate_host(self, size_bytes: int) -> Allocation:
        """Pinned host memory, which every device of the context reaches."""
        return self._allocate("MemoryUSMHost", size_bytes)

    def allocate_shared(self, size_bytes: int) -> Allocation:
        """Memory that migrates between host and device."""
        return self._allocate("MemoryUSMShared", size_bytes)

    def copy(self, destination: Buffer, source: Buffer, size_bytes: int) -> None:
        """Copy and wait. Raises DeviceError."""
        self.time_copies(destination, source, size_bytes, 1)

    def start_copies(self, destination: Buffer, source: Buffer, size_bytes: int, repeats: int) -> None:
        """Submit `repeats` copies; `wait` ends them. Keep the buffers alive until then."""
        to, frm = _unwrap(destination), _unwrap(source)
        try:
            for _ in range(repeats):
                self.queue.memcpy_async(to, frm, size_bytes)
        except (RuntimeError, TypeError, ValueError) as err:
            raise DeviceError(f"{self.label}: copy of {size_bytes} bytes refused: {err}") from err

    def wait(self) -> None:
        self.queue.wait()

    def time_copies(self, destination: Buffer, source: Buffer, size_bytes: int, repeats: int) -> float:
        """Seconds for `repeats` copies submitted together, until all are done."""
        start = time.perf_counter()
        self.start_copies(destination, source, size_bytes, repeats)
        self.queue.wait()
        return time.perf_counter() - start

    @functools.cached_property
    def program(self) -> Any:
        """The memory kernels, built for this device. Raises DeviceError with the build's log."""
        is_opencl = self.device.backend.name == "opencl"
        return self.build_from_source() if is_opencl else self.build_from_spirv()

    def build_from_source(self) -> Any:
        """OpenCL only."""
        import dpctl.program

        try:
            source = (_KERNELS / "memory.cl").read_text(encoding="utf-8")
            return dpctl.program.create_program_from_source(self.queue, source)
        except dpctl.program.SyclProgramCompilationError as err:
            raise DeviceError(f"{self.label}: the kernels do not build: {err}") from err

    def build_from_spirv(self) -> Any:
        """The committed SPIR-V (kernels/README.md); Level Zero and OpenCL."""
        import dpctl.program

        try:
            return dpctl.program.create_program_from_spirv(self.queue, (_KERNELS / "memory.spv").read_bytes())
        except dpctl.program.SyclProgramCompilationError as err:
            raise DeviceError(f"{self.label}: the SPIR-V kernels do not build: {err}") from err

    def has_kernel(self, name: str) -> bool:
        return bool(self.program.has_sycl_kernel(name))

    def prepare(self, name: str, arguments: Sequence[Any], *, global_size: int, group_size: int) -> Launch:
        """A kernel with arguments: Allocations, ints (as uint32), floats, ctypes scalars."""
        values = tuple(_as_argument(argument) for argument in arguments)
        groups = -(-global_size // group_size)
        return Launch(
            kernel=self.program.get_sycl_kernel(name),
            arguments=values,
            global_size=groups * group_size,
            group_size=group_size,
        )

    def time_launches(self, launch: Launch, repeats: int) -> float:
        """Seconds for `repeats` runs of a kernel submitted together, until all are done."""
        import dpctl

        arguments = list(launch.arguments)
        start = time.perf_counter()
        try:
            for _ in range(repeats):
                self.queue.submit_async(launch.kernel, arguments, [launch.global_size], [launch.group_size])
        except (dpctl.SyclKernelSubmitError, dpctl.SyclKernelInvalidRangeError, TypeError, ValueError) as err:
            raise DeviceError(f"{self.label}: kernel refused: {err}") from err
        self.queue.wait()
        return time.perf_counter() - start

    def can_access(self, peer: UsmDevice) -> bool:
        """Whether this device can reach the other's memory. Tiles of one CPU share it whatever the runtime says."""
        if self.is_cpu and peer.is_cpu:
            return True
        return bool(self.device.can_access_peer(peer.device))

    def enable_access(self, peer: UsmDevice) -> str:
        """Switch peer access on; "" or why not. Switching it on twice is no failure."""
        if self.is_cpu and peer.is_cpu:
            return ""
        try:
            self.device.enable_peer_access(peer.device)
        except (RuntimeError, ValueError, TypeError) as err:
            return str(err)
        return ""


def _unwrap(buffer: Buffer) -> Any:
    return buffer.memory if isinstance(buffer, Allocation) else buffer


def _as_argument(value: Any) -> Any:
    if isinstance(value, Allocation):
        return value.memory
    if isinstance(value, float):
        return ctypes.c_float(value)
    return ctypes.c_uint32(value) if isinstance(value, int) else value


def as_count(value: int) -> Any:
    """A kernel's 64-bit count."""
    return ctypes.c_uint64(value)


def open_devices(targets: Sequence[Target]) -> list[UsmDevice]:
    """The worker's devices, in the order of `targets`, in one context where the runtime allows copies across it.

    Raises DeviceError when the runtime shows fewer devices than the targets need.
    """
    if libraries.wants_cpu():
        libraries.preload((*libraries.SYCL_RUNTIME, "libtbb.so.12"))
        libraries.prepare_opencl_cpu()
    else:
        libraries.preload(libraries.SYCL_RUNTIME)
    dpctl = libraries.import_dpctl()
    roots = list(dpctl.get_devices())
    if not roots:
        raise DeviceError("the SYCL runtime shows no device to this worker", hint=libraries.INSTALL_HINT)
    if all(target.kind == "cpu" for target in targets):
        return _open_cpu(targets, roots[0])
    indices = sorted({target.level_zero_index for target in targets if target.level_zero_index is not None})
    if len(roots) < len(indices):
        raise DeviceError(f"the SYCL runtime shows {len(roots)} devices, {len(indices)} are to be measured")
    chosen = [_pick(target, targets, roots[indices.index(target.level_zero_index or 0)]) for target in targets]
    try:
        context = dpctl.SyclContext(tuple(chosen)) if len(chosen) > 1 else None
    except (dpctl.SyclContextCreationError, ValueError) as err:
        raise DeviceError(f"no common context for {len(chosen)} devices: {err}") from err
    return [UsmDevice(target.label, device, context) for target, device in zip(targets, chosen, strict=True)]


def _open_cpu(targets: Sequence[Target], root: Any) -> list[UsmDevice]:
    """The CPU, or parts of it for targets with a `tile` (a way to run multi-device code without GPUs).

    Each part has its own context: Intel's OpenCL CPU runtime blocks for ever on a copy between parts that share one.
    """
    if all(target.tile is None for target in targets):
        return [UsmDevice(target.label, root) for target in targets]
    import dpctl

    try:
        parts = list(root.create_sub_devices(partition=max(1, int(root.max_compute_units) // len(targets))))
    except (dpctl.SyclSubDeviceCreationError, ValueError) as err:
        raise DeviceError(f"the CPU device cannot be divided: {err}") from err
    if len(parts) < len(targets):
        raise DeviceError(f"the CPU device divides into {len(parts)} parts, {len(targets)} are to be measured")
    return [UsmDevice(target.label, parts[target.tile or 0]) for target in targets]


def _pick(target: Target, targets: Sequence[Target], root: Any) -> Any:
    """The root device or the tile that ZE_AFFINITY_MASK left at that place.

    A mask that names one tile of a card makes that tile the root device, without sub-devices.
    """
    if target.tile is None:
        return root
    same = [other for other in targets if other.level_zero_index == target.level_zero_index]
    whole_card = any(other.tile is None for other in same)
    named = sorted({other.tile for other in same if other.tile is not None})
    place = target.tile if whole_card else named.index(target.tile)
    if len(named) == 1 and not whole_card:
        return root
    import dpctl

    try:
        parts = list(root.create_sub_devices(partition="next_partitionable"))
    except (dpctl.SyclSubDeviceCreationError, ValueError) as err:
        raise DeviceError(f"{target.label}: the card shows no tiles: {err}") from err
    if place >= len(parts):
        raise DeviceError(f"{target.label}: the card shows {len(parts)} tiles")
    return parts[place]
