"""The PCIe link at the card's own upstream port: degraded, or held back by the slot."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.core.machine import Device, Link, LinkEnd
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.hardware import SYS, explain, find_device, is_vm, list_cards, list_found
from xpukit.facts.pcie import compute_line_rate_gbps, name_link

_FAQ = "https://github.com/intel/llm-scaler/blob/main/vllm/FAQ.md"
_WHY = (
    "weights, key-value cache that is moved to the host, and every collective between GPUs go over this link: tensor "
    "parallelism slows down in proportion. "
)
_WIDER_SLOT = (
    "put the card into a slot with as many lanes as it has; see the board's manual for lanes that slots share",
    "in the BIOS look at bifurcation (x16, x8/x8, x4x4x4x4) and at the slot's link speed (Auto)",
)
_NEWER_SLOT = (
    "in the BIOS set the slot's link speed to Auto or its highest generation, if it is limited there",
    "else it is what this board, riser or PCIe switch can do: only another slot or server is faster; GPUs behind one "
    "switch still copy to each other without the link above it",
)


def look_at_link(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Explains probe's findings, and finds cards whose slot can do less than they can."""
    for found in list_found(patient, "XPK-PROBE-LINK-DEGRADED"):
        device = find_device(patient, found.subject)
        link = device.link if device else None
        lost = bool(link and link.current_width and link.max_width and link.current_width < link.max_width)
        yield explain(
            found,
            explanation=_WHY
            + (
                "Lanes that are lost do not come back under load: it is the seat, the riser, the slot or its "
                "bifurcation."
                if lost
                else "An idle card may run its link slower to save power: that alone is no fault. Read it under load "
                "to be sure."
            ),
            concerns="discrete GPUs; read at the card's own upstream port, since the GPU behind it always says "
            "2.5 GT/s x1",
            remedy=("xpukit evaluate --only transfer reads the link while data moves, and measures it",),
            commands=() if lost or link is None else (f"grep . {SYS}/{link.read_at}/current_link_*",),
            links=(_FAQ,),
        )
    for found in list_found(patient, "XPK-PROBE-UPSTREAM-NARROW"):
        yield explain(
            found,
            explanation=_WHY + "This link is above the card: all GPUs below it share what is left.",
            concerns="GPUs behind a PCIe switch or riser",
            links=(_FAQ,),
        )
    for device in list_cards(patient):
        if device.link is not None and not is_vm(patient):
            yield from _find_weak_slot(device, device.link)


def _find_weak_slot(device: Device, link: Link) -> Iterable[Finding]:
    """A hop on the way that can do less than the card, although it runs as fast as it can."""
    card = link.hops[-1] if link.hops else None
    if not link.limited_by or card is None or not card.partner_max_speed_gts or not card.partner_max_width:
        return
    best = compute_line_rate_gbps(card.partner_max_speed_gts, card.partner_max_width)
    if link.limit_gbps is None or link.limit_gbps >= best:
        return
    hop = next((hop for hop in link.hops if link.limited_by in (hop.bdf, hop.partner_bdf)), card)
    lanes, speed = _measure(hop)
    few_lanes = lanes is not None and lanes < card.partner_max_width
    narrow = hop is card and few_lanes
    possible = f"{speed or 0:g} GT/s x{lanes or '?'}"
    yield Finding(
        id="XPK-LINK-SLOT-WEAK",
        severity="warning" if narrow else "info",
        summary=f"{device.bdf}: the card can do {name_link(card.partner_max_speed_gts, card.partner_max_width)}, "
        f"{link.limited_by} on its way only {possible} ({link.limit_gbps:.1f} of {best:.1f} GB/s)",
        evidence=(
            Evidence(
                source=f"{SYS}/{card.partner_bdf}/max_link_speed, max_link_width",
                value=f"{card.partner_max_speed_gts:g} GT/s x{card.partner_max_width}",
            ),
            Evidence(source=f"{SYS}/{link.limited_by}/max_link_speed, max_link_width", value=possible),
        ),
        explanation=_WHY
        + "The link runs as fast as both ends can, so nothing is broken: "
        + _name_bottleneck(hop is card, few_lanes=few_lanes),
        concerns="discrete GPUs",
        remedy=_WIDER_SLOT if few_lanes else _NEWER_SLOT,
        links=(_FAQ,),
        subject=device.bdf,
    )


def _name_bottleneck(at_card: bool, *, few_lanes: bool) -> str:
    what = "fewer lanes" if few_lanes else "an older PCIe generation"
    return f"the {'slot or switch port of the card' if at_card else 'bridge above the card'} has {what} than the card."


def _measure(hop: LinkEnd) -> tuple[int | None, float | None]:
    """(lanes, speed) that both ends of a hop can do."""
    lanes = [width for width in (hop.max_width, hop.partner_max_width) if width]
    speeds = [speed for speed in (hop.max_speed_gts, hop.partner_max_speed_gts) if speed]
    return min(lanes, default=None), min(speeds, default=None)


CHECK = Check(
    name="pcie_link",
    summary="the card's PCIe link runs with all the lanes and speed that card and slot have",
    ids=("XPK-PROBE-LINK-DEGRADED", "XPK-PROBE-UPSTREAM-NARROW", "XPK-LINK-SLOT-WEAK"),
    look=look_at_link,
    concerns="discrete GPUs",
    order=160,
)
