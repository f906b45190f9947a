"""Ranks of torch.distributed: how they wait for each other (gloo), and the collectives that move a device's memory.

Backends: gloo on the CPU, xccl on XPU (oneCCL inside torch), nccl on CUDA.
"""

from __future__ import annotations

import datetime
import os
import re
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from xpukit.core.errors import CouldNotJudgeError
from xpukit.host.native.collective_memory import Memory
from xpukit.host.native.mpi import RANK_MESSAGE
from xpukit.host.native.rank_launcher import STORE_VARIABLE
from xpukit.host.native.torch_device import REFUSALS, Backend, TorchError, explain_refusal

_BACKENDS = {"cpu": "gloo", "xpu": "xccl", "cuda": "nccl"}
_TYPES = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}
_PATIENCE = datetime.timedelta(minutes=30)  # the job's own watchdog is the one that counts
# Another rank is gone: the launcher knows which, and ends us; what we saw of it would only hide that.
_LOST = re.compile(r"connection|peer|socket|timed? ?out|broken pipe", re.IGNORECASE)
_WAIT_FOR_THE_END_S = 2.0


def this_rank() -> int:
    """This process's number among the ranks that rank_launcher started."""
    return int(os.environ.get("RANK", "0"))


def abort_rank(reason: str) -> NoReturn:
    """End this rank, with the reason on standard error; the launcher then ends the others."""
    print(f"{RANK_MESSAGE}{this_rank()}: {reason}", file=sys.stderr, flush=True)
    os._exit(1)


class TorchRankGroup:
    """The ranks that rank_launcher started, on gloo. Every method is collective: all ranks must call it."""

    def __init__(self) -> None:
        """Joins the others. Raises CouldNotJudgeError when torch or its process groups cannot be had."""
        self.rank = this_rank()
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        store_path = os.environ.get(STORE_VARIABLE, "")
        self.backend = Backend()
        torch = self.backend.torch
        if not torch.distributed.is_available():
            raise CouldNotJudgeError(f"PyTorch {torch.__version__} was built without torch.distributed")
        self.torch, self.dist = torch, torch.distributed
        if not self.backend.is_cpu:
            shown = self.backend.count_devices()
            if shown < self.size:
                raise TorchError(f"PyTorch shows {shown} devices for {self.size} ranks")
            self.backend.select(self.rank)
        try:
            store = self.dist.FileStore(store_path, self.size)
            self.dist.init_process_group("gloo", store=store, rank=self.rank, world_size=self.size, timeout=_PATIENCE)
            self.channel = self._open_channel()
        except REFUSALS as err:
            raise TorchError(f"torch.distributed: {explain_refusal(err)}") from err

    def _open_channel(self) -> Any:
        """The process group that moves the device's memory; None: gloo's own, on the CPU."""
        name = _BACKENDS.get(self.backend.kind, "")
        if self.backend.is_cpu:
            return None
        if not name or not getattr(self.dist, f"is_{name}_available", lambda: False)():
            raise TorchError(f"PyTorch {self.torch.__version__} has no collectives for {self.backend.kind}")
        return self.dist.new_group(backend=name, timeout=_PATIENCE)

    @property
    def library(self) -> str:
        """'gloo of PyTorch 2.13.0+cpu'."""
        return f"{_BACKENDS[self.backend.kind]} of {self.backend.describe(self.rank if not self.backend.is_cpu else 0)}"

    def guard(self, act: Callable[[], Any]) -> Any:
        """Do it. Raises TorchError for what torch refuses; waits to be ended when another rank was lost."""
        try:
            return act()
        except REFUSALS as err:
            if _LOST.search(str(err)):
                time.sleep(_WAIT_FOR_THE_END_S)
            raise TorchError(explain_refusal(err)) from err

    def barrier(self) -> None:
        self.guard(self.dist.barrier)

    def largest(self, value: float) -> float:
        tensor = self.torch.tensor([value], dtype=self.torch.float64)
        self.guard(lambda: self.dist.all_reduce(tensor, op=self.dist.ReduceOp.MAX))
        return float(tensor[0])

    def broadcast(self, value: Any) -> Any:
        box = [value]
        self.guard(lambda: self.dist.broadcast_object_list(box, src=0))
        return box[0]

    def gather(self, value: str) -> list[str]:
        texts: list[Any] = [None] * self.size
        self.guard(lambda: self.dist.all_gather_object(texts, value))
        return [str(text) for text in texts]

    def abort(self, reason: str) -> NoReturn:
        abort_rank(reason)

    def leave(self) -> None:
        """The orderly end. Only rank 0 returns: one process is to speak for all."""
        self.barrier()
        self.dist.destroy_process_group()
        if self.rank != 0:
            sys.stderr.flush()
            os._exit(0)


