"""`ze_peak` on each GPU: one process for each of its tests, so that a crash costs one test."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xpukit.core.measurement import Job, MetricKey, ParsedOutput, Promise, make_key
from xpukit.evaluate.benchmark import Plan, Scope
from xpukit.evaluate.parsers.ze_peak import parse_ze_peak
from xpukit.evaluate.tools.convert import convert_ze_peak
from xpukit.evaluate.tools.jobs import UNCOMPRESSED, build_tool_job, judge_output, list_gpus, skip_without_gpu
from xpukit.evaluate.tools.locate import explain_unavailable, find_tool
from xpukit.facts.tools import get_tool
from xpukit.host import Host
from xpukit.host.answers import Ran

TOOL = "ze_peak"
_WIDTHS = ("", "2", "4", "8", "16")


class PeakRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that a test must give, for any device."""

    metric: str
    unit: str
    params: dict[str, str]


class PeakTest(msgspec.Struct, frozen=True, kw_only=True):
    """One of ze_peak's tests (-t). Estimates are for a card of the B series."""

    name: str
    rows: tuple[PeakRow, ...]
    estimate_s: float


def list_vector_rows(what: str, unit: str, base: str, params: dict[str, str]) -> tuple[PeakRow, ...]:
    """The best over the vector widths, and each width."""
    rows = [PeakRow(metric=f"peak_{what}", unit=unit, params=params)]
    rows += [
        PeakRow(metric=f"vector_{what}", unit=unit, params={**params, "vector": f"{base}{width}"}) for width in _WIDTHS
    ]
    return tuple(rows)


def plan_tests(scope: Scope, *, benchmark: str, rows: str, tests: Sequence[PeakTest]) -> Plan:
    """A job for each GPU and test."""
    gpus = list_gpus(scope)
    if not gpus:
        wanted = {test.rows[0].metric: test.rows[0].unit for test in tests}
        return skip_without_gpu(scope, rows, tuple(wanted.items()), tool=TOOL)
    found = find_tool(scope.host, TOOL)
    jobs = [
        build_tool_job(
            scope,
            benchmark=benchmark,
            name=f"{TOOL} {test.name} {gpu.label}",
            found=found,
            arguments=("-t", test.name),
            gpus=(gpu,),
            promises=[_promise(row, rows, gpu.label) for row in test.rows],
            estimate_s=test.estimate_s,
            env=UNCOMPRESSED,
        )
        for gpu in gpus
        for test in tests
    ]
    return Plan(jobs=tuple(jobs))


def _promise(row: PeakRow, benchmark: str, label: str) -> Promise:
    key: MetricKey = make_key(benchmark, row.metric, (label,), **row.params)
    return Promise(key=key, unit=row.unit, higher_is_better=row.unit != "us")


def parse_tests(job: Job, ran: Ran) -> ParsedOutput:
    """What one process printed; it saw one device."""
    parsed = parse_ze_peak(ran.text, ran.err_text)
    measurements = convert_ze_peak(parsed, dict.fromkeys(range(len(parsed.devices) or 1), job.targets[0]))
    return judge_output(
        job, ran, (get_tool(TOOL),), measurements, problems=parsed.problems, notes=parsed.notes
    )  # fmt: skip


def explain_no_peak(host: Host) -> str:
    """Why ze_peak cannot run here, "" when it can."""
    return explain_unavailable(host, TOOL)
