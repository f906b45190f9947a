"""Which pictures a benchmark gets. A benchmark that is not named here gets curves if its rows have sizes."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.evaluate.plot_canvas import Plot
from xpukit.evaluate.plot_charts import plot_bars, plot_pairs, plot_ratios
from xpukit.evaluate.plot_curves import CurveLayout, plot_curves
from xpukit.evaluate.report_headlines import Headline
from xpukit.evaluate.report_names import DeviceNames, is_directed
from xpukit.evaluate.result import Result

_LAYOUTS = {
    "transfer": CurveLayout(facet=("direction",), dash=("host_node",)),
    "p2p": CurveLayout(facet=("direction",), dash=("path",)),
    "collectives": CurveLayout(metrics=("busbw", "latency"), facet=("collective",), dash=("mode",)),
    "collectives_ceiling": CurveLayout(metrics=("busbw", "latency"), facet=("collective",), dash=("mode",)),
}
_ANY = CurveLayout()
_MOST_RATIOS = 9


def make_plots(
    benchmark: str, rows: Sequence[Result], lines: Sequence[Headline], names: DeviceNames, ident: str
) -> list[Plot]:
    """The pictures of one benchmark's rows. Call inside `plot_canvas.drawing()`."""
    plots: list[Plot] = []
    if all("bytes" not in row.params for row in rows) and any("dtype" in row.params for row in rows):
        plots += plot_bars(rows, names, f"{ident}b")
    if any(is_directed(row) for row in rows):
        plots += plot_pairs(rows, names, f"{ident}m")
    plots += plot_curves(rows, _LAYOUTS.get(benchmark, _ANY), names, f"{ident}c")
    if sum(1 for line in lines if line.row.ratio is not None) > 1:
        plots += plot_ratios(lines, f"{ident}r", title="share of the reference", most=_MOST_RATIOS)
    return plots


def plot_lowest_shares(lines: Sequence[Headline]) -> list[Plot]:
    """The whole run's lowest shares of a reference. Call inside `plot_canvas.drawing()`."""
    return plot_ratios(
        lines, "all-r", title="lowest shares of the reference", most=_MOST_RATIOS, panels=3, name_benchmark=True
    )
