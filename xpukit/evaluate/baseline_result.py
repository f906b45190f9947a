"""What the baseline commands publish."""

from __future__ import annotations

from typing import Literal

import msgspec

from xpukit.core.measurement import Param

Severity = Literal["problem", "note"]


class LintFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One finding at file and line (0: the whole file). A `note` does not change the exit code."""

    file: str
    line: int
    check: str
    severity: Severity
    text: str


class LintReport(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `xpukit.baseline-lint/1`."""

    files: tuple[str, ...]
    rows: int
    problems: int
    findings: tuple[LintFinding, ...]


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A reference row that applies to a metric; `why` says why it wins or loses."""

    value: float
    unit: str
    kind: str
    tolerance: float
    source: str
    date: str
    origin: str
    layer: str
    params: dict[str, Param]
    why: str


class ShownMetric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of a device, the row that it is judged by, and the rows that it is not."""

    device: str
    device_name: str
    benchmark: str
    metric: str
    params: dict[str, Param]
    winner: Candidate
    losers: tuple[Candidate, ...]


class ShownBaseline(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `xpukit.baseline/1`. `without`: devices that no row is for."""

    layers: tuple[str, ...]
    metrics: tuple[ShownMetric, ...]
    without: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class RunProvenance(msgspec.Struct, frozen=True, kw_only=True):
    """Where and with what a run was measured. `host` is a pseudonym; "" and empty: the run does not say."""

    run: str
    host: str
    created: str
    xpukit_version: str
    suite: str
    engine: str
    cpu: str = ""
    sockets: int | None = None
    kernel: str = ""
    devices: tuple[dict[str, str], ...] = ()
    software: dict[str, str] = {}
    missing: tuple[str, ...] = ()


class RemovedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run whose value was left out of a median."""

    run: str
    value: float
    sigmas: float | None


class RecordedMetric(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded reference: `value` is the median over runs of each run's median over devices. `removed_devices`:
    values of single devices that did not count for the tolerance. `link`: the PCIe link ("gen5x8") of all samples."""

    device: str
    benchmark: str
    metric: str
    params: dict[str, Param]
    unit: str
    higher_is_better: bool
    value: float
    tolerance: float
    tolerance_reason: str
    runs: int
    kept: int
    mad: float
    min: float
    max: float
    devices: int
    noisy_runs: int
    removed_devices: int
    removed: tuple[RemovedRun, ...] = ()
    link: str = ""


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of the runs that made no reference, by reason."""

    reason: str
    rows: int
    example: str


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """What was recorded at one time, with everything that is known of the runs."""

    rule: str
    date: str
    source: str
    runs: tuple[RunProvenance, ...]
    metrics: tuple[RecordedMetric, ...]
    left_out: tuple[LeftOut, ...] = ()


class RecordFile(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `xpukit.baseline-record/1`, the file beside the CSV: the recordings that its rows are from."""

    recordings: tuple[Recording, ...]
