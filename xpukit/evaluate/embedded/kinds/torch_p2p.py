"""`p2p` with PyTorch's devices, memory and copies: the same params, data, checks and rows."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.core.errors import CouldNotJudgeError
from xpukit.core.measurement import Target
from xpukit.evaluate.embedded.kinds import p2p
from xpukit.evaluate.embedded.protocol import Request
from xpukit.evaluate.embedded.worker import Emitter
from xpukit.host.native.copy_device import CopyDevice
from xpukit.host.native.torch_device import open_torch_devices


def measure(request: Request, emit: Emitter) -> None:
    """Measure what `p2p` does; without torch or its devices the reason is said."""

    def open_devices(targets: Sequence[Target]) -> Sequence[CopyDevice]:
        devices = open_torch_devices(targets)
        for device in devices:
            emit.note(f"{device.label}: {device.backend.describe(device.index)}")
        return devices

    try:
        p2p.measure(request, emit, open_devices)
    except CouldNotJudgeError as err:
        emit.failed(err.message)
