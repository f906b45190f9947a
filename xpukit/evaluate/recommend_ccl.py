"""Should oneCCL copy between GPUs directly (P2P) or through host memory (USM)? From the same collectives in both modes.

A difference counts when it exceeds 3.5 standard errors of the two medians and 3 % of the slower. allreduce decides
where it differs, because tensor parallelism spends its time there; else all collectives do. Within them the mean of the
logarithms of the differences decides, so that each size weighs the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Literal

import msgspec

from xpukit.core.finding import Evidence, Finding
from xpukit.core.measurement import Param
from xpukit.core.units import format_bytes, format_number
from xpukit.evaluate.outliers import LEAST_SIGMAS, estimate_median_error
from xpukit.evaluate.result import Result

Winner = Literal["p2p", "usm", ""]
MIN_CHANGE = 0.03
_MIN_SAMPLES = 3
_MODES = ("p2p", "usm")
_SIZES_SHOWN = 24
_VALUE = {"p2p": "1", "usm": "0"}
_NAME = {"p2p": "P2P", "usm": "USM"}
_LINKS = ("https://github.com/intel/llm-scaler/blob/main/vllm/README.md",)


class ModeComparison(msgspec.Struct, frozen=True, kw_only=True):
    """One collective at one size in both modes. `gain_percent` is of P2P over USM (negative: P2P is worse).

    `winner` is "" where the difference is not significant; `sigmas` is None where a spread is not known.
    """

    collective: str
    dtype: str
    ranks: int
    metric: str
    unit: str
    size_bytes: int | None
    p2p: float
    usm: float
    gain_percent: float
    sigmas: float | None
    winner: Winner
    devices: tuple[str, ...] = ()


class Crossover(msgspec.Struct, frozen=True, kw_only=True):
    """From `size_bytes` on `above` is the faster mode; below it the other one is."""

    collective: str
    dtype: str
    ranks: int
    size_bytes: int
    above: Winner


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """`mode` "" means that neither can be recommended, and `summary` says why. `line` is the setting to use."""

    mode: Winner
    line: str
    summary: str
    comparisons: tuple[ModeComparison, ...] = ()
    crossovers: tuple[Crossover, ...] = ()
    wrong: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


def recommend_ccl(results: Sequence[Result]) -> Recommendation | None:
    """The mode for the collectives that were measured in both; None when there are no rows with a mode at all."""
    rows = [row for row in results if row.benchmark == "collectives" and row.params.get("mode") in _MODES]
    rows = [row for row in rows if row.verdict != "not-applicable"]
    if not rows:
        return None
    wrong = {mode: _describe_rows(rows, mode, lambda row: row.verified is False) for mode in _MODES}
    comparisons = _compare_modes(rows)
    failed = {
        mode: _describe_rows(rows, mode, lambda row: row.value is None and row.verified is not False) for mode in _MODES
    }
    mode, summary = _decide(rows, comparisons, wrong, failed)
    return Recommendation(
        mode=mode,
        line=f"CCL_TOPO_P2P_ACCESS={_VALUE[mode]}" if mode else "",
        summary=summary,
        comparisons=comparisons,
        crossovers=_find_crossovers(comparisons),
        wrong=(*wrong["p2p"], *wrong["usm"]),
        failed=(*failed["p2p"], *failed["usm"]),
    )


def _describe_rows(rows: Sequence[Result], mode: str, holds: Callable[[Result], bool]) -> tuple[str, ...]:
    return tuple(
        f"{_NAME[mode]} {row.params.get('collective', '?')} {_show_size(row)}: "
        f"{row.verify_detail or row.reason or 'no value'}"
        for row in rows
        if row.params.get("mode") == mode and holds(row)
    )


def _show_size(row: Result) -> str:
    size = row.params.get("bytes")
    return format_bytes(size) if isinstance(size, int | float) else ""


def _compare_modes(rows: Sequence[Result]) -> tuple[ModeComparison, ...]:
    """Rows that differ in the mode only; of bandwidths the bus one, the algorithm's where that is all there is."""
    sides: dict[tuple[object, ...], dict[str, Result]] = {}
    for row in rows:
        if row.metric not in ("busbw", "algbw", "latency") or row.verified is False or not _is_positive(row.value):
            continue
        rest = tuple(sorted((name, str(value)) for name, value in row.params.items() if name != "mode"))
        sides.setdefault((row.metric, row.devices, row.engine, rest), {})[str(row.params["mode"])] = row
    whole = {key: pair for key, pair in sides.items() if len(pair) == 2}
    has_bus = {key[1:] for key in whole if key[0] == "busbw"}
    compared = [
        _compare(pair["p2p"], pair["usm"])
        for key, pair in whole.items()
        if not (key[0] == "algbw" and key[1:] in has_bus) and pair["p2p"].unit == pair["usm"].unit
    ]
    return tuple(sorted(compared, key=_order))


