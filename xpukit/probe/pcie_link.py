"""The PCIe link between a card and the machine, and which hop limits it.

The endpoint of an Intel discrete GPU sits behind a PCIe switch of its own card and always claims 2.5 GT/s x1. The
link that matters is the one between the switch's upstream port and the slot above it; a card without a switch (Max)
is read at the endpoint itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from xpukit.core.finding import Evidence, Finding
from xpukit.core.machine import Link, LinkEnd, Unread
from xpukit.facts.devices import find_card_bridge, lookup_device
from xpukit.facts.pcie import compute_line_rate_gbps
from xpukit.host.door import Host
from xpukit.probe.config_space import read_port_type
from xpukit.probe.pci import index_functions
from xpukit.probe.question import PciFunction, Question
from xpukit.probe.sysfs import read_int, read_text

_SPEED = re.compile(r"(\d+(?:\.\d+)?)\s*GT/s")
_PLACEHOLDER_GTS = 2.5


class PortState(msgspec.Struct, frozen=True, kw_only=True):
    """One end of a link."""

    bdf: str
    current_gts: float | None = None
    current_width: int | None = None
    max_gts: float | None = None
    max_width: int | None = None


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """A link: the port above (root port or switch downstream port) and what is plugged into it."""

    above: PortState
    below: PortState


def compute_gbps(speed_gts: float | None, width: int | None) -> float | None:
    """Bandwidth of one direction in 1e9 bytes/s after line coding; 32 GT/s x8 is 31.5."""
    if not speed_gts or not width:
        return None
    return compute_line_rate_gbps(speed_gts, width)


def parse_speed(text: str | None) -> float | None:
    """'16.0 GT/s PCIe' -> 16.0; None for 'Unknown'."""
    match = _SPEED.search(text or "")
    return float(match[1]) if match else None


def read_port(host: Host, bdf: str, sys_path: str) -> PortState:
    """What a port says of its link. Width 0 and 255 mean that it does not know."""

    def width(name: str) -> int | None:
        value = read_int(host, f"{sys_path}/{name}")
        return value if value and 0 < value <= 32 else None

    return PortState(
        bdf=bdf,
        current_gts=parse_speed(read_text(host, f"{sys_path}/current_link_speed")),
        current_width=width("current_link_width"),
        max_gts=parse_speed(read_text(host, f"{sys_path}/max_link_speed")),
        max_width=width("max_link_width"),
    )


def pair_links(kinds: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Index pairs (port above, port below) of the links on a chain of ports from the root to the endpoint.

    A link hangs below a root port or a switch's downstream port. Where a port does not say what it is, its place
    tells: the one at the root is a root port, and upstream and downstream ports take turns.
    """
    resolved: list[str] = []
    for position, kind in enumerate(kinds):
        if kind in ("root-port", "upstream", "downstream"):
            resolved.append(kind)
        elif position == 0:
            resolved.append("root-port")
        else:
            resolved.append("upstream" if resolved[-1] in ("root-port", "downstream") else "downstream")
    return tuple((i, i + 1) for i in range(len(kinds) - 1) if resolved[i] in ("root-port", "downstream"))


def find_card_port(bridges: Sequence[PciFunction], has_switch: bool | None) -> int | None:
    """The index of the card's own upstream port among the bridges above it, None when the card has no switch.

    Known by the bridge's id; else, for a card that is not known to lack one, an Intel switch directly above the GPU.
    """
    if has_switch is False or len(bridges) < 2:
        return None
    upstream, downstream = bridges[-2], bridges[-1]
    if find_card_bridge(upstream.vendor_id, upstream.device_id) == "upstream":
        return len(bridges) - 2
    intel = upstream.vendor_id == downstream.vendor_id == "8086"
    return len(bridges) - 2 if intel and len(bridges) >= 3 else None


def combine(*values: float | None) -> float | None:
    """The smallest of the values that are known."""
    known = [value for value in values if value is not None]
    return min(known) if known else None


