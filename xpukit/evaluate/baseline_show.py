"""Which reference row a device's metrics are judged by, and why: the same order of preference as `evaluate`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from xpukit.core.errors import UsageError
from xpukit.core.machine import Machine
from xpukit.core.measurement import Param
from xpukit.evaluate.baseline_result import Candidate, ShownBaseline, ShownMetric
from xpukit.evaluate.reference import rank_row
from xpukit.facts.devices import INTEL, list_devices, lookup_device
from xpukit.facts.references import ReferenceRow

SHIPPED = "shipped"
Params = tuple[tuple[str, Param], ...]


def choose_devices(patterns: Sequence[str]) -> tuple[str, ...]:
    """PCI ids that the patterns mean: '8086:e211', 'e211', 0xe211, or (part of) a name, which may hold * and ?.

    Raises UsageError for a pattern that means none.
    """
    chosen: list[str] = []
    for pattern in patterns:
        wanted = pattern.strip().lower()
        match = re.fullmatch(r"(?:([0-9a-f]{4}):|0x)?([0-9a-f]{4})", wanted)
        if match and (match[1] or wanted.startswith("0x") or lookup_device(INTEL, match[2]) is not None):
            found = [f"{match[1] or INTEL}:{match[2]}"]
        else:
            glob = wanted if set(wanted) & set("*?[") else f"*{wanted}*"
            found = [f"{INTEL}:{facts.id}" for facts in list_devices() if fnmatchcase(facts.name.lower(), glob)]
        if not found:
            raise UsageError(
                f"--device {pattern}: no such device", hint="give a PCI id (8086:e211) or a name ('*B60*')"
            )
        chosen.extend(device for device in found if device not in chosen)
    return tuple(chosen)


def list_machine_devices(machine: Machine) -> tuple[str, ...]:
    """PCI ids of the GPUs of a machine, each once."""
    ids = [
        f"{device.vendor_id.lower().removeprefix('0x')}:{device.device_id.lower().removeprefix('0x')}"
        for device in machine.devices
    ]
    return tuple(dict.fromkeys(ids))


def name_device(pci_id: str) -> str:
    """The device's name, '' for one that the table does not hold."""
    facts = lookup_device(*pci_id.split(":", 1))
    return facts.name if facts is not None else ""


def show_baseline(
    rows: Sequence[ReferenceRow],
    devices: Sequence[str],
    *,
    layers: Sequence[str] = (),
    benchmarks: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> ShownBaseline:
    """For every metric that a row is about: the row that wins on a result with just those parameters, and the losers.

    `layers` are the names of layers 1 and up, in order; `benchmarks` limits what is shown.
    """
    names = (SHIPPED, *layers)
    shown: list[ShownMetric] = []
    without = []
    for device in devices:
        own = [row for row in rows if row.device == device]
        if not own:
            without.append(device)
        metrics: dict[tuple[str, str], list[ReferenceRow]] = {}
        for row in own:
            if not benchmarks or row.benchmark in benchmarks:
                metrics.setdefault((row.benchmark, row.metric), []).append(row)
        for (benchmark, metric), candidates in sorted(metrics.items()):
            for params in sorted({row.params for row in candidates}, key=_order_params):
                shown.append(_show_metric(device, benchmark, metric, params, candidates, names))
    return ShownBaseline(layers=names, metrics=tuple(shown), without=tuple(without), notes=tuple(notes))


def _order_params(params: Params) -> tuple[object, ...]:
    return tuple(
        (name, isinstance(value, str), 0 if isinstance(value, str) else value, str(value)) for name, value in params
    )


def _show_metric(
    device: str, benchmark: str, metric: str, params: Params, rows: Sequence[ReferenceRow], layers: Sequence[str]
) -> ShownMetric:
    given = dict(params)
    applying = sorted(
        (row for row in rows if all(given.get(name) == value for name, value in row.params)), key=rank_row
    )  # fmt: skip
    best = applying[0]
    return ShownMetric(
        device=device,
        device_name=name_device(device),
        benchmark=benchmark,
        metric=metric,
        params=given,
        winner=_describe(best, layers, _explain_win(applying)),
        losers=tuple(_describe(row, layers, explain_loss(best, row)) for row in applying[1:]),
    )


def _describe(row: ReferenceRow, layers: Sequence[str], why: str) -> Candidate:
    return Candidate(
        value=row.value,
        unit=row.unit,
        kind=row.kind,
        tolerance=row.tolerance,
        source=row.source,
        date=row.date,
        origin=row.origin,
        layer=layers[row.layer] if row.layer < len(layers) else str(row.layer),
        params=row.written_params,
        why=why,
    )


def _explain_win(applying: Sequence[ReferenceRow]) -> str:
    return "the only row" if len(applying) == 1 else f"first of {len(applying)} rows"


def explain_loss(best: ReferenceRow, row: ReferenceRow) -> str:
    """The first step of `rank_row` at which the row falls behind."""
    if row.layer != best.layer:
        return "a lower layer"
    if row.kind != best.kind:
        return f"{row.kind} counts less than {best.kind}"
    if len(row.params) != len(best.params):
        return "names fewer parameters"
    return "older" if row.date != best.date else "stands later in its file"
