"""What model types, engines and quantizations do to a model's size (data/models/*.json)."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, Literal

import msgspec

from xpukit.facts.engine_versions import version_key
from xpukit.facts.paths import data_dir
from xpukit.facts.tables import read_json_table

Kind = Literal["formula", "estimate", "guess"]


def _is_between(engine: str, version: str, since: str, until: str) -> bool:
    """Whether a version lies in a range, both ends included; an unknown version counts as the newest."""
    key = version_key(version, engine=engine) if version else None
    if key is None:
        return not until
    first = version_key(since, engine=engine) if since else None
    last = version_key(until, engine=engine) if until else None
    return (first is None or first <= key) and (last is None or key <= last)


class TypeFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `model_type` that is sized by what it is.

    `mlp_matrices`: 3 with a gate, 2 without. `causal` False: no KV cache. `window_every`: one full-attention layer in
    so many, where the config does not say. `tower_matrices`, `tower_width` (a config key): of the vision tower's MLP.
    `state`: the kind of its layers without a growing cache; `bare_state`: they have no MLP; `parallel_state`: every
    layer has attention beside it; `shared_blocks`: the attending layers share the weights of so many.
    `shared_experts`: beside those routed to, where the config does not say. `extra_parameters`: not in the config.
    `tied`: input and output embeddings are one, whatever the config says; `ties`: where it says nothing.
    `mlp_divisor`: of the intermediate size that the config names. `paired_layers`: a layer is two attentions, each
    with a dense MLP, beside one set of experts. `head_in_model`: a class named XModel has the output head too.
    """

    model_types: tuple[str, ...]
    source: str
    mlp_matrices: int = 3
    tower_matrices: int = 2
    tower_width: str = "intermediate_size"
    causal: bool = True
    window_every: int = 0
    positions: bool = False
    both_mlps: bool = False
    state: str = ""
    bare_state: bool = False
    parallel_state: bool = False
    shared_blocks: int = 0
    shared_experts: int = 0
    extra_parameters: int = 0
    tied: bool = False
    ties: bool = False
    mlp_divisor: int = 1
    paired_layers: bool = False
    head_in_model: bool = False


class EngineRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A default or a habit of an engine that sizes memory. `since` and `until` are versions, both included.

    `from_bytes`: holds for devices of at least this memory only.
    """

    name: str
    engines: tuple[str, ...]
    source: str
    value: float = 0.0
    text: str = ""
    kind: Kind = "formula"
    since: str = ""
    until: str = ""
    from_bytes: int = 0

    def holds(self, engine: str, version: str, device_bytes: int) -> bool:
        """Whether the rule is about this engine, version and device; an unknown version counts as the newest."""
        if engine not in self.engines or device_bytes < self.from_bytes:
            return False
        return _is_between(engine, version, self.since, self.until)


class QuantizationFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A way weights are held. `bits` of a weight, a scale of `scale_bits` for each `group` weights (0: a row's)."""

    name: str
    bits: float
    source: str
    scale_bits: int = 0
    zero_bits: int = 0
    group: int = 0
    online: bool = False
    kind: Kind = "formula"
    note: str = ""


