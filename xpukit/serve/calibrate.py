"""Estimate beside fact, from an engine's own start-up log, kept as a correction for this host, model and layout."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import CouldNotJudgeError, OutputError
from xpukit.core.json_document import BAD_JSON
from xpukit.host.door import Host
from xpukit.serve.engine_log import EngineLog
from xpukit.serve.kv_cache import count_concurrency, find_max_context, lay_out_kv
from xpukit.serve.memory import find_default
from xpukit.serve.memory_types import Correction, MemoryPlan
from xpukit.serve.model_types import Model

SCHEMA = "xpukit.corrections/1"
_GIB = 1 << 30
_FILE_LIMIT_BYTES = 4 << 20
# A log whose weights are further than both from those of the model is of something else.
_MOST_OFF, _MOST_OFF_GIB = 0.25, 1.0
_KEPT = 500  # corrections; the oldest go


class LogRow(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate beside what the log says. `error_percent`: of the fact; None where one of them is missing or 0."""

    name: str
    unit: str
    estimate: float | None
    fact: float | None
    error_percent: float | None


class _Corrections(msgspec.Struct, frozen=True, kw_only=True):
    schema: str
    corrections: tuple[Correction, ...]


def compare_log(plan: MemoryPlan, log: EngineLog, model: Model) -> tuple[LogRow, ...]:
    """Our numbers beside the engine's. The last rows start from the log's own cache size: they test our arithmetic."""
    graphs = sum(row.bytes for row in plan.rows if row.name == "graphs")
    rows = [
        _row("weights", "GiB", plan.weights_bytes / _GIB, log.model_gib),
        _row("KV cache", "GiB", plan.kv_bytes / _GIB, log.cache_gib),
        _row("KV cache", "tokens", plan.kv_tokens, log.kv_tokens),
        _row("graphs", "GiB", graphs / _GIB if graphs else None, log.graph_gib or log.graph_estimate_gib),
    ]
    parallel, settings = plan.parallel, plan.settings
    layout = lay_out_kv(model.architecture, parallel, settings)
    batched = settings.max_num_batched_tokens or int(
        find_default("max_num_batched_tokens", settings, plan.device.total_bytes) or 2048
    )
    kv_bytes = find_log_cache_bytes(plan, log, model)
    if kv_bytes is not None and not layout.is_empty:
        if log.concurrency is not None and log.concurrency_length:
            times = count_concurrency(
                layout, kv_bytes, log.concurrency_length, settings=settings, batched_tokens=batched
            )
            rows.append(_row(f"requests of {log.concurrency_length:,} tokens", "x", times, log.concurrency))
        if log.needed_length and log.needed_gib is not None:
            needed = layout.count_request_blocks(log.needed_length, batched) * layout.block_bytes / _GIB
            rows.append(_row(f"cache of {log.needed_length:,} tokens", "GiB", needed, log.needed_gib))
        if log.estimated_length is not None and log.needed_length:
            longest = find_max_context(layout, kv_bytes, log.needed_length, batched)
            rows.append(_row("longest request", "tokens", longest, log.estimated_length))
    return tuple(row for row in rows if row.fact is not None)


def find_log_cache_bytes(plan: MemoryPlan, log: EngineLog, model: Model) -> int | None:
    """The cache's bytes by the log: from its tokens where it counts them (exact), else from the rounded GiB.

    The log rounds to 0.01 GiB; half of that is added so that a number that was rounded down does not lose a block.
    """
    layout = lay_out_kv(model.architecture, plan.parallel, plan.settings)
    tokens = log.kv_tokens if log.kv_tokens is not None else log.estimated_length
    if tokens is not None and len(layout.groups) == 1 and layout.block_size:
        return tokens // layout.block_size * layout.block_bytes
    return round((log.cache_gib + 0.005) * _GIB) if log.cache_gib is not None else None


