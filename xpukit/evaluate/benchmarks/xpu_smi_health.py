"""What xpu-smi says of the devices' health, component by component; its diagnostics where it still has them (1.x).

A row is 1 for what is well, 0.5 for a warning, 0 for what has failed. Components that are `unknown` (Xe Link of a card
without it) have no row.
"""

from __future__ import annotations

from xpukit.core.measurement import Job, Measurement, ParsedOutput, Promise, Skip
from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.parsers.lines import Note, Problem
from xpukit.evaluate.parsers.xpu_smi_tables import parse_diag, parse_health
from xpukit.evaluate.tools.convert_smi import (
    TOGETHER,
    UNIT,
    convert_diag,
    convert_health,
    make_health_key,
    sum_up_cards,
)
from xpukit.evaluate.tools.jobs import judge_output, list_gpus, skip_without_gpu
from xpukit.evaluate.tools.locate import explain_unavailable, find_tool
from xpukit.evaluate.tools.smi_devices import VARIABLE, read_numbers, read_smi_tool, write_numbers
from xpukit.facts.tools import get_tool
from xpukit.host import Host
from xpukit.host.answers import Ran

TOOL = "xpu-smi"
_ROWS = (("health", UNIT), ("diag", UNIT))
_TIMEOUT_S = 120.0
# Tests under load take longer with each level (smi_user_guide: quick, medium, long).
_DIAG_S = {0: 5.0, 1: 15.0, 2: 600.0, 3: 3600.0}


def plan(scope: Scope) -> Plan:
    """One job for the health of all devices; `diag` as a check beforehand, or at the suite's level on each."""
    gpus = list_gpus(scope)
    if not gpus:
        return skip_without_gpu(scope, "health", _ROWS)
    found = find_tool(scope.host, TOOL)
    tool = read_smi_tool(scope.host) if found.path else None
    cards: dict[str, list[str]] = {}
    for gpu in gpus:
        cards.setdefault(gpu.bdf or gpu.label, []).append(gpu.label)
    # A card's tiles have one row together: the tool looks at cards.
    labels = [TOGETHER.join(tiles) for tiles in cards.values()]
    numbers = (
        {tool.numbers[bdf]: TOGETHER.join(tiles) for bdf, tiles in cards.items() if bdf in tool.numbers} if tool else {}
    )
    known = [*numbers.values()] or labels
    jobs = [_build(("health", "-l"), "health", known, numbers, found.program, 3.0)]
    skips = [_skip("health", label, "xpu-smi does not list this device") for label in labels if label not in known]
    if tool is not None and (tool.major or 0) >= 2:
        reason = f"xpu-smi {tool.major}.x has no diag (1.x had)"
        skips += [_skip("diag", label, reason) for label in labels]
        return Plan(jobs=tuple(jobs), skips=tuple(skips))
    level = int(scope.settings.get("diag_level", 0))
    if level:
        jobs += [
            _build(
                ("diag", "-d", str(number), "-l", str(level)),
                "diag",
                [label],
                {number: label},
                found.program,
                _DIAG_S.get(level, 60.0),
            )
            for number, label in numbers.items()
        ]
    else:
        jobs.append(_build(("diag", "--precheck"), "diag", known, numbers, found.program, _DIAG_S[0]))
    return Plan(jobs=tuple(jobs), skips=tuple(skips))


def _build(
    arguments: tuple[str, ...], metric: str, labels: list[str], numbers: dict[int, str], program: str, estimate_s: float
) -> Job:
    return Job(
        benchmark="xpu_smi_health",
        name=f"{TOOL} {' '.join(arguments)}",
        argv=(program, *arguments),
        promises=tuple(Promise(key=make_health_key(metric, label), unit=UNIT) for label in labels),
        timeout_s=max(_TIMEOUT_S, 3 * estimate_s),
        estimate_s=estimate_s,
        env={VARIABLE: write_numbers(numbers)},
        targets=tuple(label for card in labels for label in card.split(TOGETHER)),
    )


def _skip(metric: str, label: str, reason: str) -> Skip:
    return Skip(key=make_health_key(metric, label), unit=UNIT, reason=reason)


def parse(job: Job, ran: Ran) -> ParsedOutput:
    """A row for each device (its worst), and for each of its components. A bad state is a result, not a failed job."""
    numbers = read_numbers(job.env.get(VARIABLE, ""))
    if "diag" in job.argv:
        diag = parse_diag(ran.text, ran.err_text)
        notes, problems = diag.notes, diag.problems
        found = convert_diag(diag, numbers)
    else:
        health = parse_health(ran.text, ran.err_text)
        notes, problems = health.notes, health.problems
        found = convert_health(health, numbers)
    return _judge(job, ran, found, notes, problems)


def _judge(
    job: Job, ran: Ran, found: list[Measurement], notes: tuple[Note, ...], problems: tuple[Problem, ...]
) -> ParsedOutput:
    overall = sum_up_cards(job.promises[0].key.metric, found)
    # What the tables say of a component is in its row; only what else went wrong is a problem of the job.
    others = tuple(problem for problem in problems if problem.kind != "error" or not overall)
    return judge_output(job, ran, (get_tool(TOOL),), [*overall, *found], problems=others, notes=notes)


def explain_no_smi(host: Host) -> str:
    """Why xpu-smi cannot be asked here, "" when it can."""
    return explain_unavailable(host, TOOL)


BENCHMARK = Benchmark(
    name="xpu_smi_health",
    summary="health and diagnostics of each device (xpu-smi health, diag)",
    engine="tools",
    plan=plan,
    parse=parse,
    order=5,
    rows="health",
    settings_of="xpu_smi_health",
    available=explain_no_smi,
)
