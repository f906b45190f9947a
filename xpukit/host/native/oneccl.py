"""oneCCL v2's NCCL-like C API (`onecclAllReduce(…, stream)`) by ctypes.

Signatures and enumerations from oneCCL's public include/oneapi/ccl.h and ccl/v2/types.h (2022.0); the wheel ships
none. A stream is NULL for host buffers, else the address of an in-order sycl::queue on the platform's default
context, which is the one that `onecclSetDevice` takes.
"""

from __future__ import annotations

import ctypes as c
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from xpukit.core.errors import CouldNotJudgeError
from xpukit.host.native import libraries

UNIQUE_ID_BYTES = 4096
_DATA_TYPES = {"int8": 0, "int32": 2, "fp16": 6, "fp32": 7, "fp64": 8, "bf16": 9}
_SUM = 0
_ROOT = 0
# What the plugins need, in order; libccl.so.1 is the engine behind the C API of libccl.so.2.
_NEEDED = (*libraries.SYCL_RUNTIME, "libccl.so.2", "libccl.so.1")
_CPU_PLUGIN = "libccl_legacy_cpu.so"
_GPU_PLUGIN = "libccl_legacy.so"


def build_environment(folder: Path, mode: str) -> dict[str, str]:
    """What oneCCL needs in a rank's environment; mode "cpu", "p2p" (GPUs reach each other) or "usm" (through host).

    CCL_PLUGIN must be an absolute path. CCL_ZE_ENABLE=0 on the CPU: with a Level Zero loader that lacks zesInit
    (Debian bookworm's) oneCCL fails to start. CCL_KVS_MODE=mpi exchanges addresses without sockets: no network needed.
    """
    env = {"CCL_KVS_MODE": "mpi", "CCL_ATL_TRANSPORT": "mpi"}
    if mode == "cpu":
        return {**env, "CCL_PLUGIN": str(folder / _CPU_PLUGIN), "CCL_ZE_ENABLE": "0"}
    access = {"p2p": "1", "usm": "0"}[mode]
    return {**env, "CCL_PLUGIN": str(folder / _GPU_PLUGIN), "CCL_TOPO_P2P_ACCESS": access}


def describe_settings(environment: Mapping[str, str] | None = None) -> str:
    """The CCL_* and I_MPI_FABRICS variables that this process runs under, as one could type them."""
    env = os.environ if environment is None else environment
    hidden = ("CCL_PLUGIN", "CCL_ZE_ENABLE", "CCL_KVS_MODE", "CCL_ATL_TRANSPORT", "CCL_ROOT", "CCL_CONFIGURATION")
    names = [name for name in sorted(env) if (name.startswith("CCL_") or name == "I_MPI_FABRICS")]
    return " ".join(f"{name}={env[name]}" for name in names if name not in hidden)


class _UniqueId(c.Structure):
    _fields_ = (("data", c.c_char * UNIQUE_ID_BYTES),)


