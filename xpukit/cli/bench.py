"""`xpukit bench`: the command of an engine's own benchmark for a named load."""

from __future__ import annotations

from typing import Annotated

import typer

from xpukit.cli import bench_context, bench_limit, bench_log, bench_run, bench_stress
from xpukit.cli.bench_group import PRINT, BenchGroup
from xpukit.cli.build_image_group import BuildCommand
from xpukit.cli.session import JsonOption, current_session
from xpukit.core.errors import ExitCode, UsageError

HELP = "Print the engine's own benchmark command for a load, checked against its version."
EPILOG = (
    "`xpukit bench run` measures, `xpukit bench log FILE...` judges what was measured, `xpukit bench find-limit` looks "
    "for the highest rate that keeps a promise, `xpukit bench stress` loads a server until something gets worse, "
    "`xpukit bench context` finds the longest request that really serves (see their --help)."
)
SCHEMA = "xpukit.bench-command/1"

app = typer.Typer(cls=BenchGroup, rich_markup_mode=None, add_completion=False)
app.command("log", help=bench_log.HELP)(bench_log.bench_log)
app.command("run", help=bench_run.HELP)(bench_run.bench_run)
app.command("find-limit", help=bench_limit.HELP)(bench_limit.bench_limit)
app.command("stress", help=bench_stress.HELP)(bench_stress.bench_stress)
app.command("context", help=bench_context.HELP)(bench_context.bench_context)


@app.command(PRINT, cls=BuildCommand, hidden=True, help=HELP, epilog=EPILOG)
def bench(
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help="The model's id or folder.", show_default=False)] = "",
    extras: Annotated[
        list[str] | None, typer.Argument(metavar="[-- FLAGS]", help="The benchmark's own flags; checked like ours.")
    ] = None,
    json: JsonOption = False,
    engine: Annotated[
        str, typer.Option("--engine", metavar="NAME[:VERSION]", help="vllm, llm-scaler-vllm or sglang, or an image.")
    ] = "vllm",
    scenario: Annotated[str, typer.Option("--scenario", help="A load by its name; --scenarios lists them.")] = "",
    scenarios: Annotated[bool, typer.Option("--scenarios", help="List the loads.")] = False,
    input_len: Annotated[int | None, typer.Option("--input", min=1, metavar="TOKENS", help="Of a prompt.")] = None,
    output_len: Annotated[int | None, typer.Option("--output", min=1, metavar="TOKENS", help="Of an answer.")] = None,
    requests: Annotated[int | None, typer.Option("--requests", min=1, help="In all.")] = None,
    concurrency: Annotated[int | None, typer.Option("--concurrency", min=1, help="At a time. [all at once]")] = None,
    rate: Annotated[str, typer.Option("--rate", help="Requests a second, or inf.")] = "",
    host: Annotated[str, typer.Option("--host", help="The server's address.")] = "",
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Its port.")] = None,
    served_name: Annotated[str, typer.Option("--served-name", help="The model's name in requests.")] = "",
    backend: Annotated[str, typer.Option("--backend", help="How the server is spoken to.")] = "",
    ignore_eos: Annotated[bool, typer.Option("--ignore-eos", help="Answers of full length.")] = False,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help="Run the model's own code.")] = False,
    one_batch: Annotated[bool, typer.Option("--one-batch", help="SGLang without a server: one batch.")] = False,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Prompts of that batch.")] = 1,
    tp: Annotated[int | None, typer.Option("--tp", min=1, help="Ranks of it.")] = None,
    device: Annotated[str, typer.Option("--device", help="What it runs on, as xpu.")] = "",
    profile: Annotated[bool, typer.Option("--profile", help="Keep a trace of it.")] = False,
) -> int:
    """Build the command, check it, print it."""
    session = current_session()
    session.take(json=json)
    from xpukit.core.json_document import build_document
    from xpukit.facts.bench_scenarios import Scenario, find_scenario, load_scenarios
    from xpukit.facts.engines import load_resolved, resolve_engine
    from xpukit.serve.bench_words import BenchRequest, build_bench
    from xpukit.serve.forms.quoting import continue_lines, list_lines

    if scenarios:
        from xpukit.cli.render import print_table

        rows = [
            (
                one.name,
                str(one.input_len),
                str(one.output_len),
                str(one.requests),
                str(one.concurrency or "all"),
                one.source,
            )
            for one in load_scenarios()
        ]
        if session.json:
            session.print_json(build_document("xpukit.bench-scenarios/1", "", {"scenarios": load_scenarios()}))
        else:
            columns = ("name", "prompt", "answer", "requests", "at a time", "source")
            print_table("", columns, rows, color=session.color, right=(1, 2, 3, 4))
        return int(ExitCode.OK)
    if not model:
        raise UsageError("no model was named", hint="xpukit bench Qwen/Qwen3-8B --scenario standard-low")
    base = find_scenario(scenario) if scenario else None
    if base is None and (input_len is None or output_len is None):
        raise UsageError("no load was named", hint="--scenario NAME (--scenarios lists them), or --input and --output")
    load = Scenario(
        name=scenario or "asked",
        input_len=input_len or (base.input_len if base else 1),
        output_len=output_len or (base.output_len if base else 1),
        requests=requests or (base.requests if base else 10),
        concurrency=concurrency if concurrency is not None else (base.concurrency if base else 0),
        source=base.source if base else "",
    )
    command = build_bench(
        BenchRequest(
            model=model,
            scenario=load,
            served_name=served_name,
            host=host,
            port=port,
            rate=rate,
            ignore_eos=True if ignore_eos else None,
            trust_remote_code=trust_remote_code,
            backend=backend,
            one_batch=one_batch,
            batch=batch,
            tp=tp,
            device=device,
            profile=profile,
            extras=tuple(extras or ()),
        ),
        load_resolved(resolve_engine(engine)),
    )
    if session.json:
        session.print_json(build_document(SCHEMA, "", command))
    else:
        for problem in command.problems:
            session.say(f"{problem.severity}: {problem.message}")
        if command.label:
            session.warn(command.label)
        print(continue_lines(list_lines(command.program, command.flags)))
    return int(ExitCode.USAGE if command.errors else ExitCode.OK)
