"""What a PCIe link carries: line rate after line coding; links by generation and lanes."""

from __future__ import annotations

import re

import msgspec

# Payload share of the line code: 8b/10b up to 5 GT/s, 128b/130b up to 32, 242 of 256 bytes of a 64 GT/s flit
# (PCI Express Base Specification 6.0, 4.2).
_CODE = ((5.0, 8 / 10), (32.0, 128 / 130), (64.0, 242 / 256))
# GT/s of each generation (the same specification, revision history).
GENERATIONS: dict[int, float] = {1: 2.5, 2: 5.0, 3: 8.0, 4: 16.0, 5: 32.0, 6: 64.0}
_LINK = re.compile(r"gen([1-6])x(1|2|4|8|12|16|32)", re.IGNORECASE)


class PcieLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link by speed (GT/s a lane) and lanes."""

    speed_gts: float
    width: int

    @property
    def gbps(self) -> float:
        """One direction in 1e9 bytes/s."""
        return compute_line_rate_gbps(self.speed_gts, self.width)

    def __str__(self) -> str:
        return name_link(self.speed_gts, self.width)


def compute_line_rate_gbps(speed_gts: float, width: int) -> float:
    """Bandwidth of one direction in 1e9 bytes/s; 32 GT/s x8 is 31.5."""
    share = next((share for limit, share in _CODE if speed_gts <= limit), _CODE[-1][1])
    return round(speed_gts * width * share / 8, 3)


def parse_link(text: str) -> PcieLink | None:
    """'gen5x8' as a link; None for anything else."""
    match = _LINK.fullmatch(text.strip())
    return PcieLink(speed_gts=GENERATIONS[int(match[1])], width=int(match[2])) if match else None


def name_link(speed_gts: float, width: int) -> str:
    """'gen5x8'; '12 GT/s x8' for a speed that no generation has."""
    generation = next((number for number, speed in GENERATIONS.items() if speed == speed_gts), None)
    return f"gen{generation}x{width}" if generation else f"{speed_gts:g} GT/s x{width}"
