"""What is wrong with reference files: every problem with its file and line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from xpukit.core.errors import BadFactsError
from xpukit.core.units import format_number
from xpukit.evaluate.baseline_result import LintFinding, LintReport, Severity
from xpukit.evaluate.limits import find_peak_metric
from xpukit.evaluate.report_csv import format_params
from xpukit.facts.devices import DeviceFacts, lookup_device
from xpukit.facts.metrics import MetricFacts, load_metrics
from xpukit.facts.pcie import compute_line_rate_gbps
from xpukit.facts.reference_files import read_reference_text
from xpukit.facts.references import COLUMNS, ReferenceRow, parse_reference_row
from xpukit.facts.references_upstream import guess_devices, is_upstream, read_upstream

_NO_SOURCE = re.compile(r"(?i)(?:\?+|-+|n/?a|none|unknown|estimated?|a? ?guess|tbd|todo|internal|me|myself)\.?")
# A value may not exceed what is specified by more than rounding does.
_ROUNDING = 1.005
Located = tuple[int, ReferenceRow]


def lint_files(paths: Sequence[Path], *, devices: Sequence[str] = (), today: str) -> LintReport:
    """Check each file. `devices`: PCI ids of upstream-format files that do not say theirs; `today`: YYYY-MM-DD, after
    which no row can have been measured."""
    findings: list[LintFinding] = []
    rows = 0
    for path in paths:
        found, count = lint_file(path, devices=devices, today=today)
        findings.extend(found)
        rows += count
    return LintReport(
        files=tuple(str(path) for path in paths),
        rows=rows,
        problems=sum(1 for finding in findings if finding.severity == "problem"),
        findings=tuple(findings),
    )


def lint_file(path: Path, *, devices: Sequence[str] = (), today: str) -> tuple[list[LintFinding], int]:
    """Findings of one file in order of lines, and the number of usable rows."""
    try:
        text = read_reference_text(path)
    except BadFactsError as err:
        return [_find(path, 0, "readable", err.message)], 0
    if is_upstream(text):
        return _lint_upstream(path, text, devices)
    rows, findings = _read_rows(path, text)
    findings += [finding for line, row in rows for finding in _lint_row(path, line, row, today)]
    findings += _lint_pairs(path, rows)
    return sorted(findings, key=lambda finding: (finding.line, finding.check, finding.text)), len(rows)


def _find(path: Path, line: int, check: str, text: str, severity: Severity = "problem") -> LintFinding:
    return LintFinding(file=str(path), line=line, check=check, severity=severity, text=text)


def _lint_upstream(path: Path, text: str, devices: Sequence[str]) -> tuple[list[LintFinding], int]:
    meant = tuple(devices) or guess_devices(path.name)
    findings = []
    if not meant:
        findings.append(_find(path, 1, "device", "does not say which device it is for: name it after the card"))
    rows, problems = read_upstream(text, origin=str(path), devices=meant or ("8086:0000",))
    for problem in problems:
        head, _, why = problem.removeprefix(f"{path}:").partition(": ")
        findings.append(_find(path, int(head), "upstream", why))
    if meant:
        for row in rows:
            line = int(row.origin.rpartition(":")[2])
            findings += [_find(path, line, "limit", told) for told in _exceeds_limit(row)]
    findings.append(
        _find(path, 1, "upstream", "upstream's four columns: no source, no date, our tolerance", severity="note")
    )
    return sorted(findings, key=lambda finding: (finding.line, finding.check)), len(rows) if meant else 0


def _read_rows(path: Path, text: str) -> tuple[list[Located], list[LintFinding]]:
    rows: list[Located] = []
    findings: list[LintFinding] = []
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="", restkey="")
    try:
        names = list(reader.fieldnames or ())
        missing = [column for column in COLUMNS if column not in names]
        if missing:
            return [], [_find(path, 1, "columns", f"no column {', '.join(missing)}")]
        strange = [name for name in names if name not in COLUMNS]
        if strange:
            findings.append(_find(path, 1, "columns", f"not read: {', '.join(strange)}", severity="note"))
        if len(set(names)) < len(names):
            findings.append(_find(path, 1, "columns", "a column occurs twice"))
        for raw in reader:
            line = reader.line_num
            if raw.pop("", None):
                findings.append(_find(path, line, "columns", f"more than {len(names)} columns: is a comma not quoted?"))
            try:
                rows.append((line, parse_reference_row(raw, f"{path.name}:{line}")))
            except BadFactsError as err:
                findings.append(_find(path, line, "schema", err.message.removeprefix(f"{path.name}:{line}: ")))
    except csv.Error as err:
        findings.append(_find(path, reader.line_num, "schema", f"not CSV: {err}"))
    if not rows and not findings:
        findings.append(_find(path, 1, "empty", "no rows", severity="note"))
    return rows, findings


def _lint_row(path: Path, line: int, row: ReferenceRow, today: str) -> Iterable[LintFinding]:
    facts = load_metrics().get((row.benchmark, row.metric))
    if facts is None:
        text = f"nothing measures {row.benchmark} {row.metric}: the row would never be used"
        yield _find(path, line, "metric", text)
    else:
        yield from _lint_metric(path, line, row, facts)
    names = [name for name, _ in row.params]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield _find(path, line, "params", f"{name} is given twice")
    if _NO_SOURCE.fullmatch(row.source):
        yield _find(path, line, "source", f"{row.source!r} is no source: name a document, a thread or a run")
    yield from (_find(path, line, "date", text) for text in _check_date(row.date, today))
    vendor, _, device = row.device.partition(":")
    if lookup_device(vendor, device) is None:
        yield _find(path, line, "device", f"{row.device} is not in the table of devices", severity="note")
    yield from (_find(path, line, "limit", text) for text in _exceeds_limit(row))


def _lint_metric(path: Path, line: int, row: ReferenceRow, facts: MetricFacts) -> Iterable[LintFinding]:
    what = f"{row.benchmark} {row.metric}"
    unit = facts.find_unit(dict(row.params))
    if row.unit != unit:
        yield _find(path, line, "unit", f"unit {row.unit}, but {what} is measured in {unit}")
    if row.higher_is_better != (facts.direction == "higher"):
        yield _find(path, line, "direction", f"direction is not {facts.direction}, but for {what} it is")
    for name, value in row.params:
        kind = facts.params.get(name)
        if kind is None:
            text = f"{what} has no parameter {name!r} (but {', '.join(facts.params)}): the row would never be used"
            yield _find(path, line, "params", text)
        elif (kind == "number") != isinstance(value, int | float):
            yield _find(path, line, "params", f"{name}={value} is not a {kind}")


def _check_date(text: str, today: str) -> Iterable[str]:
    try:
        # fromisoformat takes more forms from Python 3.11 on.
        day = date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else None
    except ValueError:
        day = None
    if day is None:
        yield f"{text!r} is not a date such as 2026-01-31"
    elif day.isoformat() > today:
        yield f"{text} lies in the future"


def _exceeds_limit(row: ReferenceRow) -> Iterable[str]:
    """Above what the device is specified to do, or its PCIe link to carry."""
    facts = load_metrics().get((row.benchmark, row.metric))
    vendor, _, device_id = row.device.partition(":")
    device = lookup_device(vendor, device_id)
    if facts is None or device is None or not row.higher_is_better:
        return
    bound = _find_bound(row, facts, device)
    if bound is not None and row.value > bound[0] * _ROUNDING:
        yield f"{format_number(row.value)} {row.unit} is above the {format_number(bound[0])} {row.unit} of {bound[1]}"


def _find_bound(row: ReferenceRow, facts: MetricFacts, device: DeviceFacts) -> tuple[float, str] | None:
    params = dict(row.params)
    if facts.bound == "link":
        if device.pcie_speed_gts is None or device.pcie_width is None or params.get("direction") in ("d2d", "h2h"):
            return None
        ways = 2 if params.get("direction") == "bi" else 1
        rate = compute_line_rate_gbps(device.pcie_speed_gts, device.pcie_width) * ways
        both = ", both ways" if ways == 2 else ""
        return rate, f"its PCIe link ({device.pcie_speed_gts:g} GT/s x{device.pcie_width}{both})"
    metric = {"memory": "memory_bandwidth", "peak": find_peak_metric(str(params.get("dtype", "")))}.get(facts.bound)
    limit = device.find_limit(metric) if metric else None
    return (limit.value, f"its specification ({limit.source})") if limit is not None else None


def _lint_pairs(path: Path, rows: Sequence[Located]) -> Iterable[LintFinding]:
    """Rows about the same thing that contradict or repeat each other."""
    groups: dict[tuple[object, ...], list[Located]] = {}
    for line, row in rows:
        key = (row.device, row.benchmark, row.metric, row.params, row.link)
        groups.setdefault(key, []).append((line, row))
    for group in groups.values():
        for index, (line, row) in enumerate(group):
            for other_line, other in group[:index]:
                yield from _lint_pair(path, line, row, other_line, other)


def _lint_pair(path: Path, line: int, row: ReferenceRow, other_line: int, other: ReferenceRow) -> Iterable[LintFinding]:
    what = f"{row.benchmark} {row.metric} {format_params(dict(row.params))}".strip()
    if (row.kind, row.source) == (other.kind, other.source):
        yield _find(path, line, "duplicate", f"{what} of the same source stands in line {other_line} already")
        return
    if row.unit != other.unit or row.higher_is_better != other.higher_is_better:
        yield _find(path, line, "contradiction", f"{what} has another unit or direction in line {other_line}")
        return
    for (low_line, low), (high_line, high) in (((line, row), (other_line, other)), ((other_line, other), (line, row))):
        # What is measured or published cannot be better than what is specified.
        better = high.value > low.value * _ROUNDING if row.higher_is_better else high.value * _ROUNDING < low.value
        if better and low.kind == "spec" and high.kind != "spec":
            text = f"{what}: {high.kind} {high.value:g} (line {high_line}) is better than spec {low.value:g}"
            yield _find(path, line, "contradiction", f"{text} (line {low_line})")
            return
    for (one_line, one), (two_line, two) in (((line, row), (other_line, other)), ((other_line, other), (line, row))):
        floor = one.value * (1 - one.tolerance) if row.higher_is_better else one.value / (1 - one.tolerance)
        fails = two.value < floor if row.higher_is_better else two.value > floor
        if fails:
            text = f"{what}: the minimum of line {one_line}, {floor:.4g}, is not reached by the reference of line"
            yield _find(path, line, "minimum", f"{text} {two_line}, {two.value:g}")
            return
