"""`xpukit evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpukit.cli.session import FromOption, JsonOption, Session, current_session
from xpukit.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from xpukit.cli.evaluate_csv import CsvWish
    from xpukit.core.machine import Machine
    from xpukit.evaluate.result import Evaluation
    from xpukit.evaluate.run_directory import RunDirectory, RunOptions
    from xpukit.evaluate.smi_state import SmiState
    from xpukit.host import Host

DEFAULT_SUITE = "standard"
DEFAULT_ENGINE = "auto"


def evaluate(
    json: JsonOption = False,
    suite: Annotated[
        str | None, typer.Option("--suite", help="quick, standard, stress, or the path of a .toml of your own.")
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option("--device", "-d", help="Index, tile (0/1), BDF, name glob or 'cpu'; may be repeated."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="BENCHMARK", help="Run only this; may be repeated.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", metavar="BENCHMARK", help="Leave this out; may be repeated.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", help="auto (default), embedded, tools (Intel's own, where installed) or torch."),
    ] = None,
    repeat: Annotated[int, typer.Option("--repeat", min=1, max=100, help="Do everything N times, pool samples.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the data and of the order of repeats.")] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="A device without a reference gives exit code 3.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Run directory; default xpukit-runs/<time>-<suite>.")
    ] = None,
    resume: Annotated[Path | None, typer.Option("--resume", metavar="RUN", help="Continue an interrupted run.")] = None,
    list_only: Annotated[bool, typer.Option("--list", help="List suites and benchmarks; measure nothing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the jobs of the run; measure nothing.")] = False,
    reference: Annotated[
        list[Path] | None,
        typer.Option(
            "--reference", metavar="FILE", help="Reference values that go before ours; may be repeated, the last wins."
        ),
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Set governor, energy bias and GPU clocks for the run; put back afterwards.")
    ] = False,
    restore_tuning: Annotated[
        bool, typer.Option("--restore-tuning", help="Put back what a run with --tune left (after a crash); no run.")
    ] = False,
    plant_error: Annotated[
        bool,
        typer.Option("--plant-error", help="Self-check: corrupt one element of each result; all must be found wrong."),
    ] = False,
    log: Annotated[
        list[Path] | None,
        typer.Option(
            "--log",
            metavar="FILE",
            help="Measure nothing: judge what tools printed into this file ('-': standard input); may be repeated. "
            "--device is then the PCI id or name to judge by where the log says none.",
        ),
    ] = None,
    csv_path: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="FORM|FILE",
            help="Write the rows as CSV: 'upstream' (five columns of llm-scaler's report) or 'tidy' to standard output "
            "or --csv-file; or a FILE ('-': standard output) in the form of --csv-form.",
        ),
    ] = None,
    csv_form: Annotated[
        str, typer.Option("--csv-form", help="tidy (every row), or upstream: the five columns of llm-scaler's report.")
    ] = "tidy",
    csv_file: Annotated[
        Path | None, typer.Option("--csv-file", metavar="FILE", help="Where --csv FORM writes, not standard output.")
    ] = None,
    source: FromOption = None,
) -> int:
    """Measure, judge, report. The exit code says the verdict."""
    session = current_session()
    session.take(json=json, source=source)
    if list_only:
        return _print_list(session)
    from xpukit.cli.evaluate_csv import choose_csv

    wanted_csv = choose_csv(csv_path, csv_form, csv_file, json=session.json)
    if log:
        asked = {"--only": only, "--skip": skip, "--engine": engine, "--out": out, "--resume": resume}
        flags = {"--dry-run": dry_run, "--plant-error": plant_error, "--tune": tune, "--restore-tuning": restore_tuning}
        clash = [name for name, value in {**asked, **flags}.items() if value]
        if clash:
            raise UsageError(f"--log measures nothing; leave out {', '.join(clash)}")
        from xpukit.cli.evaluate_log import judge_log_files

        judged = judge_log_files(
            session,
            log,
            device=device or (),
            strict=strict,
            csv=wanted_csv,
            suite=suite or DEFAULT_SUITE,
            references=reference or (),
        )
        return int(exit_code_of(judged, strict=strict))
    session.require_live("evaluate")
    if restore_tuning:
        from xpukit.cli.evaluate_tuning import put_tuning_back

        return put_tuning_back(session)
    from xpukit.evaluate.run_directory import RunDirectory, RunOptions

    given: dict[str, object] = {
        "--suite": suite,
        "--engine": engine,
        "--device": device,
        "--only": only,
        "--skip": skip,
        "--out": out,
    }
    given["--reference"] = reference
    if resume is not None:
        clash = [name for name, value in given.items() if value]
        if clash:
            raise UsageError(f"--resume continues a run as it was asked for; leave out {', '.join(clash)}")
        directory, options = RunDirectory.reopen(resume)
        return _run(session, options, directory, out=None, dry_run=dry_run, tune=tune, csv=wanted_csv)
    from xpukit import __version__
    from xpukit.core.json_document import now_utc

    options = RunOptions(
        xpukit_version=__version__,
        created=now_utc(),
        suite=suite or DEFAULT_SUITE,
        engine=engine or DEFAULT_ENGINE,
        devices=tuple(device or ()),
        only=tuple(only or ()),
        skip=tuple(skip or ()),
        repeat=repeat,
        seed=seed,
        strict=strict,
        plant_error=plant_error,
        references=tuple(str(path.resolve()) for path in reference or ()),
    )
    return _run(session, options, None, out=out, dry_run=dry_run, tune=tune, csv=wanted_csv)


def _run(
    session: Session,
    options: RunOptions,
    directory: RunDirectory | None,
    *,
    out: Path | None,
    dry_run: bool,
    tune: bool,
    csv: CsvWish | None,
) -> int:
    from xpukit.cli.evaluate_advice import advise_install_steps
    from xpukit.cli.evaluate_lock import hold_run
    from xpukit.cli.evaluate_progress import TerminalObserver
    from xpukit.cli.evaluate_tuning import tune_machine
    from xpukit.evaluate.benchmark import Scope
    from xpukit.evaluate.engines import choose_benchmarks
    from xpukit.evaluate.error_counters import ErrorCounters
    from xpukit.evaluate.gpu_users import UserLookout, find_gpu_users
    from xpukit.evaluate.limits import gather_limits
    from xpukit.evaluate.reference import ReferenceBook, pci_id_of
    from xpukit.evaluate.registry import list_benchmarks
    from xpukit.evaluate.report import write_reports
    from xpukit.evaluate.run import Evaluator
    from xpukit.evaluate.run_directory import RunDirectory
    from xpukit.evaluate.run_plan import plan_run
    from xpukit.evaluate.smi_state import SmiState
    from xpukit.evaluate.targets import choose_targets
    from xpukit.facts.reference_layers import load_layers
    from xpukit.facts.suites import load_suite
    from xpukit.probe.draw import draw_svg
    from xpukit.probe.machine import probe_machine
    from xpukit.probe.state import read_device_state

    host = session.open_host()
    advise_install_steps(host)
    suite = load_suite(options.suite)
    session.say("looking at the machine ...")
    machine = probe_machine(host)
    targets = choose_targets(machine, options.devices)
    has_gpu = any(target.kind == "gpu" for target in targets)
    benchmarks = choose_benchmarks(list_benchmarks(), suite, options, host, has_gpu=has_gpu)
    if not benchmarks:
        raise UsageError("nothing is left to measure", hint="--only and --skip leave no benchmark of this suite")
    devices = tuple(dict.fromkeys(filter(None, map(pci_id_of, targets))))
    rows = load_layers([Path(path) for path in options.references], devices=devices)
    scope = Scope(
        targets=targets,
        settings={},
        method=suite.method,
        host=host,
        numa_nodes=_list_usable_nodes(machine),
        memory_bytes=host.memory().available_bytes or None,
    )
    plan = plan_run(benchmarks, suite, options, scope)
    if dry_run:
        return _print_plan(session, plan)
    if directory is None:
        stamp = options.created.replace("-", "").replace(":", "").replace("T", "-").rstrip("Z")
        directory = RunDirectory.create(out or Path("xpukit-runs") / f"{stamp}-{suite.name}", options)
        from xpukit.core.json_document import build_document

        directory.write_json("probe.json", build_document("xpukit.probe/1", host.identity().hostname, machine))
    session.say(f"measuring {', '.join(f'{t.label} ({t.name})' for t in targets)} into {directory.path}")
    smi = SmiState(host, machine, lambda: read_device_state(host, users=False))
    with (
        hold_run(directory.path),
        tune_machine(session, machine, enabled=tune),
        TerminalObserver(session) as observer,
    ):
        evaluation = Evaluator(
            host=host,
            directory=directory,
            options=options,
            suite=suite,
            plan=plan,
            machine=machine,
            targets=targets,
            book=ReferenceBook(rows, targets),
            limits=gather_limits(machine, targets),
            read_conditions=lambda: _read_conditions(host, smi),
            read_state=smi.read,
            observer=observer,
            lookout=UserLookout(lambda: find_gpu_users(host, machine)),
            counters=ErrorCounters(host, machine, [target.bdf for target in targets if target.kind == "gpu"]),
        ).run()
    written = write_reports(directory, evaluation, machine, host.identity().hostname, topology_svg=draw_svg(machine))
    return _conclude(session, directory, evaluation, written, options, csv)


def _list_usable_nodes(machine: Machine) -> tuple[tuple[int, str], ...]:
    return tuple((node.node, node.allowed_cpus) for node in machine.numa if node.allowed_cpus)


def _read_conditions(host: Host, smi: SmiState) -> dict[str, Any]:
    """Host and device conditions of this moment. Devices are read afresh: clocks and heat move."""
    from xpukit.evaluate.conditions import read_host_conditions

    told = smi.describe()
    return {**read_host_conditions(host), "devices": smi.read(), **({"xpu_smi": told} if told else {})}


def _conclude(
    session: Session,
    directory: RunDirectory,
    evaluation: Evaluation,
    written: dict[str, Path | str],
    options: RunOptions,
    csv: CsvWish | None,
) -> int:
    if csv is not None:
        csv.write(evaluation)
    if session.json:
        session.print_json(directory.load_json("results.json"))
    elif csv is None or csv.path is not None:
        from xpukit.cli.evaluate_tables import print_evaluation

        print_evaluation(evaluation, color=session.color, verbose=session.verbose)
    for name, place in written.items():
        session.say(f"{name}: {place}")
    if options.plant_error:
        return int(judge_planted(session, evaluation))
    return int(exit_code_of(evaluation, strict=options.strict))


def judge_planted(session: Session, evaluation: Evaluation) -> ExitCode:
    """The verdict of a run with planted errors: 0 when every result that is verified was found wrong."""
    found = [row for row in evaluation.results if row.verified is False]
    missed = [row for row in evaluation.results if row.verified is True]
    session.say(f"self-check: {len(found)} planted errors were found, {len(missed)} were not")
    for row in missed:
        session.say(f"  not found: {row.benchmark} {row.metric} {' '.join(row.devices)} {row.params}")
    if missed:
        return ExitCode.JUDGED_FAILING
    return ExitCode.OK if found else ExitCode.COULD_NOT_JUDGE


def exit_code_of(evaluation: Evaluation, *, strict: bool) -> ExitCode:
    """0 healthy, 1 found failing, 3 something could not be judged."""
    if evaluation.verdict == "fail":
        return ExitCode.JUDGED_FAILING
    if evaluation.verdict == "unknown" or (strict and evaluation.verdict == "no-baseline"):
        return ExitCode.COULD_NOT_JUDGE
    return ExitCode.OK


def _print_list(session: Session) -> int:
    from xpukit.evaluate.registry import list_benchmarks
    from xpukit.facts.suites import list_suites, load_suite

    suites = [load_suite(name) for name in list_suites()]
    benchmarks = list_benchmarks()
    if session.json:
        from xpukit.core.json_document import build_document

        body = {
            "suites": [
                {
                    "name": suite.name,
                    "summary": suite.summary,
                    "stated_limit_s": suite.stated_limit_s,
                    "benchmarks": sorted(suite.benchmarks),
                }
                for suite in suites
            ],
            "benchmarks": [{"name": item.name, "summary": item.summary, "engine": item.engine} for item in benchmarks],
        }
        session.print_json(build_document("xpukit.suites/1", "", body))
        return int(ExitCode.OK)
    print("Suites")
    for suite in suites:
        print(f"  {suite.name:<18} {suite.summary} (at most {suite.stated_limit_s / 60:.0f} min)")
    print("Benchmarks")
    for item in benchmarks:
        inside = ", ".join(suite.name for suite in suites if item.name in suite.benchmarks)
        print(f"  {item.name:<22} {item.summary} [{inside}]")
    return int(ExitCode.OK)


def _print_plan(session: Session, plan: Any) -> int:
    import shlex

    from xpukit.cli.evaluate_progress import describe_minutes
    from xpukit.core.units import format_seconds

    if session.json:
        from xpukit.core.json_document import build_document

        body = {
            "estimate_s": round(plan.estimate_s, 1),
            "jobs": [
                {
                    "name": planned.name,
                    "group": planned.group,
                    "benchmark": planned.job.benchmark,
                    "estimate_s": planned.job.estimate_s,
                    "timeout_s": planned.job.timeout_s,
                    "argv": planned.job.argv,
                    "env": planned.job.env,
                    "stdin": planned.job.input.decode("utf-8", errors="replace"),
                    "promises": planned.job.promises,
                }
                for planned in plan.jobs
            ],
            "skips": [skip for _, skip in plan.skips],
            "left_out": plan.left_out,
        }
        session.print_json(build_document("xpukit.evaluate-plan/1", "", body))
        return int(ExitCode.OK)
    for planned in plan.jobs:
        settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in sorted(planned.job.env.items()))
        print(f"{planned.name}  ~{format_seconds(planned.job.estimate_s)}, {len(planned.job.promises)} metrics")
        print(f"    {settings} {shlex.join(planned.job.argv)} <<< {shlex.quote(planned.job.input.decode())}")
    about = describe_minutes(plan.estimate_s)
    print(f"{about} in all (an estimate); {len(plan.skips)} rows do not apply to this machine or are left out")
    if plan.left_out:
        print(plan.left_out)
    return int(ExitCode.OK)
