"""Buffers that collectives work on: host memory as numpy arrays, or a GPU's USM by dpctl."""

from __future__ import annotations

from typing import Any, Protocol

from xpukit.core.errors import CouldNotJudgeError


class Buffer(Protocol):
    """Memory with an address, written and read as a numpy array of raw elements."""

    @property
    def address(self) -> int: ...

    def write(self, values: Any) -> None:
        """Put a numpy array of the buffer's whole size into it."""

    def read(self) -> Any:
        """The content as a numpy array of the type last written."""


class Memory(Protocol):
    """Where buffers come from, and the stream that works on them."""

    stream: int | None
    label: str

    def allocate(self, size_bytes: int) -> Buffer: ...

    def wait(self) -> None:
        """Everything queued on the stream is done."""


class HostBuffer:
    """Main memory by numpy, which asks for huge pages where large buffers are concerned."""

    def __init__(self, size_bytes: int) -> None:
        import numpy as np

        self._bytes: Any = np.full(size_bytes, 0, dtype=np.uint8)
        self._dtype: Any = self._bytes.dtype

    @property
    def address(self) -> int:
        return int(self._bytes.ctypes.data)

    def write(self, values: Any) -> None:
        self._dtype = values.dtype
        self.array(values.dtype)[:] = values

    def read(self) -> Any:
        return self.array(self._dtype)

    def array(self, dtype: Any) -> Any:
        """The memory itself as a numpy array."""
        return self._bytes.view(dtype)


class HostMemory:
    """Buffers in main memory: stream NULL."""

    stream: int | None = None
    label = "host buffers"

    def allocate(self, size_bytes: int) -> HostBuffer:
        return HostBuffer(size_bytes)

    def wait(self) -> None:
        return


class DeviceBuffer:
    """USM on a GPU."""

    def __init__(self, queue: Any, size_bytes: int) -> None:
        import dpctl.memory

        self._memory: Any = dpctl.memory.MemoryUSMDevice(max(size_bytes, 1), queue=queue)
        self._size_bytes = size_bytes
        self._dtype: Any = None

    @property
    def address(self) -> int:
        return int(self._memory._pointer)

    def write(self, values: Any) -> None:
        import numpy as np

        self._dtype = values.dtype
        self._memory.copy_from_host(np.ascontiguousarray(values).view(np.uint8))

    def read(self) -> Any:
        import numpy as np

        raw: Any = np.empty(self._size_bytes, dtype=np.uint8)
        self._memory.copy_to_host(raw)
        return raw.view(self._dtype)


class DeviceMemory:
    """A GPU's memory and an in-order queue on it, in the platform's default context (oneCCL takes that one too)."""

    label = "device USM"

    def __init__(self, index: int, expected: int) -> None:
        """GPU `index` of the Level Zero devices that this process sees, of which there must be `expected`."""
        import dpctl

        devices = list(dpctl.get_devices(backend="level_zero", device_type="gpu"))
        if len(devices) != expected:
            raise CouldNotJudgeError(
                f"this rank sees {len(devices)} Level Zero GPUs instead of {expected}",
                hint="see ZE_AFFINITY_MASK and ZE_FLAT_DEVICE_HIERARCHY, and xpukit probe",
            )
        device = devices[index]
        context = device.sycl_platform.default_context
        self._queue: Any = dpctl.SyclQueue(context, device, property="in_order")
        self.stream: int | None = int(self._queue.addressof_ref())

    def allocate(self, size_bytes: int) -> DeviceBuffer:
        return DeviceBuffer(self._queue, size_bytes)

    def wait(self) -> None:
        self._queue.wait()
