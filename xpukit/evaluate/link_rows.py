"""Rows about the links themselves: lanes and line rate of each card, against what the card can do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xpukit.core.machine import Device
from xpukit.core.measurement import Target, Verdict
from xpukit.evaluate.link_way import IN_VM, Hop, Links
from xpukit.evaluate.p2p_path import find_device
from xpukit.evaluate.result import ReferenceUsed, Result

BENCHMARK = "link"
# What crosses the links, so that their rows belong to the run.
_OVER_LINKS = ("transfer", "p2p", "collectives")
_METRICS = (("width", "lanes"), ("rate", "GB/s"))


def judge_links(links: Links, targets: Sequence[Target], results: Iterable[Result]) -> tuple[Result, ...]:
    """Two rows for each card of the run, if anything in it goes over links.

    `width`: lanes at the card. `rate`: the line rate of the narrowest link between root and card. A link with fewer
    lanes than the card has, or one that runs below what both its ends can do, fails; a slower generation warns.
    """
    if not any(row.benchmark in _OVER_LINKS and row.verdict != "not-applicable" for row in results):
        return ()
    rows: list[Result] = []
    for bdf in dict.fromkeys(target.bdf for target in targets if target.kind == "gpu"):
        device = find_device(links.machine, bdf)
        if device is None or device.discrete is False:
            continue
        rows += _judge_device(links, device)
    return tuple(rows)


def _judge_device(links: Links, device: Device) -> list[Result]:
    in_vm = bool(links.machine.platform.get("vm"))
    hops = () if in_vm else links.list_hops(device)
    if not hops:
        reason = IN_VM if in_vm else (device.link.note if device.link else "") or "the link does not say how it runs"
        verdict: Verdict = "not-applicable" if in_vm else "unknown"
        return [
            Result(
                benchmark=BENCHMARK, metric=metric, devices=(device.bdf,), params={}, value=None, unit=unit,
                engine="probe", verdict=verdict, reason=reason,
            )
            for metric, unit in _METRICS
        ]  # fmt: skip
    own = hops[-1]
    slowest = min(reversed(hops), key=lambda hop: hop.now.gbps)
    return [
        _make_row("width", "lanes", own, float(own.now.width), float(own.card.width)),
        _make_row("rate", "GB/s", slowest, slowest.now.gbps, slowest.card.gbps),
    ]


def _make_row(metric: str, unit: str, hop: Hop, value: float, possible: float) -> Result:
    verdict, reason = _decide(hop) if value < 0.999 * possible else ("pass", "")
    source = f"the card can do {hop.card}: its own port, and its specification where that is known"
    return Result(
        benchmark=BENCHMARK,
        metric=metric,
        devices=(hop.device.bdf,),
        params={},
        value=value,
        unit=unit,
        engine="probe",
        n=1,
        median=value,
        reference=ReferenceUsed(value=possible, kind="spec", source=source),
        ratio=value / possible,
        verdict=verdict,
        reason=reason,
        note="" if hop.under_load else "lanes as trained; the speed was read idle only: the possible one is taken",
        link=str(hop.now),
    )


def _decide(hop: Hop) -> tuple[Verdict, str]:
    told = hop.describe()
    if hop.is_narrow:
        if hop.possible.width >= hop.card.width:
            return "fail", f"{told}: trained below what both ends can do; seat the card again, look at riser and BIOS"
        return "fail", f"{told}: the slot or port gives no more; move the card, or look at the BIOS bifurcation"
    if hop.now.speed_gts < hop.possible.speed_gts:
        return "fail", f"{told}: slower under load than both ends can do"
    return "warn", f"{told}: the port above can do no more"
