"""What xpu-smi's tables of health and diagnostics say, as measurements: 1 well, 0.5 warning, 0 failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xpukit.core.measurement import Measurement, MetricKey, make_key
from xpukit.evaluate.parsers.xpu_smi_tables import DiagTable, HealthTable

UNIT = "status"
# Joins the labels of a card's tiles: the tool looks at cards.
TOGETHER = "+"
_LEVELS = {"ok": 1.0, "pass": 1.0, "no errors": 1.0, "warning": 0.5, "critical": 0.0, "fail": 0.0}


def make_health_key(metric: str, label: str, component: str = "") -> MetricKey:
    """The key of a card (or its tiles together), or of one of its components."""
    return make_key("health", metric, tuple(label.split(TOGETHER)), **({"component": component} if component else {}))


def sum_up_cards(metric: str, found: Sequence[Measurement]) -> list[Measurement]:
    """A row for each card: the worst of its components."""
    worst: dict[str, Measurement] = {}
    for row in found:
        label = TOGETHER.join(row.key.devices)
        if label not in worst or row.samples[0] < worst[label].samples[0]:
            worst[label] = row
    return [
        Measurement(
            key=make_health_key(metric, label),
            unit=UNIT,
            samples=row.samples,
            note="" if row.samples[0] >= 1 else f"{dict(row.key.params)['component']}: {row.note}",
        )
        for label, row in worst.items()
    ]


def convert_health(parsed: HealthTable, numbers: Mapping[int, str]) -> list[Measurement]:
    """A row for each component of a device whose state is known."""
    rows = []
    for item in parsed.readings:
        label = numbers.get(item.device) if item.device is not None else None
        level = _LEVELS.get(item.status)
        if label is not None and level is not None:
            rows.append(
                Measurement(
                    key=make_health_key("health", label, item.component),
                    unit=UNIT,
                    samples=(level,),
                    note=f"{item.status}: {item.description}".strip(": "),
                )
            )
    return rows


def convert_diag(parsed: DiagTable, numbers: Mapping[int, str]) -> list[Measurement]:
    """Tests of a device; of a check beforehand the row that names its address, and for all devices the other rows."""
    rows: dict[MetricKey, Measurement] = {}
    for item in parsed.readings:
        level = _LEVELS.get(item.result)
        if level is None:
            continue
        subject = item.subject.lower()
        own = numbers.get(item.device) if item.device is not None else None
        is_address = subject.count(":") == 2
        named = [label for label in numbers.values() if not is_address or label.startswith(subject)]
        labels = [own] if own else named
        for label in labels:
            component = item.name if is_address or not item.subject else f"{item.name} {item.subject}"
            key = make_health_key("diag", label, component)
            known = rows.get(key)
            if known is None or level < known.samples[0]:
                note = f"{item.result}: {item.message}".strip(": ")
                rows[key] = Measurement(key=key, unit=UNIT, samples=(level,), note=note)
    return list(rows.values())