class Support(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether an engine takes a quantization on a kind of device. The first row that matches decides.

    `platforms`: kernel group names of devices ("BMG", "PVC"), "nvidia", or empty for all; `methods` of pre-quantized
    weights, else the name of an online quantization.
    """

    name: str
    engines: tuple[str, ...]
    allowed: bool
    reason: str
    source: str
    platforms: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    dtypes: tuple[str, ...] = ()
    flag: str = ""
    kind: Kind = "formula"

    def holds(self, name: str, engine: str, version: str, platform: str) -> bool:
        """Whether the row is about this pair."""
        if name != self.name or engine not in self.engines or (self.platforms and platform not in self.platforms):
            return False
        return _is_between(engine, version, self.since, self.until)


class KnownBad(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model and a quantization that are known to go wrong together. `model`: the id's end, lower case."""

    model: str
    quantization: str
    reason: str
    source: str
    severity: Literal["refused", "warning"] = "warning"
    engines: tuple[str, ...] = ()
    since: str = ""
    until: str = ""

    def holds(self, model_id: str, quantization: str, engine: str, version: str) -> bool:
        """Whether the row is about this model, quantization and engine."""
        if not model_id.lower().endswith(self.model) or self.quantization not in (quantization, "*"):
            return False
        return (not self.engines or engine in self.engines) and _is_between(engine, version, self.since, self.until)


class GemmTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Measured times of a linear layer: `microseconds[m][n][k]` of [m, k] × [k, n]."""

    dtype: str
    m: tuple[int, ...]
    n: tuple[int, ...]
    k: tuple[int, ...]
    microseconds: tuple[tuple[tuple[float, ...], ...], ...]


class AllReduceTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Measured times of an all-reduce between `gpus` devices, by message size."""

    gpus: int
    bytes: tuple[int, ...]
    microseconds: tuple[float, ...]


class DeviceTables(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Published measurements of serving's building blocks on a device."""

    schema: str
    date: str
    device_ids: tuple[str, ...]
    name: str
    source: str
    memory_gbps: float
    gemm: tuple[GemmTable, ...]
    all_reduce: tuple[AllReduceTable, ...]


class _Types(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    types: tuple[TypeFacts, ...]


class _Defaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    source: str
    types: dict[str, dict[str, Any]]


class _Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    rules: tuple[EngineRule, ...]


class _Quantizations(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    quantizations: tuple[QuantizationFacts, ...]
    support: tuple[Support, ...]
    known_bad: tuple[KnownBad, ...]


@cache
def list_types() -> tuple[TypeFacts, ...]:
    """The model types that we know how to size."""
    return read_json_table("models", "types", _Types, "xpukit.model-types/1").types


def find_type(model_type: str) -> TypeFacts | None:
    """A model type, None where we do not know it."""
    return next((facts for facts in list_types() if model_type in facts.model_types), None)


@cache
def _defaults() -> _Defaults:
    return read_json_table("models", "type_defaults", _Defaults, "xpukit.model-defaults/1")


def find_defaults(model_type: str, part: str = "") -> tuple[dict[str, Any], str]:
    """What a type takes for the keys that its config.json leaves out, and who says so; `part`: of a nested table."""
    own = _defaults().types.get(model_type, {})
    found = own.get(part, {}) if part else {key: value for key, value in own.items() if not isinstance(value, dict)}
    return found, _defaults().source


@cache
def list_rules() -> tuple[EngineRule, ...]:
    """Defaults and habits of engines, the special before the general."""
    return read_json_table("models", "memory_rules", _Rules, "xpukit.memory-rules/1").rules


@lru_cache(maxsize=4096)
def find_rule(name: str, *, engine: str, version: str, device_bytes: int = 0) -> EngineRule | None:
    """The first rule of that name that holds."""
    return next(
        (rule for rule in list_rules() if rule.name == name and rule.holds(engine, version, device_bytes)), None
    )


@cache
def _quantizations() -> _Quantizations:
    return read_json_table("models", "quantizations", _Quantizations, "xpukit.quantizations/1")


def list_quantizations() -> tuple[QuantizationFacts, ...]:
    """The ways of holding weights."""
    return _quantizations().quantizations


def find_quantization(name: str) -> QuantizationFacts | None:
    """A way of holding weights by its name."""
    return next((facts for facts in list_quantizations() if facts.name == name), None)


def find_support(name: str, *, engine: str, version: str, platform: str) -> Support | None:
    """What is known of a quantization on this engine, version and device; None: nothing."""
    return next((row for row in _quantizations().support if row.holds(name, engine, version, platform)), None)


def list_known_bad(model_id: str, quantization: str, *, engine: str, version: str) -> tuple[KnownBad, ...]:
    """Known troubles of a model under a quantization."""
    return tuple(row for row in _quantizations().known_bad if row.holds(model_id, quantization, engine, version))


@cache
def list_device_tables() -> tuple[DeviceTables, ...]:
    """Published measurements, one file a device."""
    return tuple(
        read_json_table("models", path.stem, DeviceTables, "xpukit.device-speed/1")
        for path in sorted((data_dir() / "models").glob("speed_*.json"))
    )
