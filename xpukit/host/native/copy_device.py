"""What the kinds `transfer` and `p2p` need of a device: memory and copies (usm.UsmDevice, torch_device.TorchDevice)."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class DeviceMemory(Protocol):
    """An allocation that the device's library made. Its content is undefined until written."""

    size_bytes: int

    def window(self, offset_bytes: int, size_bytes: int) -> DeviceMemory:
        """Part of this allocation, which stays alive as long as the part."""

    def set_bytes(self, value: int) -> None:
        """Write one byte value everywhere, and wait."""

    def host_words(self) -> Any:
        """Memory that the host reaches as a numpy array of uint32, without a copy."""


class CopyDevice(Protocol):
    """A device; copies take its own memory, or host memory with the buffer protocol. All may raise XpukitError."""

    label: str

    def allocate_device(self, size_bytes: int) -> DeviceMemory: ...

    def allocate_host(self, size_bytes: int) -> DeviceMemory:
        """Pinned host memory."""

    def allocate_shared(self, size_bytes: int) -> DeviceMemory:
        """Memory that migrates between host and device."""

    def copy(self, destination: Any, source: Any, size_bytes: int) -> None:
        """Copy and wait."""

    def start_copies(self, destination: Any, source: Any, size_bytes: int, repeats: int) -> None:
        """Submit `repeats` copies; `wait` ends them. Keep the buffers alive until then."""

    def wait(self) -> None: ...

    def time_copies(self, destination: Any, source: Any, size_bytes: int, repeats: int) -> float:
        """Seconds for `repeats` copies submitted together, until all are done."""

    def can_access(self, peer: Any) -> bool:
        """Whether this device can reach the memory of `peer` (one of the same library)."""

    def enable_access(self, peer: Any) -> str:
        """Switch peer access on; "" or why not."""
