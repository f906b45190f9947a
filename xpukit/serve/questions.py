"""What can be chosen, and what a choice does to the fit, on the planner's answers: for the walk-through and the page.

Nothing here decides: whether something is possible or fits is what `quantization` and a plan say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from xpukit.core.errors import XpukitError
from xpukit.core.units import format_bytes
from xpukit.facts.engines import EngineSchema, list_engines, list_versions, load_resolved, resolve_engine
from xpukit.facts.launch_images import find_image_row
from xpukit.facts.launch_parsers import find_parsers
from xpukit.facts.models import ModelEntry, find_model, list_models
from xpukit.facts.platforms import list_gpus
from xpukit.serve.forms import list_forms
from xpukit.serve.model_types import Model
from xpukit.serve.plan_types import Plan
from xpukit.serve.quantization import list_quantizations
from xpukit.serve.request import ServeRequest

PlanMaker = Callable[[ServeRequest], Plan]
# "Qwen3" + "30B-A3B": from the number of parameters on; where there is none, from a word of size on.
_COUNT = re.compile(r"[-_](?=(?:A?\d+(?:\.\d+)?|\d+x\d+)B(?:-|_|$))", re.IGNORECASE)
_SIZE_WORD = re.compile(r"[-_](?=(?:mini|small|base|medium|large|Lite|Pro|Flash|Air)(?:-|_|$))", re.IGNORECASE)
_FIRST_CONTEXT = 4096
_CONTEXT_STEPS = 9
_REASONING = ("reasoning_parsers", "ReasoningParserManager")
_TOOLS = ("tool_parsers", "ToolParserManager")


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """An answer to a question. `possible` False: shown with the reason (`note`) why it cannot be taken."""

    value: str
    label: str
    note: str = ""
    possible: bool = True


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the memory bar."""

    name: str
    bytes: int
    kind: str
    why: str


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """What of a plan is shown beside each choice. `scale_bytes`: the bar's length: the memory, or more where wanted."""

    fits: bool
    headline: str
    total_bytes: int
    budget_bytes: int
    scale_bytes: int
    segments: tuple[Segment, ...]
    max_context: int
    asked_context: int
    concurrency: float
    margin_bytes: int
    short_bytes: int
    ways_out: tuple[str, ...]


def split_size(model_id: str) -> tuple[str, str]:
    """("Qwen/Qwen3", "30B-A3B"): a family and which of it; the second is "" for a name without a size."""
    organisation, slash, last = model_id.rpartition("/")
    found = _COUNT.search(last) or _SIZE_WORD.search(last)
    if found is None or not found.start():
        return model_id, ""
    return organisation + slash + last[: found.start()], last[found.end() :]


def search_models(text: str = "") -> tuple[ModelEntry, ...]:
    """Known models whose id, other names, category or tasks hold every word of the text."""
    words = text.lower().split()

    def matches(entry: ModelEntry) -> bool:
        told = " ".join((entry.id, *entry.aliases, entry.category, *entry.tasks)).lower()
        return all(word in told for word in words)

    return tuple(entry for entry in list_models() if matches(entry))


def list_sizes(model_id: str) -> tuple[Option, ...]:
    """The family of a known model, smallest names first as the table has them; () for one of a kind."""
    entry = find_model(model_id)
    if entry is None:
        return ()
    family = split_size(entry.id)[0]
    same = [(one, split_size(one.id)[1]) for one in list_models() if split_size(one.id)[0] == family]
    if len(same) < 2:
        return ()
    return tuple(Option(value=one.id, label=size or one.id.rpartition("/")[2], note=one.category) for one, size in same)


def list_gpu_options() -> tuple[Option, ...]:
    """GPUs that a platform can be named after."""
    return tuple(
        Option(value=gpu.name, label=gpu.full_name, note=f"{format_bytes(gpu.memory_bytes)}, {gpu.vendor}")
        for gpu in list_gpus()
    )


def list_engine_options(vendor: str) -> tuple[Option, ...]:
    """Engines; the note says which project makes an image for this vendor's GPUs."""
    found = []
    for name in list_engines():
        row = find_image_row(name, vendor)
        newest = list_versions(name)[-1]
        note = row.reference.format(version=newest) if row is not None else f"no image for {vendor} that we know"
        found.append(Option(value=name, label=f"{name} {newest}", note=note))
    return tuple(sorted(found, key=lambda one: (one.note.startswith("no image"), one.value)))


def list_version_options(engine: str) -> tuple[Option, ...]:
    """Versions whose flags we know, newest first."""
    return tuple(Option(value=f"{engine}:{version}", label=version) for version in reversed(list_versions(engine)))


def list_quantization_options(model: Model, plan: Plan, make_plan: PlanMaker) -> tuple[Option, ...]:
    """All quantizations with what becomes of the fit, by planning each that is possible."""
    device_id = plan.machine.gpus[0].device_id if plan.machine.gpus else ""
    candidates = list_quantizations(model, engine=plan.engine.name, version=plan.engine.version, device_id=device_id)
    options = []
    for one in candidates:
        if not one.allowed:
            options.append(Option(value=one.name, label=one.name, note=one.reason, possible=False))
            continue
        note = _try(msgspec.structs.replace(plan.request, quantization=one.name), make_plan)
        options.append(Option(value=one.name, label=one.name, note=note))
    return tuple(options)


