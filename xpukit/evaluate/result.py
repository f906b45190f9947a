"""Results as `xpukit.evaluate/1` publishes them."""

from __future__ import annotations

from typing import Any

import msgspec

from xpukit.core.finding import Finding
from xpukit.core.measurement import MetricKey, Param, Verdict


class ReferenceUsed(msgspec.Struct, frozen=True, kw_only=True):
    """What a value was judged against. `kind`: measured, published, spec, or measured-here (this run's ceiling).

    `unscaled`: the reference as it stands where it was had, when `value` is that scaled to the link of this device;
    `scaling` says from which link to which, or why not. `warn_only`: why a shortfall cannot fail here.
    """

    value: float
    kind: str
    source: str
    tolerance: float = 0.0
    unscaled: float | None = None
    scaling: str = ""
    warn_only: str = ""


class KnownLimit(msgspec.Struct, frozen=True, kw_only=True):
    """The most that the device (or its link) can do, who says so, and the share that was reached."""

    value: float
    source: str
    share: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `value` is the median of the samples; None when it could not be had, and `reason` says why.

    `link`: the PCIe link ("gen5x8") at the narrowest place of what it went over. `disturbed`: who else used the device.
    """

    benchmark: str
    metric: str
    devices: tuple[str, ...]
    params: dict[str, Param]
    value: float | None
    unit: str
    engine: str = ""
    n: int = 0
    median: float | None = None
    mad: float | None = None
    min: float | None = None
    max: float | None = None
    noisy: bool = False
    verified: bool | None = None
    verify_detail: str = ""
    higher_is_better: bool = True
    reference: ReferenceUsed | None = None
    limit: KnownLimit | None = None
    ratio: float | None = None
    verdict: Verdict = "unknown"
    reason: str = ""
    note: str = ""
    link: str = ""
    disturbed: str = ""

    @property
    def key(self) -> MetricKey:
        return MetricKey(
            benchmark=self.benchmark,
            metric=self.metric,
            devices=self.devices,
            params=tuple(sorted(self.params.items())),
        )


class DeviceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A measured device."""

    label: str
    kind: str
    name: str
    bdf: str = ""
    device_id: str = ""
    numa_node: int | None = None
    memory_bytes: int | None = None


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one child process.

    `overhead_s`: its life outside measuring (start-up, libraries); `timing_us`: what taking one timing costs.
    `settled_s`: waited before it, `unsettled`: what was not calm even then; `other_users`: other processes that used
    a device just before or after, by BDF; `conditions`: what the devices did.
    """

    name: str
    benchmark: str
    seconds: float
    rc: int
    failure: str = ""
    command: str = ""
    log: str = ""
    overhead_s: float | None = None
    timing_us: float | None = None
    settled_s: float = 0.0
    unsettled: str = ""
    other_users: dict[str, list[str]] = {}
    conditions: dict[str, Any] = {}
    notes: tuple[str, ...] = ()


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a results document."""

    engine: str
    suite: str
    devices: tuple[DeviceSummary, ...]
    results: tuple[Result, ...]
    verdict: Verdict
    complete: bool
    conditions: dict[str, Any] = {}
    jobs: tuple[JobRecord, ...] = ()
    findings: tuple[Finding, ...] = ()
    started: str = ""
    seconds: float = 0.0
    seed: int = 1
    repeat: int = 1
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