def measure_hop(hop: Hop) -> float | None:
    """What both ends of a link can do together, 1e9 bytes/s; None unless both say."""
    ends = (hop.above, hop.below)
    if any(end.max_gts is None or end.max_width is None for end in ends):
        return None
    width = combine(*(end.max_width for end in ends))
    return compute_gbps(combine(*(end.max_gts for end in ends)), int(width) if width else None)


def find_limit(hops: Sequence[Hop]) -> tuple[str, float | None]:
    """(BDF of the port that limits, bandwidth) on the way from root to card; "" when the card itself limits.

    The last hop's lower end is the card. Among equal hops the one nearest to the card is named.
    """
    if not hops:
        return "", None
    card = hops[-1].below
    best = compute_gbps(card.max_gts, card.max_width)
    limiter = ""
    for hop in reversed(hops):
        possible = measure_hop(hop)
        if possible is None or (best is not None and possible >= best):
            continue
        above = compute_gbps(hop.above.max_gts, hop.above.max_width)
        below = compute_gbps(hop.below.max_gts, hop.below.max_width)
        narrower_above = above is not None and (below is None or above <= below)
        best, limiter = possible, hop.above.bdf if narrower_above else hop.below.bdf
    return limiter, best


def is_degraded(hop: Hop) -> bool | None:
    """Whether a link runs below what both its ends can do; None when it does not say."""
    now = compute_gbps(hop.below.current_gts, hop.below.current_width) or compute_gbps(
        hop.above.current_gts, hop.above.current_width
    )
    possible = measure_hop(hop)
    return None if now is None or possible is None else now < possible


def read_link(host: Host, function: PciFunction, so_far: Mapping[str, Any]) -> dict[str, Any]:
    """The link of a discrete card; nothing for a GPU that is part of the processor."""
    facts = lookup_device(function.vendor_id, function.device_id)
    if facts is not None and facts.discrete is False:
        return {}
    known = index_functions(so_far)
    bridges = [known[bdf] for bdf in function.path if bdf in known]
    end = known.get(so_far.get("physical_function", ""), function)
    card_port = find_card_port(bridges, facts.on_card_switch if facts else None)
    chain = [*bridges[: card_port + 1]] if card_port is not None else [*bridges, end]
    states = [read_port(host, port.bdf, port.sys_path) for port in chain]
    card = states[-1]
    if card_port is None and _is_placeholder(card, facts.on_card_switch if facts else None):
        return _report_hidden(function)
    kinds = [read_port_type(host.read(f"{port.sys_path}/config").data) for port in chain]
    hops = tuple(Hop(above=states[i], below=states[j]) for i, j in pair_links(kinds))
    if card.max_gts is None and card.current_gts is None:
        if not bridges:  # part of the processor, which has no link
            return {}
        what = Unread(what=f"PCIe link of {card.bdf}", why="the port does not say", remedy="")
        return {"unread": (what,)}
    link = _describe_link(host, function, card, hops, so_far)
    findings = _report_narrow(function.bdf, link)
    return {"link": link, "sources": {"link": f"sysfs, {card.bdf}"}} | ({"findings": findings} if findings else {})


def _is_placeholder(card: PortState, has_switch: bool | None) -> bool:
    """The endpoint's own claim, which says nothing about the card behind a switch that we cannot see."""
    claims_least = card.max_gts == _PLACEHOLDER_GTS and card.max_width == 1
    return has_switch is True or (has_switch is None and claims_least)


def _report_hidden(function: PciFunction) -> dict[str, Any]:
    note = "the card's own PCIe switch is not visible (passed through to a virtual machine?)"
    row = Unread(
        what=f"PCIe link of {function.bdf}", why=note, remedy="read it on the machine that has the card in its slot"
    )
    return {"link": Link(read_at="", note=note), "unread": (row,)}


