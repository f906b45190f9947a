"""`xpukit bench stress`: a bounded load that goes on until something gets worse."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from xpukit.cli.bench_options import (
    ArrivalOption,
    ConcurrencyOption,
    EosOption,
    InputOption,
    OutputOption,
    PrefixOption,
    RateOption,
    TimeoutOption,
    choose_load,
    cross_loads,
)
from xpukit.cli.bench_server import AskedServer, takes_server
from xpukit.cli.session import JsonOption, Session, current_session
from xpukit.core.errors import ExitCode, UsageError
from xpukit.core.units import format_bytes, format_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from xpukit.cli.bench_engine import RunningEngine
    from xpukit.operate.bench.client import ClientSettings
    from xpukit.operate.bench.matrix import PointPlan
    from xpukit.operate.bench.result import BenchResult
    from xpukit.operate.ready.endpoint import Ask
    from xpukit.operate.stress.result import Round, StressReport
    from xpukit.operate.stress.watcher import Reader, Watcher

HELP = "Load a server for so many rounds or hours; stop when errors, latency, throughput or memory get worse."
_DEFAULT_ROUNDS = 20
_METRICS_TIMEOUT_S = 5.0


@takes_server
def bench_stress(
    *,
    matrix_file: Annotated[
        Path | None,
        typer.Argument(metavar="[MATRIX]", help="A TOML or YAML file of loads, taken in turn.", show_default=False),
    ] = None,
    json: JsonOption = False,
    server: AskedServer,
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, help="At most. [20 where no --hours]")] = None,
    hours: Annotated[float | None, typer.Option("--hours", min=0.001, help="At most, in all.")] = None,
    scenario: Annotated[
        list[str] | None, typer.Option("--scenario", help="A load by its name; repeatable: they take turns.")
    ] = None,
    input_len: InputOption = None,
    output_len: OutputOption = None,
    requests: Annotated[int | None, typer.Option("--requests", min=1, help="Of a round.")] = None,
    concurrency: ConcurrencyOption = None,
    rate: RateOption = None,
    arrival: ArrivalOption = "poisson",
    shared_prefix: PrefixOption = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="Of prompts and arrivals; each round has others.")] = 1,
    baseline: Annotated[
        int | None, typer.Option("--baseline", min=2, metavar="ROUNDS", help="The first so many are the measure. [5]")
    ] = None,
    window: Annotated[
        int | None, typer.Option("--window", min=1, metavar="ROUNDS", help="So many in a row must be worse. [3]")
    ] = None,
    errors: Annotated[
        float, typer.Option("--max-errors", min=0, max=1, metavar="SHARE", help="Of a round's requests may fail.")
    ] = 0.0,
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", min=0, metavar="SHARE", help="Latency and throughput may be so much worse. [0.15]"),
    ] = None,
    container: Annotated[
        str, typer.Option("--container", metavar="NAME", help="Watch this Docker container's memory.")
    ] = "",
    pid: Annotated[
        int | None, typer.Option("--pid", min=1, help="Watch the memory of this process and its children.")
    ] = None,
    gpus: Annotated[bool, typer.Option("--gpus/--no-gpus", help="Watch this machine's GPUs.")] = True,
    ignore_eos: EosOption = True,
    timeout: TimeoutOption = 600.0,
) -> int:
    """Plan, run, print."""
    session = current_session()
    session.take(json=json)
    session.require_live("bench stress")
    from xpukit.cli.bench_engine import choose_plan, require_ready, start_engine
    from xpukit.core.json_document import build_document, now_utc
    from xpukit.operate.bench.client import ClientSettings, find_model
    from xpukit.operate.bench.matrix import Model, list_points, load_matrix
    from xpukit.operate.stress.directory import StressDirectory, StressRecord
    from xpukit.operate.stress.judge import Rules, default_rules
    from xpukit.operate.stress.result import STRESS_SCHEMA
    from xpukit.operate.stress.run import Bound, StressRun

    given = server.read(session, "stress")
    place, url, key = given.place, server.url, given.key
    if matrix_file is not None:
        if scenario or input_len or output_len or rate is not None or concurrency:
            raise UsageError("the matrix holds the loads", hint="leave the file out, or the options of a load")
        matrix = load_matrix(matrix_file)
        if len(matrix.model) > 1:
            raise UsageError("a stress run loads one server", hint="leave one [[model]] in the matrix")
    else:
        loads = [choose_load(one, input_len, output_len, requests, concurrency) for one in scenario or [""]]
        matrix = cross_loads(loads, Model(name=server.model), rate=rate, arrival=arrival, shared_prefix=shared_prefix)
    points = tuple(_rename(point) for point in list_points(matrix))
    usual = default_rules()
    rules = Rules(
        baseline=baseline or usual.baseline, window=window or usual.window, errors=errors, tolerance=tolerance
    )
    what = url or server.serve or str(server.plan_file)
    record = StressRecord(created=now_utc(), url=what, points=points, rules=rules)
    directory = StressDirectory.open(place, record, resume=server.resume)
    with contextlib.ExitStack() as stack:
        engine = None
        if not url:
            plan = choose_plan(session, server.serve, server.plan_file, place / "engine", choice=given.choice)
            engine = stack.enter_context(start_engine(session, plan, place / "engine", given.choice, key=key))
            require_ready(engine)
            url = engine.url
        settings = ClientSettings(
            url=url,
            model=points[0].model.served_name or points[0].model.name or find_model(url, key),
            api=given.api,
            api_key=key,
            ignore_eos=ignore_eos,
            warmup=matrix.warmup,
            timeout_s=timeout,
        )
        ask = _make_ask(url, key)
        report = StressRun(
            points,
            _make_measure(session, settings, seed),
            _make_watcher(session, ask, engine, container=container, pid=pid, gpus=gpus),
            directory,
            url=url,
            model=settings.model,
            bound=Bound(rounds=rounds or (None if hours is not None else _DEFAULT_ROUNDS), hours=hours),
            rules=rules,
            check=lambda: _check_answers(ask, url, settings),
            is_alive=lambda: _is_alive(ask),
            tell=lambda found, so_far: _tell_round(session, found, so_far),
        ).run()
    if session.json:
        session.print_json(build_document(STRESS_SCHEMA, "", report))
    else:
        print_stress(session, report)
        session.say(f"kept in {place} (report.html has the curves)")
    if report.interrupted:
        return int(ExitCode.INTERRUPTED)
    codes = {"pass": ExitCode.OK, "fail": ExitCode.JUDGED_FAILING, "unknown": ExitCode.COULD_NOT_JUDGE}
    return int(codes[report.verdict])


def _rename(point: PointPlan) -> PointPlan:
    """One server only: the load's name says enough."""
    from xpukit.operate.bench.matrix import slug

    return msgspec.structs.replace(point, name=point.name.removeprefix(f"{slug(point.model)}-"))