def _order(one: ModeComparison) -> tuple[object, ...]:
    return (one.collective, one.devices, one.ranks, one.dtype, one.metric, one.size_bytes or 0)


def _is_positive(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0


def _compare(p2p: Result, usm: Result) -> ModeComparison:
    assert p2p.value is not None
    assert usm.value is not None
    better = p2p.value / usm.value if p2p.higher_is_better else usm.value / p2p.value
    sigmas = _count_sigmas(p2p, usm)
    significant = (
        sigmas is not None
        and sigmas >= LEAST_SIGMAS
        and max(better, 1 / better) - 1 > MIN_CHANGE
        and not (p2p.noisy or usm.noisy)
    )
    size = p2p.params.get("bytes")
    return ModeComparison(
        collective=str(p2p.params.get("collective", "?")),
        dtype=str(p2p.params.get("dtype", "")),
        ranks=_to_int(p2p.params.get("ranks")) or 0,
        metric=p2p.metric,
        unit=p2p.unit,
        size_bytes=_to_int(size),
        p2p=p2p.value,
        usm=usm.value,
        gain_percent=round(100 * (better - 1), 1),
        sigmas=None if sigmas is None else round(sigmas, 1),
        winner=("p2p" if better > 1 else "usm") if significant else "",
        devices=p2p.devices,
    )


def _to_int(value: Param | None) -> int | None:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _count_sigmas(one: Result, other: Result) -> float | None:
    """The difference over its standard error; None where a spread is not known."""
    if one.mad is None or other.mad is None or min(one.n, other.n) < _MIN_SAMPLES:
        return None
    assert one.value is not None
    assert other.value is not None
    error = math.hypot(estimate_median_error(one.mad, one.n), estimate_median_error(other.mad, other.n))
    # Samples of one run know nothing of the difference between runs.
    error = max(error, MIN_CHANGE * min(one.value, other.value) / LEAST_SIGMAS)
    return abs(one.value - other.value) / error


def _decide(
    rows: Sequence[Result],
    comparisons: Sequence[ModeComparison],
    wrong: dict[str, tuple[str, ...]],
    failed: dict[str, tuple[str, ...]],
) -> tuple[Winner, str]:
    measured = {mode for mode in _MODES if any(row.params["mode"] == mode and row.value is not None for row in rows)}
    if wrong["p2p"] and wrong["usm"]:
        return "", "the data is wrong in both modes: neither can be recommended"
    for mode, other in (("p2p", "usm"), ("usm", "p2p")):
        # Speed counts for nothing where the result is wrong, or where nothing comes.
        if wrong[mode] and other in measured:
            return _as_winner(other), f"the data is wrong with {_NAME[mode]} ({wrong[mode][0]})"
        if failed[mode] and mode not in measured and other in measured and not wrong[other]:
            return _as_winner(other), f"nothing ran with {_NAME[mode]} ({failed[mode][0]})"
    if len(measured) < 2:
        only = f"only {_NAME[min(measured)]} was" if measured else "neither mode was"
        return "", f"not measured: {only}"
    if not comparisons:
        return "", "not measured: no collective has the same sizes in both modes"
    significant = [one for one in comparisons if one.winner]
    if not significant:
        return "", f"no significant difference in {len(comparisons)} comparisons"
    deciding = [one for one in comparisons if one.collective == "allreduce"]
    if not any(one.winner for one in deciding):
        deciding = list(comparisons)
    mean = sum(_log_gain(one) for one in deciding) / len(deciding)
    if abs(mean) < 1e-9:
        return "", "the modes win as much as they lose"
    mode = _as_winner("p2p" if mean > 0 else "usm")
    wins = sum(1 for one in deciding if one.winner == mode)
    lost = sum(1 for one in deciding if one.winner not in (mode, ""))
    what = "allreduce" if all(one.collective == "allreduce" for one in deciding) else "all collectives"
    best = max((one for one in deciding if one.winner == mode), key=lambda one: abs(_log_gain(one)))
    return mode, (
        f"{_NAME[mode]} is faster in {what}: {math.exp(abs(mean)) - 1:.0%} on average, better in {wins} and worse "
        f"in {lost} of {len(deciding)} comparisons; most at {_show_point(best)}"
    )


def _as_winner(mode: str) -> Winner:
    return "p2p" if mode == "p2p" else "usm"


def _log_gain(one: ModeComparison) -> float:
    """Positive where P2P wins; 0 where the difference says nothing."""
    return math.log1p(max(one.gain_percent, -99.9) / 100) if one.winner else 0.0


def _show_point(one: ModeComparison) -> str:
    size = f" {format_bytes(one.size_bytes)}" if one.size_bytes is not None else ""
    return f"{one.collective}{size} {one.dtype} x{one.ranks}".replace("  ", " ")


def _find_crossovers(comparisons: Iterable[ModeComparison]) -> tuple[Crossover, ...]:
    """Where in a series of sizes the winner changes once, for good."""
    series: dict[tuple[str, str, int, str, tuple[str, ...]], list[ModeComparison]] = {}
    for one in comparisons:
        if one.metric != "latency" and one.size_bytes is not None:
            key = (one.collective, one.dtype, one.ranks, one.metric, one.devices)
            series.setdefault(key, []).append(one)
    found = []
    for (collective, dtype, ranks, _, _), points in sorted(series.items()):
        decided = [one for one in sorted(points, key=lambda one: one.size_bytes or 0) if one.winner]
        changes = [right for left, right in pairwise(decided) if left.winner != right.winner]
        if len(changes) == 1:
            at = changes[0]
            found.append(
                Crossover(
                    collective=collective, dtype=dtype, ranks=ranks, size_bytes=at.size_bytes or 0, above=at.winner
                )
            )
    return tuple(found)


def report_recommendation(recommendation: Recommendation) -> tuple[Finding, ...]:
    """XPK-CCL-MODE with the difference at each size, after XPK-CCL-WRONG-DATA where a mode gave wrong results."""
    findings = []
    if recommendation.wrong:
        findings.append(
            Finding(
                id="XPK-CCL-WRONG-DATA",
                severity="critical",
                summary=f"oneCCL gave wrong results in {len(recommendation.wrong)} measurements",
                evidence=tuple(Evidence(source="collectives", value=text) for text in recommendation.wrong[:8]),
                remedy=(
                    f"export {recommendation.line}" if recommendation.line else "do not serve over several GPUs",
                    "look at the copies between pairs: xpukit evaluate --only p2p",
                ),
            )
        )
    if recommendation.mode:
        summary = f"use {recommendation.line}: {recommendation.summary}"
        remedy = [f"export {recommendation.line}"]
    else:
        summary = f"P2P or USM for oneCCL: {recommendation.summary}"
        remedy = [
            "measure both modes again, with more samples: xpukit evaluate --only collectives --repeat 3",
            "until then leave CCL_TOPO_P2P_ACCESS as it is",
        ]
    remedy += [
        f"{point.collective} {point.dtype} x{point.ranks}: {_NAME[point.above]} from "
        f"{format_bytes(point.size_bytes)} on, {'USM' if point.above == 'p2p' else 'P2P'} below; "
        "choose by the sizes that your model sends"
        for point in recommendation.crossovers
    ]
    evidence = [_show_comparison(one) for one in recommendation.comparisons[:_SIZES_SHOWN]]
    more = len(recommendation.comparisons) - _SIZES_SHOWN
    if more > 0:
        evidence.append(Evidence(source="collectives", value=f"and {more} more comparisons"))
    evidence += [Evidence(source="not measured", value=text) for text in recommendation.failed[:4]]
    if not evidence:
        evidence = [Evidence(source="collectives", value=recommendation.summary)]
    findings.append(
        Finding(
            id="XPK-CCL-MODE",
            severity="info",
            summary=summary,
            evidence=tuple(evidence),
            remedy=tuple(remedy),
            links=_LINKS,
        )
    )
    return tuple(findings)


def _show_comparison(one: ModeComparison) -> Evidence:
    if one.winner:
        verdict = f"{_NAME[one.winner]} better"
    elif one.sigmas is None:
        verdict = "spread unknown"
    else:
        verdict = "no significant difference"
    return Evidence(
        source=f"{one.metric} {_show_point(one)}",
        value=f"P2P {format_number(one.p2p)}, USM {format_number(one.usm)} {one.unit}: "
        f"{one.gain_percent:+.1f} % ({verdict})",
    )
