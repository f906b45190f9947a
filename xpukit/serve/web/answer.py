"""What the page is told: once what there is to choose (`Facts`), and for each set of choices the plan (`Answer`)."""

from __future__ import annotations

import functools
from typing import Any, Protocol

import msgspec

from xpukit import __version__
from xpukit.core.errors import UnrecordedQuestionError, XpukitError
from xpukit.facts.engines import list_engines
from xpukit.serve.forms import FormFile, FormOptions, render_form
from xpukit.serve.model_types import Guess, Model
from xpukit.serve.plan_types import Choice, Plan, PlannedEngine, PlannedModel, Rejected
from xpukit.serve.predict import Prediction
from xpukit.serve.questions import (
    Fit,
    Option,
    describe_fit,
    list_context_options,
    list_engine_options,
    list_form_options,
    list_gpu_options,
    list_parsers,
    list_quantization_options,
    list_sizes,
    list_version_options,
    search_models,
    split_size,
)
from xpukit.serve.request import ServeRequest
from xpukit.serve.request_words import FIELDS, GROUPS, Field, Output, list_defaults, spell_line
from xpukit.serve.validate_problem import Problem
from xpukit.serve.web.draw_picture import draw_picture
from xpukit.serve.web.read_body import FILE_FIELDS

_RELAXED: dict[str, Any] = {
    "quantization": "", "context": None, "concurrency": None, "tp": None, "pp": None, "dp": None, "ep": None,
    "reasoning_parser": "", "tool_parser": "", "extras": (), "gpus": (), "mtp": None, "speculative": "", "loras": (),
}  # fmt: skip


class Desk(Protocol):
    """Who makes the plans."""

    @property
    def source(self) -> str: ...

    def refresh(self) -> None: ...

    def make_both(self, request: ServeRequest) -> tuple[Plan, Model]: ...

    def describe_machine(self) -> str: ...


