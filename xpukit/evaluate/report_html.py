"""The report as one HTML page that needs nothing else: styles, pictures and the small script are inside.

The same input gives the same bytes. Everything that a machine said is escaped by Jinja; the page forbids itself any
script but its own (by hash) and any network access.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xpukit.core.machine import Machine
from xpukit.core.units import format_number, format_seconds
from xpukit.evaluate.report_headlines import Headline, select_lines
from xpukit.evaluate.report_machine import (
    describe_conditions,
    describe_devices,
    describe_findings,
    describe_host,
    describe_unread,
)
from xpukit.evaluate.report_names import DeviceNames, clean_text, describe_params, is_directed, show_metric, show_unit
from xpukit.evaluate.result import Evaluation, JobRecord, Result
from xpukit.evaluate.summary import (
    count_verdicts,
    describe_other_users,
    describe_spread,
    group_by_benchmark,
    is_ceiling,
)

_TEMPLATES = Path(__file__).parent / "templates"
MARKS = {"pass": "✓", "warn": "!", "fail": "✕", "unknown": "?", "no-baseline": "–", "not-applicable": "·"}
_MEANINGS = {
    "pass": "Everything that has a reference reached it.",
    "warn": "Nothing failed, but something is slower than expected.",
    "fail": "Something is wrong or clearly too slow.",
    "unknown": "Something that should have been measured was not, so no verdict on the whole.",
    "no-baseline": "Measured; there is no reference for this hardware to judge by.",
    "not-applicable": "Nothing of this suite applies to this machine.",
}
_TITLES = {
    "link": "PCIe links",
    "health": "Health",
    "sycl": "SYCL",
    "gemm": "Matrix products",
    "memory": "Device memory",
    "transfer": "Transfers between host and device",
    "p2p": "Device to device",
    "collectives": "Collectives",
}
_MOST_URGENT = 10
# Lines of a table that are in sight at once; they are sorted worst first.
_LINES_OPEN = 16
# The full table has the whole note.
_NOTE_LENGTH = 110


class _Sources:
    """Texts that say where a reference or limit comes from, numbered as they are first named."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts) + 1)


