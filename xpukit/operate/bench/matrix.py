"""What is to be measured, declared in a file: models × loads × concurrency (or rates), TOML or YAML."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from xpukit.core.errors import UsageError
from xpukit.core.toml import parse_toml
from xpukit.facts.bench_scenarios import find_scenario
from xpukit.operate.bench.report import Deployment

_SCHEMA = "xpukit.bench-matrix/1"
_MOST_POINTS = 2000


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that is served, or to be started. `url` "": the one of the command line.

    To be started: `serve` are words of `xpukit serve` beside name, quantization and ranks, `plan` a saved plan.
    `quantizations` and `tps` cross: each pair is a deployment of its own.
    """

    name: str
    served_name: str = ""
    url: str = ""
    quantization: str = ""
    tp: int | None = None
    devices: int | None = None
    serve: str = ""
    plan: str = ""
    quantizations: tuple[str, ...] = ()
    tps: tuple[int, ...] = ()


class Lengths(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A load in tokens and requests; `requests` 0: ten for each place, at least ten."""

    input_len: int
    output_len: int
    requests: int = 0


class Matrix(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The declaration. Named `scenarios` bring their own concurrency; `lengths` are crossed with `concurrency` and
    `rates` (requests a second). `form`: models without an address are started so (shell, docker, podman)."""

    schema: str
    model: tuple[Model, ...]
    scenarios: tuple[str, ...] = ()
    lengths: tuple[Lengths, ...] = ()
    concurrency: tuple[int, ...] = ()
    rates: tuple[float, ...] = ()
    arrival: Literal["poisson", "fixed"] = "poisson"
    shared_prefix: float = 0.0
    repeats: int = 1
    warmup: int = 1
    hardware: str = ""
    form: str = ""


class PointPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One point: what is asked of whom. `key` is the same for the same point in any run."""

    name: str
    model: Model
    input_len: int
    output_len: int
    requests: int
    concurrency: int | None
    rate_rps: float | None
    arrival: str
    shared_prefix: float
    deployment: Deployment

    @property
    def key(self) -> str:
        parts = msgspec.json.encode(msgspec.to_builtins(self), order="sorted")
        return hashlib.sha256(parts).hexdigest()[:12]


def load_matrix(path: Path, *, hardware: str = "") -> Matrix:
    """Read the file. Raises UsageError (BadFactsError for what is no TOML)."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError(f"{path}: cannot be read: {err}", hint="check the path") from err
    raw = _parse_yaml(text, path) if path.suffix in (".yaml", ".yml") else parse_toml(text, source=str(path))
    try:
        matrix = msgspec.convert(raw, Matrix)
    except msgspec.ValidationError as err:
        raise UsageError(f"{path}: {err}", hint="docs/bench.md shows a whole file") from err
    if matrix.schema != _SCHEMA:
        raise UsageError(f"{path}: schema {matrix.schema!r} is not {_SCHEMA!r}", hint="docs/bench.md")
    return msgspec.structs.replace(matrix, hardware=hardware or matrix.hardware)


def _parse_yaml(text: str, path: Path) -> Any:
    try:
        import yaml  # type: ignore[import-untyped, unused-ignore]
    except ModuleNotFoundError as err:
        raise UsageError(f"{path}: YAML needs PyYAML", hint="write TOML, or: pip install pyyaml") from err
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as err:
        raise UsageError(f"{path}: not valid YAML: {err}", hint="correct the file at the named line") from err


def list_points(matrix: Matrix) -> tuple[PointPlan, ...]:
    """Every point, in the order of the file, each once. Raises UsageError for a matrix without points or too many."""
    loads: list[tuple[str, Lengths, int | None, float | None]] = []
    for name in matrix.scenarios:
        found = find_scenario(name)
        lengths = Lengths(input_len=found.input_len, output_len=found.output_len, requests=found.requests)
        loads.append((name, lengths, found.concurrency or None, None))
    for lengths in matrix.lengths:
        name = f"{lengths.input_len}-{lengths.output_len}"
        loads += [
            (f"{name}-{f'c{places}' if places else 'all'}", lengths, places or None, None)
            for places in matrix.concurrency
        ]
        loads += [(f"{name}-r{rate:g}", lengths, None, rate) for rate in matrix.rates]
    _check(matrix, loads)
    points: dict[str, PointPlan] = {}
    for model in (one for asked in matrix.model for one in cross_model(asked)):
        for name, lengths, places, rate in loads:
            plan = PointPlan(
                name=f"{slug(model)}-{name}",
                model=model,
                input_len=lengths.input_len,
                output_len=lengths.output_len,
                requests=lengths.requests or max(10, 10 * (places or 1)),
                concurrency=places,
                rate_rps=rate,
                arrival=matrix.arrival if rate is not None else "",
                shared_prefix=matrix.shared_prefix,
                deployment=Deployment(
                    hardware=matrix.hardware, devices=model.devices, tp=model.tp, quantization=model.quantization
                ),
            )
            points.setdefault(plan.key, plan)
    return tuple(points.values())


def cross_model(model: Model) -> tuple[Model, ...]:
    """A deployment for each quantization and number of ranks."""
    return tuple(
        msgspec.structs.replace(model, quantization=quantization, tp=tp, quantizations=(), tps=())
        for quantization in model.quantizations or (model.quantization,)
        for tp in model.tps or (model.tp,)
    )


def _check(matrix: Matrix, loads: Sequence[tuple[str, Lengths, int | None, float | None]]) -> None:
    if not matrix.model or not loads:
        raise UsageError("the matrix has no point", hint="it needs a model, and scenarios or lengths with concurrency")
    deployments = sum(len(cross_model(model)) for model in matrix.model)
    if deployments * len(loads) * matrix.repeats > _MOST_POINTS:
        raise UsageError(f"the matrix has more than {_MOST_POINTS} runs", hint="split it")
    if matrix.repeats < 1 or matrix.warmup < 0:
        raise UsageError("repeats are at least 1, warm-ups at least 0", hint="correct the matrix")
    for model in matrix.model:
        if model.plan and (model.serve or model.quantizations or model.tps):
            raise UsageError(
                f"{model.name}: a saved plan is one deployment", hint="leave serve, quantizations, tps out"
            )
    for name, lengths, places, rate in loads:
        if min(lengths.input_len, lengths.output_len) < 1 or lengths.requests < 0 or (places or 0) < 0:
            raise UsageError(f"{name}: lengths are at least 1 token", hint="correct the matrix")
        if rate is not None and not 0 < rate <= 1e6:
            raise UsageError(f"{name}: no rate", hint="correct the matrix")


def slug(model: Model) -> str:
    """The model with what tells it from another deployment of it, as part of a file's name."""
    parts = [model.name.rstrip("/").rpartition("/")[2], model.quantization, f"tp{model.tp}" if model.tp else ""]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(part for part in parts if part)).strip("-.")[:80] or "model"
