"""`xpukit baseline`: lint, show, record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xpukit.cli.session import FromOption, JsonOption, Session, current_session
from xpukit.core.errors import ExitCode, UsageError

LINT_SCHEMA = "xpukit.baseline-lint/1"
SHOW_SCHEMA = "xpukit.baseline/1"

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

DeviceOption = Annotated[
    list[str] | None,
    typer.Option("--device", "-d", metavar="PATTERN", help="PCI id (8086:e211) or name ('*B60*'); may be repeated."),
]


@app.command("lint", help="Check reference files (those that we ship without FILES); exit code 1 when a line is wrong.")
def lint(
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILES", help="Reference files.")] = None,
    device: DeviceOption = None,
    json: JsonOption = False,
) -> int:
    """Print every problem with file and line."""
    session = current_session()
    session.take(json=json)
    from xpukit.core.json_document import build_document, now_utc
    from xpukit.evaluate.baseline_lint import lint_files
    from xpukit.evaluate.baseline_show import choose_devices
    from xpukit.facts.paths import shipped_dir

    paths = files or sorted(shipped_dir("reference_perf").glob("*.csv"))
    for path in paths:
        if not path.is_file():
            raise UsageError(f"{path}: no such file", hint="name reference files (.csv)")
    report = lint_files(paths, devices=choose_devices(device or ()), today=now_utc()[:10])
    if session.json:
        session.print_json(build_document(LINT_SCHEMA, "", report))
    else:
        for finding in report.findings:
            kind = "" if finding.severity == "problem" else "note: "
            print(f"{finding.file}:{finding.line}: {kind}{finding.text} [{finding.check}]")
        print(f"{len(report.files)} files, {report.rows} rows, {report.problems} problems")
    return int(ExitCode.JUDGED_FAILING if report.problems else ExitCode.OK)


@app.command("show", help="For each metric, the reference row that evaluate judges by, why it wins, and the others.")
def show(
    json: JsonOption = False,
    source: FromOption = None,
    device: DeviceOption = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="BENCHMARK", help="Show only this; may be repeated.")
    ] = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option("--reference", metavar="FILE", help="A file to go before ours; may be repeated, the last wins."),
    ] = None,
) -> int:
    """Devices: --device, else those of this machine or recording, else all that have rows."""
    session = current_session()
    session.take(json=json, source=source)
    from xpukit.core.json_document import build_document
    from xpukit.evaluate.baseline_show import show_baseline
    from xpukit.facts.reference_layers import load_layers

    devices, host, note = _choose(session, device or [])
    paths = reference or []
    rows = load_layers(paths, devices=devices)
    if not devices:
        devices = tuple(dict.fromkeys(row.device for row in rows))
    if note:
        session.say(note)
    shown = show_baseline(
        rows, devices, layers=[str(path) for path in paths], benchmarks=only or (), notes=(note,) if note else ()
    )
    if session.json:
        session.print_json(build_document(SHOW_SCHEMA, host, shown))
    else:
        from xpukit.cli.baseline_tables import print_baseline

        print_baseline(shown, color=session.color, verbose=session.verbose)
    return int(ExitCode.OK)


def _choose(session: Session, patterns: list[str]) -> tuple[tuple[str, ...], str, str]:
    """PCI ids, the host they are of, and what to tell."""
    from xpukit.evaluate.baseline_show import choose_devices, list_machine_devices

    if patterns:
        if session.source is not None:
            raise UsageError("--device and --from both name devices", hint="leave one out")
        return choose_devices(patterns), "", ""
    from xpukit.probe.machine import probe_machine

    host = session.open_host()
    found = list_machine_devices(probe_machine(host))
    note = "" if found else "no Intel GPU here (a CPU is judged by what its own run measures): showing all rows"
    return found, host.identity().hostname, note


@app.command("record", help="Make a reference file from repeated runs of evaluate, with spread and provenance.")
def record(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run directories, results.json files, or folders of runs.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The reference file to write (.csv).")],
    merge: Annotated[
        Path | None, typer.Option("--merge", metavar="EXISTING", help="Keep the rows of this file before the new ones.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also from fewer than 3 runs, different suites, noisy numbers.")
    ] = False,
    json: JsonOption = False,
) -> int:
    """Record and say what was left out."""
    session = current_session()
    session.take(json=json)
    if out.exists() and merge is None:
        raise UsageError(f"{out} is there already", hint=f"name a new file, or keep its rows with --merge {out}")
    if merge is not None and not merge.is_file():
        raise UsageError(f"{merge}: no such file", hint="--merge names a reference file (.csv)")
    from xpukit.core.json_document import build_document
    from xpukit.evaluate.baseline import RECORD_SCHEMA, save_recording, side_path
    from xpukit.evaluate.baseline_record import record_baseline
    from xpukit.evaluate.baseline_runs import load_runs

    recording = record_baseline(load_runs(runs), force=force)
    saved = save_recording(recording, out, merge=merge)
    for item in recording.left_out:
        session.say(f"left out: {item.rows} rows, {item.reason} (such as {item.example})")
    for run in recording.runs:
        if run.missing:
            session.warn(f"{run.run} does not say: {', '.join(run.missing)}")
    for note in saved.notes:
        session.say(note)
    if session.json:
        session.print_json(build_document(RECORD_SCHEMA, "", saved.body, created=saved.created))
    else:
        from xpukit.cli.baseline_tables import print_recording

        print_recording(recording, color=session.color)
    session.say(f"{saved.rows} rows: {out}; provenance: {side_path(out)}")
    return int(ExitCode.OK)
