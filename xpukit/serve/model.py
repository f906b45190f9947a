"""Which model is meant: an id that we know, a directory, a config file, or a name that says how large it is.

Nothing is downloaded. What no source gives is guessed, and each guess is named in `Model.guesses`.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from xpukit.core.errors import UsageError
from xpukit.core.json_document import BAD_JSON
from xpukit.facts.models import Category, ModelEntry, Task, find_config, find_model
from xpukit.host.door import Host
from xpukit.serve.hub_cache import find_cached_id
from xpukit.serve.memory_types import MemorySettings
from xpukit.serve.model_config import find_text_config, read_architecture
from xpukit.serve.model_guess import guess_config, strip_quantization
from xpukit.serve.model_quantization import read_quantization
from xpukit.serve.model_tasks import find_tasks
from xpukit.serve.model_types import Architecture, Guess, Model, ModelSource, Stored, StoredQuantization
from xpukit.serve.safetensors_index import read_checkpoint
from xpukit.serve.weights import count_parameters, list_parts, size_weight

_CONFIG_LIMIT_BYTES = 16 << 20
_DRAFT = re.compile(r"Eagle|EAGLE|Medusa|MLPSpeculator|MTPModel$|NextN$|DFlash")
_MOST_LAYERS, _MOST_PARAMETERS = 4096, 1e14
_GGUF = "plans are made for safetensors: give the folder of the model that it was made from"
_DAMAGED = "copy the model again, or name another directory"


def resolve_model(text: str, host: Host, config_file: str | None = None) -> Model:
    """The model that `text` names. `config_file`: a config.json that describes it (`--config`).

    Raises UsageError: no such directory, a damaged file, or a name that says nothing about its size.
    """
    text = text.strip()
    if not text:
        raise UsageError("no model is named", hint="give an id (Qwen/Qwen3-8B) or a directory")
    if config_file is not None:
        return _from_file(text, host, config_file)
    if host.stat(text).kind == "dir":
        return _from_directory(text.rstrip("/") or "/", host)
    if host.stat(text).kind == "file" and text.endswith(".gguf"):
        raise UsageError(f"{text}: a GGUF file", hint=_GGUF)
    if host.stat(text).kind == "file":
        raise UsageError(f"{text}: a file, not a model directory", hint=f"for a config.json: --config {text}")
    if text.startswith(("/", "./", "../", "~")):
        entry = find_model(text)
        if entry is None or not text.startswith("/"):
            raise UsageError(f"{text}: no such directory", hint="give the directory that holds config.json")
        return _from_entry(text, entry, path=text, quantization=None)
    return _from_id(text)


def _from_id(text: str) -> Model:
    entry = find_model(text)
    if entry is not None:
        return _from_entry(text, entry, path="", quantization=None)
    base, quantization, why = strip_quantization(text)
    if quantization is not None:
        entry = find_model(base)
        if entry is not None:
            model = _from_entry(text, entry, path="", quantization=quantization)
            guess = Guess(what="stored quantization", value=quantization.method, why=why)
            return msgspec.structs.replace(model, id=text, guesses=(*model.guesses, guess))
    config, guesses = guess_config(base)
    if config is None:
        raise UsageError(
            f"{text}: not a model that we know, and its name says no size",
            hint="give its directory, or its config.json with --config FILE",
        )
    if quantization is not None:
        guesses = (*guesses, Guess(what="stored quantization", value=quantization.method, why=why))
    return _build(
        text=text, id=text, path="", source="name", config=config, config_source="guessed from the name",
        entry=None, stored=None, quantization=quantization, guesses=guesses, generation={},
    )  # fmt: skip


def _from_entry(text: str, entry: ModelEntry, *, path: str, quantization: StoredQuantization | None) -> Model:
    facts = find_config(entry.config) if entry.config else None
    guesses: tuple[Guess, ...] = ()
    if facts is not None:
        config, source = facts.config, f"{facts.source} ({facts.date})"
        guesses = tuple(
            Guess(
                what=name,
                value=_show(config, name),
                why=f"no source gives it for {entry.id}: {facts.note or 'assumed'}",
            )
            for name in facts.guessed
        )
        if "assumed" in entry.note:
            guesses = (*guesses, Guess(what="shape", value=facts.name, why=entry.note))
    else:
        guessed, guesses = guess_config(entry.id, billions=entry.guessed_billions)
        config, source = guessed or {}, "guessed from the number of parameters"
    return _build(
        text=text, id=entry.id, path=path, source="registry", config=config, config_source=source, entry=entry,
        stored=None, quantization=quantization or read_quantization(config), guesses=guesses, generation={},
    )  # fmt: skip


def _from_file(text: str, host: Host, config_file: str) -> Model:
    config = _read_config(host, config_file)
    entry = find_model(text)
    directory = text.rstrip("/") if host.stat(text).kind == "dir" else ""
    stored = read_checkpoint(host, directory) if directory else None
    return _build(
        text=text, id="" if directory else text, path=directory, source="config-file", config=config,
        config_source=config_file, entry=entry, stored=stored, quantization=read_quantization(config), guesses=(),
        generation={},
    )  # fmt: skip


def _from_directory(directory: str, host: Host) -> Model:
    names = host.list(directory).names
    if "config.json" not in names and "snapshots" in names:
        directory = _find_snapshot(directory, host)
        names = host.list(directory).names
    if "config.json" not in names:
        raise _explain_no_config(directory, names, host)
    config = _read_config(host, f"{directory}/config.json")
    stored = read_checkpoint(host, directory)
    if stored is None and any(name.endswith(".gguf") for name in names):
        raise UsageError(f"{directory}: GGUF files and no safetensors file", hint=_GGUF)
    generation = (
        _read_optional(host, f"{directory}/generation_config.json") if "generation_config.json" in names else {}
    )
    separate = _read_optional(host, f"{directory}/quantize_config.json") if "quantize_config.json" in names else {}
    quantization = read_quantization(config)
    if quantization is None and separate:
        quantization = read_quantization({"quantization_config": {"quant_method": "gptq", **separate}})
    guesses: list[Guess] = []
    if stored is None:
        kind = "a .bin checkpoint" if any(name.endswith(".bin") for name in names) else "no safetensors file"
        guesses.append(Guess(what="weight bytes", value="by formula", why=f"{directory} holds {kind}"))
    elif stored.missing:
        shown = ", ".join(stored.missing[:3]) + (", ..." if len(stored.missing) > 3 else "")
        if len(stored.missing) < stored.files:  # with none there, only the plan's files were copied
            raise UsageError(
                f"{directory}: {len(stored.missing)} of {stored.files} shards are missing: {shown}",
                hint=f"finish the download; to plan without the weights: --config {directory}/config.json",
            )
        guesses.append(
            Guess(what="weight bytes", value="by formula", why=f"{len(stored.missing)} shards are missing: {shown}")
        )
    return _build(
        text=directory, id=_find_id(config, directory), path=directory, source="directory", config=config,
        config_source=f"{directory}/config.json", entry=find_model(find_cached_id(directory) or directory),
        stored=stored, quantization=quantization,
        guesses=tuple(guesses), generation=generation,
    )  # fmt: skip


def _build(
    *,
    text: str,
    id: str,
    path: str,
    source: ModelSource,
    config: dict[str, Any],
    config_source: str,
    entry: ModelEntry | None,
    stored: Stored | None,
    quantization: StoredQuantization | None,
    guesses: tuple[Guess, ...],
    generation: dict[str, Any],
) -> Model:
    architecture, found = read_architecture(config, whole=source in ("directory", "config-file"))
    if not architecture.layers or not architecture.hidden:
        raise UsageError(
            f"{config_source}: no language model ({architecture.layers} layers of width {architecture.hidden})",
            hint="give the config.json of the model itself",
        )
    _refuse_nonsense(architecture, config_source)
    _refuse_draft(config, config_source)
    category: Category
    tasks: tuple[Task, ...]
    if entry is not None:
        category, tasks = entry.category, entry.tasks
    else:
        category, tasks, reason = find_tasks(config, architecture)
        if reason:
            found = (*found, Guess(what="task", value=", ".join(tasks), why=reason))
    model = Model(
        text=text,
        id=id,
        path=path,
        source=source,
        config_source=config_source,
        category=category,
        tasks=tasks,
        architecture=architecture,
        quantization=quantization,
        stored=stored,
        needs=entry.needs if entry else (),
        registered=tuple(entry.quantizations) if entry else (),
        entry=entry,
        generation=generation,
        guesses=(*guesses, *found),
        note=entry.note if entry else "",
    )
    doubt = _doubt_stored(model)
    return msgspec.structs.replace(model, guesses=(*model.guesses, doubt)) if doubt is not None else model


def _refuse_nonsense(shape: Architecture, source: str) -> None:
    """Raise UsageError for a shape that no model has: an engine would fail on it later and less clearly."""
    parameters = sum(part.elements for part in list_parts(shape))
    odd = shape.heads % shape.kv_heads if shape.kv_heads else 0
    if shape.layers > _MOST_LAYERS:
        found = f"more than {_MOST_LAYERS:,} layers"
    elif parameters > _MOST_PARAMETERS:
        found = f"{parameters:.3g} parameters"
    elif shape.known and odd:
        found = f"{shape.heads} attention heads that cannot share {shape.kv_heads} key-value heads"
    else:
        return
    raise UsageError(f"{source}: {found}: that is no model", hint=_DAMAGED)


def _refuse_draft(config: dict[str, Any], source: str) -> None:
    """Raise UsageError for layers that only propose tokens for another model: alone they answer nothing."""
    named = config.get("architectures")
    names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    if any(_DRAFT.search(name) for name in names) or "draft_vocab_size" in config or "eagle_config" in config:
        folder = source.removesuffix("/config.json")
        hint = f'serve the model it was made for: --speculative \'{{"method": ..., "model": "{folder}", ...}}\''
        raise UsageError(f"{source}: a draft model ({', '.join(names) or 'no architecture named'})", hint=hint)


def _doubt_stored(model: Model) -> Guess | None:
    """Told where the files hold far less than the shape needs."""
    stored = model.stored
    if stored is None or not stored.complete or not stored.parts or not model.architecture.known:
        return None
    per_weight, _ = size_weight("stored", model.quantization, MemorySettings())
    expected = count_parameters(model) * (per_weight if model.quantization else 2.0)
    if stored.total_bytes >= expected / 4:  # 4-bit weights that no quantization_config tells are not that small
        return None
    why = f"{stored.source} holds {stored.total_bytes:,} bytes, the shape in config.json needs some {expected:,.0f}"
    return Guess(what="weight bytes", value="as stored", why=f"{why}: tensors may be missing")


def _read_config(host: Host, path: str) -> dict[str, Any]:
    answer = host.read(path, limit_bytes=_CONFIG_LIMIT_BYTES)
    if not answer.ok:
        raise UsageError(f"{path}: cannot be read ({answer.error})", hint="give the config.json of the model")
    try:
        config = decode_config(answer.data)
    except BAD_JSON as err:
        raise UsageError(f"{path}: not valid JSON ({err})", hint=_DAMAGED) from err
    if not isinstance(config, dict):
        raise UsageError(f"{path}: not a JSON object", hint=_DAMAGED)
    return config


def decode_config(data: bytes) -> Any:
    """JSON as Python writes it: published configs hold Infinity and NaN. Raises ValueError."""
    try:
        return msgspec.json.decode(data)
    except BAD_JSON:
        pass
    try:
        return json.loads(data)
    except RecursionError as err:
        raise ValueError("nested too deep") from err


def _read_optional(host: Host, path: str) -> dict[str, Any]:
    answer = host.read(path, limit_bytes=_CONFIG_LIMIT_BYTES)
    try:
        found = decode_config(answer.data) if answer.ok else {}
    except BAD_JSON:
        return {}
    return found if isinstance(found, dict) else {}


def _find_snapshot(directory: str, host: Host) -> str:
    """The revision of a model's folder in the Hugging Face cache that `main` is, else the only one."""
    revisions = host.list(f"{directory}/snapshots").names
    main = host.read(f"{directory}/refs/main", limit_bytes=200).text.strip()
    if main not in revisions:
        if len(revisions) != 1:
            raise UsageError(
                f"{directory}: {len(revisions)} revisions and none is main",
                hint=f"name one: {directory}/snapshots/REVISION",
            )
        main = revisions[0]
    return f"{directory}/snapshots/{main}"


