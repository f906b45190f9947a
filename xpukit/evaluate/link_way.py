"""The PCIe link that a copy goes over: as negotiated, at its narrowest place, against what the card can do.

Lanes count as they were trained. Speed counts as it was seen under load; a card that does nothing may run its link
slower, so a speed that was only read idle says nothing, and the link's possible speed is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from xpukit.core.machine import Device, LinkEnd, Machine
from xpukit.core.measurement import MetricKey
from xpukit.evaluate.p2p_path import PairPath, find_device, trace_pair
from xpukit.facts.devices import lookup_device
from xpukit.facts.pcie import PcieLink

IN_VM = "in a virtual machine the card's own link is not visible"
_SEEN = re.compile(r"(\d+(?:\.\d+)?) GT/s x(\d+)")
# What does not cross PCIe by itself.
_INSIDE = ("d2d", "h2h")


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One link on the way, of which card. `now` as negotiated, `possible` the most that both its ends can do."""

    device: Device
    upper: str
    lower: str
    now: PcieLink
    possible: PcieLink
    card: PcieLink
    under_load: bool

    @property
    def is_limited(self) -> bool:
        """Whether it carries less than the card can do."""
        return self.now.gbps < 0.999 * self.card.gbps

    @property
    def is_narrow(self) -> bool:
        return self.is_limited and self.now.width < self.card.width

    def describe(self) -> str:
        """'link is x4, the card can do x8 (0000:7b:01.0 to 0000:7c:00.0, of 0000:7e:00.0)'."""
        where = f"({self.upper} to {self.lower}, of {self.device.bdf})"
        if not self.is_limited:
            return f"link is {self.now} {where}"
        if self.is_narrow:
            return f"link is x{self.now.width}, the card can do x{self.card.width} {where}"
        return f"link runs at {self.now.speed_gts:g} GT/s, the card can do {self.card.speed_gts:g} {where}"


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """What a metric's copies cross. `hop` None: nobody says how the links run, and `hidden` why.

    `path` is the pair's way for copies between devices. `fabric`: they do not go over PCIe, but over this.
    """

    hop: Hop | None = None
    hidden: str = ""
    path: PairPath | None = None
    fabric: str = ""


class Links:
    """The links of a machine's cards; `seen` are the fastest links read while something ran, by BDF.

    `fabrics`: pairs whose copies go over something else than PCIe, and over what.
    """

    def __init__(
        self,
        machine: Machine,
        seen: Mapping[str, PcieLink] | None = None,
        fabrics: Mapping[frozenset[str], str] | None = None,
    ) -> None:
        self._machine = machine
        self._seen = dict(seen or {})
        self._fabrics = dict(fabrics or {})

    def with_fabrics(self, fabrics: Mapping[frozenset[str], str]) -> Links:
        """The same links, with these pairs joined by something else."""
        return Links(self._machine, self._seen, fabrics)

    @property
    def machine(self) -> Machine:
        return self._machine

    def list_hops(self, device: Device) -> tuple[Hop, ...]:
        """All links from the root to the card that say how they run, the card's own last."""
        card = find_card_link(device)
        if device.link is None or card is None:
            return ()
        made = (self._make_hop(device, hop, card) for hop in device.link.hops)
        return tuple(hop for hop in made if hop is not None)

    def _make_hop(self, device: Device, hop: LinkEnd, card: PcieLink) -> Hop | None:
        widths = [width for width in (hop.max_width, hop.partner_max_width) if width]
        speeds = [speed for speed in (hop.max_speed_gts, hop.partner_max_speed_gts) if speed]
        width = hop.current_width or (min(widths) if widths else None)
        possible_speed = min(speeds) if speeds else hop.current_speed_gts
        if not width or not possible_speed:
            return None
        possible = PcieLink(speed_gts=possible_speed, width=min(widths) if widths else width)
        own = device.link is not None and hop.partner_bdf == device.link.read_at
        seen = self._seen.get(device.bdf) if own else None
        now = PcieLink(speed_gts=possible_speed, width=width)
        if seen is not None:
            now = PcieLink(speed_gts=min(seen.speed_gts, possible_speed), width=seen.width)
        elif hop.current_speed_gts == possible_speed:
            return Hop(
                device=device, upper=hop.bdf, lower=hop.partner_bdf, now=now, possible=possible, card=card,
                under_load=True,
            )  # fmt: skip
        return Hop(
            device=device,
            upper=hop.bdf,
            lower=hop.partner_bdf,
            now=now,
            possible=possible,
            card=card,
            under_load=seen is not None,
        )

    def find_way(self, key: MetricKey) -> Way | None:
        """What copies of this metric cross; None when they cross no PCIe link of these devices."""
        params = dict(key.params)
        devices = [found for label in key.devices if (found := find_device(self._machine, label)) is not None]
        if len(devices) < len(key.devices) or not devices or params.get("direction") in _INSIDE:
            return None
        fabric = self._fabrics.get(frozenset(key.devices), "") if key.benchmark == "p2p" else ""
        if fabric and params.get("path", "peer") == "peer":
            return Way(hidden=f"between the two is {fabric}, not PCIe", fabric=fabric)
        path = None
        below: Sequence[str] | None = None
        if key.benchmark == "p2p" and len(key.devices) == 2:
            path = trace_pair(self._machine, *key.devices)
            if path is None or path.across == "device":
                return None
            if params.get("path", "peer") == "peer":
                below = path.ports
        if self._machine.platform.get("vm"):
            return Way(hidden=IN_VM, path=path)
        hops = [
            hop
            for device in dict.fromkeys(device.bdf for device in devices)
            for hop in self.list_hops(next(item for item in devices if item.bdf == device))
            if below is None or hop.upper in below
        ]
        if not hops:
            return Way(hidden="the links on the way do not say how they run", path=path)
        return Way(hop=min(hops, key=lambda hop: (hop.now.gbps, hop.upper)), path=path)


def find_card_link(device: Device) -> PcieLink | None:
    """The most that the card itself can do: what its port says, and no more than its specification."""
    link = device.link
    if link is None:
        return None
    own = next((hop for hop in link.hops if hop.partner_bdf == link.read_at), None)
    facts = lookup_device(device.vendor_id, device.device_id)
    specified = (facts.pcie_speed_gts, facts.pcie_width) if facts is not None else (None, None)
    speeds = [s for s in ((own.partner_max_speed_gts if own else None) or link.max_speed_gts, specified[0]) if s]
    widths = [w for w in ((own.partner_max_width if own else None) or link.max_width, specified[1]) if w]
    return PcieLink(speed_gts=min(speeds), width=min(widths)) if speeds and widths else None


def read_seen_links(conditions: Iterable[Mapping[str, Any]]) -> dict[str, PcieLink]:
    """The fastest link of each card among what was sampled while jobs ran (`link`: '32 GT/s x8')."""
    fastest: dict[str, PcieLink] = {}
    for sampled in conditions:
        for bdf, readings in sampled.items():
            words = readings.get("link", ()) if isinstance(readings, Mapping) else ()
            for word in [words] if isinstance(words, str) else words:
                match = _SEEN.fullmatch(str(word))
                if match is None or int(match[2]) == 0:
                    continue
                found = PcieLink(speed_gts=float(match[1]), width=int(match[2]))
                known = fastest.get(bdf)
                if known is None or found.gbps > known.gbps:
                    fastest[bdf] = found
    return fastest
