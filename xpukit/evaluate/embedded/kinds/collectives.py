"""Collectives by oneCCL's C API, one rank per GPU or tile, or several ranks on the CPU. Started by mpiexec."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from xpukit.evaluate.embedded.collective_maths import Layout
from xpukit.evaluate.embedded.protocol import Request
from xpukit.evaluate.embedded.ranks import RankParams, emit_all_missing, measure_cases
from xpukit.evaluate.embedded.worker import Emitter
from xpukit.host.native.collective_memory import Buffer, DeviceMemory, HostMemory, Memory
from xpukit.host.native.libraries import describe_missing
from xpukit.host.native.mpi import RankGroup
from xpukit.host.native.oneccl import OneCcl, describe_settings

_PARTS = ("oneccl", "impi-rt", "mpi4py", "numpy", "intel-sycl-rt", "intel-cmplr-lib-ur", "intel-cmplr-lib-rt")


class OneCclTransport:
    """oneCCL on host buffers (mode "cpu") or on this rank's GPU."""

    def __init__(self, group: RankGroup, mode: str) -> None:
        library = OneCcl()
        self._gpu = mode != "cpu"
        self.memory: Memory = HostMemory()
        if self._gpu:
            # Every rank sees all GPUs of its host, in rank order: peers must be visible to be reached.
            local, ranks_here = group.place
            self.memory = DeviceMemory(local, ranks_here)
            library.set_device(local)
        identity = group.broadcast(library.create_unique_id() if group.rank == 0 else None)
        self._communicator = library.create_communicator(identity, group.size, group.rank)
        self._about = f"oneCCL {library.version}, {group.library}, {self.memory.label}"

    def bind(self, collective: str, send: Buffer, receive: Buffer, layout: Layout, dtype: str) -> Callable[[int], None]:
        stream = self.memory.stream
        repeat = self._communicator.bind(collective, send.address, receive.address, layout.count, dtype, stream)
        if not self._gpu:
            return repeat

        def repeat_and_wait(times: int) -> None:
            repeat(times)
            self.memory.wait()

        return repeat_and_wait

    def describe(self, collective: str) -> str:
        settings = describe_settings()
        return f"{self._about}; {settings or 'default settings'}"


def measure(request: Request, emit: Emitter) -> None:
    """Serve a request whose params are a `RankParams`."""
    params = msgspec.convert(request.params, RankParams)
    absent = [part for part in describe_missing(cpu=False) if part in _PARTS]
    if absent:
        reason = f"not installed: {', '.join(absent)} (pip install 'xpukit[embedded]')"
        emit_all_missing(params, emit, reason)
        return
    measure_cases(request, emit, RankGroup, lambda group: OneCclTransport(group, params.mode))
