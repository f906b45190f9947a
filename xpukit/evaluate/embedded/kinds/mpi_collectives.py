"""The same collectives by mpi4py on host buffers: an independent yardstick for oneCCL on the CPU."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from xpukit.evaluate.embedded.collective_maths import Layout
from xpukit.evaluate.embedded.protocol import Request
from xpukit.evaluate.embedded.ranks import RankParams, emit_all_missing, measure_cases
from xpukit.evaluate.embedded.worker import Emitter
from xpukit.host.native.collective_memory import Buffer, HostMemory, Memory
from xpukit.host.native.libraries import describe_missing
from xpukit.host.native.mpi import RankGroup
from xpukit.host.native.oneccl import describe_settings

_PARTS = ("impi-rt", "mpi4py", "numpy")


class MpiTransport:
    """MPI's own blocking collectives (fp32; MPI has no 16-bit floats)."""

    def __init__(self, group: RankGroup) -> None:
        self.memory: Memory = HostMemory()
        self._group = group

    def bind(self, collective: str, send: Buffer, receive: Buffer, layout: Layout, dtype: str) -> Callable[[int], None]:
        if dtype != "fp32":
            raise ValueError(f"MPI has no {dtype}")
        comm, float_type = self._group.comm, self._group.mpi.FLOAT
        source, target = [send.read(), float_type], [receive.read(), float_type]
        function, arguments = {
            "allreduce": (comm.Allreduce, (source, target)),
            "allgather": (comm.Allgather, (source, target)),
            "reduce_scatter": (comm.Reduce_scatter_block, (source, target)),
            "alltoall": (comm.Alltoall, (source, target)),
            "broadcast": (comm.Bcast, (target,)),
        }[collective]

        def repeat(times: int) -> None:
            for _ in range(times):
                function(*arguments)

        return repeat

    def describe(self, collective: str) -> str:
        return f"mpi4py on {self._group.library}, host buffers; {describe_settings() or 'default settings'}"


def measure(request: Request, emit: Emitter) -> None:
    """Serve a request whose params are a `RankParams`."""
    params = msgspec.convert(request.params, RankParams)
    absent = [part for part in describe_missing(cpu=False) if part in _PARTS]
    if absent:
        emit_all_missing(params, emit, f"not installed: {', '.join(absent)} (pip install 'xpukit[embedded]')")
        return
    measure_cases(request, emit, RankGroup, MpiTransport)
