"""`xpukit bench log`: judge what a serving benchmark printed or saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpukit.cli.bench_options import (
    AgainstOption,
    DevicesOption,
    HardwareOption,
    QuantizationOption,
    ReferenceOption,
    StrictOption,
    TpOption,
    exit_code,
    read_earlier,
    read_references,
    read_text,
)
from xpukit.cli.session import JsonOption, current_session
from xpukit.core.errors import CouldNotJudgeError

if TYPE_CHECKING:
    from xpukit.operate.bench.result import BenchResult

HELP = "Read results of vllm bench serve, sglang.bench_serving and bench_one_batch, and judge them."


def bench_log(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Logs, saved JSON, reports of ours; - is input.")
    ],
    json: JsonOption = False,
    model: Annotated[str, typer.Option("--model", help="Where the file does not say it.")] = "",
    input_len: Annotated[int | None, typer.Option("--input", min=1, metavar="TOKENS", help="Likewise.")] = None,
    output_len: Annotated[int | None, typer.Option("--output", min=1, metavar="TOKENS", help="Likewise.")] = None,
    concurrency: Annotated[int | None, typer.Option("--concurrency", min=1, help="Likewise.")] = None,
    hardware: HardwareOption = "",
    devices: DevicesOption = None,
    tp: TpOption = None,
    quantization: QuantizationOption = "",
    reference: ReferenceOption = None,
    against: AgainstOption = None,
    report_file: Annotated[
        Path | None, typer.Option("--report", metavar="HTML", help="Write the page with the curves there.")
    ] = None,
    strict: StrictOption = False,
) -> int:
    """Parse, judge, print."""
    session = current_session()
    session.take(json=json)
    import msgspec

    from xpukit.cli.bench_tables import print_report
    from xpukit.core.atomic import write_atomic
    from xpukit.core.json_document import build_document
    from xpukit.operate.bench.judge import judge_points, make_point
    from xpukit.operate.bench.page import write_page
    from xpukit.operate.bench.parse import parse_bench, read_report
    from xpukit.operate.bench.report import REPORT_SCHEMA, Deployment, Point

    deployment = Deployment(hardware=hardware, devices=devices, tp=tp, quantization=quantization)

    def fill(result: BenchResult) -> BenchResult:
        load = msgspec.structs.replace(
            result.load,
            input_len=result.load.input_len or input_len,
            output_len=result.load.output_len or output_len,
            concurrency=result.load.concurrency or concurrency,
        )
        return msgspec.structs.replace(result, model=result.model or model, load=load)

    points: list[Point] = []
    empty: list[str] = []
    for path in files:
        text = read_text(session, path)
        if (earlier_report := read_report(text)) is not None:
            points += [
                make_point(point.name, point.runs, deployment if hardware else point.deployment)
                for point in earlier_report.points
            ]
            continue
        results = parse_bench(text, origin=str(path))
        if not results:
            empty.append(str(path))
        for number, result in enumerate(results, start=1):
            name = path.name if len(results) == 1 else f"{path.name}:{number}"
            points.append(make_point(name, [fill(result)], deployment))
    if not points:
        raise CouldNotJudgeError(
            f"no result of a benchmark in {', '.join(empty)}", hint="give the whole output, or the JSON that it saved"
        )
    earlier = [
        make_point(point.name, [fill(run) for run in point.runs], point.deployment)
        for point in read_earlier(session, against or [], deployment)
    ]
    notes = [f"no result in {path}" for path in empty]
    report = judge_points(points, read_references(reference or []), earlier, notes=notes)
    if report_file is not None:
        write_atomic(report_file, write_page(report).encode())
    if session.json:
        session.print_json(build_document(REPORT_SCHEMA, "", report))
    else:
        print_report(report, color=session.color)
    return exit_code(report, strict=strict)
