"""`xpukit compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpukit.cli.session import JsonOption, Session, current_session
from xpukit.core.errors import ExitCode, ExternalError, UsageError

if TYPE_CHECKING:
    from xpukit.evaluate.compare_result import Comparison

SCHEMA = "xpukit.compare/1"
# More runs than this are a fleet.
MOST_RUNS = 8
_CODES = {"pass": ExitCode.OK, "fail": ExitCode.JUDGED_FAILING, "unknown": ExitCode.COULD_NOT_JUDGE}


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Run directories or results.json files, the first is the old one; or folders of runs.",
        ),
    ],
    json: JsonOption = False,
    fleet: Annotated[
        bool, typer.Option("--fleet", help=f"Look for outlier hosts (always with more than {MOST_RUNS} runs).")
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold", metavar="SIGMAS", help="Significant beyond this; default 3.5, more for many values."
        ),
    ] = None,
    min_change: Annotated[
        float | None,
        typer.Option("--min-change", metavar="FRACTION", help="And beyond this share of the value; default 0.05."),
    ] = None,
    rules: Annotated[
        Path | None, typer.Option("--rules", metavar="FILE", help="Thresholds per metric (TOML, docs/compare.md).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compare runs of different suites too.")] = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write changes or outliers as CSV ('-': stdout).")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write one HTML page ('-': stdout).")
    ] = None,
) -> int:
    """Compare, print, say the verdict."""
    session = current_session()
    session.take(json=json)
    if [str(file) for file in (csv, html)].count("-") + session.json > 1:
        raise UsageError("only one document fits standard output", hint="give the others file names")
    if threshold is not None and not 0 < threshold < float("inf"):
        raise UsageError("--threshold must be positive", hint="3.5 is usual")
    if min_change is not None and not 0 <= min_change < 10:
        raise UsageError("--min-change is a fraction", hint="0.05 is 5 %")
    from xpukit.evaluate.compare_inputs import find_runs
    from xpukit.evaluate.compare_rules import RuleBook, load_rules

    book = RuleBook(load_rules(rules) if rules is not None else None, sigmas=threshold, min_change=min_change)
    found = find_runs(runs)
    if fleet or len(found) > MOST_RUNS:
        from xpukit.evaluate.compare_fleet import compare_fleet

        comparison = compare_fleet(found, book)
    else:
        from xpukit.evaluate.compare import compare_runs

        comparison = compare_runs(found, book, force=force)
    _write_files(comparison, csv, html)
    if session.json:
        from xpukit.core.json_document import build_document

        session.print_json(build_document(SCHEMA, "", comparison))
    elif "-" not in (str(csv), str(html)):
        _print_tables(session, comparison)
    return int(_CODES[comparison.verdict])


def _write_files(comparison: Comparison, csv: Path | None, html: Path | None) -> None:
    from xpukit.cli.output import write_text

    if csv is not None:
        from xpukit.evaluate.compare_report import write_csv

        write_text(csv, write_csv(comparison))
    if html is not None:
        from xpukit.evaluate.compare_report import write_html

        try:
            page = write_html(comparison)
        except ModuleNotFoundError as err:
            raise ExternalError(f"no page: {err.name} is not installed", hint="pip install 'xpukit[report]'") from err
        write_text(html, page)


def _print_tables(session: Session, comparison: Comparison) -> None:
    from xpukit.cli.compare_tables import print_comparison

    print_comparison(comparison, color=session.color, verbose=session.verbose)
