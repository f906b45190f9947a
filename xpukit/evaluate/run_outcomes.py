"""What the jobs of a run gave, taken together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from xpukit.core.measurement import Measurement, MetricKey, Promise, Skip
from xpukit.evaluate.run_directory import JobOutcome


def merge_measurements(outcomes: Sequence[JobOutcome]) -> list[tuple[str, Measurement]]:
    """Measurements by key; repeats are pooled, and one wrong repeat makes the pool wrong."""
    pooled: dict[tuple[str, Any], tuple[str, Measurement]] = {}
    for outcome in outcomes:
        for measurement in outcome.measurements:
            key = (outcome.engine, measurement.key)
            known = pooled.get(key)
            if known is None:
                pooled[key] = (outcome.engine, measurement)
                continue
            wrong = next((m for m in (known[1], measurement) if m.verified is False), measurement)
            pooled[key] = (
                outcome.engine,
                msgspec.structs.replace(
                    known[1],
                    samples=known[1].samples + measurement.samples,
                    verified=wrong.verified,
                    verify_detail=wrong.verify_detail,
                ),
            )
    return list(pooled.values())


def list_impossible(outcomes: Sequence[JobOutcome]) -> list[tuple[str, Skip]]:
    """Promised metrics that the device turned out not to have, each once."""
    found: dict[Any, tuple[str, Skip]] = {}
    for outcome in outcomes:
        for promise, reason in outcome.impossible:
            found.setdefault(promise.key, (outcome.engine, Skip(key=promise.key, unit=promise.unit, reason=reason)))
    return list(found.values())


def list_missing(outcomes: Sequence[JobOutcome]) -> list[tuple[str, Promise, str]]:
    """Promised metrics that no repeat delivered, each once."""
    delivered = {measurement.key for outcome in outcomes for measurement in outcome.measurements}
    missing: dict[Any, tuple[str, Promise, str]] = {}
    for outcome in outcomes:
        for promise, reason in outcome.missing:
            if promise.key not in delivered:
                missing.setdefault(promise.key, (outcome.engine, promise, reason))
    return list(missing.values())


def list_disturbed(outcomes: Sequence[JobOutcome]) -> dict[MetricKey, str]:
    """Metrics whose devices other processes used, and which processes."""
    found: dict[MetricKey, dict[str, None]] = {}
    for outcome in outcomes:
        for measurement in outcome.measurements if outcome.record.other_users else ():
            for label in measurement.key.devices:
                for name in outcome.record.other_users.get(label.partition("/")[0], ()):
                    found.setdefault(measurement.key, {})[name] = None
    return {key: ", ".join(names) for key, names in found.items()}
