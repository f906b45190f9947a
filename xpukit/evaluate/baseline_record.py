"""A baseline from repeated runs.

Per metric and device id: the value of a run is the median over that run's devices (or pairs of devices); runs whose
value is an outlier are removed (`outliers.py`: robust z, again with the rest, never more than half); the reference is
the median of the runs that are left. Its tolerance is the largest of 5 %, three robust sigmas between runs, and the
distance of the worst device, rounded up to a whole per cent: a machine like those recorded passes. A device that is
itself an outlier among the devices of the kept runs (a card on a narrow link) does not widen the tolerance.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence

from xpukit.core.errors import CouldNotJudgeError, UsageError
from xpukit.core.machine import Machine
from xpukit.core.measurement import STATES
from xpukit.core.units import format_number
from xpukit.evaluate.baseline_result import LeftOut, RecordedMetric, Recording, RemovedRun, RunProvenance
from xpukit.evaluate.baseline_runs import RecordedRun
from xpukit.evaluate.link_rows import BENCHMARK as LINK_ROWS
from xpukit.evaluate.outliers import LEAST_SIGMAS, Screened, estimate_sigma, find_mad, find_median, screen_values
from xpukit.evaluate.report_csv import format_params
from xpukit.evaluate.result import Result
from xpukit.evaluate.summary import is_ceiling
from xpukit.facts.pcie import parse_link
from xpukit.facts.references import ReferenceRow, parse_param

MIN_RUNS = 3
MIN_TOLERANCE = 0.05
MIN_CHANGE = 0.02
RULE = (
    f"value of a run: median over its devices; runs farther than {LEAST_SIGMAS:g} robust sigmas (1.4826·b(n)·MAD, at "
    f"least {MIN_CHANGE:.0%} of the median in all) are removed, again with the rest, never more than half; reference: "
    f"median of the rest; tolerance: the largest of {MIN_TOLERANCE:.0%}, 3 robust sigmas between runs, and the worst "
    "device (single devices that are outliers by the same measure do not count)"
)
_TIED = {"unknown": "not believed", "not-applicable": "does not apply"}
Key = tuple[str, str, str, tuple[tuple[str, object], ...], str, bool]


class _Samples:
    """Values of one metric by run."""

    def __init__(self) -> None:
        self.by_run: dict[int, list[float]] = {}
        self.noisy: set[int] = set()
        self.links: set[str] = set()

    def add(self, run: int, row: Result) -> None:
        assert row.value is not None
        self.by_run.setdefault(run, []).append(row.value)
        self.links.add(row.link)
        # One sample is called noisy too; but here the runs tell the spread.
        if row.noisy and row.n >= MIN_RUNS:
            self.noisy.add(run)


class _LeftOut:
    """Rows that are no reference, counted by reason."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def add(self, reason: str, row: Result) -> None:
        what = f"{row.benchmark} {row.metric} {format_params(row.params)}".strip()
        self._found.setdefault(reason, []).append(what)

    def list(self) -> tuple[LeftOut, ...]:
        return tuple(
            LeftOut(reason=reason, rows=len(rows), example=rows[0]) for reason, rows in sorted(self._found.items())
        )


def record_baseline(runs: Sequence[RecordedRun], *, force: bool = False) -> Recording:
    """Make references of the runs' results. `force`: from fewer than three runs, and from noisy numbers.

    Raises UsageError for too few or repeated runs, CouldNotJudgeError when nothing in them can be a reference.
    """
    if not runs:
        raise UsageError("no run to record from", hint="give run directories that evaluate made")
    if len(runs) < MIN_RUNS and not force:
        raise UsageError(
            f"{len(runs)} runs tell no spread: {MIN_RUNS} are needed",
            hint="run xpukit evaluate again, or record all the same with --force",
        )
    for run in runs:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}T.*", run.created):
            raise UsageError(f"{run.label}: does not say when it was made ({run.created!r})", hint="leave it out")
    seen: dict[tuple[str, str], str] = {}
    for run in runs:
        when = (run.host, run.evaluation.started or run.created)
        if when in seen:
            same = "was given twice" if seen[when] == run.label else f"and {seen[when]} are the same run"
            raise UsageError(f"{run.label} {same}", hint="give each run once")
        seen[when] = run.label
    suites = sorted({run.evaluation.suite for run in runs})
    if len(suites) > 1 and not force:
        raise UsageError(f"runs of different suites: {', '.join(suites)}", hint="record each suite for itself")
    samples, left_out = _collect(runs)
    metrics = []
    for key, found in samples.items():
        metric = _record_metric(key, found, runs, left_out, force=force)
        if metric is not None:
            metrics.append(metric)
    if not metrics:
        reasons = "; ".join(f"{item.rows} rows: {item.reason}" for item in left_out.list())
        raise CouldNotJudgeError(
            f"nothing to record: {reasons or 'the runs have no rows'}", hint="see the runs' reports"
        )
    provenance = tuple(describe_provenance(run) for run in runs)
    return Recording(
        rule=RULE,
        date=max(run.created[:10] for run in runs),
        source=summarize_provenance(provenance),
        runs=provenance,
        metrics=tuple(sorted(metrics, key=_order_metric)),
        left_out=left_out.list(),
    )


