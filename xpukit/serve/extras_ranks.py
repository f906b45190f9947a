"""Of the engine's flags after `--`: those that say which GPUs its ranks take, and which of its copies run here."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from xpukit.core.errors import UsageError
from xpukit.serve.devices import DevicePool, Unit
from xpukit.serve.request import ServeRequest
from xpukit.serve.validate_intents import Meant

# SGLang: rank i runs on GPU base + i * step, in the order that a process sees them (srt/managers/
# data_parallel_controller.py and srt/entrypoints/engine.py of 0.4.6.post5 to 0.5.20). vLLM: a list of GPUs.
BASE, STEP, IDS = "base_gpu_id", "gpu_id_step", "device_ids"
# vLLM: so many of the copies here, or this one alone (arg_utils.py: a rank means a local size of 1).
LOCAL, RANK = "data_parallel_size_local", "data_parallel_rank"
GPUS, COPIES = (BASE, STEP, IDS), (LOCAL, RANK)
_LIST = re.compile(r"\d+(?:,\d+)*")


class GpuPick(msgspec.Struct, frozen=True, kw_only=True):
    """GPUs by their numbers in the engine's process: `ids`, else from `first` on, each `step`-th. `text`: as typed."""

    text: str
    first: int = 0
    step: int = 1
    ids: tuple[int, ...] = ()


def read_pick(found: Mapping[str, Meant], text: str) -> GpuPick | None:
    """What the flags of GPUs say; None where they say nothing, or nothing that can be read."""
    if IDS in found:
        value = ",".join(found[IDS].values).strip("[]").replace(" ", "")
        return GpuPick(text=text, ids=tuple(map(int, value.split(",")))) if _LIST.fullmatch(value) else None
    first, step = _read_number(found.get(BASE), 0), _read_number(found.get(STEP), 1)
    if first is None or not step:
        return None
    return GpuPick(text=text, first=first, step=step) if (first, step) != (0, 1) else None


def _read_number(meant: Meant | None, default: int) -> int | None:
    if meant is None:
        return default
    value = meant.values[0]
    return int(value) if value.isascii() and value.isdigit() and len(value) < 6 else None


def choose_gpus(pick: GpuPick, pool: DevicePool, request: ServeRequest, nodes: int = 1) -> tuple[str, ...]:
    """The names of the GPUs for `--gpu`: as many as a machine has ranks, where those were asked for, else all of them.

    Raises UsageError where there is no such GPU, or GPUs were also asked for by name.
    """
    if request.gpus:
        raise UsageError(
            f"--gpu {','.join(request.gpus)} and, after --, {pick.text}: both choose GPUs",
            hint="leave one of them out; --gpu also sets what the process sees",
        )
    by_number = {_number(unit, at): unit for at, unit in enumerate(pool.units)}
    last = max(by_number, default=-1)
    wanted = pick.ids or tuple(range(pick.first, last + 1, pick.step))
    if not pick.ids and request.tp is not None:
        ranks = request.tp * (request.pp or 1) * (request.dp or 1) * request.replicas // nodes
        wanted = tuple(pick.first + rank * pick.step for rank in range(ranks))
    missing = [number for number in wanted if number not in by_number]
    if missing or not wanted:
        there = ", ".join(map(str, by_number)) or "none"
        number = missing[0] if missing else pick.first
        raise UsageError(
            f"{pick.text} after --: there is no GPU {number} to use", hint=f"those that can be used: {there}"
        )
    return tuple(by_number[number].label for number in wanted)


def _number(unit: Unit, at: int) -> int:
    """As a process counts that sees all GPUs: the entry of the mask, which counts those that are left out, too."""
    return int(unit.mask) if unit.mask.isdigit() else at


def count_local(found: Mapping[str, Meant], total: int, nodes: int, text: str) -> int | None:
    """Copies that run on this machine where fewer than all do, else None.

    Raises UsageError for none here, or where that is not what each of several machines has.
    """
    local = 1 if RANK in found else _read_number(found.get(LOCAL), total)
    if local is None or local > total:
        return None  # the engine refuses that itself
    if nodes > 1:
        if RANK not in found and local * nodes != total:
            raise UsageError(
                f"{text} after --: {total} copies over {nodes} machines are {total / nodes:g} on each",
                hint="leave it out: each machine's command is given its number",
            )
        return None
    if local == 0:
        raise UsageError(
            f"{text} after --: no copy would run on this machine", hint="plan on the machines that run copies"
        )
    return local if local < total else None