def _make_ask(url: str, key: str) -> Ask:
    from xpukit.operate.ready.endpoint import make_ask

    return make_ask(url, key)


def _make_measure(session: Session, settings: ClientSettings, seed: int) -> Callable[[PointPlan, int], BenchResult]:
    from xpukit.cli.bench_measure import load_of
    from xpukit.cli.bench_tables import ProgressLine
    from xpukit.operate.bench.client import measure

    def run(plan: PointPlan, number: int) -> BenchResult:
        return measure(settings, load_of(plan, seed + number), progress=ProgressLine(session))

    return run


def _make_watcher(
    session: Session, ask: Ask, engine: RunningEngine | None, *, container: str, pid: int | None, gpus: bool
) -> Watcher:
    """What there is to read of this engine from here; sources that say nothing are told once."""
    from xpukit.operate.stress import machine_readings as readings
    from xpukit.operate.stress.engine_metrics import read_engine
    from xpukit.operate.stress.watcher import Watcher

    host = session.open_host()
    fast: list[Reader] = [lambda: read_engine(ask, timeout_s=_METRICS_TIMEOUT_S)]
    if not read_engine(ask, timeout_s=_METRICS_TIMEOUT_S):
        session.say("the engine has no /metrics that we understand: its cache and preemptions are not watched")
    slow: list[Reader] = [lambda: readings.read_host_memory(host)]
    container = container or (engine.container if engine is not None else "")
    if container:
        cgroup = readings.find_cgroup(host, container)
        if not cgroup:
            session.say(f"container {container}: its memory cannot be read from here")
        slow.append(lambda: readings.read_container(host, cgroup))
    root = pid if pid is not None else engine.process if engine is not None and not engine.container else None
    if root is not None:
        if not readings.read_processes(host, root):
            raise UsageError(f"--pid {root}: no such process here", hint="it is the number on this machine")
        slow.append(lambda: readings.read_processes(host, root))
    if gpus and (reader := _make_gpu_reader(session)) is not None:
        slow.append(reader)
    return Watcher(fast, slow)