class OneCcl:
    """The library, loaded. Raises CouldNotJudgeError when it cannot be."""

    def __init__(self) -> None:
        failed = libraries.preload(_NEEDED[:-2])
        try:
            self._lib = libraries.load("libccl.so.2")
        except CouldNotJudgeError as err:
            raise CouldNotJudgeError("; ".join((err.message, *failed)), hint=err.hint) from err
        libraries.load("libccl.so.1")
        pointer, size, number = c.c_void_p, c.c_size_t, c.c_int
        signatures: dict[str, tuple[object, ...]] = {
            "onecclGetVersion": (c.POINTER(number),),
            "onecclGetUniqueId": (c.POINTER(_UniqueId),),
            "onecclSetDevice": (c.c_uint32,),
            "onecclCommInitRank": (c.POINTER(pointer), size, _UniqueId, number),
            "onecclCommDestroy": (pointer,),
            "onecclAllReduce": (pointer, pointer, size, number, number, pointer, pointer),
            "onecclReduceScatter": (pointer, pointer, size, number, number, pointer, pointer),
            "onecclAllGather": (pointer, pointer, size, number, pointer, pointer),
            "onecclAllToAll": (pointer, pointer, size, number, pointer, pointer),
            "onecclBroadcast": (pointer, pointer, size, number, number, pointer, pointer),
        }
        for name, types in signatures.items():
            function = getattr(self._lib, name)
            function.argtypes = types
            function.restype = number
        self._lib.onecclGetErrorString.argtypes = (number,)
        self._lib.onecclGetErrorString.restype = c.c_char_p

    def check(self, result: int, what: str) -> None:
        """Raises CouldNotJudgeError with oneCCL's own words unless `result` is onecclSuccess."""
        if result:
            text = self._lib.onecclGetErrorString(result)
            words = text.decode(errors="replace") if text else "unknown"
            raise CouldNotJudgeError(f"{what}: oneCCL error {result} ({words})")

    @property
    def version(self) -> str:
        """'2022.1.0': the library encodes major * 10000 + minor * 100 + patch."""
        code = c.c_int()
        self.check(self._lib.onecclGetVersion(c.byref(code)), "onecclGetVersion")
        return f"{code.value // 10000}.{code.value // 100 % 100}.{code.value % 100}"

    def create_unique_id(self) -> bytes:
        """What rank 0 makes and all ranks must be given."""
        made = _UniqueId()
        self.check(self._lib.onecclGetUniqueId(c.byref(made)), "onecclGetUniqueId")
        return bytes(made)

    def set_device(self, index: int) -> None:
        """Bind this process to a GPU: its place among the Level Zero devices that this process sees."""
        self.check(self._lib.onecclSetDevice(index), f"onecclSetDevice({index})")

    def create_communicator(self, unique_id: bytes, ranks: int, rank: int) -> Communicator:
        """Join the communicator; every rank must call it."""
        made = c.c_void_p()
        identity = _UniqueId.from_buffer_copy(unique_id)
        self.check(self._lib.onecclCommInitRank(c.byref(made), ranks, identity, rank), "onecclCommInitRank")
        return Communicator(self, self._lib, made)


class Communicator:
    """A group of ranks that collectives run in."""

    def __init__(self, library: OneCcl, lib: c.CDLL, handle: c.c_void_p) -> None:
        self._library = library
        self._lib = lib
        self._handle = handle

    def bind(
        self, collective: str, send: int, receive: int, count: int, dtype: str, stream: int | None = None
    ) -> Callable[[int], None]:
        """A function that does the collective n times in a row on these buffers (addresses).

        `count` is the API's: elements per rank for allgather, reduce_scatter and alltoall. Reductions are sums,
        broadcasts come from rank 0. With a stream the operations are only queued. Raises CouldNotJudgeError.
        """
        kind = _DATA_TYPES[dtype]
        addresses = (c.c_void_p(send), c.c_void_p(receive), c.c_size_t(count), c.c_int(kind))
        ends = (self._handle, c.c_void_p(stream))
        lib = self._lib
        function, arguments = {
            "allreduce": (lib.onecclAllReduce, (*addresses, c.c_int(_SUM), *ends)),
            "reduce_scatter": (lib.onecclReduceScatter, (*addresses, c.c_int(_SUM), *ends)),
            "allgather": (lib.onecclAllGather, (*addresses, *ends)),
            "alltoall": (lib.onecclAllToAll, (*addresses, *ends)),
            "broadcast": (lib.onecclBroadcast, (*addresses, c.c_int(_ROOT), *ends)),
        }[collective]

        def repeat(times: int) -> None:
            result = 0
            for _ in range(times):
                result = function(*arguments) or result
            if result:
                self._library.check(result, collective)

        return repeat

    def destroy(self) -> None:
        """Give the communicator back; every rank must call it."""
        self._library.check(self._lib.onecclCommDestroy(self._handle), "onecclCommDestroy")