def _collect(runs: Sequence[RecordedRun]) -> tuple[dict[Key, _Samples], _LeftOut]:
    samples: dict[Key, _Samples] = {}
    left_out = _LeftOut()
    for number, run in enumerate(runs):
        ids = {
            device.label: f"8086:{device.device_id.lower().removeprefix('0x')}"
            for device in run.evaluation.devices
            if device.kind == "gpu" and device.device_id
        }
        for row in run.evaluation.results:
            devices = {ids.get(label, "") for label in row.devices}
            reason = _refuse(row, devices)
            if reason:
                left_out.add(reason, row)
                continue
            params = tuple(sorted(row.params.items()))
            key: Key = (devices.pop(), row.benchmark, row.metric, params, row.unit, row.higher_is_better)
            samples.setdefault(key, _Samples()).add(number, row)
    return samples, left_out


def _refuse(row: Result, devices: set[str]) -> str:
    """Why a row is no sample of a reference; '' if it is."""
    if is_ceiling(row):
        return "a yardstick of its own run"
    if row.benchmark == LINK_ROWS:
        return "a link is judged by what the card can do"
    if row.disturbed:
        return "another process used the device"
    if row.unit in STATES:
        return "an ability or a state, not a speed"
    if row.value is None:
        return "no value"
    if row.verified is False:
        return "the data was wrong"
    if row.verdict in _TIED:
        return _TIED[row.verdict]
    if "" in devices:
        return "not on a GPU: references are kept by PCI id"
    if len(devices) != 1:
        return "between devices of different kinds"
    if any(parse_param(str(value)) != value or ";" in str(value) for value in row.params.values()):
        return "its parameters cannot be written in a reference file"
    return "" if math.isfinite(row.value) and row.value > 0 else "not positive"


def _record_metric(
    key: Key, found: _Samples, runs: Sequence[RecordedRun], left_out: _LeftOut, *, force: bool
) -> RecordedMetric | None:
    device, benchmark, metric, params, unit, higher = key
    stand_in = Result(
        benchmark=benchmark, metric=metric, devices=(), params=dict(params), value=None, unit=unit  # type: ignore[arg-type]
    )  # fmt: skip
    if len(found.by_run) < MIN_RUNS and not force:
        left_out.add(f"in fewer than {MIN_RUNS} runs", stand_in)
        return None
    if 2 * len(found.noisy) > len(found.by_run) and not force:
        left_out.add("noisy in most runs", stand_in)
        return None
    values = {run: find_median(sorted(own)) for run, own in found.by_run.items()}
    screened = screen_values(list(values.values()), sigmas=LEAST_SIGMAS, min_change=MIN_CHANGE)
    kept = {run: value for run, value in values.items() if screened.holds(value)}
    ordered = sorted(kept.values())
    median = float(f"{find_median(ordered):.6g}")
    mad = find_mad(ordered, find_median(ordered))
    pooled = [value for run in kept for value in found.by_run[run]]
    alike = screen_values(pooled, sigmas=LEAST_SIGMAS, min_change=MIN_CHANGE)
    worst = alike.first if higher else alike.last
    tolerance, why = choose_tolerance(median, mad, len(ordered), worst, higher_is_better=higher)
    return RecordedMetric(
        device=device,
        benchmark=benchmark,
        metric=metric,
        params=stand_in.params,
        unit=unit,
        higher_is_better=higher,
        value=median,
        tolerance=tolerance,
        tolerance_reason=why,
        runs=len(values),
        kept=len(kept),
        mad=mad,
        min=ordered[0],
        max=ordered[-1],
        devices=max(len(own) for own in found.by_run.values()),
        noisy_runs=len(found.noisy),
        removed_devices=alike.n - alike.kept,
        # Of several links nobody could scale it.
        link=found.links.pop() if len(found.links) == 1 else "",
        removed=tuple(
            RemovedRun(run=runs[run].label, value=value, sigmas=_round(screened, value))
            for run, value in values.items()
            if run not in kept
        ),
    )


def _round(screened: Screened, value: float) -> float | None:
    distance = screened.measure_distance(value)
    return round(distance, 1) if math.isfinite(distance) else None


def choose_tolerance(
    median: float, mad: float, runs: int, worst: float, *, higher_is_better: bool
) -> tuple[float, str]:
    """The fraction below the reference that still passes, in whole per cent, below 1; and which rule gave it."""
    shortfall = 1 - (worst / median if higher_is_better else median / worst)
    choices = (
        (MIN_TOLERANCE, "the least"),
        (3 * estimate_sigma(mad, runs) / median, "3 robust sigmas between runs"),
        (shortfall, "the worst device"),
    )
    share, why = max(choices)
    # 0.07 as a sum of floats must not become 8 %.
    return min(0.99, math.ceil(round(100 * share, 6)) / 100), why


