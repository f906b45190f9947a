"""The way between two GPUs, and what it should carry.

Peer traffic turns round at the lowest bridge that both have above them; without one it passes the root complex. The
links below that point (all of both sides, without one) carry it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from xpukit.core.machine import Device, LinkEnd, Machine
from xpukit.facts.p2p import load_link_facts

Across = Literal["device", "card", "switch", "root-ports", "nodes", "sockets", "fabric", "unknown"]


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """A link on the way, of which GPU. `card_speed_gts`, `card_width`: the most that the card itself can do."""

    device: Device
    hop: LinkEnd
    is_card: bool
    card_speed_gts: float | None = None
    card_width: int | None = None


class PairPath(msgspec.Struct, frozen=True, kw_only=True):
    """Two GPUs and what lies between them; `common` is the bridge where traffic can turn round, "" for none.

    `ports` are the bridges below `common`, of both sides: an ACS redirect on one of them sends traffic to the root.
    `known` is False for devices that the machine does not list, as in a log from elsewhere. `fabric`: what joins the
    two in place of PCIe, which then carries nothing between them.
    """

    src: Device
    dst: Device
    across: Across
    common: str = ""
    uplink: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    legs: tuple[Leg, ...] = ()
    known: bool = True
    fabric: str = ""

    @property
    def ends(self) -> tuple[Device, ...]:
        return (self.src,) if self.src.bdf == self.dst.bdf else (self.src, self.dst)


def find_device(machine: Machine, label: str) -> Device | None:
    """The device that a result's label ("BDF" or "BDF/tile1") names."""
    bdf = label.partition("/")[0].lower()
    return next((device for device in machine.devices if device.bdf.lower() == bdf), None)


def name_device(machine: Machine, label: str) -> str:
    """'GPU1' or 'GPU1/tile0'; the label itself for a device that the machine does not list."""
    device = find_device(machine, label)
    if device is None:
        return label
    _, slash, tile = label.partition("/")
    return f"GPU{device.index}{slash}{tile}"


def trace_pair(machine: Machine, src: str, dst: str) -> PairPath | None:
    """The way between two labels; None when the machine lacks one of them."""
    one, other = find_device(machine, src), find_device(machine, dst)
    if one is None or other is None:
        return None
    if one.bdf == other.bdf:
        return PairPath(src=one, dst=other, across="device")
    shared = _count_shared(one.path, other.path)
    across: Across
    if shared and one.path == other.path:
        across = "card"
    elif shared:
        across = "switch"
    else:
        across = _cross_root(machine, one, other)
    return PairPath(
        src=one,
        dst=other,
        across=across,
        common=one.path[shared - 1] if shared else "",
        uplink=one.path[:shared],
        ports=tuple(dict.fromkeys((*one.path[shared:], *other.path[shared:]))),
        legs=tuple(leg for device in (one, other) for leg in _list_legs(device, device.path[shared:])),
    )


def make_unknown_path(src: str, dst: str) -> PairPath:
    """The way between devices that the machine does not list: nothing is known of it."""

    def name(label: str) -> Device:
        return Device(index=0, bdf=label, vendor_id="", device_id="", name=label, known=False)

    return PairPath(src=name(src), dst=name(dst), across="unknown", known=False)


def leave_pcie(path: PairPath, fabric: str) -> PairPath:
    """The same two devices, joined by a fabric of their own."""
    return PairPath(src=path.src, dst=path.dst, across="fabric", known=path.known, fabric=fabric)


def _count_shared(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _cross_root(machine: Machine, one: Device, other: Device) -> Across:
    if one.path and other.path and _root_bus(one) == _root_bus(other):
        return "root-ports"
    if one.numa_node is None or other.numa_node is None:
        return "root-ports" if len(machine.numa) == 1 else "unknown"
    if one.numa_node == other.numa_node:
        return "root-ports"
    sockets = {node.node: node.socket for node in machine.numa}
    first, second = sockets.get(one.numa_node), sockets.get(other.numa_node)
    return "nodes" if first is not None and first == second else "sockets"


def _root_bus(device: Device) -> str:
    return device.path[0].rpartition(":")[0]


def _list_legs(device: Device, below: Sequence[str]) -> Iterator[Leg]:
    link = device.link
    if link is None:
        return
    last = link.hops[-1] if link.hops and link.hops[-1].partner_bdf == link.read_at else None
    speed = (last.partner_max_speed_gts if last else None) or link.max_speed_gts
    width = (last.partner_max_width if last else None) or link.max_width
    for hop in link.hops:
        if hop.bdf in below:
            yield Leg(device=device, hop=hop, is_card=hop is last, card_speed_gts=speed, card_width=width)


def describe_leg(leg: Leg) -> str:
    """'0000:18:00.0 to 0000:19:00.0, 16 GT/s x8'."""
    hop = leg.hop
    speed = "?" if hop.current_speed_gts is None else f"{hop.current_speed_gts:g}"
    return f"{hop.bdf} to {hop.partner_bdf}, {speed} GT/s x{hop.current_width or '?'}"


def expected_p2p_gbps(machine: Machine, src: str, dst: str, direction: str) -> tuple[float | None, str]:
    """(1e9 bytes/s that a copy should reach, from what) on the links as they are negotiated.

    The narrowest link on the way times the share that copies reach (facts p2p/links.toml); "bi" counts the payload of
    both directions. What the root complex or the socket interconnect takes is not known and not counted. None, with
    the reason, when no link on the way says how it runs.
    """
    path = trace_pair(machine, src, dst)
    if path is None:
        return None, "the machine does not list both devices"
    return expect_on_path(path, direction)


def expect_on_path(path: PairPath, direction: str, *, as_cards: bool = False) -> tuple[float | None, str]:
    """`expected_p2p_gbps` for a traced pair. `as_cards`: in slots that give the cards all that they can do."""
    facts = load_link_facts()
    if path.across in ("device", "card"):
        return None, "both are on one card"
    if path.fabric:
        return None, f"between the two is {path.fabric}"
    rates: list[tuple[float, str]] = []
    for leg in path.legs:
        if as_cards and leg.is_card:
            speed, width = leg.card_speed_gts, leg.card_width
        else:
            speed = leg.hop.current_speed_gts or leg.hop.max_speed_gts
            width = leg.hop.current_width or leg.hop.max_width
        if speed and width and (leg.is_card or not as_cards):
            where = f"{leg.device.bdf} at {speed:g} GT/s x{width}" if as_cards else describe_leg(leg)
            rates.append((facts.compute_gbps(speed, width), where))
    ends = {leg.device.bdf for leg in path.legs if leg.is_card}
    if not rates or len(ends) < 2:
        return None, "the links on the way do not say how they run"
    line, where = min(rates)
    efficiency = facts.find_efficiency("bi" if direction == "bi" else "uni")
    ways = 2 if direction == "bi" else 1
    source = (
        f"{where}: {line:.1f} GB/s one way x {ways} x {efficiency.share:g} ({efficiency.basis}; {efficiency.source})"
    )
    return line * ways * efficiency.share, source
