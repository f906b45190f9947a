"""Why copies between GPUs are impossible, wrong or slow: conclusions with evidence and remedy, the likeliest first.

Each symptom of a pair goes through the rules of `p2p_protection.py` and `p2p_wiring.py`; causes that several pairs
share are told once. A pair that is as fast as its links run now is explained by the links alone. Wrong data comes
first whatever its speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import msgspec

from xpukit.core.finding import Evidence, Finding, Severity
from xpukit.core.machine import Machine
from xpukit.evaluate.p2p_causes import AVOID, KERNEL_WORD, RECHECK, Cause, Rule
from xpukit.evaluate.p2p_observed import SYMPTOMS, Observation, Symptom, observe_pairs
from xpukit.evaluate.p2p_path import name_device, trace_pair
from xpukit.evaluate.p2p_protection import (
    advise_clearing,
    find_driver,
    find_function_kind,
    find_iommu,
    find_redirect,
    find_small_bar,
    find_virtual_machine,
)
from xpukit.evaluate.p2p_wiring import find_dual_card, find_errors, find_link, find_root_crossing
from xpukit.evaluate.result import Result
from xpukit.facts.p2p import load_shapes

_RULES: tuple[Rule, ...] = (
    find_driver,
    find_function_kind,
    find_virtual_machine,
    find_redirect,
    find_small_bar,
    find_link,
    find_dual_card,
    find_root_crossing,
    find_iommu,
    find_errors,
)
# Of a pair that is not joined by PCIe only these can be.
_OFF_PCIE: tuple[Rule, ...] = (find_driver, find_function_kind, find_virtual_machine)
_LINK_CAUSES = ("XPK-P2P-LINK-NARROW", "XPK-P2P-LINK-SPEED")
# Which causes can have which effect, the likeliest first.
_LIKELIHOOD: dict[Symptom, tuple[str, ...]] = {
    "wrong": (
        "XPK-P2P-ACS-REDIRECT",
        "XPK-P2P-ROOT-PORTS",
        "XPK-P2P-SOCKETS",
        "XPK-P2P-VM",
        "XPK-P2P-ACS-UNKNOWN",
        "XPK-P2P-IOMMU",
        "XPK-P2P-PCIE-ERRORS",
    ),
    "impossible": (
        "XPK-P2P-NO-DRIVER",
        "XPK-P2P-RESERVED-FOR-VM",
        "XPK-P2P-MIXED-DRIVERS",
        "XPK-P2P-INTEGRATED",
        "XPK-P2P-VIRTUAL-FUNCTION",
        "XPK-P2P-VM",
        "XPK-P2P-ACS-REDIRECT",
        "XPK-P2P-SMALL-BAR",
        "XPK-P2P-ROOT-PORTS",
        "XPK-P2P-SOCKETS",
        "XPK-P2P-ACS-UNKNOWN",
        "XPK-P2P-IOMMU",
    ),
    "slow": (
        "XPK-P2P-LINK-NARROW",
        "XPK-P2P-DUAL-CARD",
        "XPK-P2P-ACS-REDIRECT",
        "XPK-P2P-LINK-SPEED",
        "XPK-P2P-SOCKETS",
        "XPK-P2P-ROOT-PORTS",
        "XPK-P2P-SMALL-BAR",
        "XPK-P2P-VM",
        "XPK-P2P-VIRTUAL-FUNCTION",
        "XPK-P2P-INTEGRATED",
        "XPK-P2P-ACS-UNKNOWN",
        "XPK-P2P-IOMMU",
        "XPK-P2P-PCIE-ERRORS",
    ),
    "unverified": (),
    "foreseen": (
        "XPK-P2P-NO-DRIVER",
        "XPK-P2P-MIXED-DRIVERS",
        "XPK-P2P-ACS-REDIRECT",
        "XPK-P2P-SMALL-BAR",
        "XPK-P2P-LINK-NARROW",
        "XPK-P2P-VM",
        "XPK-P2P-RESERVED-FOR-VM",
        "XPK-P2P-VIRTUAL-FUNCTION",
        "XPK-P2P-DUAL-CARD",
        "XPK-P2P-LINK-SPEED",
        "XPK-P2P-SOCKETS",
        "XPK-P2P-ROOT-PORTS",
        "XPK-P2P-ACS-UNKNOWN",
        "XPK-P2P-IOMMU",
        "XPK-P2P-PCIE-ERRORS",
    ),
}
_EFFECT: dict[Symptom, str] = {
    "wrong": "data wrong on",
    "impossible": "no P2P on",
    "slow": "slow on",
    "unverified": "not verified on",
    "foreseen": "concerns",
}
_PAIRS_NAMED = 6
_ROWS_SHOWN = 4


class _Case(msgspec.Struct):
    """A cause with all that it affects."""

    cause: Cause
    seen: list[Observation]
    ports: list[str]
    evidence: list[Evidence]
    remedy: list[str]


def explain_p2p(machine: Machine, results: Sequence[Result]) -> tuple[Finding, ...]:
    """Findings for each pair that cannot, is wrong or slow; () when all pairs are well or none was measured."""
    return _explain(machine, observe_pairs(machine, results))


def foresee_p2p(machine: Machine) -> tuple[Finding, ...]:
    """What stands between the GPUs of a machine, before anything is measured; nothing for fewer than two cards."""
    cards = [device for device in machine.devices if device.discrete is not False]
    foreseen = []
    for one, other in combinations(cards, 2):
        path = trace_pair(machine, one.bdf, other.bdf)
        if path is not None and path.across != "device":
            foreseen.append(Observation(symptom="foreseen", labels=(one.bdf, other.bdf), path=path))
    return _explain(machine, foreseen)


def _explain(machine: Machine, observations: Sequence[Observation]) -> tuple[Finding, ...]:
    cases: dict[tuple[str, str, str], _Case] = {}
    unexplained: dict[tuple[Symptom, tuple[str, ...]], list[Observation]] = {}
    for seen in observations:
        if seen.symptom == "unverified":
            continue
        causes, excluded = _look_for_causes(machine, seen)
        for cause in causes:
            case = cases.setdefault(
                (cause.id, cause.subject, cause.what), _Case(cause=cause, seen=[], ports=[], evidence=[], remedy=[])
            )
            case.seen.append(seen)
            case.ports += [port for port in cause.ports if port not in case.ports]
            case.remedy += [step for step in cause.remedy if step not in case.remedy]
            case.evidence += [row for row in cause.evidence if row not in case.evidence]
        if seen.symptom != "foreseen" and not any(cause.conclusive for cause in causes):
            unexplained.setdefault((seen.symptom, excluded), []).append(seen)
    ordered = sorted(cases.items(), key=lambda item: (_rank(item[1]), item[0]))
    return (
        *_report_wrong(machine, observations),
        *(_report_case(machine, case) for _, case in ordered),
        *(
            _report_unexplained(machine, *key, seen)
            for key, seen in sorted(unexplained.items(), key=_order_unexplained)
        ),
        *_report_unverified(machine, observations),
    )


def _order_unexplained(item: tuple[tuple[Symptom, tuple[str, ...]], list[Observation]]) -> tuple[int, tuple[str, ...]]:
    (symptom, excluded), _ = item
    return SYMPTOMS.index(symptom), excluded


def _look_for_causes(machine: Machine, seen: Observation) -> tuple[list[Cause], tuple[str, ...]]:
    """Causes that can have this effect, and what could be excluded."""
    if not seen.path.known:
        return [], ("the machine does not list these devices",)
    possible = _LINK_CAUSES if seen.by_link else _LIKELIHOOD[seen.symptom]
    causes: list[Cause] = []
    excluded = [f"PCIe: carries nothing here, between the two is {seen.path.fabric}"] if seen.path.fabric else []
    for rule in _OFF_PCIE if seen.path.fabric else _RULES:
        found = rule(machine, seen)
        if isinstance(found, str):
            excluded += [found] if found else []
        else:
            causes += [cause for cause in found if cause.id in possible]
    return causes, tuple(excluded)


def _worst(case: _Case) -> Symptom:
    return min((seen.symptom for seen in case.seen), key=SYMPTOMS.index)


def _rank(case: _Case) -> tuple[int, int]:
    symptom = _worst(case)
    return SYMPTOMS.index(symptom), _LIKELIHOOD[symptom].index(case.cause.id)


def _name_pairs(machine: Machine, seen: Sequence[Observation]) -> str:
    """'GPU0-GPU1, GPU0-GPU2 and 4 more pairs', each pair once whatever its direction."""
    names = list(dict.fromkeys("-".join(sorted(name_device(machine, label) for label in one.labels)) for one in seen))
    more = len(names) - _PAIRS_NAMED
    shown = ", ".join(names[:_PAIRS_NAMED])
    return f"{shown} and {more} more pairs" if more > 0 else shown


def _show_rows(seen: Sequence[Observation]) -> list[Evidence]:
    rows = list(dict.fromkeys(row for one in seen for row in one.evidence))
    return rows[:_ROWS_SHOWN]


def _report_case(machine: Machine, case: _Case) -> Finding:
    cause, symptom = case.cause, _worst(case)
    effects = [
        f"{_EFFECT[effect]} {_name_pairs(machine, affected)}"
        for effect in SYMPTOMS
        if (affected := [seen for seen in case.seen if seen.symptom == effect])
    ]
    severity: Severity = cause.severity
    if symptom == "wrong":
        severity = "critical" if cause.conclusive else "warning"
    steps = advise_clearing(case.ports) if case.ports else tuple(case.remedy)
    if symptom == "wrong" and AVOID not in steps:
        steps = (*steps, AVOID)
    return Finding(
        id=cause.id,
        severity=severity,
        summary=f"{cause.what}: {'; '.join(effects)}",
        evidence=(*case.evidence, *_show_rows(case.seen)),
        remedy=steps,
        links=cause.links,
        subject=cause.subject,
    )


def _report_wrong(machine: Machine, observations: Sequence[Observation]) -> list[Finding]:
    wrong = [seen for seen in observations if seen.symptom == "wrong"]
    if not wrong:
        return []
    fastest = max((seen.value_gbps or 0.0 for seen in wrong), default=0.0)
    speed = f", at up to {fastest:.1f} GB/s: speed certifies nothing" if fastest else ""
    return [
        Finding(
            id="XPK-P2P-WRONG-DATA",
            severity="critical",
            summary=f"copies between GPUs arrive wrong{speed}: {_name_pairs(machine, wrong)}",
            evidence=tuple(_show_rows(wrong)),
            remedy=(
                "do not use these pairs together: export CCL_TOPO_P2P_ACCESS=0 (through host memory), or choose other "
                "GPUs with ZE_AFFINITY_MASK",
                "then look at the causes named below, the likeliest first",
                RECHECK,
            ),
            links=(
                "https://github.com/intel/compute-runtime/issues/935",
                "https://github.com/intel/compute-runtime/issues/942",
            ),
        )
    ]


def _report_unexplained(
    machine: Machine, symptom: Symptom, excluded: tuple[str, ...], seen: Sequence[Observation]
) -> Finding:
    if not all(one.path.known for one in seen):
        return Finding(
            id="XPK-P2P-UNEXPLAINED",
            severity="critical" if symptom == "wrong" else "warning",
            summary=f"{_EFFECT[symptom]} {_name_pairs(machine, seen)}; the machine does not list these devices, "
            "so that nothing can be said of the way between them",
            evidence=tuple(_show_rows(seen)),
            remedy=("on the machine where they were measured: xpukit evaluate --only p2p", AVOID),
        )
    return Finding(
        id="XPK-P2P-UNEXPLAINED",
        severity="critical" if symptom == "wrong" else "warning",
        summary=f"{_EFFECT[symptom]} {_name_pairs(machine, seen)}, and nothing that the machine says explains it",
        evidence=(*_show_rows(seen), *(Evidence(source="excluded", value=text) for text in excluded)),
        remedy=(
            KERNEL_WORD,
            'whether the kernel was built for it: grep CONFIG_PCI_P2PDMA "/boot/config-$(uname -r)"',
            "update kernel and user-space driver together, then report it with: xpukit probe --json",
            RECHECK,
        ),
        links=("https://docs.kernel.org/driver-api/pci/p2pdma.html",),
    )


def _report_unverified(machine: Machine, observations: Sequence[Observation]) -> list[Finding]:
    """Rates whose data nobody checked, told apart by whether ACS redirect makes that dangerous."""
    unchecked = [seen for seen in observations if seen.symptom == "unverified"]
    if not unchecked:
        return []
    redirected = any(
        port.redirects
        for seen in unchecked
        if seen.path.common
        for device in seen.path.ends
        for port in device.acs
        if port.bdf in seen.path.ports
    )
    shape = load_shapes()["acs-redirect-switch"]
    return [
        Finding(
            id="XPK-P2P-UNVERIFIED",
            severity="warning" if redirected else "info",
            summary=f"bandwidth was measured without checking the data, and certifies nothing: "
            f"{_name_pairs(machine, unchecked)}" + (" (ACS redirect is on between them)" if redirected else ""),
            evidence=(
                *_show_rows(unchecked),
                Evidence(source=f"known case: {shape.source}", value=f"{shape.summary}; {shape.value_gbps:g} GB/s"),
            ),
            remedy=("measure with the engine that verifies: xpukit evaluate --engine embedded --only p2p",),
            links=(shape.link,),
        )
    ]