def _order_metric(metric: RecordedMetric) -> tuple[object, ...]:
    params = tuple(
        (name, isinstance(value, str), 0 if isinstance(value, str) else value, str(value))
        for name, value in sorted(metric.params.items())
    )
    return (metric.device, metric.benchmark, metric.metric, len(params), params)


def make_rows(recording: Recording) -> tuple[ReferenceRow, ...]:
    """The recording as reference rows; each source tells its own spread."""
    rows = []
    for metric in recording.metrics:
        spread = (
            f"median of {metric.kept} of {metric.runs} runs, {format_number(metric.min)}-{format_number(metric.max)}, "
            f"MAD {metric.mad / metric.value:.1%}"
        )
        rows.append(
            ReferenceRow(
                device=metric.device,
                benchmark=metric.benchmark,
                metric=metric.metric,
                params=tuple(sorted(metric.params.items())),
                value=metric.value,
                unit=metric.unit,
                higher_is_better=metric.higher_is_better,
                kind="measured",
                tolerance=metric.tolerance,
                source=f"{recording.source}; {spread}",
                date=recording.date,
                origin="",
                link=parse_link(metric.link),
            )
        )
    return tuple(rows)


def make_pseudonym(hostname: str) -> str:
    """A name for a host that tells hosts apart and does not give the name away at a glance."""
    return f"host-{hashlib.sha256(hostname.encode('utf-8', 'replace')).hexdigest()[:8]}" if hostname else ""


def describe_provenance(run: RecordedRun) -> RunProvenance:
    """What the run's own files say of the machine; what they do not say is listed in `missing`."""
    machine = run.machine
    software = {item.name: item.version for item in machine.software if item.version} if machine else {}
    devices = tuple(_describe_device(machine, device.bdf, device.name) for device in run.evaluation.devices)
    said = {
        "probe.json": machine is not None,
        "CPU": bool(machine and machine.cpu.model),
        "kernel": "kernel" in software,
        "link": any(item.get("link") for item in devices),
        "firmware": any(item.get("firmware") for item in devices),
        "driver": any(item.get("driver") for item in devices),
    }
    return RunProvenance(
        run=run.label,
        host=make_pseudonym(run.host),
        created=run.created,
        xpukit_version=run.xpukit_version,
        suite=run.evaluation.suite,
        engine=run.evaluation.engine,
        cpu=machine.cpu.model if machine else "",
        sockets=machine.cpu.sockets if machine else None,
        kernel=software.get("kernel", ""),
        devices=devices,
        software=dict(sorted(software.items())),
        missing=tuple(name for name, there in said.items() if not there),
    )


def _describe_device(machine: Machine | None, bdf: str, name: str) -> dict[str, str]:
    device = next((item for item in machine.devices if item.bdf == bdf), None) if machine and bdf else None
    if device is None:
        return {"name": name}
    link = device.link
    told = {"name": device.name or name, "driver": f"{device.driver} {device.driver_version}".strip()}
    if link is not None and link.current_speed_gts is not None and link.current_width is not None:
        told["link"] = f"{link.current_speed_gts:g} GT/s x{link.current_width}"
        if link.max_speed_gts is not None and link.max_width is not None:
            told["link"] += f" of {link.max_speed_gts:g} GT/s x{link.max_width}"
        if link.limited_by:
            told["link"] += f", limited by {link.limited_by}"
    firmware = [f"{item.name} {item.version}" for item in device.firmware if item.version]
    if firmware:
        told["firmware"] = ", ".join(firmware)
    return told


_TOLD = ("Level Zero GPU driver", "oneCCL", "oneDNN", "Intel MPI")


def summarize_provenance(runs: Sequence[RunProvenance]) -> str:
    """One line for the source column; every value that differs between runs is listed."""

    def join(values: Sequence[str]) -> str:
        return "/".join(dict.fromkeys(re.sub(r"\s+", " ", value) for value in values if value))

    devices = [device for run in runs for device in run.devices]
    parts = [
        f"xpukit {join([run.xpukit_version for run in runs])} baseline record",
        f"suite {join([run.suite for run in runs])}",
        join([run.host for run in runs]),
        join([run.cpu for run in runs]),
        _prefix("link", join([device.get("link", "") for device in devices])),
        _prefix("kernel", join([run.kernel for run in runs])),
        _prefix("driver", join([device.get("driver", "") for device in devices])),
        join([device.get("firmware", "") for device in devices]),
        *(_prefix(name, join([run.software.get(name, "") for run in runs])) for name in _TOLD),
    ]
    return ", ".join(part for part in parts if part)


def _prefix(name: str, text: str) -> str:
    return f"{name} {text}" if text else ""