class Complaint(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it is shown: what is wrong and what helps."""

    message: str
    hint: str = ""


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A known model in the list. `words`: what a search looks in."""

    id: str
    family: str
    size: str
    category: str
    tasks: tuple[str, ...]
    words: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All there is to choose from, whatever is chosen. `here`: the machine; `here_error`: why it cannot be used."""

    version: str
    here: str
    here_error: str
    source: str
    models: tuple[ModelRow, ...]
    gpus: tuple[Option, ...]
    versions: dict[str, tuple[Option, ...]]
    forms: tuple[Option, ...]
    fields: tuple[Field, ...]
    groups: dict[str, str]
    defaults: dict[str, Any]
    fixed: dict[str, str]


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """A word of the command and its reason."""

    launch: str
    words: str
    why: str
    source: str
    kind: str


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What can be chosen given the rest."""

    engines: tuple[Option, ...]
    quantization: tuple[Option, ...]
    context: tuple[Option, ...]
    reasoning: tuple[Option, ...]
    tools: tuple[Option, ...]
    sizes: tuple[Option, ...]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Of the plan what the page shows."""

    model: PlannedModel
    machine: str
    vendor: str
    engine: PlannedEngine
    parallelism: str
    quantization: str
    fit: Fit
    choices: tuple[Choice, ...]
    words: tuple[Why, ...]
    rejected: tuple[Rejected, ...]
    prediction: Prediction | None
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    guesses: tuple[Guess, ...]
    assumptions: tuple[str, ...]
    load: str
    picture: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a set of choices. `error`: nothing could be planned; `form_error`: it could not be written so."""

    line: str
    error: Complaint | None = None
    form_error: Complaint | None = None
    files: tuple[FormFile, ...] = ()
    plan: Shown | None = None
    options: Options | None = None


def list_facts(desk: Desk, given: ServeRequest) -> Facts:
    """Once a page. Looks at the machine again."""
    desk.refresh()
    here, why = "", ""
    try:
        here = desk.describe_machine()
    except XpukitError as err:
        why = err.message
    except UnrecordedQuestionError as err:
        why = str(err)
    return Facts(
        version=__version__,
        here=here,
        here_error=why,
        source=desk.source,
        models=_list_models(),
        gpus=list_gpu_options(),
        versions={name: list_version_options(name) for name in list_engines()},
        forms=list_form_options(),
        fields=FIELDS,
        groups={str(name): title for name, title in GROUPS.items()},
        defaults=dict(list_defaults()),
        fixed={name: getattr(given, name) for name in FILE_FIELDS},
    )


@functools.cache
def _list_models() -> tuple[ModelRow, ...]:
    return tuple(
        ModelRow(
            id=entry.id,
            family=split_size(entry.id)[0],
            size=split_size(entry.id)[1],
            category=entry.category,
            tasks=entry.tasks,
            words=" ".join((entry.id, *entry.aliases, entry.category, *entry.tasks)).lower(),
        )
        for entry in search_models()
    )


def answer_request(desk: Desk, request: ServeRequest, output: Output) -> Answer:
    """Plan and write. An error of the planner is an answer too, with what could be chosen instead."""
    line = spell_line(request, output, source=desk.source)
    if not request.model:
        complaint = Complaint(message="no model is chosen", hint="search for one, or name a directory")
        return Answer(line=line, error=complaint, options=_list_options(desk, request))
    try:
        plan, model = desk.make_both(request)
    except (XpukitError, UnrecordedQuestionError) as err:
        return Answer(line=line, error=_complain(err), options=_list_options(desk, request))
    options = _gather_options(desk, plan, model)
    files: tuple[FormFile, ...] = ()
    form_error = None
    if plan.memory.fits:
        try:
            files = render_form(output.form, plan, _make_form_options(request, output))
        except XpukitError as err:
            form_error = _complain(err)
    return Answer(line=line, files=files, form_error=form_error, plan=_show(plan), options=options)


def _complain(err: XpukitError | UnrecordedQuestionError) -> Complaint:
    return Complaint(message=str(err), hint=err.hint if isinstance(err, XpukitError) else "")


def _make_form_options(request: ServeRequest, output: Output) -> FormOptions:
    return FormOptions(
        name=output.name,
        log_file=request.log_file,
        models=output.model_dir,
        privileged=output.privileged,
        cdi=output.cdi,
        # As the command line does.
        balance="leastconn",
    )


def _list_options(desk: Desk, request: ServeRequest) -> Options | None:
    """What can be chosen, from the plan without the choices that may be at fault; None where that fails too."""
    if not request.model:
        return None
    for changes in (_RELAXED, {**_RELAXED, "engine": "", "image": "", "nodes": ()}):
        try:
            plan, model = desk.make_both(msgspec.structs.replace(request, **changes))
        except (XpukitError, UnrecordedQuestionError):
            continue
        return _gather_options(desk, plan, model)
    return None


def _gather_options(desk: Desk, plan: Plan, model: Model) -> Options:
    return Options(
        engines=list_engine_options(plan.machine.vendor),
        quantization=list_quantization_options(model, plan, lambda request: desk.make_both(request)[0]),
        context=list_context_options(plan),
        reasoning=list_parsers(plan, "reasoning"),
        tools=list_parsers(plan, "tools"),
        sizes=list_sizes(model.id or model.text),
    )


def _show(plan: Plan) -> Shown:
    return Shown(
        model=plan.model,
        machine=plan.machine.platform or plan.machine.host,
        vendor=plan.machine.vendor,
        engine=plan.engine,
        parallelism=plan.parallelism.describe(),
        quantization=plan.quantization.name,
        fit=describe_fit(plan),
        choices=plan.choices,
        words=_list_words(plan),
        rejected=plan.rejected,
        prediction=plan.prediction,
        problems=plan.problems,
        notes=plan.notes,
        guesses=tuple(dict.fromkeys((*plan.model.guesses, *plan.memory.guesses))),
        assumptions=plan.machine.assumptions,
        load=plan.memory.load.why,
        picture=draw_picture(plan),
    )


def _list_words(plan: Plan) -> tuple[Why, ...]:
    found = []
    for launch in plan.launches:
        found += [
            Why(launch=launch.name, words=f"{one.name}={one.value}", why=one.why, source=one.source, kind="variable")
            for one in launch.variables
            if not one.passed
        ]
        found += [
            Why(launch=launch.name, words=" ".join(one.words), why=one.why, source=one.source, kind=one.kind)
            for one in launch.flags
        ]
    return tuple(found)
