"""What a run's rows say about each pair of GPUs: impossible, wrong, slow, or not verified."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from xpukit.core.finding import Evidence
from xpukit.core.machine import Machine
from xpukit.core.units import MIB, format_number
from xpukit.evaluate.p2p_path import PairPath, expect_on_path, leave_pcie, make_unknown_path, trace_pair
from xpukit.evaluate.result import Result
from xpukit.evaluate.wiring import METRIC as WIRING
from xpukit.evaluate.wiring import list_fabric_pairs, show_wiring
from xpukit.facts.p2p import load_link_facts

Symptom = Literal["wrong", "impossible", "slow", "unverified", "foreseen"]
SYMPTOMS: tuple[Symptom, ...] = ("wrong", "impossible", "slow", "unverified", "foreseen")

# Smaller copies measure latency, not the way.
_LARGE_BYTES = 64 * MIB
_REFUSED = re.compile(r"no access|cannot access|P2P capab", re.IGNORECASE)


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One symptom of one ordered pair, with the rows that show it.

    `by_link`: slow for the cards, but as fast as the links on the way allow as they run now.
    """

    symptom: Symptom
    labels: tuple[str, str]
    path: PairPath
    evidence: tuple[Evidence, ...] = ()
    value_gbps: float | None = None
    direction: str = ""
    by_link: bool = False


def observe_pairs(machine: Machine, results: Sequence[Result]) -> tuple[Observation, ...]:
    """All symptoms in the rows of benchmark `p2p`, in order of the pairs."""
    rows_of: dict[tuple[str, str], list[Result]] = {}
    for row in results:
        if row.benchmark != "p2p" or len(row.devices) != 2 or row.metric == WIRING:
            continue
        if row.params.get("path", "peer") == "peer":
            rows_of.setdefault((row.devices[0], row.devices[1]), []).append(row)
    wirings = show_wiring(results)
    fabrics = list_fabric_pairs((row.key, row.value) for row in results if row.value is not None)
    found: list[Observation] = []
    for labels, rows in sorted(rows_of.items()):
        path = trace_pair(machine, *labels) or make_unknown_path(*labels)
        if fabric := fabrics.get(frozenset(labels)):
            path = leave_pcie(path, fabric)
        observed = _observe_pair(labels, path, rows)
        wiring = wirings.get(frozenset(labels))
        if wiring is not None:
            observed = [
                msgspec.structs.replace(one, evidence=(one.evidence[0], wiring, *one.evidence[1:])) for one in observed
            ]
        found += observed
    return tuple(found)


def _observe_pair(labels: tuple[str, str], path: PairPath, rows: Sequence[Result]) -> list[Observation]:
    wrong = [row for row in rows if row.verified is False or (row.metric == "data" and row.value == 0)]
    if wrong:
        return [_observe_wrong(labels, path, wrong)]
    refused = [row for row in rows if _is_refusal(row)]
    if refused:
        evidence = (_show_row(refused[0]),)
        return [Observation(symptom="impossible", labels=labels, path=path, evidence=evidence)]
    found = []
    rated = _select_rates(rows)
    slow = [observed for row in rated if (observed := _judge_rate(labels, path, row)) is not None]
    if slow:
        found.append(min(slow, key=lambda observed: (observed.by_link, observed.direction != "uni")))
    # ze_peer checks the data in a run of its own, as metric `data`.
    checked = any(row.verified or (row.metric == "data" and row.value == 1) for row in rows)
    unchecked = [] if checked else rated
    if unchecked:
        found.append(Observation(symptom="unverified", labels=labels, path=path, evidence=(_show_row(unchecked[0]),)))
    return found


def _observe_wrong(labels: tuple[str, str], path: PairPath, wrong: Sequence[Result]) -> Observation:
    fastest = max(wrong, key=lambda row: (row.unit == "GB/s", row.value or 0.0))
    return Observation(
        symptom="wrong",
        labels=labels,
        path=path,
        evidence=(_show_row(fastest),),
        value_gbps=fastest.value if fastest.unit == "GB/s" else None,
        direction=_direction_of(fastest),
    )


def _is_refusal(row: Result) -> bool:
    if row.metric == "access":
        return row.value == 0
    return row.value is None and bool(_REFUSED.search(row.reason))


def _direction_of(row: Result) -> str:
    return "bi" if str(row.params.get("direction", "")).startswith("bi") else "uni"


def _select_rates(rows: Sequence[Result]) -> list[Result]:
    """One row per direction and mode: the peak, else the fastest large copy."""
    best: dict[tuple[str, str], Result] = {}
    for row in rows:
        if row.unit != "GB/s" or row.value is None or row.metric not in ("peak_bandwidth", "bandwidth"):
            continue
        size = row.params.get("bytes")
        if row.metric == "bandwidth" and not (isinstance(size, int | float) and size >= _LARGE_BYTES):
            continue
        key = (_direction_of(row), str(row.params.get("mode", "")))
        known = best.get(key)
        if known is None or (row.metric == "peak_bandwidth", row.value) > (
            known.metric == "peak_bandwidth",
            known.value or 0.0,
        ):
            best[key] = row
    return [best[key] for key in sorted(best)]


def _judge_rate(labels: tuple[str, str], path: PairPath, row: Result) -> Observation | None:
    """A rate against its reference, else against what the cards could do in good slots; None when it is well."""
    assert row.value is not None
    share = load_link_facts().slow_below
    direction = _direction_of(row)
    now, now_source = expect_on_path(path, direction)
    cards, cards_source = expect_on_path(path, direction, as_cards=True)
    missed = row.ratio is not None and row.ratio < 1 and row.verdict in ("fail", "warn")
    if not missed and not (cards is not None and row.value < share * cards):
        return None
    evidence = [_show_row(row)]
    by_link = now is not None and row.value >= share * now
    if now is not None:
        value = f"{format_number(now)} GB/s; measured {row.value / now:.0%} of it"
        evidence.append(Evidence(source=f"expected on the negotiated links: {now_source}", value=value))
    if cards is not None and (now is None or cards > now):
        evidence.append(Evidence(source=f"expected of the cards: {cards_source}", value=f"{format_number(cards)} GB/s"))
    return Observation(
        symptom="slow",
        labels=labels,
        path=path,
        evidence=tuple(evidence),
        value_gbps=row.value,
        direction=direction,
        by_link=by_link and not (now is not None and cards is not None and now >= cards),
    )


def _show_row(row: Result) -> Evidence:
    params = " ".join(str(value) for name, value in sorted(row.params.items()) if name != "path")
    source = f"p2p {row.metric} {params} {' -> '.join(row.devices)}".replace("  ", " ")
    if row.value is None:
        return Evidence(source=source, value=row.reason or "no value")
    value = f"{format_number(row.value)} {row.unit}"
    if row.verified is False:
        value += f", data WRONG: {row.verify_detail or 'no detail'}"
    elif row.verified is None and row.metric != "access":
        value += ", data not checked"
    return Evidence(source=source, value=value)