def _make_gpu_reader(session: Session) -> Reader | None:
    """None where this machine has no GPU that we read."""
    from xpukit.cli.exporter import ask_smi
    from xpukit.facts.bench_stress import find_stress_limit
    from xpukit.operate.exporter.collect import Exporter
    from xpukit.operate.stress.machine_readings import read_gpus
    from xpukit.probe.machine import probe_machine

    host = session.open_host()
    exporter = Exporter(host, lambda: probe_machine(host), ask_smi=lambda machine: ask_smi(host, machine))
    exporter.refresh()
    if not any(sample.name == "hw_gpu_info" for sample in exporter.collect()):
        return None
    refreshed = time.monotonic()

    def read() -> dict[str, float]:
        nonlocal refreshed
        if time.monotonic() - refreshed >= find_stress_limit("gpu_sample_s"):
            exporter.refresh()
            exporter.scan()
            refreshed = time.monotonic()
        return read_gpus(exporter)

    return read


def _check_answers(ask: Ask, url: str, settings: ClientSettings) -> str:
    """The gate's sums, asked twice where they are wrong: "" where they are right."""
    from xpukit.facts.readiness import find_level
    from xpukit.operate.ready.attempt import describe_failure
    from xpukit.operate.ready.check_generation import check_generation
    from xpukit.operate.ready.endpoint import Endpoint
    from xpukit.operate.ready.gate import Gate

    endpoint = Endpoint(url=url, model=settings.model, models=(settings.model,), context_tokens=None)
    why = ""
    for _ in range(2):
        gate = Gate(ask, endpoint, find_level("quick"), apis=(settings.api,), timeout_s=settings.timeout_s)
        check_generation(gate, settings.api)
        why = describe_failure(gate.rows)
        if not why:
            return ""
    return why


def _is_alive(ask: Ask) -> bool:
    from xpukit.operate.ready.endpoint import is_alive

    return is_alive(ask, _METRICS_TIMEOUT_S)


def _tell_round(session: Session, found: Round, report: StressReport) -> None:
    """A line for each round."""
    result = found.result
    said = [f"round {found.number} {found.scenario}"]
    if result is not None:
        for name, label, unit in (
            ("ttft_median", "TTFT", "ms"),
            ("tpot_median", "TPOT", "ms"),
            ("output_throughput", "output", "tok/s"),
        ):
            value = result.find_value(name)
            said.append(f"{label} {'-' if value is None else format_number(value)} {unit}")
        said.append(f"{result.failed or 0} of {found.asked} failed")
    if (
        memory := next((one for one in report.series if one.unit == "bytes" and one.verdict != "shown"), None)
    ) is not None:
        said.append(f"{memory.label} {format_bytes(int(memory.values[-1][1]))}")
    session.say(", ".join(said))
    if report.regression:
        session.say(f"stopped: {report.regression}")


def print_stress(session: Session, report: StressReport) -> None:
    """What was watched, and what it came to."""
    from xpukit.cli.render import print_table
    from xpukit.operate.stress.judge import show_value

    rows = [
        (
            one.label,
            one.scenario or "-",
            show_value(one, one.baseline),
            show_value(one, one.recent),
            show_value(one, one.limit),
            one.verdict,
            one.reason,
        )
        for one in report.series
    ]
    head = ("figure", "scenario", "first rounds", "last rounds", "worse beyond", "verdict", "why")
    styles = [{"fail": "red", "unknown": "magenta"}.get(one.verdict, "") for one in report.series]
    print_table("", head, rows, color=session.color, right=(2, 3, 4), styles=styles)
    for note in report.notes:
        print(f"note: {note}")
    count = f"{len(report.rounds)} rounds, {report.requests} requests, {report.failed} failed"
    said = report.regression or ("nothing got worse" if report.verdict == "pass" else "too few rounds to judge")
    ended = " (interrupted)" if report.interrupted else ""
    print(f"{report.verdict}: {said}; {count}{ended}")
