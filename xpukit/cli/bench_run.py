"""`xpukit bench run`: measure a running server, with our client or the engine's own benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from xpukit.cli.bench_options import (
    AgainstOption,
    ApiOption,
    ArrivalOption,
    ConcurrencyOption,
    DevicesOption,
    EosOption,
    HardwareOption,
    InputOption,
    KeyOption,
    ModelDirOption,
    ModelOption,
    NameOption,
    OutputOption,
    PrefixOption,
    QuantizationOption,
    RateOption,
    ReadyOption,
    ReferenceOption,
    StrictOption,
    TimeoutOption,
    TpOption,
    UrlOption,
    choose_directory,
    choose_load,
    cross_loads,
    exit_code,
    read_api,
    read_arrival,
    read_earlier,
    read_key,
    read_references,
)
from xpukit.cli.session import JsonOption, Session, current_session
from xpukit.core.errors import UsageError

if TYPE_CHECKING:
    from xpukit.operate.bench.run_matrix import Measure, Predict

HELP = "Measure servers: one load, or a matrix of them from a file; keep, judge and compare the results."


def bench_run(
    matrix_file: Annotated[
        Path | None,
        typer.Argument(metavar="[MATRIX]", help="A TOML or YAML file of models and loads.", show_default=False),
    ] = None,
    extras: Annotated[
        list[str] | None, typer.Argument(metavar="[-- FLAGS]", help="Flags of the engine's benchmark.")
    ] = None,
    json: JsonOption = False,
    url: UrlOption = "",
    model: ModelOption = "",
    client: Annotated[
        str,
        typer.Option("--client", metavar="NAME", help="builtin, or whose benchmark: vllm[:VERSION], sglang, an image."),
    ] = "builtin",
    container: Annotated[
        str, typer.Option("--container", metavar="NAME", help="The engine's benchmark runs inside this one.")
    ] = "",
    one_batch: Annotated[
        bool,
        typer.Option("--one-batch", help="SGLang's benchmark without a server; --concurrency is the batch's size."),
    ] = False,
    device: Annotated[str, typer.Option("--device", help="What that runs on, as xpu.")] = "",
    scenario: Annotated[str, typer.Option("--scenario", help="A load by its name.")] = "",
    input_len: InputOption = None,
    output_len: OutputOption = None,
    requests: Annotated[int | None, typer.Option("--requests", min=1, help="In all.")] = None,
    concurrency: ConcurrencyOption = None,
    rate: RateOption = None,
    arrival: ArrivalOption = "poisson",
    shared_prefix: PrefixOption = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="Of prompts and arrivals.")] = 1,
    repeats: Annotated[int | None, typer.Option("--repeats", min=1, max=100, help="Of each load. [1]")] = None,
    warmup: Annotated[int | None, typer.Option("--warmup", min=0, help="Requests before, not counted. [1]")] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", min=0.1, help="After these no request starts.")] = None,
    timeout: TimeoutOption = 600.0,
    run_timeout: Annotated[
        float, typer.Option("--run-timeout", min=1, metavar="SECONDS", help="For one run of the engine's benchmark.")
    ] = 7200.0,
    api: ApiOption = "chat",
    api_key_env: KeyOption = "",
    ignore_eos: EosOption = True,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help="Run the model's own code.")] = False,
    form: Annotated[
        str, typer.Option("--form", "-f", help="Start models without an address so: shell, docker or podman.")
    ] = "",
    name: NameOption = "xpukit-bench",
    model_dir: ModelDirOption = None,
    ready_s: ReadyOption = None,
    plan_file: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="Put what this saved plan predicts beside the results."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where results are kept. [bench-<time>]")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    hardware: HardwareOption = "",
    devices: DevicesOption = None,
    tp: TpOption = None,
    quantization: QuantizationOption = "",
    reference: ReferenceOption = None,
    against: AgainstOption = None,
    strict: StrictOption = False,
) -> int:
    """Plan, run, print."""
    session = current_session()
    session.take(json=json)
    session.require_live("bench run")
    from xpukit.cli.bench_engine import StartChoice
    from xpukit.cli.bench_measure import EngineChoice, measure_builtin, measure_with_engine
    from xpukit.cli.bench_start import EngineRow
    from xpukit.cli.bench_tables import print_report
    from xpukit.core.json_document import build_document, now_utc
    from xpukit.host.http_stream import read_url
    from xpukit.operate.bench.client import ClientSettings, find_model
    from xpukit.operate.bench.matrix import Model, list_points, load_matrix
    from xpukit.operate.bench.report import REPORT_SCHEMA, Deployment
    from xpukit.operate.bench.run_directory import BenchRunDirectory, RunRecord
    from xpukit.operate.bench.run_matrix import run_matrix

    spoken = read_api(api)
    read_arrival(arrival)
    place = choose_directory("bench", out, resume=resume)
    if extras and client == "builtin":
        raise UsageError("flags after -- are for the engine's benchmark", hint="--client vllm")
    key = read_key(session, api_key_env)
    if matrix_file is not None:
        if scenario or input_len or output_len or rate is not None or concurrency:
            raise UsageError("the matrix holds the loads", hint="leave the file out, or the options of a load")
        matrix = load_matrix(matrix_file, hardware=hardware)
    else:
        if one_batch and not model:
            raise UsageError("one batch needs a model", hint="--model NAME, its id or folder")
        if not url and not one_batch:
            raise UsageError("no server was named", hint="--url http://127.0.0.1:8000, or a matrix with --form docker")
        load = choose_load(scenario, input_len, output_len, requests, concurrency)
        served = Model(name=model or find_model(url, key), url=url, quantization=quantization, tp=tp, devices=devices)
        matrix = cross_loads([load], served, rate=rate, arrival=arrival, shared_prefix=shared_prefix, hardware=hardware)
    rounds = repeats or matrix.repeats
    before = matrix.warmup if warmup is None else warmup
    points = list_points(matrix)
    started = form or matrix.form
    lost = sorted({one.model.name for one in points if not (one.model.url or url)})
    if one_batch and (started or client == "builtin"):
        raise UsageError("--one-batch is SGLang's, without a server", hint="--client sglang, and no --form")
    if lost and not started and not one_batch:
        raise UsageError(
            f"no server for {', '.join(lost)}", hint="url = ... beside its name, or --url; --form docker starts them"
        )
    if started and any(one.model.url or url for one in points):
        raise UsageError(
            "some models are served and others to be started",
            hint="a matrix for each; --url and --form exclude each other",
        )
    for one in points:
        if not started and not one_batch:
            read_url(one.model.url or url)
    settings = ClientSettings(
        url=url,
        model=model,
        api=spoken,
        api_key=key,
        ignore_eos=ignore_eos,
        warmup=before,
        timeout_s=timeout,
        seconds=seconds,
    )
    created = now_utc()
    choice = None
    if client != "builtin":
        choice = EngineChoice(
            engine=client,
            container=container,
            timeout_s=run_timeout,
            trust=trust_remote_code,
            extras=tuple(extras or ()),
            one_batch=one_batch,
            device=device,
        )

    def make_measure(address: str, served: str, inside: str) -> Measure:
        """On a server: all points are looked at first, so that what cannot be asked is told before anything is."""
        here = msgspec.structs.replace(settings, url=address, model=served)
        if choice is None:
            return measure_builtin(session, here, seed)
        where = msgspec.structs.replace(choice, container=choice.container or inside)
        return measure_with_engine(session, here, where, place, points)

    measure = make_measure("http://127.0.0.1:8000" if started else url, model, "")
    directory = BenchRunDirectory.open(
        place,
        RunRecord(created=created, client=client, url=url, repeats=rounds, warmup=before, points=points),
        resume=resume,
    )
    predict: Predict = _make_predict(session, plan_file)
    engines = None
    if started:
        chosen = StartChoice(form=started, name=name, models=tuple(model_dir or ()), ready_s=ready_s)
        engines = EngineRow(session, place, chosen, make_measure, key=key)
        measure, predict = engines.measure, engines.predict
    deployment = Deployment(hardware=matrix.hardware, devices=devices, tp=tp, quantization=quantization)
    try:
        report = run_matrix(
            points,
            measure,
            directory,
            repeats=rounds,
            references=read_references(reference or []),
            earlier=read_earlier(session, against or [], deployment),
            say=session.say,
            by_deployment=bool(started),
            predict=predict,
        )
    finally:
        if engines is not None:
            engines.close()
    if session.json:
        session.print_json(build_document(REPORT_SCHEMA, "", report))
    else:
        print_report(report, color=session.color)
        session.say(f"kept in {place} (report.html has the curves)")
    return exit_code(report, strict=strict)


def _make_predict(session: Session, plan_file: Path | None) -> Predict:
    """What a saved plan foretells of each point; nothing without one."""
    if plan_file is None:
        return lambda plan, point: ()
    from xpukit.cli.bench_prediction import make_foreteller
    from xpukit.cli.serve_run import load_plan

    foreteller = make_foreteller(session, load_plan(session, str(plan_file)))
    return lambda plan, point: () if foreteller is None else foreteller.put_beside(point.runs[0].load, point)
