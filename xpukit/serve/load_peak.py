"""What loading takes for a moment: a checkpoint quantized online is first there in 16 bit.

Older vLLM's online fp8 and llm-scaler's sym_int4 create the layers in 16 bit on the device, fill them, and then
quantize layer by layer; newer vLLM quantizes fp8 as it reads. With VLLM_OFFLOAD_WEIGHTS_BEFORE_QUANT=1 llm-scaler
creates the 16-bit layers in host memory instead (vllm/README.md 4.2, "Out-of-memory while online quantization").
"""

from __future__ import annotations

from xpukit.facts.model_rules import find_quantization, find_rule
from xpukit.facts.models import find_estimate
from xpukit.serve.memory_types import DeviceMemory, LoadPeak, MemoryRow, MemorySettings, Parallel
from xpukit.serve.model_types import Model
from xpukit.serve.weights import size_16bit

_GIB = 1 << 30


def find_load_peak(
    model: Model,
    *,
    quantization: str,
    weights_bytes: int,
    device: DeviceMemory,
    parallel: Parallel,
    settings: MemorySettings,
    host_memory_bytes: int | None,
    host_ranks: int,
) -> LoadPeak:
    """Device and host peaks while loading, and whether weights must be quantized in host memory.

    `host_ranks`: ranks that run on one host.
    """
    facts = find_quantization(quantization)
    online = facts is not None and facts.online
    runtime = find_estimate("runtime_bytes")
    process = find_estimate("host_process_bytes")
    buffer = find_estimate("load_buffer_bytes")
    free = device.free_bytes if device.free_bytes is not None else device.total_bytes
    streams = find_rule(f"streams_{quantization}", engine=settings.engine, version=settings.version)
    full = size_16bit(model, parallel, settings) if online else weights_bytes
    wide = weights_bytes if streams else full
    # One layer is there twice while it is quantized: in 16 bit and in its new form.
    layer = (full + weights_bytes) // max(1, model.architecture.layers // parallel.pp) if online else 0
    device_peak = wide + layer + int(runtime.value)
    can_offload = find_rule("offload", engine=settings.engine, version=settings.version) is not None
    offload = online and device_peak > free and can_offload
    ranks = host_ranks
    largest = model.stored.largest_file_bytes if model.stored and model.stored.largest_file_bytes else int(buffer.value)
    host_rows = [
        MemoryRow(
            name="host: processes",
            bytes=(ranks + 1) * int(process.value),
            origin="guess",
            why=f"{ranks} workers and the API server; {process.source}",
        ),
        MemoryRow(
            name="host: shard being read",
            bytes=largest,
            origin="estimate" if model.stored is None else "fact",
            why=buffer.source if model.stored is None else "the largest file of the checkpoint",
        ),
    ]
    if offload:
        host_rows.append(
            MemoryRow(
                name="host: 16-bit weights",
                bytes=full * ranks,
                origin="formula",
                why=f"every one of {ranks} ranks builds its share in host memory first",
            )
        )
        device_peak = weights_bytes + layer + int(runtime.value)
    host_peak = sum(row.bytes for row in host_rows)
    fits_device = device_peak <= free
    return LoadPeak(
        device_bytes=device_peak,
        host_bytes=host_peak,
        fits_device=fits_device,
        fits_host=None if host_memory_bytes is None else host_peak <= host_memory_bytes,
        offload=offload,
        rows=(
            MemoryRow(
                name="device: weights while loading",
                bytes=device_peak - int(runtime.value),
                origin="formula",
                why=_explain_device(online, offload, streams is not None),
            ),
            *host_rows,
        ),
        why=_explain(online, offload, streams is not None, full, free, fits_device, host_peak),
    )


def _explain_device(online: bool, offload: bool, streams: bool) -> str:
    if not online:
        return "as they stay"
    return "one layer twice while it is quantized" if offload or streams else "16 bit, and one layer twice"


def _explain(online: bool, offload: bool, streams: bool, full: int, free: int, fits: bool, host_peak: int) -> str:
    wide = f"the 16-bit weights of a rank ({full / _GIB:.1f} GiB)"
    if not online:
        return "weights are loaded as they are stored"
    if offload:
        return (
            f"{wide} do not fit the {free / _GIB:.1f} GiB that are free: VLLM_OFFLOAD_WEIGHTS_BEFORE_QUANT=1 builds "
            f"them in host memory ({host_peak / _GIB:.0f} GiB of it, all ranks together)"
        )
    if streams:
        return "weights are quantized as they are read, a layer at a time"
    return f"{wide} fit while they are quantized" if fits else f"{wide} do not fit while they are quantized"