def write_html(evaluation: Evaluation, machine: Machine, hostname: str, topology_svg: str = "") -> str:
    """The whole page. `topology_svg`: a drawing of the machine, shown as an image, so that nothing in it can run.

    Raises ModuleNotFoundError where jinja2 or matplotlib is not installed (extra `report`).
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    from xpukit.evaluate.plot_canvas import DASHES, MARKERS

    script = (_TEMPLATES / "page.js.j2").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    names = DeviceNames(evaluation, machine)
    sources = _Sources()
    sections, lowest = _describe_sections(evaluation, names, sources)
    page: str = environment.get_template("page.html.j2").render(
        title=f"xpukit evaluate: {hostname}",
        hostname=hostname,
        evaluation=evaluation,
        machine=machine,
        verdict=evaluation.verdict,
        meaning=_MEANINGS[evaluation.verdict] if evaluation.results else "No rows: nothing was measured.",
        counts=count_verdicts(evaluation.results),
        duration=format_seconds(evaluation.seconds),
        marks=MARKS,
        urgent=_describe_urgent(evaluation, machine, sections),
        host=describe_host(machine),
        devices=describe_devices(evaluation, machine, names),
        explanations=evaluation.findings,
        findings=describe_findings(evaluation, machine),
        topology=machine.topology,
        topology_image=_encode_image(topology_svg),
        lowest=lowest,
        sections=sections,
        conditions=describe_conditions(evaluation, names),
        jobs=_describe_jobs(evaluation.jobs),
        unread=describe_unread(machine, names),
        sources=sources.texts,
        style=Markup((_TEMPLATES / "page.css.j2").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=digest,
        svg=Markup,
        markers=[path for _, path in MARKERS],
        dashes=[dash for _, dash in DASHES],
    )
    # Once for all: whatever a machine said, the file can be written and read.
    return clean_text(page) + "\n"


def _encode_image(svg: str) -> str:
    if not svg:
        return ""
    return "data:image/svg+xml;base64," + base64.b64encode(clean_text(svg).encode()).decode()


def _describe_sections(
    evaluation: Evaluation, names: DeviceNames, sources: _Sources
) -> tuple[list[dict[str, Any]], list[Any]]:
    """A section per benchmark with its lines, pictures and all rows; and the pictures of the whole run."""
    from xpukit.evaluate.plot_canvas import drawing
    from xpukit.evaluate.plots import make_plots, plot_lowest_shares

    groups = sorted(group_by_benchmark(evaluation.results).items(), key=lambda group: _order_of(group[0]))
    lines_of = {benchmark: select_lines(rows, names) for benchmark, rows in groups}
    sections = []
    with drawing():
        lowest = plot_lowest_shares([line for lines in lines_of.values() for line in lines])
        for number, (benchmark, rows) in enumerate(groups):
            lines = [_describe_line(line, sources) for line in lines_of[benchmark]]
            yardstick = is_ceiling(rows[0])
            sections.append(
                {
                    "ident": f"b{number}",
                    "benchmark": benchmark,
                    "title": _title_of(benchmark),
                    "yardstick": yardstick,
                    "counts": count_verdicts(rows),
                    "metric": show_metric(rows[0].metric) if len({row.metric for row in rows}) == 1 else "metric",
                    "lines": lines[:_LINES_OPEN],
                    "folded": lines[_LINES_OPEN:],
                    "plots": [] if yardstick else make_plots(benchmark, rows, lines_of[benchmark], names, f"b{number}"),
                    "rows": [_describe_row(row, names, sources) for row in rows],
                }
            )
    return sections, lowest


def _order_of(benchmark: str) -> tuple[int, str, bool]:
    # Yardsticks stand after what they are for.
    base = benchmark.removesuffix("_ceiling")
    known = list(_TITLES)
    return (known.index(base) if base in known else len(known), base, base != benchmark)


def _title_of(benchmark: str) -> str:
    base = benchmark.removesuffix("_ceiling")
    title = _TITLES.get(base, benchmark.replace("_", " "))
    return f"{title}: this run's own yardstick" if base != benchmark and base in _TITLES else title


def _describe_value(row: Result) -> tuple[str, str]:
    """Value and unit as they are shown."""
    if row.value is None:
        return "not measured" if row.verdict == "unknown" else "–", show_unit(row.unit)
    if row.unit == "yes/no":
        return ("yes" if row.value else "no"), ""
    return format_number(row.value), show_unit(row.unit)


def _describe_common(row: Result, sources: _Sources) -> dict[str, Any]:
    value, unit = _describe_value(row)
    return {
        "value": value,
        "unit": unit,
        "data": "" if row.verified is None else "verified" if row.verified else "WRONG",
        "data_detail": row.verify_detail if row.verified is False and row.verify_detail not in row.reason else "",
        "spread": describe_spread(row),
        "noisy": row.noisy,
        "reference": f"{format_number(row.reference.value)} {show_unit(row.unit)}" if row.reference else "",
        "reference_kind": row.reference.kind if row.reference else "",
        "reference_source": sources.number(row.reference.source) if row.reference else 0,
        "ratio": f"{row.ratio:.0%}" if row.ratio is not None else "",
        "limit": f"{format_number(row.limit.value)} {show_unit(row.unit)}" if row.limit else "",
        "limit_source": sources.number(row.limit.source) if row.limit else 0,
        "share": f"{row.limit.share:.0%}" if row.limit else "",
        "verdict": row.verdict,
        "reason": "" if row.verdict == "no-baseline" else row.reason,
        "note": row.note,
    }


def _describe_line(line: Headline, sources: _Sources) -> dict[str, Any]:
    return {
        **_describe_common(line.row, sources),
        "what": line.what,
        "where": line.where,
        "among": line.among,
        "at": line.at,
        "count": len(line.rows),
        "note": line.row.note if len(line.row.note) <= _NOTE_LENGTH else line.row.note[:_NOTE_LENGTH] + "…",
        # Wrong data before slow, the slowest first.
        "rank": (line.row.verified is not False, line.row.ratio if line.row.ratio is not None else 0.0),
    }


def _describe_row(row: Result, names: DeviceNames, sources: _Sources) -> dict[str, Any]:
    low_high = ""
    if row.min is not None and row.max is not None and row.value is not None:
        low_high = f"{format_number(row.min)}–{format_number(row.max)}"
    return {
        **_describe_common(row, sources),
        "metric": row.metric,
        "params": describe_params([row]),
        "devices": names.join(row.devices, directed=is_directed(row)),
        "range": low_high,
        "engine": row.engine,
    }


def _describe_jobs(jobs: Sequence[JobRecord]) -> dict[str, Any]:
    """Failed jobs first and apart; with the time that all took."""
    return {
        "failed": [job for job in jobs if job.failure or job.rc != 0],
        "well": [job for job in jobs if not job.failure and job.rc == 0],
        "duration": format_seconds(sum(job.seconds for job in jobs)),
        "format_seconds": format_seconds,
    }


def _describe_urgent(
    evaluation: Evaluation, machine: Machine, sections: Sequence[dict[str, Any]]
) -> list[dict[str, str]]:
    """What to look at first: failures, critical findings, what is missing, failed jobs."""
    # Numbers are to be read with that in mind: before anything else.
    urgent = [
        {"verdict": "warn", "text": f"another process used {text}", "link": "#conditions"}
        for text in describe_other_users(evaluation)
    ]
    urgent += [
        {"verdict": "fail", "text": finding.summary, "link": link}
        for findings, link in ((evaluation.findings, "#explanations"), (machine.findings, "#findings"))
        for finding in findings
        if finding.severity == "critical"
    ]
    jobs = [
        {"verdict": "fail", "text": f"job {job.name}: {job.failure}", "link": "#jobs"}
        for job in evaluation.jobs
        if job.failure
    ]
    urgent += _list_urgent_lines(sections, "fail") + jobs + _list_urgent_lines(sections, "unknown")
    if len(urgent) > _MOST_URGENT:
        more = f"and {len(urgent) - _MOST_URGENT} more, in the sections below"
        urgent = [*urgent[:_MOST_URGENT], {"verdict": "", "text": more, "link": ""}]
    return urgent


def _list_urgent_lines(sections: Sequence[dict[str, Any]], verdict: str) -> list[dict[str, str]]:
    """One entry per benchmark and device: its worst line, and how many more there are."""
    found: dict[tuple[str, str], list[tuple[dict[str, Any], str]]] = {}
    for section in sections:
        for line in (*section["lines"], *section["folded"]):
            if line["verdict"] == verdict:
                entry = (line, section["benchmark"])
                found.setdefault((section["ident"], line["where"]), []).append(entry)
    urgent = []
    for (ident, where), entries in found.items():
        line, benchmark = min(entries, key=lambda entry: entry[0]["rank"])
        more = [f"{line['count']} rows"] if line["count"] > 1 else []
        more += [f"and {len(entries) - 1} more settings"] if len(entries) > 1 else []
        told = f" ({', '.join(more)})" if more else ""
        text = f"{where}: {benchmark} {line['what']}{told}: {line['reason']}"
        urgent.append({"verdict": verdict, "text": text, "link": f"#{ident}"})
    return urgent
