"""Main memory beside the GPUs', and swap in use."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.core.units import format_bytes
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.checks.huge_pages import read_meminfo
from xpukit.facts.doctor_limits import find_limit


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Less main memory than the discrete GPUs have together; swap that is really used."""
    machine = patient.machine
    weights = sum(device.memory_bytes or 0 for device in machine.devices if device.discrete)
    if not machine.devices:
        return
    found = read_meminfo(patient.host.read("/proc/meminfo").text)
    memory = found.get("MemTotal") or machine.memory_bytes or 0
    swap, free = found.get("SwapTotal", 0), found.get("SwapFree", 0)
    if memory and memory < weights:
        yield Finding(
            id="XPK-MEMORY-SMALL",
            severity="info",
            summary=f"{format_bytes(memory)} of main memory beside {format_bytes(weights)} on the GPUs",
            evidence=(
                Evidence(source="/proc/meminfo: MemTotal", value=f"{memory} bytes"),
                Evidence(source="memory of the discrete GPUs", value=f"{weights} bytes"),
            ),
            explanation="Weights that are quantized while loading pass through main memory in full precision, several "
            "times their final size. Close to the limit loading becomes very slow or the server is killed."
            + (" Swap is on: it would be used then." if swap else ""),
            remedy=(
                "serve weights that were quantized before (AWQ, GPTQ, FP8) instead of quantizing while loading",
                "or add memory",
            ),
            links=(
                "https://github.com/intel/llm-scaler/blob/main/vllm/README.md",
                "https://github.com/vllm-project/vllm/pull/50887",
            ),
        )
    limit = find_limit("swap_used_share")
    if swap and swap - free > limit.value * swap:
        yield Finding(
            id="XPK-SWAP-USED",
            severity="info",
            summary=f"{format_bytes(swap - free)} of swap are in use",
            evidence=(Evidence(source="/proc/meminfo: SwapTotal, SwapFree", value=f"{swap}, {free} bytes"),),
            explanation="Memory was short at some time. Pages of a server that were swapped out come back one by one, "
            "and requests wait for each.",
            remedy=("see what uses memory: ps -eo rss,comm --sort -rss | head ; then end it, or add memory",),
            links=("https://docs.kernel.org/admin-guide/sysctl/vm.html",),
        )


CHECK = Check(
    name="swap_and_memory",
    summary="enough main memory, and no swapping",
    ids=("XPK-MEMORY-SMALL", "XPK-SWAP-USED"),
    look=look,
    concerns="machines with an Intel GPU",
    order=553,
)
