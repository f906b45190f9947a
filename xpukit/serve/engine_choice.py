"""Which engine, version and image a launch is planned for, and how that image's environment is loaded."""

from __future__ import annotations

from pathlib import Path

import msgspec

from xpukit.core.errors import UsageError
from xpukit.facts.doctor_images import find_generation, split_image
from xpukit.facts.engines import (
    EngineSchema,
    Resolution,
    list_versions,
    load_resolved,
    load_schema_file,
    resolve_engine,
)
from xpukit.facts.launch_images import ImageRow, find_default_engine, find_image_row
from xpukit.serve.plan_types import Choice, PlannedEngine
from xpukit.serve.request import ServeRequest

_SETVARS = "/opt/intel/oneapi/setvars.sh"


class EngineChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The engine of a plan and the schema its flags are checked against."""

    engine: PlannedEngine
    schema: EngineSchema
    choices: tuple[Choice, ...]


def choose_engine(
    request: ServeRequest,
    *,
    vendor: str,
    family: str,
    own_engine: str = "",
    own_flags: EngineSchema | None = None,
    needed_image: str = "",
) -> EngineChoice:
    """The engine that was asked for, else the usual one for the GPU.

    `own_engine`: what the image's labels say it holds; `own_flags`: what its own parser accepts; `needed_image`: the
    tag that the model's own guide names, for a version that was left open. Raises UsageError for an engine or image
    that we do not know.
    """
    choices: list[Choice] = []
    asked = request.image or request.engine
    if not asked:
        row = find_default_engine(vendor, family)
        asked = row.engine
        choices.append(Choice(name="engine", value=row.engine, why=row.why, source=row.source))
    elif request.image and request.engine:
        asked = _join(request, own_engine)
    elif request.image and own_engine:
        asked = own_engine
    resolution = _resolve(asked, request)
    name, version = resolution.engine, resolution.asked
    if not version:
        version = list_versions(name)[-1]
        why = "the newest version whose flags we know"
        if needed_image and name == "llm-scaler-vllm":
            why += f"; the model's guide names {needed_image}, or newer"
        choices.append(Choice(name="version", value=version, why=why, kind="default"))
        resolution = resolve_engine(f"{name}:{version}")
    else:
        said = asked == own_engine
        why = "what the image's labels say it holds" if said else "asked for"
        choices.append(Choice(name="engine", value=f"{name} {version}", why=why, kind="fact" if said else "asked"))
    schema = _read_schema(request, own_flags) or load_resolved(resolution)
    if schema.engine != name and not own_flags:
        raise UsageError(f"{request.schema_file}: flags of {schema.engine}, not of {name}", hint="name its --engine")
    row_of_image = find_image_row(name, vendor)
    image = request.image
    if not image and row_of_image is not None:
        image = row_of_image.reference.format(version=version)
        why = "named by the project's way of tagging; not looked up"
        choices.append(Choice(name="image", value=image, why=why, kind="rule", source=row_of_image.source))
    setvars, setvars_why = _find_setvars(image)
    own = own_flags is not None or bool(request.schema_file)
    engine = PlannedEngine(
        name=name,
        version=version,
        image=image,
        checked_against=schema.source if own else f"{schema.engine} {schema.version}",
        exact=own or resolution.exact,
        label="" if own else resolution.label,
        setvars=setvars,
        setvars_why=setvars_why,
        start=row_of_image.start if row_of_image is not None and _is_of(row_of_image, image) else "pass",
        models_dir=row_of_image.models_dir if row_of_image is not None else "/models",
    )
    return EngineChoice(engine=engine, schema=schema, choices=tuple(choices))


def _is_of(row: ImageRow, image: str) -> bool:
    """Whether an image is one of the project that the row is about, wherever it was pulled from."""
    return split_image(row.reference.format(version="")).repository in image


def _resolve(asked: str, request: ServeRequest) -> Resolution:
    try:
        return resolve_engine(asked)
    except UsageError as err:
        if asked != request.image:
            raise
        hint = "--engine NAME:VERSION says what it holds; images of xpukit build-image say so where Docker has them"
        raise UsageError(f"--image {asked}: its name says no engine we know", hint=hint) from err


def _join(request: ServeRequest, own_engine: str) -> str:
    """--engine says what is in the image, where its name does not."""
    name, colon, version = request.engine.replace("==", ":").partition(":")
    if colon:
        return f"{name}:{version}"
    if own_engine.partition(":")[0] == name:
        return own_engine
    tag = split_image(request.image).tag
    return f"{name}:{tag}" if tag else name


def _read_schema(request: ServeRequest, own_flags: EngineSchema | None) -> EngineSchema | None:
    if request.schema_file:
        return load_schema_file(Path(request.schema_file))
    return own_flags


def _find_setvars(image: str) -> tuple[str, str]:
    generation = find_generation(split_image(image)) if image else None
    if generation is None:
        return "", ""
    if generation.setvars in ("needed", "entrypoint"):
        return _SETVARS, f"without it oneAPI's environment is not loaded ({generation.source})"
    return "", f"the image has no setvars.sh ({generation.source})"