def _try(request: ServeRequest, make_plan: PlanMaker) -> str:
    try:
        return describe_fit(make_plan(request)).headline
    except XpukitError as err:
        return err.message


def list_context_options(plan: Plan, make_plan: PlanMaker | None = None) -> tuple[Option, ...]:
    """Lengths of a request up to the longest that fits; with `make_plan` also what becomes of the fit."""
    longest = plan.memory.max_context
    lengths = [_FIRST_CONTEXT << step for step in range(_CONTEXT_STEPS) if _FIRST_CONTEXT << step < longest]
    asked = msgspec.structs.replace(plan.request, concurrency=None)
    options = []
    for length in (*lengths, *([longest] if longest > 0 else [])):
        note = "the longest that fits" if length == longest else ""
        if make_plan is not None:
            told = _try(msgspec.structs.replace(asked, context=length), make_plan)
            note = f"{note}; {told}" if note else told
        options.append(Option(value=str(length), label=f"{length:,}", note=note))
    return tuple(options)


def list_parsers(plan: Plan, kind: str) -> tuple[Option, ...]:
    """Names that the engine's version registers for "reasoning" or "tools", those of the model first."""
    schema = find_schema(plan)
    tables, program_flag = (_REASONING, "--reasoning-parser") if kind == "reasoning" else (_TOOLS, "--tool-call-parser")
    names = next((schema.registries[table] for table in tables if table in schema.registries), ())
    if not names:
        flags = (program.options.get(program_flag) for program in schema.programs.values())
        names = next((tuple(map(str, flag.choices)) for flag in flags if flag is not None and flag.choices), ())
    entry = find_model(plan.model.id) if plan.model.id else None
    row = find_parsers((plan.model.id, plan.model.path, plan.model.asked), plan.engine.name)
    wanted = (row.reasoning if kind == "reasoning" else row.tools) if row is not None else ()
    if kind == "tools" and entry is not None:
        wanted = (*(need.value for need in entry.list_needs("tool_parser")), *wanted)
    own = [name for name in dict.fromkeys(wanted) if name in names or not names]
    source = row.source if row is not None else ""
    return (
        *(Option(value=name, label=name, note=f"for this model{': ' + source if source else ''}") for name in own),
        *(Option(value=name, label=name) for name in names if name not in own),
    )


def find_schema(plan: Plan) -> EngineSchema:
    """The flags we know of the plan's engine."""
    return load_resolved(resolve_engine(f"{plan.engine.name}:{plan.engine.version}"))


def list_form_options() -> tuple[Option, ...]:
    """The forms."""
    return tuple(Option(value=form.NAME, label=form.NAME, note=form.SUMMARY) for form in list_forms())


def name_platform(gpu: str, count: int = 1, machines: int = 1) -> str:
    """ "2x8xH200"."""
    return f"{machines}x{count}x{gpu}" if machines > 1 else f"{count}x{gpu}"


def describe_fit(plan: Plan) -> Fit:
    """The memory of a GPU and what it is good for."""
    memory = plan.memory
    segments = [
        Segment(name=row.name, bytes=row.bytes, kind=str(row.origin), why=row.why)
        for row in memory.rows
        if row.bytes > 0
    ]
    used = sum(one.bytes for one in segments)
    spare = memory.device.total_bytes - max(used, memory.budget_bytes)
    if spare > 0:
        segments.append(Segment(name="not taken", bytes=spare, kind="fact", why=f"{memory.utilization:.0%} is taken"))
    sizes = f"{plan.parallelism.describe()}, {plan.quantization.name}"
    if memory.fits:
        headline = f"fits ({sizes}): {memory.concurrency:.2f} requests of {memory.asked_context:,} tokens at a time"
    else:
        short = f", short by {format_bytes(memory.short_bytes)} a GPU" if memory.short_bytes else ""
        headline = f"does not fit ({sizes}{short}): {memory.reason}"
    return Fit(
        fits=memory.fits,
        headline=headline,
        total_bytes=memory.device.total_bytes,
        budget_bytes=memory.budget_bytes,
        scale_bytes=max(memory.device.total_bytes, used),
        segments=tuple(segments),
        max_context=memory.max_context,
        asked_context=memory.asked_context,
        concurrency=memory.concurrency,
        margin_bytes=memory.margin_bytes,
        short_bytes=memory.short_bytes,
        ways_out=tuple(way.text for way in memory.ways_out),
    )


def share_cells(segments: Sequence[Segment], scale_bytes: int, cells: int) -> tuple[int, ...]:
    """How many of so many cells each stretch takes: in all exactly as many as the bytes' part of the scale, rounded."""
    ends, done = [], 0
    for one in segments:
        done += one.bytes
        ends.append(round(cells * done / scale_bytes) if scale_bytes else 0)
    return tuple(end - start for start, end in zip([0, *ends], ends, strict=False))
