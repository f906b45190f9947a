"""The report as Markdown: every row, sources included, the same text for the same input."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.core.machine import Machine
from xpukit.core.units import format_bytes, format_seconds
from xpukit.evaluate.result import Evaluation
from xpukit.evaluate.summary import (
    ROW_COLUMNS,
    count_verdicts,
    describe_cells,
    describe_other_users,
    group_by_benchmark,
)


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [
        "| " + " | ".join(header) + " |",
        "|" + "|".join(" --- " for _ in header) + "|",
        *("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows),
        "",
    ]


def write_markdown(evaluation: Evaluation, machine: Machine, hostname: str) -> str:
    """The whole report."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in count_verdicts(evaluation.results).items())
    state = "" if evaluation.complete else " **(incomplete: the run was interrupted)**"
    lines = [
        f"# xpukit evaluate: {evaluation.verdict}{state}",
        "",
        f"Host {hostname}, suite `{evaluation.suite}`, engine `{evaluation.engine}`, started {evaluation.started}, "
        f"{format_seconds(evaluation.seconds)}. Rows: {counts or 'none'}.",
        "",
        *_describe_users(evaluation),
        "## Devices",
        "",
        *_table(
            ("device", "name", "PCI id", "NUMA node", "memory"),
            [
                (
                    device.label,
                    device.name,
                    device.device_id or "-",
                    "-" if device.numa_node is None else str(device.numa_node),
                    format_bytes(device.memory_bytes),
                )
                for device in evaluation.devices
            ],
        ),
        *_describe_explanations(evaluation),
        *_describe_findings(machine),
    ]
    for benchmark, rows in group_by_benchmark(evaluation.results).items():
        lines += [f"## {benchmark}", "", *_table(ROW_COLUMNS, [describe_cells(row) for row in rows])]
    lines += ["## Conditions", "", *_describe_conditions(evaluation), "## Jobs", ""]
    lines += _table(
        ("job", "seconds", "of these overhead", "one timing costs (us)", "exit", "problem"),
        [
            (
                job.name,
                f"{job.seconds:.1f}",
                "-" if job.overhead_s is None else f"{job.overhead_s:.1f}",
                "-" if job.timing_us is None else f"{job.timing_us:.2f}",
                str(job.rc),
                "; ".join(filter(None, (job.failure, job.unsettled and f"not settled: {job.unsettled}"))),
            )
            for job in evaluation.jobs
        ],
    )
    lines += [
        "## How to read this",
        "",
        "GB/s is 1e9 bytes/s; TFLOPS and TOPS count a multiply and an add as two operations. A value is the median of",
        "n samples after warm-up, ± its median absolute deviation. `measured-here` is the ceiling that this run",
        "measured by an independent method; `no-baseline` means that nothing is known to compare with, which is not a",
        "failure.",
        "",
    ]
    return "\n".join(lines)


def _describe_users(evaluation: Evaluation) -> list[str]:
    """Who else used the measured devices: it stands before all numbers."""
    users = describe_other_users(evaluation)
    if not users:
        return []
    return ["**Other processes used the devices: what was measured beside them can warn, not fail.**", "",
            *(f"- {text}" for text in users), ""]  # fmt: skip


def _describe_explanations(evaluation: Evaluation) -> list[str]:
    """What the run's rows mean, in the order in which they are to be read."""
    if not evaluation.findings:
        return []
    lines = ["## Explanations", ""]
    for found in evaluation.findings:
        lines += [f"### {' '.join(found.summary.split())}", "", f"`{found.id}`, {found.severity}", ""]
        lines += _table(("evidence", "value"), [(row.source, row.value) for row in found.evidence])
        lines += [f"{number}. {' '.join(step.split())}" for number, step in enumerate(found.remedy, start=1)] + [""]
        lines += [f"- <{link}>" for link in found.links] + ([""] if found.links else [])
    return lines


def _describe_findings(machine: Machine) -> list[str]:
    if not machine.findings:
        return []
    rows = [(f.severity, f.summary, "; ".join(f.remedy)) for f in machine.findings]
    return ["## Findings of the probe", "", *_table(("severity", "finding", "what to do"), rows)]


def _describe_conditions(evaluation: Evaluation) -> list[str]:
    before, after = evaluation.conditions.get("before", {}), evaluation.conditions.get("after", {})
    names = sorted({*before, *after} - {"devices"})
    rows = [(name, str(before.get(name, "-")), str(after.get(name, "-"))) for name in names]
    for label in sorted({*before.get("devices", {}), *after.get("devices", {})}):
        earlier, later = before.get("devices", {}).get(label, {}), after.get("devices", {}).get(label, {})
        for name in sorted({*earlier, *later}):
            rows.append((f"{label} {name}", str(earlier.get(name, "-")), str(later.get(name, "-"))))
    return _table(("condition", "before", "after"), rows) if rows else ["Nothing could be read.", ""]