class TorchBuffer:
    """A tensor of bytes on this rank's device, written and read as numpy arrays."""

    def __init__(self, backend: Backend, index: int, size_bytes: int) -> None:
        self._torch = backend.torch
        self._tensor: Any = self._torch.zeros(max(size_bytes, 1), dtype=self._torch.uint8, device=backend.device(index))
        self._dtype: Any = None

    @property
    def address(self) -> int:
        return int(self._tensor.data_ptr())

    def write(self, values: Any) -> None:
        import numpy as np

        self._dtype = values.dtype
        self._tensor.copy_(self._torch.from_numpy(np.ascontiguousarray(values).view(np.uint8)))

    def read(self) -> Any:
        return self._tensor.cpu().numpy().view(self._dtype)

    def as_type(self, dtype: str) -> Any:
        """The same memory as a tensor of "fp32", "fp16" or "bf16"."""
        return self._tensor.view(getattr(self._torch, _TYPES[dtype]))


class TorchRankMemory:
    """Buffers on this rank's device."""

    stream: int | None = None

    def __init__(self, backend: Backend, index: int) -> None:
        self._backend, self._index = backend, index
        self.label = "host tensors" if backend.is_cpu else f"{backend.kind} tensors"

    def allocate(self, size_bytes: int) -> TorchBuffer:
        return TorchBuffer(self._backend, self._index, size_bytes)

    def wait(self) -> None:
        self._backend.synchronize(self._index)


class TorchCollectives:
    """Collectives of torch.distributed. Its allreduce has no other form than in place."""

    def __init__(self, group: TorchRankGroup) -> None:
        self._group = group
        self.memory: Memory = TorchRankMemory(group.backend, group.rank)
        self._settle: Callable[[], Any] = lambda: None

    def bind(self, collective: str, send: Any, receive: Any, layout: Any, dtype: str) -> Callable[[int], None]:
        """A function that does the collective n times and returns when this rank is done."""
        dist, channel = self._group.dist, self._group.channel
        source, target = send.as_type(dtype), receive.as_type(dtype)
        # Torch 2.13 gave these two other names.
        gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
        scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
        act: Callable[[], Any] = {
            "allreduce": lambda: dist.all_reduce(target, group=channel),
            "allgather": lambda: gather(target, source, group=channel),
            "reduce_scatter": lambda: scatter(target, source, group=channel),
            "alltoall": lambda: dist.all_to_all_single(target, source, group=channel),
            "broadcast": lambda: dist.broadcast(target, 0, group=channel),
        }[collective]

        def repeat(times: int) -> None:
            for _ in range(times):
                act()
            self.memory.wait()

        def settle() -> None:
            target.copy_(source)
            repeat(1)

        self._settle = settle
        return lambda times: self._group.guard(lambda: repeat(times))

    def settle(self, collective: str) -> None:
        """Repeated in place, an allreduce has summed its own sums: one more from what was sent."""
        if collective == "allreduce":
            self._group.guard(self._settle)

    def describe(self, collective: str) -> str:
        """Library, versions and the settings that matter."""
        about = f"{self._group.library}, {self.memory.label}"
        if collective == "allreduce":
            about += "; in place (torch has no other), checked by one more after the timed ones"
        return about
