"""The report as one HTML page that needs nothing else; no script, the same bytes for the same report."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from html import escape

from xpukit.core.units import format_number
from xpukit.operate.bench.curve import draw_curve, list_curves
from xpukit.operate.bench.report import BenchReport, Point
from xpukit.operate.bench.result import BenchResult, Overhead, describe_load

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1c1e21;--faint:#6b7178;--grid:#d9dde2;--card:#f6f7f9;
--pass:#1a7f4b;--warn:#9a6700;--fail:#b3261e;--unknown:#6b4fa0;--no-baseline:#6b7178;
--s0:#0072b2;--s1:#d55e00;--s2:#009e73;--s3:#cc79a7;--s4:#56b4e9;--s5:#e69f00}
@media (prefers-color-scheme:dark){:root{--paper:#16181b;--ink:#e6e8ea;--faint:#9aa1a9;--grid:#3a3f45;--card:#1f2226;
--pass:#5cc98f;--warn:#e0b04c;--fail:#ff8a80;--unknown:#b9a3e3;--no-baseline:#9aa1a9}}
body{background:var(--paper);color:var(--ink);font:15px/1.45 system-ui,sans-serif;max-width:1200px;margin:0 auto;
padding:1rem}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{padding:.3rem .6rem;text-align:right;
border-bottom:1px solid var(--grid);white-space:nowrap}th:first-child,td:first-child,.text{text-align:left}
th{color:var(--faint);font-weight:600}.why{white-space:normal;color:var(--faint)}
.pass{color:var(--pass)}.warn{color:var(--warn)}.fail{color:var(--fail)}.unknown{color:var(--unknown)}
.no-baseline{color:var(--no-baseline)}
.curves{display:grid;grid-template-columns:repeat(auto-fit,minmax(320px,1fr));gap:1rem}
figure{margin:0;background:var(--card);padding:.6rem;border-radius:6px}figcaption{color:var(--faint);font-size:.85rem}
svg{width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:var(--faint)}
""".strip()
COLUMNS: tuple[tuple[str, str], ...] = (
    ("out tok/s", "output_throughput"),
    ("req/s", "request_throughput"),
    ("TTFT p50", "ttft_median"),
    ("p99 ms", "ttft_p99"),
    ("TPOT p50", "tpot_median"),
    ("p99 ms", "tpot_p99"),
    ("E2E p50 ms", "e2e_median"),
)


def show_figure(point: Point, metric: str) -> str:
    """The median over the repeats; '-' where it was not measured."""
    found = next((one.median for one in point.figures if one.metric == metric), None)
    return "-" if found is None else format_number(found)


def count_requests(point: Point) -> str:
    """'80' or '78 of 80'."""
    done = [run.completed for run in point.runs if run.completed is not None]
    failed = sum(run.failed or 0 for run in point.runs)
    if not done:
        return "-"
    return f"{sum(done)} of {sum(done) + failed}" if failed else str(sum(done))


def write_page(report: BenchReport) -> str:
    """The whole page."""
    body = [
        f'<h1>Serving benchmarks: <span class="{report.verdict}">{report.verdict}</span></h1>',
        "<p>The run was interrupted; this is what was done.</p>" if report.interrupted else "",
        _write_points(report),
        _write_curves(report),
        _write_comparisons(report),
        _write_predictions(report),
        write_list("Notes", [*report.notes, *list_notes(report)]),
    ]
    return write_document("Serving benchmarks", body)


