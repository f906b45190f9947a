"""Options that the subcommands of `bench` share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from xpukit.cli.session import Session
from xpukit.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from xpukit.facts.bench_references import ServingReference
    from xpukit.facts.bench_scenarios import Scenario
    from xpukit.operate.bench.matrix import Matrix, Model
    from xpukit.operate.bench.report import BenchReport, Deployment, Point

HardwareOption = Annotated[
    str, typer.Option("--hardware", metavar="NAME", help="What served, as references name it: arc-pro-b60, b200.")
]
DevicesOption = Annotated[int | None, typer.Option("--devices", min=1, help="How many of it.")]
TpOption = Annotated[int | None, typer.Option("--tp", min=1, help="Ranks of tensor parallelism.")]
QuantizationOption = Annotated[str, typer.Option("--quantization", metavar="NAME", help="Of the weights.")]
ReferenceOption = Annotated[
    list[Path] | None,
    typer.Option("--reference", metavar="CSV", help="More references, before the shipped ones. Repeatable."),
]
AgainstOption = Annotated[
    list[Path] | None,
    typer.Option("--against", metavar="PATH", help="An earlier run: its directory, report or log. Repeatable."),
]
StrictOption = Annotated[bool, typer.Option("--strict", help="No reference is exit code 3.")]
UrlOption = Annotated[str, typer.Option("--url", metavar="URL", help="The server, as http://127.0.0.1:8000.")]
ApiOption = Annotated[str, typer.Option("--api", help="chat or completions.")]
KeyOption = Annotated[
    str, typer.Option("--api-key-env", metavar="NAME", help="The environment variable that holds the key.")
]
EosOption = Annotated[bool, typer.Option("--ignore-eos/--no-ignore-eos", help="Answers of full length (vLLM, SGLang).")]
ArrivalOption = Annotated[str, typer.Option("--arrival", help="Of requests at a rate: poisson or fixed.")]
PrefixOption = Annotated[
    float, typer.Option("--shared-prefix", metavar="SHARE", help="Of every prompt, the same for all: 0 to 1.")
]
ModelOption = Annotated[str, typer.Option("--model", help="As the server names it. [its first]")]
InputOption = Annotated[int | None, typer.Option("--input", min=1, metavar="TOKENS", help="Of a prompt.")]
OutputOption = Annotated[int | None, typer.Option("--output", min=1, metavar="TOKENS", help="Of an answer.")]
ConcurrencyOption = Annotated[int | None, typer.Option("--concurrency", min=1, help="At a time. [all at once]")]
RateOption = Annotated[float | None, typer.Option("--rate", help="Requests a second, however slow the server is.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0.1, metavar="SECONDS", help="For one request.")]
ServeOption = Annotated[
    str, typer.Option("--serve", metavar="WORDS", help="Start what 'xpukit serve WORDS' plans, and end it afterwards.")
]
PlanOption = Annotated[
    Path | None, typer.Option("--plan", metavar="FILE", help="Likewise, of a saved plan (xpukit serve --save).")
]
FormOption = Annotated[str, typer.Option("--form", "-f", help="How it is started: shell, docker or podman.")]
NameOption = Annotated[str, typer.Option("--name", help="Of the containers that are started.")]
ModelDirOption = Annotated[
    list[str] | None, typer.Option("--model-dir", metavar="DIR[:INSIDE]", help="Mount in them, read-only.")
]
ReadyOption = Annotated[
    float | None, typer.Option("--ready-timeout", min=1, metavar="SECONDS", help="For a start. [3600]")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where results are kept. [a new directory]")
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]
_LIMIT_BYTES = 256 << 20


def read_references(paths: Sequence[Path]) -> tuple[ServingReference, ...]:
    """The shipped ones, then the user's, of which the last stands. Raises BadFactsError."""
    from xpukit.facts.bench_references import load_serving_references, read_serving_references

    return (*load_serving_references(), *(row for path in paths for row in read_serving_references(path)))


def read_text(session: Session, path: Path) -> str:
    """A file's text, or standard input for "-". Raises UsageError."""
    if str(path) == "-":
        import sys

        return sys.stdin.buffer.read(_LIMIT_BYTES).decode("utf-8", "replace")
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT_BYTES + 1)
    except OSError as err:
        raise UsageError(f"{path}: cannot be read: {err.strerror}", hint="check the path") from err
    if len(data) > _LIMIT_BYTES:
        session.warn(f"{path}: only its first {_LIMIT_BYTES >> 20} MiB were read")
    return data[:_LIMIT_BYTES].decode("utf-8", "replace")


