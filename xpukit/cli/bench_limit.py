"""`xpukit bench find-limit`: the highest rate at which a server keeps a promise."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from xpukit.cli.bench_options import (
    ApiOption,
    ArrivalOption,
    EosOption,
    InputOption,
    KeyOption,
    OutputOption,
    PrefixOption,
    TimeoutOption,
    UrlOption,
    choose_load,
    read_api,
    read_arrival,
    read_key,
)
from xpukit.cli.session import JsonOption, current_session
from xpukit.core.errors import ExitCode, UsageError

HELP = "Search the highest request rate at which a running server keeps a promise."
SCHEMA = "xpukit.bench-limit/1"
_MOST_REQUESTS = 100_000


def bench_limit(
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help="As the server names it. [its first]")] = "",
    json: JsonOption = False,
    url: UrlOption = "",
    sla: Annotated[
        list[str] | None, typer.Option("--sla", metavar="TERM", help="As 'ttft_p99<=500ms'. Repeatable; all must hold.")
    ] = None,
    scenario: Annotated[str, typer.Option("--scenario", help="A load's lengths by its name.")] = "",
    input_len: InputOption = None,
    output_len: OutputOption = None,
    lowest: Annotated[float, typer.Option("--from-rate", metavar="RATE", help="Requests a second, at first.")] = 0.5,
    highest: Annotated[float, typer.Option("--max-rate", metavar="RATE", help="Never more.")] = 256.0,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Of each step.")] = 30.0,
    steps: Annotated[int, typer.Option("--steps", min=1, max=50, help="At most.")] = 12,
    precision: Annotated[float, typer.Option("--precision", min=0.01, max=1.0, help="As a share of the rate.")] = 0.1,
    arrival: ArrivalOption = "poisson",
    shared_prefix: PrefixOption = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="Of prompts and arrivals.")] = 1,
    api: ApiOption = "chat",
    api_key_env: KeyOption = "",
    ignore_eos: EosOption = True,
    timeout: TimeoutOption = 600.0,
) -> int:
    """Search, print."""
    session = current_session()
    session.take(json=json)
    session.require_live("bench find-limit")
    from xpukit.cli.bench_tables import ProgressLine
    from xpukit.cli.render import print_table
    from xpukit.core.json_document import build_document
    from xpukit.core.units import format_number
    from xpukit.operate.bench.client import ClientSettings, find_model, measure
    from xpukit.operate.bench.page import find_worst_overhead
    from xpukit.operate.bench.result import BenchResult
    from xpukit.operate.bench.schedule import LoadPlan
    from xpukit.operate.bench.sla import Step, find_limit, read_term

    if not url:
        raise UsageError("no server was named", hint="--url http://127.0.0.1:8000")
    spoken, arriving = read_api(api), read_arrival(arrival)
    terms = [read_term(text) for text in sla or []]
    if not terms:
        raise UsageError("no promise was named", hint="--sla 'ttft_p99<=500ms' --sla 'tpot_mean<=50ms'")
    load = choose_load(scenario, input_len, output_len, None, None)
    key = read_key(session, api_key_env)
    settings = ClientSettings(
        url=url,
        model=model or find_model(url, key),
        api=spoken,
        api_key=key,
        ignore_eos=ignore_eos,
        timeout_s=timeout,
    )

    def look(rate: float) -> BenchResult:
        plan = LoadPlan(
            input_len=load.input_len,
            output_len=load.output_len,
            requests=min(_MOST_REQUESTS, max(10, math.ceil(rate * seconds))),
            rate_rps=rate,
            arrival=arriving,
            shared_prefix=shared_prefix,
            seed=seed,
        )
        return measure(settings, plan, progress=ProgressLine(session))

    def tell(step: Step) -> None:
        session.say(f"{step.rate_rps:.3g} req/s: {step.broken or 'kept'}")

    found = find_limit(
        look, terms, lowest_rps=lowest, highest_rps=highest, precision=precision, most_steps=steps, tell=tell
    )
    if session.json:
        session.print_json(build_document(SCHEMA, "", found))
    else:
        names = ("ttft_p99", "tpot_mean", "e2e_p99", "output_throughput")
        rows = []
        for step in found.steps:
            values = [step.result.find_value(name) for name in names]
            shown = ["-" if value is None else format_number(value) for value in values]
            rows.append((f"{step.rate_rps:.3g}", *shown, "no" if step.broken else "yes", step.broken))
        head = ("req/s", "TTFT p99 ms", "TPOT mean ms", "E2E p99 ms", "out tok/s", "kept", "why not")
        print_table(" and ".join(found.terms), head, rows, color=session.color, right=(0, 1, 2, 3, 4))
        if cost := find_worst_overhead([step.result for step in found.steps]):
            print(f"note: {cost.statement}")
        print(found.statement)
    if found.interrupted:
        return int(ExitCode.INTERRUPTED)
    return int(ExitCode.OK if found.highest_rps is not None else ExitCode.JUDGED_FAILING)
