"""How a config.json says that the weights are stored. Never raises."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from xpukit.serve.config_reader import ConfigReader
from xpukit.serve.model_config import find_text_config
from xpukit.serve.model_types import StoredQuantization

# Bits of a weight where the config names none. BitNet packs its three values in two bits.
_DEFAULT_BITS = {
    "awq": 4.0, "gptq": 4.0, "auto-round": 4.0, "bitsandbytes": 4.0, "mxfp4": 4.0, "nvfp4": 4.0, "hqq": 4.0,
    "fp-quant": 4.0, "bitnet": 2.0, "aqlm": 2.0,
}  # fmt: skip
_UNKNOWN_BITS = 8.0
# `int4`, `uint4`, `fp4`, `mxfp4`, `Int4WeightOnlyConfig`, `fp8_e4m3`, `Float8DynamicActivationFloat8WeightConfig`.
_NAMED_BITS = re.compile(r"(?:u?int|fp|float|nf)(\d)", re.IGNORECASE)
_MOST_BITS = 16
_LAYER = re.compile(r"\.(\d{1,4})(?:\.|\*|$)")


def read_quantization(config: Mapping[str, Any]) -> StoredQuantization | None:
    """How the weights are stored; None for 16 bit."""
    nested = find_text_config(config)
    found = config.get("quantization_config") or nested.get("quantization_config") or config.get("compression_config")
    if not isinstance(found, Mapping):
        return None
    reader = ConfigReader(found)
    method = reader.text("quant_method", "quant_algo").lower().replace("_", "-") or "unknown"
    bits = reader.number("bits", "w_bit", "weight_bits")
    group = reader.integer("group_size", "q_group_size")
    if method == "compressed-tensors":
        weights = _list_weights(found)
        if not weights:
            return None  # only the KV cache is
        bits, group = _read_compressed(weights)
    if method in ("modelopt", "modelopt-fp4") and "fp4" in (reader.text("quant_algo").lower() + method):
        method = "nvfp4"
        group = group or next((_read_compressed([one])[1] for one in _list_weights(found)), 0)
    if method in ("fp8", "fbgemm-fp8", "modelopt"):
        bits = 8.0
    if method == "bitsandbytes":
        bits = 8.0 if reader.flag("load_in_8bit") else 4.0
    if method in ("intel/auto-round", "autoround"):
        method = "auto-round"
    if method in ("quark", "torchao", "hqq") and not bits:
        bits, group = _read_nested(method, reader)
    block = found.get("weight_block_size")
    sizes = tuple(size for size in block if isinstance(size, int)) if isinstance(block, list | tuple) else ()
    return StoredQuantization(
        method=method,
        bits=bits if 0 < bits <= _MOST_BITS else _DEFAULT_BITS.get(method, _UNKNOWN_BITS),
        group=max(0, group),
        block=(sizes[0], sizes[1]) if len(sizes) == 2 and min(sizes) > 0 else None,
        skipped=_list_skipped(
            reader.texts("modules_to_not_convert", "ignored_layers", "ignore", "exclude_modules", "exclude"),
            ConfigReader(nested, fallback=config).integer("num_hidden_layers", "n_layer", "num_layers"),
        ),
    )


def _list_skipped(names: tuple[str, ...], layers: int) -> tuple[str, ...]:
    """Modules that stay in 16 bit; those of single layers only where they are half of the layers or more."""
    numbers: dict[str, set[str]] = {}
    for name in names:
        if found := _LAYER.search(name):
            numbers.setdefault(_LAYER.sub(".", name), set()).add(found[1])
    few = {kind for kind, found in numbers.items() if 2 * len(found) < layers}
    return tuple(name for name in names if not _LAYER.search(name) or _LAYER.sub(".", name) not in few)


def _list_weights(config: Mapping[str, Any]) -> list[ConfigReader]:
    """The weights of compressed-tensors' groups."""
    groups = ConfigReader(config).table("config_groups")
    return [weights for group in groups.all_tables() if (weights := group.table("weights")).has("num_bits")]


def _read_compressed(weights: list[ConfigReader]) -> tuple[float, int]:
    """Of several groups the most bits: which layers are in which is not worked out."""
    chosen = max(weights, key=lambda one: one.integer("num_bits"))
    return float(chosen.integer("num_bits")), chosen.integer("group_size")


def _read_nested(method: str, reader: ConfigReader) -> tuple[float, int]:
    """Bits and group where a method has tables of its own: Quark, torchao, HQQ."""
    if method == "hqq":
        table = reader.table("quant_config").table("weight_quant_params")
        return table.number("nbits"), table.integer("group_size")
    if method == "quark":
        table = reader.table("global_quant_config").table("weight")
        return _name_bits(table.text("dtype")), table.integer("group_size")
    kinds = reader.table("quant_type").all_tables()
    if kinds:
        return _name_bits(kinds[0].text("_type")), kinds[0].table("_data").integer("group_size")
    return _name_bits(reader.text("quant_type")), reader.table("quant_type_kwargs").integer("group_size")


def _name_bits(name: str) -> float:
    """The bits of the weights by a type's name; of several in one name the last is the weights'."""
    found = _NAMED_BITS.findall(name)
    return float(found[-1]) if found else 0.0