def read_earlier(session: Session, paths: Sequence[Path], deployment: Deployment) -> tuple[Point, ...]:
    """Points of earlier runs; of a log, the deployment is taken for the same. Raises UsageError."""
    from xpukit.operate.bench.judge import make_point
    from xpukit.operate.bench.parse import parse_bench, read_report

    points: list[Point] = []
    for given in paths:
        path = given / "results.json" if given.is_dir() else given
        text = read_text(session, path)
        report = read_report(text)
        found = (
            report.points
            if report is not None
            else tuple(make_point(str(path), [one], deployment) for one in parse_bench(text, origin=str(path)))
        )
        if not found:
            raise UsageError(f"{path}: holds no result of a benchmark", hint="name a run's directory, report or log")
        points += [point for point in found if point.runs]
    return tuple(points)


def choose_load(
    scenario: str, input_len: int | None, output_len: int | None, requests: int | None, concurrency: int | None
) -> Scenario:
    """A named load with what was given beside it. Raises UsageError where lengths are missing."""
    from xpukit.facts.bench_scenarios import Scenario, find_scenario

    base = find_scenario(scenario) if scenario else None
    if base is None and (input_len is None or output_len is None):
        raise UsageError("no load was named", hint="--scenario NAME (bench --scenarios), or --input and --output")
    return Scenario(
        name=scenario or "asked",
        input_len=input_len or (base.input_len if base else 1),
        output_len=output_len or (base.output_len if base else 1),
        requests=requests or (base.requests if base else 0),
        concurrency=concurrency if concurrency is not None else (base.concurrency if base else 0),
        source=base.source if base else "",
    )


def cross_loads(
    loads: Sequence[Scenario],
    served: Model,
    *,
    rate: float | None,
    arrival: str,
    shared_prefix: float,
    hardware: str = "",
) -> Matrix:
    """The matrix of loads given by options; at a rate their concurrency does not count."""
    from xpukit.operate.bench.matrix import Lengths, Matrix

    return Matrix(
        schema="",
        model=(served,),
        lengths=tuple(
            Lengths(input_len=load.input_len, output_len=load.output_len, requests=load.requests) for load in loads
        ),
        concurrency=tuple(dict.fromkeys(load.concurrency for load in loads)) if rate is None else (),
        rates=() if rate is None else (rate,),
        arrival=read_arrival(arrival),
        shared_prefix=shared_prefix,
        hardware=hardware,
    )


def read_key(session: Session, name: str) -> str:
    """The key. Raises UsageError where the variable is not set."""
    if not name:
        return ""
    found = session.open_host().env(name)
    if not found.value:
        raise UsageError(f"{name} is not set", hint=f"export {name}=...")
    return found.value


def read_api(text: str) -> Literal["chat", "completions"]:
    """Raises UsageError for another than the two."""
    if text not in ("chat", "completions"):
        raise UsageError(f"no API {text!r}", hint="--api chat or completions")
    return "chat" if text == "chat" else "completions"


def read_arrival(text: str) -> Literal["poisson", "fixed"]:
    """Raises UsageError for another than the two."""
    if text not in ("poisson", "fixed"):
        raise UsageError(f"no arrival {text!r}", hint="poisson or fixed")
    return "poisson" if text == "poisson" else "fixed"


def choose_directory(command: str, out: Path | None, *, resume: bool) -> Path:
    """`--out`, or a new directory here by the time. Raises UsageError for `--resume` without it."""
    from xpukit.core.json_document import now_utc

    if resume and out is None:
        raise UsageError("--resume goes on with a directory", hint="name it with --out")
    return out or Path(f"{command}-" + now_utc().replace(":", "").replace("-", "").lower())


def check_source(url: str, serve: str, plan_file: Path | None) -> None:
    """Raises UsageError unless exactly one server is named."""
    if sum((bool(url), bool(serve), plan_file is not None)) != 1:
        raise UsageError("one server is measured", hint="--url URL, or --serve 'MODEL OPTIONS', or --plan FILE")


def exit_code(report: BenchReport, *, strict: bool) -> int:
    """Of docs/exit-codes.md."""
    if report.interrupted:
        return int(ExitCode.INTERRUPTED)
    if report.verdict == "fail":
        return int(ExitCode.JUDGED_FAILING)
    if report.verdict == "unknown" or (strict and any(point.verdict == "no-baseline" for point in report.points)):
        return int(ExitCode.COULD_NOT_JUDGE)
    return int(ExitCode.OK)
