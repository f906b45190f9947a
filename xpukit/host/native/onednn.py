"""oneDNN's C API by ctypes on dpctl's queue and USM memory: matrix multiplication on the CPU device and on GPUs.

Constants and signatures: oneDNN 3.13 headers (dnnl_common_types.h, dnnl_types.h, dnnl.h, dnnl_sycl.h).
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from typing import Any, Literal

import msgspec

from xpukit.core.errors import CouldNotJudgeError
from xpukit.host.native import libraries

# dnnl_data_type_t
DATA_TYPES = {
    "f16": 1, "bf16": 2, "f32": 3, "s32": 4, "s8": 5, "u8": 6, "f64": 7,
    "f8_e5m2": 9, "f8_e4m3": 10, "s4": 11, "u4": 12,
}  # fmt: skip
_BITS = {
    "f16": 16, "bf16": 16, "f32": 32, "s32": 32, "s8": 8, "u8": 8, "f64": 64,
    "f8_e5m2": 8, "f8_e4m3": 8, "s4": 4, "u4": 4,
}  # fmt: skip
_FPMATH = {"strict": 0, "bf16": 1, "f16": 2, "any": 3, "tf32": 4}
_STATUS = {
    1: "out of memory",
    2: "invalid arguments",
    3: "not implemented for this device",
    4: "no implementation left",
    5: "run-time error",
    6: "not required",
}
_TAG_ANY, _TAG_AB = 1, 3
_QUERY_IMPL_INFO, _QUERY_SRC, _QUERY_WEIGHTS, _QUERY_SCRATCHPAD = 8, 129, 131, 136
_ARG_SRC, _ARG_DST, _ARG_WEIGHTS, _ARG_SCRATCHPAD, _ARG_SCALES = 1, 17, 33, 80, 4096
_ARG_FROM, _ARG_TO = 1, 17
_SCRATCHPAD_USER = 1
_USM = 0

Layout = Literal["packed", "plain"]


class NotSupportedError(CouldNotJudgeError):
    """oneDNN has no implementation of this operation on this device."""


class MatmulSpec(msgspec.Struct, frozen=True, kw_only=True):
    """dst[m,n] = src[m,k] x weights[k,n]; types by oneDNN's names. `group`: rows of k that share a weight scale.

    `fpmath` is what the library may convert to while computing; with `fpmath_on_int` also from integer weights.
    `layout` "packed" lets the library choose how weights lie in memory (they are converted once, before timing).
    """

    m: int
    n: int
    k: int
    src: str
    weights: str
    dst: str
    fpmath: str = "strict"
    fpmath_on_int: bool = False
    group: int = 0
    scale: str = ""
    layout: Layout = "packed"


class _ExecArg(ctypes.Structure):
    _fields_ = [("arg", c_int), ("memory", c_void_p)]


_DIMS = c_int64 * 12  # DNNL_MAX_NDIMS

_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "dnnl_sycl_interop_engine_create": (POINTER(c_void_p), c_void_p, c_void_p),
    "dnnl_sycl_interop_stream_create": (POINTER(c_void_p), c_void_p, c_void_p),
    "dnnl_sycl_interop_memory_create": (POINTER(c_void_p), c_void_p, c_void_p, c_int, c_void_p),
    "dnnl_memory_desc_create_with_tag": (POINTER(c_void_p), c_int, POINTER(c_int64), c_int, c_int),
    "dnnl_memory_desc_destroy": (c_void_p,),
    "dnnl_memory_destroy": (c_void_p,),
    "dnnl_primitive_attr_create": (POINTER(c_void_p),),
    "dnnl_primitive_attr_destroy": (c_void_p,),
    "dnnl_primitive_attr_set_fpmath_mode_v2": (c_void_p, c_int, c_int),
    "dnnl_primitive_attr_set_scratchpad_mode": (c_void_p, c_int),
    "dnnl_primitive_attr_set_scales": (c_void_p, c_int, c_int, c_int, POINTER(c_int64), c_int),
    "dnnl_matmul_primitive_desc_create": (POINTER(c_void_p), *(c_void_p,) * 6),
    "dnnl_reorder_primitive_desc_create": (POINTER(c_void_p), *(c_void_p,) * 5),
    "dnnl_primitive_desc_destroy": (c_void_p,),
    "dnnl_primitive_desc_query": (c_void_p, c_int, c_int, c_void_p),
    "dnnl_primitive_create": (POINTER(c_void_p), c_void_p),
    "dnnl_primitive_destroy": (c_void_p,),
    "dnnl_primitive_execute": (c_void_p, c_void_p, c_int, POINTER(_ExecArg)),
    "dnnl_stream_wait": (c_void_p,),
    "dnnl_stream_destroy": (c_void_p,),
    "dnnl_engine_destroy": (c_void_p,),
}


@functools.cache
def _library() -> ctypes.CDLL:
    """oneDNN with its signatures. Raises CouldNotJudgeError naming what is missing."""
    libraries.preload(libraries.ONEDNN[:-1])
    library = libraries.load(libraries.ONEDNN[-1])
    for name, arguments in _SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes = arguments
        function.restype = c_int
    library.dnnl_primitive_desc_query_md.argtypes = (c_void_p, c_int, c_int)
    library.dnnl_primitive_desc_query_md.restype = c_void_p
    library.dnnl_memory_desc_get_size.argtypes = (c_void_p,)
    library.dnnl_memory_desc_get_size.restype = c_size_t
    library.dnnl_memory_desc_equal.argtypes = (c_void_p, c_void_p)
    library.dnnl_memory_desc_equal.restype = c_int
    return library


def _call(name: str, *arguments: Any) -> None:
    status = getattr(_library(), name)(*arguments)
    if status == 3:
        raise NotSupportedError(f"oneDNN: {name}: {_STATUS[3]}")
    if status != 0:
        raise CouldNotJudgeError(f"oneDNN: {name}: {_STATUS.get(status, f'status {status}')}")


def bytes_of(data_type: str, count: int) -> int:
    """Bytes that `count` elements take; two 4-bit elements share a byte."""
    return (count * _BITS[data_type] + 7) // 8


class Engine:
    """One device with an in-order queue. `selector` is a SYCL filter string ("opencl:cpu:0", "level_zero:gpu:0")."""

    def __init__(self, selector: str) -> None:
        if selector.startswith("opencl:cpu"):
            libraries.prepare_opencl_cpu()
        libraries.preload(libraries.SYCL_RUNTIME)
        dpctl = libraries.import_dpctl()
        try:
            self.queue: Any = dpctl.SyclQueue(selector, property="in_order")
        except (dpctl.SyclDeviceCreationError, dpctl.SyclQueueCreationError) as err:
            missing = ", ".join(libraries.describe_missing())
            raise CouldNotJudgeError(
                f"no SYCL device {selector!r}" + (f" (not installed: {missing})" if missing else f": {err}"),
                hint=libraries.INSTALL_HINT,
            ) from err
        self.device: Any = self.queue.sycl_device
        library = _library()
        self.handle, self.stream = c_void_p(), c_void_p()
        context = self.queue.sycl_context
        _call(
            "dnnl_sycl_interop_engine_create",
            byref(self.handle),
            c_void_p(self.device.addressof_ref()),
            c_void_p(context.addressof_ref()),
        )
        _call(
            "dnnl_sycl_interop_stream_create",
            byref(self.stream),
            self.handle,
            c_void_p(self.queue.addressof_ref()),
        )
        self.version = _read_version(library)

    def allocate(self, size_bytes: int) -> Any:
        """USM device memory (dpctl's MemoryUSMDevice), not initialised: the caller copies into it or sets it."""
        import dpctl.memory

        try:
            return dpctl.memory.MemoryUSMDevice(max(size_bytes, 64), alignment=64, queue=self.queue)
        except (dpctl.memory.USMAllocationError, ValueError) as err:
            raise CouldNotJudgeError(f"{size_bytes} bytes of device memory cannot be had: {err}") from err

    def upload(self, data: Any) -> Any:
        """A numpy array as USM device memory."""
        raw = data.reshape(-1).view("uint8")
        memory = self.allocate(raw.nbytes)
        memory.copy_from_host(raw)
        return memory

    def wait(self) -> None:
        """Wait until everything enqueued is done."""
        _call("dnnl_stream_wait", self.stream)


def _read_version(library: ctypes.CDLL) -> str:
    class Version(ctypes.Structure):
        _fields_ = [
            ("major", c_int),
            ("minor", c_int),
            ("patch", c_int),
            ("hash", c_char_p),
            ("cpu_runtime", ctypes.c_uint),
            ("gpu_runtime", ctypes.c_uint),
        ]

    library.dnnl_version.restype = POINTER(Version)
    version = library.dnnl_version().contents
    return f"{version.major}.{version.minor}.{version.patch}"


def _describe_matrix(shape: tuple[int, ...], data_type: str, tag: int) -> c_void_p:
    description = c_void_p()
    _call(
        "dnnl_memory_desc_create_with_tag",
        byref(description),
        len(shape),
        _DIMS(*shape),
        DATA_TYPES[data_type],
        tag,
    )
    return description


class Matmul:
    """A matmul primitive with its memory; `close` frees both. Raises NotSupportedError, CouldNotJudgeError.

    `source`, `weights`, `scales` are numpy arrays whose raw bytes lie as oneDNN's types (row-major; 4-bit: low
    nibble first).
    """

    def __init__(self, engine: Engine, spec: MatmulSpec, source: Any, weights: Any, scales: Any = None) -> None:
        self.engine, self.spec = engine, spec
        self._cleanup: list[tuple[str, c_void_p]] = []
        self._keep: list[Any] = []
        try:
            self._build(source, weights, scales)
        except BaseException:
            self.close()
            raise

    def _own(self, destroy: str, handle: c_void_p) -> c_void_p:
        self._cleanup.append((destroy, handle))
        return handle

    def _describe(self, shape: tuple[int, ...], data_type: str, tag: int) -> c_void_p:
        return self._own("dnnl_memory_desc_destroy", _describe_matrix(shape, data_type, tag))

    def _wrap(self, description: c_void_p, memory: Any) -> c_void_p:
        """A dnnl memory object over USM memory that lives as long as this matmul."""
        handle = c_void_p()
        pointer = c_void_p(memory._pointer)
        _call("dnnl_sycl_interop_memory_create", byref(handle), description, self.engine.handle, _USM, pointer)
        self._keep.append(memory)
        return self._own("dnnl_memory_destroy", handle)

    def _build_attributes(self) -> c_void_p:
        spec = self.spec
        attributes = c_void_p()
        _call("dnnl_primitive_attr_create", byref(attributes))
        self._own("dnnl_primitive_attr_destroy", attributes)
        # Our own scratchpad: the library's is shared and its growth would fall into the timings.
        _call("dnnl_primitive_attr_set_scratchpad_mode", attributes, _SCRATCHPAD_USER)
        if spec.fpmath != "strict":
            _call(
                "dnnl_primitive_attr_set_fpmath_mode_v2",
                attributes,
                _FPMATH[spec.fpmath],
                int(spec.fpmath_on_int),
            )
        if spec.group:
            # mask 3: a scale per group of rows (k) and per column (n)
            groups = _DIMS(spec.group, 1)
            _call(
                "dnnl_primitive_attr_set_scales",
                attributes,
                _ARG_WEIGHTS,
                3,
                2,
                groups,
                DATA_TYPES[spec.scale],
            )
        return attributes

    def _build(self, source: Any, weights: Any, scales: Any) -> None:
        library, engine, spec = _library(), self.engine, self.spec
        src = self._describe((spec.m, spec.k), spec.src, _TAG_AB)
        plain = self._describe((spec.k, spec.n), spec.weights, _TAG_AB)
        dst = self._describe((spec.m, spec.n), spec.dst, _TAG_AB)
        tag = _TAG_ANY if spec.layout == "packed" else _TAG_AB
        wanted = self._describe((spec.k, spec.n), spec.weights, tag)
        attributes = self._build_attributes()
        primitive_desc = c_void_p()
        _call(
            "dnnl_matmul_primitive_desc_create",
            byref(primitive_desc),
            engine.handle,
            src,
            wanted,
            None,
            dst,
            attributes,
        )
        self._own("dnnl_primitive_desc_destroy", primitive_desc)
        info = c_char_p()
        _call("dnnl_primitive_desc_query", primitive_desc, _QUERY_IMPL_INFO, 0, byref(info))
        self.implementation = (info.value or b"").decode("ascii", "replace")

        chosen = c_void_p(library.dnnl_primitive_desc_query_md(primitive_desc, _QUERY_WEIGHTS, 0))
        weight_memory = self._wrap(plain, engine.upload(weights))
        self.repacked = not library.dnnl_memory_desc_equal(plain, chosen)
        if self.repacked:
            size = library.dnnl_memory_desc_get_size(chosen)
            packed_usm = engine.allocate(size)
            packed_usm.memset(0)
            packed = self._wrap(chosen, packed_usm)
            self._reorder(plain, weight_memory, chosen, packed)
            weight_memory = packed

        self._dst = engine.allocate(bytes_of(spec.dst, spec.m * spec.n))
        self._dst.memset(0xFF)  # NaN in every float type: an element never written cannot pass verification
        arguments = [
            (_ARG_SRC, self._wrap(src, engine.upload(source))),
            (_ARG_WEIGHTS, weight_memory),
            (_ARG_DST, self._wrap(dst, self._dst)),
        ]
        if spec.group:
            scale_desc = self._describe((spec.k // spec.group, spec.n), spec.scale, _TAG_AB)
            arguments.append((_ARG_SCALES | _ARG_WEIGHTS, self._wrap(scale_desc, engine.upload(scales))))
        scratch = c_void_p(library.dnnl_primitive_desc_query_md(primitive_desc, _QUERY_SCRATCHPAD, 0))
        scratch_bytes = library.dnnl_memory_desc_get_size(scratch) if scratch.value else 0
        if scratch_bytes:
            scratch_usm = engine.allocate(scratch_bytes)
            scratch_usm.memset(0)
            arguments.append((_ARG_SCRATCHPAD, self._wrap(scratch, scratch_usm)))
        self._primitive = c_void_p()
        _call("dnnl_primitive_create", byref(self._primitive), primitive_desc)
        self._own("dnnl_primitive_destroy", self._primitive)
        self._count = len(arguments)
        self._arguments = (_ExecArg * self._count)(*(_ExecArg(arg, memory) for arg, memory in arguments))

    def _reorder(self, from_desc: c_void_p, source: c_void_p, to_desc: c_void_p, target: c_void_p) -> None:
        engine = self.engine.handle
        primitive_desc, primitive = c_void_p(), c_void_p()
        _call(
            "dnnl_reorder_primitive_desc_create",
            byref(primitive_desc),
            from_desc,
            engine,
            to_desc,
            engine,
            None,
        )
        self._own("dnnl_primitive_desc_destroy", primitive_desc)
        _call("dnnl_primitive_create", byref(primitive), primitive_desc)
        self._own("dnnl_primitive_destroy", primitive)
        arguments = (_ExecArg * 2)(_ExecArg(_ARG_FROM, source), _ExecArg(_ARG_TO, target))
        _call("dnnl_primitive_execute", primitive, self.engine.stream, 2, arguments)
        self.engine.wait()

    def run(self, times: int) -> None:
        """Multiply `times` times and wait for the last."""
        execute = _library().dnnl_primitive_execute
        for _ in range(times):
            status = execute(self._primitive, self.engine.stream, self._count, self._arguments)
            if status:
                raise CouldNotJudgeError(f"oneDNN: the multiplication failed: {_STATUS.get(status, status)}")
        self.engine.wait()

    def read_result(self) -> bytes:
        """The destination's bytes, row-major."""
        return bytes(self._dst.copy_to_host())

    def write_result(self, data: bytes) -> None:
        """Overwrite the destination (xpukit's check of its own verification plants errors this way)."""
        self._dst.copy_from_host(bytearray(data))

    def close(self) -> None:
        """Free the primitives and the device memory."""
        library = _library()
        for destroy, handle in reversed(self._cleanup):
            getattr(library, destroy)(handle)
        self._cleanup.clear()
        self._keep.clear()
        self._dst = None


def select_device(*, cpu: bool, index: int = 0) -> str:
    """The SYCL filter string of the device a worker is to measure (GPUs as ZE_AFFINITY_MASK lets them be seen)."""
    return "opencl:cpu:0" if cpu else f"level_zero:gpu:{index}"