def derive_correction(
    plan: MemoryPlan, log: EngineLog, model: Model, *, host_key: str, model_key: str, created: str, source: str
) -> Correction:
    """What to add to our estimates. Raises CouldNotJudgeError when the log says neither weights nor cache.

    `plan` is one with the settings of the logged launch; a correction that is already in it is taken out first.
    """
    old = plan.correction
    own_weights = plan.weights_bytes - (old.weights_delta_bytes if old else 0)
    own_cache = plan.kv_bytes + (old.weights_delta_bytes + old.other_delta_bytes if old else 0)
    cache_bytes = find_log_cache_bytes(plan, log, model)
    if log.model_gib is None and cache_bytes is None:
        raise CouldNotJudgeError(
            "the log holds no line about weights or KV cache",
            hint="give the engine's start-up log, from its first line to 'Application startup complete'",
        )
    weights = round(log.model_gib * _GIB) - own_weights if log.model_gib is not None else 0
    other = own_cache - cache_bytes - weights if cache_bytes is not None else 0
    return Correction(
        host=host_key,
        model=model_key,
        quantization=plan.quantization,
        engine=plan.settings.engine,
        version=log.version or plan.settings.version,
        tp=plan.parallel.tp,
        pp=plan.parallel.pp,
        weights_delta_bytes=weights,
        other_delta_bytes=other,
        created=created,
        source=source,
    )


def find_mismatch(plan: MemoryPlan, log: EngineLog, model: Model) -> str:
    """Why the log cannot be of this launch, "" where it can: its weights are far from what the model's must be."""
    if log.model_gib is None or model.guesses:
        return ""
    old = plan.correction.weights_delta_bytes if plan.correction else 0
    ours = (plan.weights_bytes - old) / _GIB
    if abs(ours - log.model_gib) <= max(_MOST_OFF * ours, _MOST_OFF_GIB):
        return ""
    return (
        f"the log's weights are {log.model_gib:.2f} GiB, those of {model.name} as {plan.quantization}, tensor parallel "
        f"{plan.parallel.tp}, are {ours:.2f} GiB: it is of another model, quantization or division"
    )


def find_corrections_path(host: Host) -> Path:
    """Where corrections are kept: XDG_STATE_HOME, else ~/.local/state."""
    state = host.env("XDG_STATE_HOME").value or ""
    home = host.env("HOME").value or "/root"
    base = Path(state) if state.startswith("/") else Path(home) / ".local" / "state"
    return base / "xpukit" / "serve" / "corrections.json"


def load_corrections(host: Host) -> tuple[Correction, ...]:
    """All that are kept; a file that cannot be read counts as empty."""
    answer = host.read(str(find_corrections_path(host)), limit_bytes=_FILE_LIMIT_BYTES)
    if not answer.ok:
        return ()
    try:
        kept = msgspec.json.decode(answer.data, type=_Corrections)
    except BAD_JSON:
        return ()
    return kept.corrections if kept.schema == SCHEMA else ()


def find_correction(
    corrections: tuple[Correction, ...],
    *,
    host_key: str,
    model_key: str,
    quantization: str,
    engine: str,
    tp: int,
    pp: int = 1,
) -> Correction | None:
    """The newest that was made on this host for this model, quantization, engine and layout."""
    for correction in reversed(corrections):
        if (
            correction.host == host_key
            and _name(correction.model) == _name(model_key)
            and (correction.quantization, correction.engine) == (quantization, engine)
            and (correction.tp, correction.pp) == (tp, pp)
        ):
            return correction
    return None


def save_correction(host: Host, correction: Correction) -> Path:
    """Keep it, in place of an older one for the same launch. Raises OutputError."""
    path = find_corrections_path(host)
    kept = tuple(item for item in load_corrections(host) if _key(item) != _key(correction))[-(_KEPT - 1) :]
    document = _Corrections(schema=SCHEMA, corrections=(*kept, correction))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputError(f"{path.parent}: cannot be made: {err.strerror or err}", hint="set XDG_STATE_HOME") from err
    write_atomic(path, msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
    return path


def make_model_key(model: Model) -> str:
    """What a correction knows a model by: its id, else the last part of its path."""
    return re.sub(r"\s+", "-", model.id or (model.entry.id if model.entry else "") or model.name)


def _name(key: str) -> str:
    """A model is the same from a folder and by its id: the last part counts."""
    return key.rstrip("/").rpartition("/")[2].lower()


def _key(correction: Correction) -> tuple[str, str, str, str, int, int]:
    return (
        correction.host,
        _name(correction.model),
        correction.quantization,
        correction.engine,
        correction.tp,
        correction.pp,
    )


def _row(name: str, unit: str, estimate: float | None, fact: float | None) -> LogRow:
    error = 100 * (estimate - fact) / fact if estimate is not None and fact else None
    return LogRow(
        name=name,
        unit=unit,
        estimate=estimate,
        fact=fact,
        error_percent=round(error, 2) if error is not None else None,
    )
