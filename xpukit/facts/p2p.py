"""What is known of copies between GPUs: line codes, reachable shares, platform shapes (data/p2p/*.toml)."""

from __future__ import annotations

from functools import cache

import msgspec

from xpukit.facts.tables import damaged, read_table

LINKS_SCHEMA = "xpukit.p2p-links/1"
SHAPES_SCHEMA = "xpukit.p2p-shapes/1"
WIRING_SCHEMA = "xpukit.p2p-wiring/1"


class LineCode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The payload share of links up to a speed in GT/s."""

    up_to_gts: float
    share: float
    source: str


class Efficiency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The share of the line rate that a copy reaches, and from which figures that share was made."""

    direction: str
    share: float
    basis: str
    source: str
    date: str


class LinkFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`line_code` is ordered by speed; below `slow_below` of what is expected a rate is slow."""

    schema: str
    date: str
    slow_below: float
    line_code: tuple[LineCode, ...]
    efficiency: tuple[Efficiency, ...]

    def compute_gbps(self, speed_gts: float, width: int) -> float:
        """One direction in 1e9 bytes/s after line coding; 32 GT/s x8 is 31.5."""
        code = next((code for code in self.line_code if speed_gts <= code.up_to_gts), self.line_code[-1])
        return speed_gts * width * code.share / 8

    def find_efficiency(self, direction: str) -> Efficiency:
        """The row of "uni" or "bi"."""
        return next(row for row in self.efficiency if row.direction == direction)


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A known platform shape: what was measured on it, and above what it comes after the remedy.

    `tolerance`: the fraction below its value that still passes where pairs of this shape are judged by it; None where
    it is a warning, not a yardstick.
    """

    name: str
    devices: tuple[str, ...]
    summary: str
    direction: str
    value_gbps: float
    source: str
    link: str
    date: str
    remedied_gbps: float | None = None
    remedy: str = ""
    kind: str = "published"
    tolerance: float | None = None


class _ShapeFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    shape: tuple[Shape, ...]


@cache
def load_link_facts() -> LinkFacts:
    """Line codes and shares. Raises BadFactsError when the file breaks its schema."""
    facts = read_table("p2p", "links", LinkFacts, LINKS_SCHEMA)
    if {row.direction for row in facts.efficiency} != {"uni", "bi"} or not facts.line_code:
        raise damaged("p2p/links.toml", "needs line codes and the efficiencies of uni and bi")
    return facts


@cache
def load_shapes() -> dict[str, Shape]:
    """Known shapes by name. Raises BadFactsError when the file breaks its schema."""
    file = read_table("p2p", "shapes", _ShapeFile, SHAPES_SCHEMA)
    return {shape.name: shape for shape in file.shape}


class WiringKind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A word of the topology matrix; `fabric`: copies between the two do not go over PCIe."""

    name: str
    rank: int
    summary: str
    source: str
    fabric: bool = False


class WiringBlind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a generation of the tool does not look at, said beside these of its words."""

    major: int
    kinds: tuple[str, ...]
    summary: str
    source: str


class WiringFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The words of xpu-smi's topology matrix."""

    schema: str
    date: str
    kind: tuple[WiringKind, ...]
    blind: tuple[WiringBlind, ...]

    def find(self, word: str) -> WiringKind | None:
        """'XL8' is the kind XL; None for a word that the table lacks."""
        name = "XL" if word.startswith("XL") and word[2:].isdecimal() else word
        return next((kind for kind in self.kind if kind.name == name), None)

    def explain_blind(self, word: str, major: int | None) -> str:
        """What this generation of the tool would not have seen, "" when nothing is known of that."""
        name = "XL" if word.startswith("XL") and word[2:].isdecimal() else word
        return "; ".join(row.summary for row in self.blind if row.major == major and name in row.kinds)


@cache
def load_wiring() -> WiringFacts:
    """Words of the topology matrix. Raises BadFactsError when the file breaks its schema."""
    return read_table("p2p", "wiring", WiringFacts, WIRING_SCHEMA)