def _describe_link(
    host: Host, function: PciFunction, card: PortState, hops: tuple[Hop, ...], so_far: Mapping[str, Any]
) -> Link:
    last = hops[-1] if hops and hops[-1].below.bdf == card.bdf else None
    max_gts = combine(card.max_gts, last.above.max_gts if last else None)
    max_width = combine(card.max_width, last.above.max_width if last else None)
    limiter, limit = find_limit(hops)
    slow = [hop for hop in hops if is_degraded(hop)]
    notes = _explain_slow(host, function, slow)
    notes += _explain_sharing(function, hops, so_far)
    return Link(
        read_at=card.bdf,
        current_speed_gts=card.current_gts,
        current_width=card.current_width,
        max_speed_gts=max_gts,
        max_width=int(max_width) if max_width else None,
        limited_by=limiter,
        limit_gbps=limit,
        current_gbps=compute_gbps(card.current_gts, card.current_width),
        degraded=is_degraded(last) if last else None,
        note="; ".join(notes),
        hops=tuple(
            LinkEnd(
                bdf=hop.above.bdf,
                partner_bdf=hop.below.bdf,
                current_speed_gts=hop.above.current_gts,
                current_width=hop.above.current_width,
                max_speed_gts=hop.above.max_gts,
                max_width=hop.above.max_width,
                partner_max_speed_gts=hop.below.max_gts,
                partner_max_width=hop.below.max_width,
            )
            for hop in hops
        ),
    )


def _explain_slow(host: Host, function: PciFunction, slow: Sequence[Hop]) -> list[str]:
    notes = []
    for hop in slow:
        width = combine(hop.above.max_width, hop.below.max_width)
        now = hop.below.current_width or hop.above.current_width
        where = f"{hop.above.bdf} to {hop.below.bdf}"
        if width is not None and now is not None and now < width:
            notes.append(f"{where} trained to x{now} of x{width:.0f}: reseat the card, check slot and BIOS bifurcation")
        else:
            notes.append(f"{where} runs below its speed: idle cards may slow their link down, so look again under load")
    downgraded = read_text(host, f"{function.sys_path}/auto_link_downgrade_status")
    asleep = read_text(host, f"{function.sys_path}/power/runtime_status")
    if slow and downgraded == "1":
        notes.append("the card lowered its link to Gen4 because Gen5 was unstable (auto_link_downgrade_status 1)")
    if slow and asleep == "suspended":
        notes.append("the GPU is suspended now")
    return notes


def _explain_sharing(function: PciFunction, hops: Sequence[Hop], so_far: Mapping[str, Any]) -> list[str]:
    """Other GPUs behind the same slot: a card with two GPUs, or a PCIe switch. What hangs from the same port is the
    same device: a GPU and its virtual functions are no rivals.
    """
    if len(hops) < 2:
        return []
    root = hops[0]
    rivals = [
        other.bdf
        for other in so_far.get("functions", ())
        if other.path != function.path
        and other.vendor_id == function.vendor_id
        and other.pci_class[:2] in ("03", "12")
        and root.above.bdf in other.path
    ]
    return [f"shares the link {root.above.bdf} to {root.below.bdf} with {', '.join(rivals)}"] if rivals else []


def _report_narrow(bdf: str, link: Link) -> tuple[Finding, ...]:
    """A link above the card, of a switch, that lost lanes. The card's own link is judged with the whole machine."""
    narrow = [hop for hop in link.hops if hop.partner_bdf != link.read_at and _lost_lanes(hop)]
    return tuple(
        Finding(
            id="XPK-PROBE-UPSTREAM-NARROW",
            severity="warning",
            summary=f"the link {hop.bdf} to {hop.partner_bdf}, above {bdf}, runs with fewer lanes than both ends have",
            evidence=(
                Evidence(source=f"{hop.bdf}/current_link_width", value=f"x{hop.current_width}"),
                Evidence(source="both ends can do", value=f"x{min(hop.max_width or 32, hop.partner_max_width or 32)}"),
            ),
            remedy=("reseat the switch board and its cables", "check in the BIOS that the slot is not bifurcated"),
            subject=bdf,
        )
        for hop in narrow
    )


def _lost_lanes(hop: LinkEnd) -> bool:
    if not hop.current_width or not hop.max_width or not hop.partner_max_width:
        return False
    return hop.current_width < min(hop.max_width, hop.partner_max_width)


QUESTION = Question(
    name="pcie_link",
    scope="device",
    order=40,
    summary="PCIe link at the card's own upstream port, and the hop that limits it",
    read_device=read_link,
)