def write_document(title: str, body: Sequence[str]) -> str:
    """A whole page that loads nothing, of these parts."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body></html>\n"
    )


def _write_points(report: BenchReport) -> str:
    head = ["point", "verdict", "load", "answered", *(title for title, _ in COLUMNS), "why"]
    rows = []
    for point in report.points:
        load = describe_load(point.runs[0]) if point.runs else "-"
        cells = [load, count_requests(point), *(show_figure(point, metric) for _, metric in COLUMNS)]
        shown = f'<td>{escape(point.name)}</td><td class="text {point.verdict}">{point.verdict}</td>'
        shown += "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        shown += f'<td class="why text">{escape(point.reason)}</td>'
        rows.append(f"<tr>{shown}</tr>")
    return write_table(head, rows)


def write_table(head: list[str], rows: list[str]) -> str:
    """Rows are HTML already; titles are not."""
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    return f'<div class="wide"><table><tr>{titles}</tr>\n' + "\n".join(rows) + "\n</table></div>"


def _write_curves(report: BenchReport) -> str:
    drawn = [(title, draw_curve(curve)) for title, curve in list_curves(report)]
    if not drawn:
        return ""
    figures = "\n".join(f"<figure>{svg}<figcaption>{escape(title)}</figcaption></figure>" for title, svg in drawn)
    return f'<h2>Latency over throughput</h2>\n<div class="curves">\n{figures}\n</div>'


def _write_comparisons(report: BenchReport) -> str:
    rows = []
    sources: dict[str, int] = {}
    for point in report.points:
        for one in point.comparisons:
            cells = [point.name, one.metric, format_number(one.value), format_number(one.expected), one.unit]
            shown = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            shown += f'<td>{one.ratio:.2f}</td><td class="{one.verdict}">{one.verdict}</td>'
            number = sources.setdefault(f"{one.against}: {one.source}", len(sources) + 1)
            rows.append(f"<tr>{shown}<td>[{number}]</td></tr>")
    if not rows:
        return ""
    head = ["point", "metric", "measured", "expected", "unit", "ratio", "verdict", "source"]
    named = "".join(f"<p>[{number}] {escape(source)}</p>" for source, number in sources.items())
    return f"<h2>Comparisons</h2>\n{write_table(head, rows)}\n{named}"


def _write_predictions(report: BenchReport) -> str:
    rows = [
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>" for cells in list_predictions(report)
    ]
    sources = "".join(f"<p>Speed of the device: {escape(one)}</p>" for one in list_prediction_sources(report))
    return f"<h2>Predicted and measured</h2>\n{write_table(list(PREDICTION_COLUMNS), rows)}\n{sources}" if rows else ""


PREDICTION_COLUMNS = ("point", "metric", "predicted", "measured", "unit", "error", "bound by")


def list_predictions(report: BenchReport) -> list[tuple[str, ...]]:
    """Rows of what was foretold; the last is the median of the errors' sizes."""
    rows: list[tuple[str, ...]] = []
    errors = []
    for point in report.points:
        for one in point.predictions:
            errors.append(abs(one.error))
            cells = (point.name, one.metric, format_number(one.predicted), format_number(one.measured), one.unit)
            rows.append((*cells, f"{one.error:+.0%}", one.bound))
    if len(errors) > 1:
        rows.append(("median of the errors", "", "", "", "", f"{statistics.median(errors):.0%}", ""))
    return rows


def list_prediction_sources(report: BenchReport) -> list[str]:
    """What the predictions rest on, each once."""
    return list(dict.fromkeys(one.source for point in report.points for one in point.predictions))


def find_worst_overhead(runs: Sequence[BenchResult]) -> Overhead | None:
    """Of the runs of our client, the cost that says most against one; None where it did not measure."""
    costs = [run.overhead for run in runs if run.overhead is not None]
    return max(costs, key=lambda one: (one.limited, one.loop_delay_p99_ms), default=None)


def list_notes(report: BenchReport) -> list[str]:
    """What results say of themselves, each once with the points it is of."""
    said: dict[str, list[str]] = {}
    for point in report.points:
        for run in point.runs:
            for note in (*run.notes, *(f"{one.count} × {one.text}" for one in run.errors)):
                said.setdefault(note, [])
                if point.name not in said[note]:
                    said[note].append(point.name)
        if cost := find_worst_overhead(point.runs):
            said[cost.statement] = [*said.get(cost.statement, []), point.name]
    show: Callable[[list[str]], str] = lambda names: ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")  # noqa: E731
    return [f"{show(names)}: {note}" for note, names in said.items()]


def write_list(title: str, lines: list[str]) -> str:
    """A titled list; "" where it is empty."""
    if not lines:
        return ""
    items = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>{escape(title)}</h2>\n<ul>\n{items}\n</ul>"