def _find_id(config: dict[str, Any], directory: str) -> str:
    cached = find_cached_id(directory)
    if cached:
        return cached
    named = config.get("_name_or_path")
    return named if isinstance(named, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", named) else ""


def _show(config: dict[str, Any], key: str) -> str:
    place, _, last = key.rpartition(".")
    table: Any = config.get(place, {}) if place else config
    value = table.get(last) if isinstance(table, dict) else None
    if value is None:
        value = find_text_config(config).get(last, "as assumed")
    return "the whole table" if isinstance(value, dict) else str(value)


def _explain_no_config(directory: str, names: tuple[str, ...], host: Host) -> UsageError:
    if "adapter_config.json" in names:
        base = _read_optional(host, f"{directory}/adapter_config.json").get("base_model_name_or_path")
        named = base if isinstance(base, str) and base else "its base model"
        return UsageError(f"{directory}: a LoRA adapter of {named}", hint=f"serve {named} and name the adapter")
    if any(name.endswith(".gguf") for name in names):
        return UsageError(f"{directory}: GGUF files and no config.json", hint="give the config.json with --config FILE")
    if "params.json" in names:
        return UsageError(
            f"{directory}: Mistral's own format and no config.json",
            hint="give the Hugging Face config.json with --config",
        )
    return UsageError(f"{directory}: no config.json", hint="give the directory that holds it, or --config FILE")
