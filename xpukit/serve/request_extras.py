"""What the user's own flags after `--` ask of the planner: taken as if `xpukit serve` had been asked by its own option.

Ranks, GPUs, masks, memory, pinning and published ports rest on some of the engine's flags. One of them among the
extras is a choice like any other: it is put into the request, by its meaning (intents.toml) and not by its name.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from xpukit.core.errors import UsageError
from xpukit.facts.engine_rules import find_entry
from xpukit.facts.engines import EngineSchema
from xpukit.serve.extras_file import write_out
from xpukit.serve.extras_ranks import COPIES, GPUS, GpuPick, count_local, read_pick
from xpukit.serve.model_types import Model
from xpukit.serve.quantization import is_plannable
from xpukit.serve.request import ServeRequest
from xpukit.serve.request_words import FIELDS, Field, list_defaults
from xpukit.serve.validate_intents import Meant, find_unless, parse_words, read_intents, says_same
from xpukit.serve.validate_parse import Given, Parsed
from xpukit.serve.validate_spell import spell_intent, write_values
from xpukit.serve.validate_types import convert_value

# Said of a launch, but by no single choice of the request.
_MODEL, _NODES, _BLOCK_SIZE = "model", "nodes", "block_size"
# Ranks that no plan has.
_UNPLANNED = "prefill_context_parallel"
_DP = "data_parallel"


class TakenExtras(msgspec.Struct, frozen=True, kw_only=True):
    """The request with what the extras ask for; its own extras are those that are left.

    `taken`: the words of each extra that was taken, as they were typed; `notes`: a line for each; `block_size`: tokens;
    `pick`: the GPUs that the extras choose, for the planner to name.
    """

    request: ServeRequest
    taken: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
    block_size: int | None = None
    pick: GpuPick | None = None


def take_extras(
    request: ServeRequest,
    schema: EngineSchema,
    model: Model,
    *,
    model_path: str,
    nodes: int,
    files: Mapping[str, Any] | None = None,
) -> TakenExtras:
    """Read the extras as this version does. What its parser would refuse is left for the validator.

    `files`: what `--config FILE` among them names, as it was read. Raises UsageError where an extra asks for another
    thing than an option of ours that was given.
    """
    entry = find_entry(schema.engine, "serve")
    program = schema.programs.get(entry.program) if entry is not None else None
    if not request.extras or entry is None or program is None:
        return TakenExtras(request=request)
    written = write_out(request.extras, files or {}, program, (model_path, request.model))
    request = msgspec.structs.replace(request, extras=written.extras)
    parsed = parse_words(request.extras, entry, program, schema)
    fields = {field.intent: field for field in FIELDS if field.intent}
    gone: set[int] = set()
    taken: list[tuple[str, ...]] = []
    notes: list[str] = list(written.notes)
    changes: dict[str, Any] = {}
    block_size = None
    for field in fields.values():
        _check_own(field, request, find_unless(parsed, field.intent, entry, schema))
    names = (*fields, _MODEL, _NODES, _BLOCK_SIZE, _UNPLANNED, *GPUS, *COPIES)
    said = {meant.intent: meant for meant in read_intents(parsed, names, entry, schema)}

    def find_text(intents: Sequence[str]) -> str:
        places = [at for one in intents if one in said for at in _find_places(said[one].given, parsed, request.extras)]
        return shlex.join(request.extras[at] for at in sorted(places))

    local = _find_local(said, request, nodes, find_text(COPIES))
    pick = read_pick(said, find_text(GPUS))
    if local is not None:
        more, note = _keep_total(said, request, local, schema, entry.role)
        request = msgspec.structs.replace(request, dp=local, extras=(*request.extras, *more))
        notes.append(f"{find_text(COPIES)}: {note}")
    for meant in said.values():
        places = _find_places(meant.given, parsed, request.extras)
        words = tuple(request.extras[at] for at in places)
        text = shlex.join(words)
        if meant.unless:
            notes.append(f"{text} stays as it is: with {meant.unless} it is not what {_option_of(fields, meant)} asks")
        elif meant.intent in COPIES or (meant.intent == _DP and local is not None):
            continue
        elif meant.intent in GPUS:
            if pick is not None:
                gone.update(places)
        elif meant.intent == _BLOCK_SIZE:
            block_size = _read_count(meant.given[0], 1)
        elif meant.intent == _UNPLANNED:
            _check_unplanned(text, meant)
        elif meant.intent == _NODES:
            _check_nodes(text, meant, nodes)
        elif meant.intent == _MODEL:
            if _check_model(text, meant, (model_path, request.model)):
                gone.update(places)
        elif places:
            field = fields[meant.intent]
            value = _read_value(field, meant, model)
            if value is None:
                continue
            own = getattr(request, field.name)
            if own == list_defaults()[field.name]:
                changes[field.name] = value
                asked = _spell(field, value)
                notes.append(f"{text}{'' if text == asked else f' is {asked}'}: planned so")
            elif own != value and not says_same(meant.given, meant.intent, write_values(own), entry, schema):
                if places[-1] >= written.count:
                    _refuse_other(field, own, text)
                notes.append(f"{text} of {written.path} gives way to {_spell(field, own)}")
                gone.update(places)
                continue
            gone.update(places)
            taken.append(words)
    left = tuple(word for at, word in enumerate(request.extras) if at not in gone)
    return TakenExtras(
        request=msgspec.structs.replace(request, **changes, extras=left),
        taken=tuple(taken),
        notes=tuple(notes),
        block_size=block_size,
        pick=pick,
    )


def _find_local(said: Mapping[str, Meant], request: ServeRequest, nodes: int, text: str) -> int | None:
    """Copies on this machine, where the extras put others elsewhere."""
    if not text:
        return None
    meant = said.get(_DP)
    total = (_read_count(meant.given[0], 1) if meant is not None else None) or request.dp or 1
    return count_local(said, total, nodes, text)


def _keep_total(
    said: Mapping[str, Meant], request: ServeRequest, local: int, schema: EngineSchema, role: str
) -> tuple[tuple[str, ...], str]:
    """Words to add so that the engine is still told of all copies, and what is said of it."""
    meant = said.get(_DP)
    total = meant.values[0] if meant is not None else str(request.dp)
    if meant is not None and request.dp not in (None, local, _read_count(meant.given[0], 1)):
        raise UsageError(
            f"--dp {request.dp} and, after --, {meant.given[0].typed} {total}: they ask for different things",
            hint="leave one of them out",
        )
    spelled = spell_intent(schema, _DP, total, program=role) if meant is None else None
    note = (
        f"the GPUs of {local} of {total} copies are planned; the others are for other machines (--nodes A,B plans all)"
    )
    return tuple(spelled.words) if spelled is not None else (), note


def _option_of(fields: Mapping[str, Field], meant: Meant) -> str:
    return fields[meant.intent].option if meant.intent in fields else meant.intent


def _find_places(given: Sequence[Given], parsed: Parsed, extras: Sequence[str]) -> tuple[int, ...]:
    """Where in the extras all uses of these arguments stand; nothing where a word cannot be told from its values."""
    dests = {one.flag.dest for one in given}
    places: list[int] = []
    for one in parsed.given:
        if one.flag.dest not in dests:
            continue
        if not one.option:  # a model that the engine itself moves to the front
            alone = extras[one.origin].startswith("--model=")
            moved = one.origin > 0 and extras[one.origin - 1].replace("_", "-") == "--model"
            if not (alone or moved):
                return ()
            places += [one.origin] if alone else [one.origin - 1, one.origin]
            continue
        name, equals, _ = extras[one.origin].partition("=")
        if "." in name:
            return ()
        places += range(one.origin, one.origin + 1 + (0 if equals else len(one.values)))
    return tuple(sorted(places))


def _read_value(field: Field, meant: Meant, model: Model) -> Any:
    """The value for the request, None where the planner cannot plan for it (`auto`, a format that it does not know).

    Raises UsageError for a number that our own option refuses too.
    """
    values = meant.values
    if field.kind == "yes-or-no":
        return values == ("true",)
    if field.kind == "count":
        # A switch without a number: as many as there are.
        if values in (("true",), ("false",)):
            return 0 if values == ("true",) else 1
        count = _read_count(meant.given[0], field.least or 1)
        if count is not None and field.most is not None and count > field.most:
            raise UsageError(f"{meant.given[0].typed} {count} after --: more than {field.most}", hint=field.label)
        return count
    if field.kind == "share":
        share = float(values[0])
        if not (math.isfinite(share) and 0 < share <= 1):
            raise UsageError(f"{meant.given[0].typed} {values[0]} after --: not a part of 1", hint="for example 0.9")
        return share
    if field.kind == "words":
        return values if all("=" in value and not value.startswith("{") for value in values) else None
    if len(values) != 1 or not values[0]:
        return None
    if field.name == "quantization":
        return values[0] if is_plannable(model, values[0]) else None
    if field.kind == "one-of":
        return values[0] if values[0] in field.choices else None
    return values[0]


def _read_count(given: Given, least: int) -> int | None:
    try:
        value = convert_value(given.flag.type, given.values[0])
    except (ValueError, OverflowError, IndexError):
        return None
    return value if type(value) is int and value >= least else None


def _spell(field: Field, value: Any) -> str:
    if field.kind == "yes-or-no":
        return field.option if value else field.no_option
    if isinstance(value, tuple):
        return " ".join(f"{field.option} {one}" for one in value)
    return f"{field.option} {value:g}" if isinstance(value, float) else f"{field.option} {value}"


def _refuse_other(field: Field, own: Any, text: str) -> None:
    raise UsageError(
        f"{_spell(field, own)} and, after --, {text}: they ask for different things",
        hint=f"leave one of them out; {text.split(maxsplit=1)[0]} after -- is planned for as {field.option} is",
    )


def _check_own(field: Field, request: ServeRequest, unless: str) -> None:
    """Our option says so many ranks; with `unless` the engine's flag for them would say something else."""
    own = getattr(request, field.name)
    if unless and own not in (list_defaults()[field.name], 1):
        raise UsageError(
            f"{_spell(field, own)} and, after --, {unless}: with it, the engine has no ranks of that kind",
            hint=f"name the engine's own flag after -- too, instead of {field.option}",
        )


def _check_unplanned(text: str, meant: Meant) -> None:
    if (_read_count(meant.given[0], 1) or 1) > 1:
        raise UsageError(
            f"{text} after --: it asks for more GPUs than a plan can give it", hint="--tp or --pp divide over more GPUs"
        )


def _check_nodes(text: str, meant: Meant, nodes: int) -> None:
    count = _read_count(meant.given[0], 1)
    if count is not None and count != nodes:
        raise UsageError(
            f"{text} after --: the plan is for {nodes} machine{'s' if nodes > 1 else ''}",
            hint="name the machines: --nodes A,B (or --platform 2x8xH200); each is then given its own command",
        )


def _check_model(text: str, meant: Meant, mine: Sequence[str]) -> bool:
    """Whether the model is said a second time. Raises UsageError for another one."""
    given = meant.given[0]
    if not given.option and "--model" not in text:
        return False
    if meant.values[0] not in mine:
        raise UsageError(
            f"{mine[0]} and, after --, {text}: two models", hint="the model stands before --: xpukit serve MODEL -- ..."
        )
    return True
