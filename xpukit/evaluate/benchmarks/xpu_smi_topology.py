"""How xpu-smi says that each pair of GPUs is wired: one word a pair, beside what copies between them reach."""

from __future__ import annotations

from itertools import combinations

from xpukit.core.measurement import Job, ParsedOutput, Promise, Skip
from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.benchmarks.xpu_smi_health import explain_no_smi
from xpukit.evaluate.parsers.xpu_smi_topology import parse_topology
from xpukit.evaluate.tools.jobs import judge_output, list_gpus, skip_without_gpu
from xpukit.evaluate.tools.locate import find_tool
from xpukit.evaluate.tools.smi_devices import VARIABLE, read_numbers, read_smi_tool, write_numbers
from xpukit.evaluate.wiring import METRIC, UNIT, convert_topology, make_wiring_key
from xpukit.facts.tools import get_tool
from xpukit.host.answers import Ran

TOOL = "xpu-smi"
# How the tool's generation gets to the parser; no program reads it.
_GENERATION = "XPUKIT_SMI_GENERATION"
_ARGUMENTS = ("topology", "-m")
_TIMEOUT_S = 60.0


def plan(scope: Scope) -> Plan:
    """One job for all pairs; nothing for a single GPU."""
    gpus = list_gpus(scope)
    if not gpus:
        return skip_without_gpu(scope, "p2p", ((METRIC, UNIT),))
    if len(gpus) < 2:
        return Plan()
    found = find_tool(scope.host, TOOL)
    tool = read_smi_tool(scope.host) if found.path else None
    numbers = {tool.numbers[gpu.bdf]: gpu.bdf for gpu in gpus if gpu.bdf in tool.numbers} if tool else {}
    listed = set(numbers.values())
    pairs = list(combinations(gpus, 2))
    known = [(one, other) for one, other in pairs if not listed or {one.bdf, other.bdf} <= listed]
    skips = tuple(
        Skip(key=make_wiring_key(one.label, other.label), unit=UNIT, reason="xpu-smi does not list both devices")
        for one, other in pairs
        if (one, other) not in known
    )
    if not known:
        return Plan(skips=skips)
    job = Job(
        benchmark="xpu_smi_topology",
        name=f"{TOOL} {' '.join(_ARGUMENTS)}",
        argv=(found.program, *_ARGUMENTS),
        promises=tuple(
            Promise(key=make_wiring_key(one.label, other.label), unit=UNIT, higher_is_better=False)
            for one, other in known
        ),
        timeout_s=_TIMEOUT_S,
        estimate_s=2.0,
        env={VARIABLE: write_numbers(numbers), _GENERATION: str((tool.major if tool else None) or "")},
        targets=tuple(gpu.label for gpu in gpus),
    )
    return Plan(jobs=(job,), skips=skips)


def parse(job: Job, ran: Ran) -> ParsedOutput:
    """A row for each pair that the matrix has a known word for."""
    parsed = parse_topology(ran.text, ran.err_text)
    generation = job.env.get(_GENERATION, "")
    labels = {
        (number, int(tile) if tile.isdecimal() else 0): label
        for number, bdf in read_numbers(job.env.get(VARIABLE, "")).items()
        for label in job.targets
        if label.partition("/")[0] == bdf
        for tile in [label.partition("/tile")[2]]
    }
    rows = convert_topology(parsed, labels, int(generation) if generation.isdecimal() else None)
    return judge_output(job, ran, (get_tool(TOOL),), rows, problems=parsed.problems, notes=parsed.notes)


BENCHMARK = Benchmark(
    name="xpu_smi_topology",
    summary="how each pair of GPUs is wired (xpu-smi topology -m)",
    engine="tools",
    plan=plan,
    parse=parse,
    order=7,
    rows="p2p",
    settings_of="p2p",
    available=explain_no_smi,
)
