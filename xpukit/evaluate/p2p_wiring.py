"""How GPUs are wired: links, dual cards, root ports, sockets, and the errors that links count."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.core.finding import Evidence
from xpukit.core.machine import Machine
from xpukit.evaluate.p2p_causes import (
    AVOID,
    ISSUE_935,
    KERNEL_P2PDMA,
    KERNEL_WORD,
    RECHECK,
    SYS,
    Cause,
    show_paths,
)
from xpukit.evaluate.p2p_observed import Observation
from xpukit.evaluate.p2p_path import Leg, describe_leg
from xpukit.evaluate.p2p_shapes import fits_devices, share_slot
from xpukit.facts.p2p import load_shapes


def find_link(machine: Machine, seen: Observation) -> Sequence[Cause] | str:
    """A link on the way that runs with fewer lanes, or slower, than the card can."""
    causes = [cause for leg in seen.path.legs for cause in _judge_leg(leg)]
    if causes:
        return causes
    legs = "; ".join(describe_leg(leg) for leg in seen.path.legs)
    return f"links: all that the cards can do ({legs})" if legs else ""


def _judge_leg(leg: Leg) -> list[Cause]:
    hop, card_width, card_speed = leg.hop, leg.card_width, leg.card_speed_gts
    where = f"the link {hop.bdf} to {hop.partner_bdf} of {leg.device.bdf}"
    causes = []
    if hop.current_width and card_width and hop.current_width < card_width:
        slot = hop.max_width is not None and hop.max_width < card_width
        causes.append(
            Cause(
                id="XPK-P2P-LINK-NARROW",
                subject=hop.bdf,
                what=f"{where} is x{hop.current_width}, the card can do x{card_width}",
                evidence=(
                    Evidence(source=f"{SYS}/{hop.bdf}/current_link_width", value=f"x{hop.current_width}"),
                    Evidence(source=f"{SYS}/{hop.bdf}/max_link_width", value=f"x{hop.max_width or '?'}"),
                    Evidence(
                        source=f"{SYS}/{hop.partner_bdf}/max_link_width", value=f"x{hop.partner_max_width or '?'}"
                    ),
                ),
                remedy=(
                    f"the slot has only x{hop.max_width}: move the card to a slot with x{card_width}"
                    if slot
                    else "seat the card and its riser or cable again",
                    "in the BIOS check the slot's bifurcation (x8/x8 against x4/x4/x4/x4)",
                    RECHECK,
                ),
            )
        )
    if hop.current_speed_gts and card_speed and hop.current_speed_gts < card_speed:
        slot = hop.max_speed_gts is not None and hop.max_speed_gts <= hop.current_speed_gts
        causes.append(
            Cause(
                id="XPK-P2P-LINK-SPEED",
                subject="",
                what=f"links on the way run at {hop.current_speed_gts:g} GT/s, the cards can do {card_speed:g}",
                evidence=(
                    Evidence(source=f"{SYS}/{hop.bdf}/current_link_speed", value=f"{hop.current_speed_gts:g} GT/s"),
                    Evidence(
                        source=f"{SYS}/{hop.bdf}/max_link_speed",
                        value="unknown" if hop.max_speed_gts is None else f"{hop.max_speed_gts:g} GT/s",
                    ),
                ),
                remedy=(
                    "where the port above can do no more: another slot or switch would be faster"
                    if slot
                    else f"read it under load, idle links slow down: cat {SYS}/{hop.bdf}/current_link_speed",
                    "in the BIOS set the slot's link speed to Auto or its highest generation",
                ),
                severity="info",
            )
        )
    return causes


def find_dual_card(machine: Machine, seen: Observation) -> Sequence[Cause] | str:
    """Two GPUs of one kind alone below one slot: the known shape that x8/x8 helps."""
    path = seen.path
    shape = load_shapes()["dual-card-x16"]
    if not fits_devices(shape, path):
        return ""
    if machine.platform.get("vm"):
        return "dual card: cannot be told in a virtual machine"
    if not share_slot(machine, path):
        return "dual card: the two do not share one slot alone"
    remedied = shape.remedied_gbps or shape.value_gbps
    if seen.symptom != "foreseen" and (seen.direction != "bi" or (seen.value_gbps or 0) >= remedied):
        return "dual card: concerns copies both ways only"
    return [
        Cause(
            id="XPK-P2P-DUAL-CARD",
            subject=path.common,
            what=f"{shape.summary}: known to reach {shape.value_gbps:g} GB/s both ways, over {remedied:g} after the "
            "change",
            evidence=(
                *show_paths(path),
                Evidence(source=f"known shape: {shape.source}", value=f"{shape.value_gbps:g} GB/s ({shape.date})"),
            ),
            remedy=(shape.remedy, RECHECK),
            links=(shape.link,),
            severity="info" if seen.symptom == "foreseen" else "warning",
        )
    ]


def find_root_crossing(machine: Machine, seen: Observation) -> Sequence[Cause] | str:
    """No bridge in common: through the root complex, perhaps between sockets."""
    path = seen.path
    if path.across == "device":
        return "tiles of one card: not on PCIe"
    if path.common:
        return f"switch: both hang below {path.common}, where the kernel allows P2P"
    evidence = show_paths(path)
    nodes = tuple(
        Evidence(
            source=f"{SYS}/{device.bdf}/numa_node", value="?" if device.numa_node is None else str(device.numa_node)
        )
        for device in path.ends
    )
    common = (
        KERNEL_WORD,
        "move both cards below one PCIe switch, or to slots of one, as the board's manual draws them",
    )
    if path.across in ("sockets", "nodes"):
        between = "processor sockets" if path.across == "sockets" else "NUMA nodes of one socket"
        return [
            Cause(
                id="XPK-P2P-SOCKETS",
                subject="",
                what=f"the two hang from different {between}: all their traffic crosses the interconnect",
                evidence=(*nodes, *evidence),
                remedy=(
                    "keep each tensor-parallel group on one socket: ZE_AFFINITY_MASK; xpukit probe shows which",
                    *common,
                    "compare with copies through the host: export CCL_TOPO_P2P_ACCESS=0",
                ),
                links=(KERNEL_P2PDMA,),
                severity="info" if seen.symptom in ("foreseen", "slow") else "warning",
            )
        ]
    shape = load_shapes()["root-ports"]
    return [
        Cause(
            id="XPK-P2P-ROOT-PORTS",
            subject="",
            what="the two hang from different root ports: P2P goes through the root complex, which the kernel allows "
            "only on host bridges that it knows to carry it",
            evidence=(
                *evidence,
                *nodes,
                Evidence(source=f"known rate: {shape.source}", value=f"{shape.value_gbps:g} GB/s ({shape.summary})"),
            ),
            remedy=(*common, AVOID),
            links=(ISSUE_935, KERNEL_P2PDMA),
            severity="info" if seen.symptom in ("foreseen", "slow") else "warning",
        )
    ]


def find_errors(machine: Machine, seen: Observation) -> Sequence[Cause] | str:
    """PCIe errors counted by the bridges on the way."""
    places = {*seen.path.uplink[-1:], *seen.path.ports, *(device.bdf for device in seen.path.ends)}
    counted = {
        name: count
        for device in seen.path.ends
        for name, count in device.aer.items()
        if count and name.count("/") >= 2 and name.partition("/")[0] in places
    }
    if not counted:
        return "PCIe errors: none counted on the way" if any(device.aer for device in seen.path.ends) else ""
    first = next(iter(counted)).partition("/")[0]
    return [
        Cause(
            id="XPK-P2P-PCIE-ERRORS",
            subject=first,
            what="bridges on the way have counted PCIe errors: " + ", ".join(sorted(counted)),
            evidence=tuple(
                Evidence(
                    source=f"{SYS}/{name.split('/')[0]}/aer_dev_{name.split('/')[1]}",
                    value=f"{name.rpartition('/')[2]} {count}",
                )
                for name, count in sorted(counted.items())
            ),
            remedy=(
                "see whether they grow while copying: xpukit probe, before and after xpukit evaluate --only p2p",
                "seat the card, riser and cables again; a lower link generation in the BIOS tells a bad link",
            ),
            conclusive=False,
            severity="warning" if any("fatal/" in name for name in counted) else "info",
        )
    ]
