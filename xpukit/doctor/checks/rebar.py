"""The processor's window into the card's memory."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.hardware import explain, find_device, list_found


def look_at_bar(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Explains probe's small BAR; says when the card itself offers no larger one."""
    for found in list_found(patient, "XPK-PROBE-BAR-SMALL"):
        device = find_device(patient, found.subject)
        bar = next((bar for bar in device.bars if bar.size_bytes == device.bar_bytes), None) if device else None
        fixed = bool(bar and bar.resizable is False)
        yield explain(
            found,
            explanation="with a small BAR the processor reaches the card's memory through a keyhole: loading weights "
            "is slow, peer-to-peer copies reach only what the window shows, and some releases of the compute runtime "
            "refuse the device ('Small BAR detected').",
            concerns="discrete GPUs; boards with resizable BAR off, old BIOS or a card firmware without it",
            remedy=(
                "the card itself offers no larger window: update its firmware (the board vendor's IFWI with the "
                "largest BAR preset)",
            )
            if fixed
            else (f"look afterwards: lspci -vvs {found.subject} | grep -iE 'region|resizable'",),
            links=(
                "https://github.com/intel/llm-scaler/blob/main/vllm/FAQ.md",
                "https://github.com/intel/compute-runtime/issues/872",
            ),
        )


CHECK = Check(
    name="rebar",
    summary="the processor sees all of the card's memory (resizable BAR)",
    ids=("XPK-PROBE-BAR-SMALL",),
    look=look_at_bar,
    concerns="discrete GPUs",
    order=150,
)
