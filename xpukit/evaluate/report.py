"""All report files of a run."""

from __future__ import annotations

from pathlib import Path

from xpukit.core.machine import Machine
from xpukit.evaluate.report_csv import write_tidy
from xpukit.evaluate.report_junit import write_junit
from xpukit.evaluate.report_markdown import write_markdown
from xpukit.evaluate.result import Evaluation
from xpukit.evaluate.run_directory import RunDirectory
from xpukit.evaluate.upstream_rows import write_upstream_rows


def write_reports(
    directory: RunDirectory, evaluation: Evaluation, machine: Machine, hostname: str, *, topology_svg: str = ""
) -> dict[str, Path | str]:
    """Write report.md, results.csv, upstream.csv, junit.xml and, where the extra `report` is installed, report.html.

    `topology_svg` is a drawing of the machine for the page. Returns what was written, by name; a report that could
    not be made says why instead of a path.
    """
    directory.write_text("report.md", write_markdown(evaluation, machine, hostname))
    directory.write_text("results.csv", write_tidy(evaluation))
    directory.write_text("upstream.csv", write_upstream_rows(evaluation))
    directory.write_text("junit.xml", write_junit(evaluation, hostname))
    written: dict[str, Path | str] = {
        "results": directory.path / "results.json",
        "report": directory.path / "report.md",
    }
    try:
        from xpukit.evaluate.report_html import write_html

        directory.write_text("report.html", write_html(evaluation, machine, hostname, topology_svg))
        written["page"] = directory.path / "report.html"
    except ModuleNotFoundError as err:
        written["page"] = f"not made: {err.name} is not installed (pip install 'xpukit[report]')"
    return written
