"""A vendor's tool as a job: its environment and command, and what its output and its end mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xpukit.core.measurement import Job, Measurement, Param, ParsedOutput, Promise, Skip, Target, make_key
from xpukit.evaluate.benchmark import Plan, Scope
from xpukit.evaluate.embedded.collective_jobs import build_gpu_environment, sort_gpus
from xpukit.evaluate.parsers.lines import Note, Problem
from xpukit.evaluate.tools.locate import Found
from xpukit.facts.tools import Tool
from xpukit.host.answers import Ran

# Compressed buffers make copies look faster than the memory is (llm-scaler's FAQ, "unusually high Device-to-Device
# bandwidth in ze_peak").
UNCOMPRESSED = {"NEOReadDebugKeys": "1", "RenderCompressedBuffersEnabled": "0"}

# Copies of each size: what the tools do by themselves, and what a suite with short time boxes asks for.
ITERATIONS, SOME_ITERATIONS, FEW_ITERATIONS = 50, 20, 10
_SHORT_BOX_S, _LONG_BOX_S = 0.3, 1.0

_SHORTEST_TIMEOUT_S = 120.0
_REASONS = 3  # of what a tool complained about, in a row's reason


def list_gpus(scope: Scope) -> list[Target]:
    """The scope's GPUs (tiles) in the order in which a tool that sees them all counts them."""
    return sort_gpus([target for target in scope.targets if target.kind == "gpu"])


def count_iterations(scope: Scope) -> int:
    """How often a copy is repeated (-i)."""
    box_s = scope.method.time_box_s
    return ITERATIONS if box_s >= _LONG_BOX_S else SOME_ITERATIONS if box_s >= _SHORT_BOX_S else FEW_ITERATIONS


def skip_without_gpu(scope: Scope, benchmark: str, rows: Sequence[tuple[str, str]], **params: Param) -> Plan:
    """One row for each (metric, unit)."""
    labels = tuple(target.label for target in scope.targets)
    reason = "the vendor's tools measure GPUs; none is measured here"
    keys = [(make_key(benchmark, metric, labels, **params), unit) for metric, unit in rows]
    return Plan(skips=tuple(Skip(key=key, unit=unit, reason=reason) for key, unit in keys))


def build_tool_job(
    scope: Scope,
    *,
    benchmark: str,
    name: str,
    found: Found,
    arguments: Sequence[str],
    gpus: Sequence[Target],
    promises: Sequence[Promise],
    estimate_s: float,
    env: Mapping[str, str] | None = None,
    launcher: Sequence[str] = (),
) -> Job:
    """A job that runs the tool on `gpus`, which it sees as its devices 0, 1, ... in this order.

    The watchdog is generous against the estimate: its purpose is to end hangs, not slow devices.
    """
    return Job(
        benchmark=benchmark,
        name=name,
        argv=(*launcher, found.program, *arguments),
        promises=tuple(promises),
        timeout_s=max(_SHORTEST_TIMEOUT_S, 6 * estimate_s),
        estimate_s=estimate_s,
        env={**(env or {}), **build_gpu_environment(gpus, scope)},
        targets=tuple(target.label for target in gpus),
        cwd=found.folder,
    )


def number_targets(job: Job) -> dict[int, str]:
    """The tool's device numbers -> labels, as `build_tool_job` arranged them."""
    return dict(enumerate(job.targets))


def judge_output(
    job: Job,
    ran: Ran,
    tools: Sequence[Tool],
    measurements: Sequence[Measurement],
    *,
    problems: Sequence[Problem],
    notes: Sequence[Note],
) -> ParsedOutput:
    """What a tool delivered. Its exit code alone proves nothing: promised metrics decide.

    Latencies of sizes that nobody asked for are left out; bandwidths are kept, they are the curve.
    """
    promised = {promise.key for promise in job.promises}
    kept = tuple(m for m in measurements if m.key in promised or not m.key.metric.endswith("latency"))
    missing = promised - {measurement.key for measurement in kept}
    said = [f"line {note.line}: {note.text}" if note.line else note.text for note in notes]
    # That a test gave no value is a consequence: what was printed instead comes first.
    serious = list(dict.fromkeys(problem.text for problem in problems if problem.kind != "unmeasured"))
    complaints = [*serious, *dict.fromkeys(problem.text for problem in problems if problem.kind == "unmeasured")]
    end = _explain_end(ran, tools, complaints)
    problem = end
    if not problem and missing:
        unread = [f"could not read {text}" for text in said[:1]]
        complaint = "; ".join([*serious[:_REASONS], *unread]) or "; ".join(complaints[:_REASONS])
        complaint = complaint or "its output does not hold what was asked for"
        problem = f"{_name(ran)} ended without an error code, but: {complaint}"
    if ran.dropped_bytes:
        said.append(f"{ran.dropped_bytes} bytes of output were left out; the log has all")
    return ParsedOutput(measurements=kept, notes=(*complaints, *said), problem=problem)


def _name(ran: Ran) -> str:
    return ran.argv[0].rpartition("/")[2]


def _explain_end(ran: Ran, tools: Sequence[Tool], complaints: Sequence[str]) -> str:
    """Why a tool ended before its work was done, "" when it ended well."""
    said = "; ".join(complaints[:_REASONS])
    if not said:
        last = (ran.err_text.strip() or ran.text.strip()).splitlines()[-1:] or [""]
        said = last[0].strip()[:200]
    tail = f": {said}" if said else ""
    if ran.failure in ("not-found", "denied"):
        names = {program.name: tool for tool in tools for program in tool.programs}
        known = names.get(_name(ran))
        if ran.failure == "not-found" and known is not None:
            return known.explain_missing()
        return ran.describe_failure()
    if ran.failure == "timeout":
        return f"{_name(ran)} hung and was stopped after {ran.seconds:.0f} s{tail}"
    if ran.failure.startswith("signal:"):
        return f"{_name(ran)} crashed (signal {ran.failure.removeprefix('signal:')}){tail}"
    if ran.failure:
        return f"{_name(ran)} could not be started ({ran.failure}){tail}"
    return f"{_name(ran)} failed (exit {ran.rc}){tail}" if ran.rc else ""
