"""NAME.prom: how the last rotation ended, for `xpukit exporter --text-files DIR` and the alert RotationFailed."""

from __future__ import annotations

import re
from pathlib import Path

from xpukit.core.atomic import write_atomic
from xpukit.facts.exporter_metrics import load_exporter_metrics
from xpukit.operate.rotate.state import RotationReport

FAILED = "xpukit_rotation_failed"
LAST_SUCCESS = "xpukit_rotation_last_success_timestamp_seconds"


def render_metrics(report: RotationReport, before: str, now_s: float) -> str:
    """The file's text, given what it held before; the same text where nothing is to be said.

    A failure keeps the time of the last success. An interruption counts as a failure where it left a slot without
    requests; where nothing was to be done, nothing is said.
    """
    last = _read_value(before, LAST_SUCCESS)
    if report.outcome == "rotated":
        failed, last = False, now_s
    elif report.outcome == "failed" or (report.outcome == "interrupted" and report.out_of_service):
        failed = True
    else:
        return before
    values = {FAILED: f"{int(failed)}", **({LAST_SUCCESS: f"{last:.0f}"} if last is not None else {})}
    metrics = load_exporter_metrics()
    lines: list[str] = []
    for name, value in values.items():
        lines += [f"# HELP {name} {metrics[name].help}", f"# TYPE {name} {metrics[name].kind}"]
        lines.append(f'{name}{{service="{_escape(report.deployment)}"}} {value}')
    return "\n".join(lines) + "\n"


def write_metrics(directory: Path, report: RotationReport, now_s: float) -> Path:
    """Write DIRECTORY/NAME.prom, whole or not at all. Raises OutputError."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{report.deployment}.prom"
    try:
        before = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        before = ""
    text = render_metrics(report, before, now_s)
    if text != before:
        write_atomic(path, text.encode())
    return path


def _read_value(text: str, name: str) -> float | None:
    match = re.search(rf"^{name}\{{[^}}]*\}} ([0-9.]+)$", text, re.MULTILINE)
    return float(match[1]) if match else None


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
