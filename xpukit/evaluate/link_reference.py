"""References over PCIe, scaled from the link under which they were had to the link at hand, and known shapes."""

from __future__ import annotations

import msgspec

from xpukit.core.machine import Machine
from xpukit.core.measurement import MetricKey
from xpukit.core.units import format_number
from xpukit.evaluate.link_way import Way
from xpukit.evaluate.p2p_path import PairPath
from xpukit.evaluate.p2p_shapes import has_own_root_ports, is_dual_card
from xpukit.evaluate.result import ReferenceUsed
from xpukit.facts.p2p import Shape, load_shapes
from xpukit.facts.pcie import PcieLink

_NOT_COUNTED = {
    "sockets": "between processor sockets: what their interconnect leaves is not known",
    "nodes": "between NUMA nodes: what lies between them is not known",
    "unknown": "how the two are connected is not known",
}


def normalize_reference(used: ReferenceUsed, link: PcieLink | None, way: Way) -> ReferenceUsed:
    """The reference for the link at hand. Scaled down by line rate, never up: on a wider link something else may limit.

    `link`: under which it was had. Where that, or the link at hand, is not known, a shortfall only warns if the link
    may be the reason.
    """
    across = way.path.across if way.path is not None else ""
    used = msgspec.structs.replace(used, warn_only=_NOT_COUNTED.get(across, ""))
    if way.hop is None:
        return msgspec.structs.replace(used, scaling=f"not scaled: {way.hidden}", warn_only=way.hidden)
    here = way.hop
    if link is None:
        told = "not scaled: the reference does not say under which link it was had"
        unsure = "the reference does not say under which link it was had"
        return msgspec.structs.replace(used, scaling=told, warn_only=unsure if here.is_limited else used.warn_only)
    if here.now.gbps >= 0.999 * link.gbps:
        told = "" if here.now.gbps <= 1.001 * link.gbps else f"not scaled up: had on {link}, here is {here.now}"
        return msgspec.structs.replace(used, scaling=told)
    share = here.now.gbps / link.gbps
    told = f"{format_number(used.value)} on {link}, scaled by {share:.3g} to {here.now} ({here.upper} to {here.lower})"
    return msgspec.structs.replace(used, value=used.value * share, unscaled=used.value, scaling=told)


def find_shape_reference(key: MetricKey, way: Way, machine: Machine) -> ReferenceUsed | None:
    """What a pair of a known platform shape is known to reach; None for other pairs, and where the host copies."""
    params = dict(key.params)
    if way.path is None or params.get("path", "peer") != "peer" or not _is_large(key):
        return None
    shape, value = _match_shape(machine, way.path, str(params.get("direction", "")))
    if shape is None or shape.tolerance is None:
        return None
    return ReferenceUsed(
        value=value,
        kind=shape.kind,
        source=f"known shape {shape.name}: {shape.summary}; {shape.source} (p2p/shapes.toml)",
        tolerance=shape.tolerance,
        scaling=f"by shape: {shape.name}",
    )


def _is_large(key: MetricKey) -> bool:
    return key.metric == "peak_bandwidth"


def _match_shape(machine: Machine, path: PairPath, direction: str) -> tuple[Shape | None, float]:
    shapes = load_shapes()
    dual, ports = shapes["dual-card-x16"], shapes["root-ports"]
    if direction == dual.direction and is_dual_card(machine, path):
        split = not path.common
        return dual, (dual.remedied_gbps or dual.value_gbps) if split else dual.value_gbps
    if direction == ports.direction and has_own_root_ports(machine, path):
        return ports, ports.value_gbps
    return None, 0.0
