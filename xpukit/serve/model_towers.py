"""Vision and audio towers of a config.json, sized from their layers and widths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xpukit.facts.model_rules import find_type
from xpukit.serve.config_reader import ConfigReader
from xpukit.serve.model_types import Tower

_VISION = ("vision_config", "vision_tower_config", "visual", "vit_config")
_AUDIO = ("audio_config", "audio_encoder_config", "sound_config")


def read_towers(config: Mapping[str, Any], text: ConfigReader) -> tuple[Tower, ...]:
    """The towers; empty for a language model. Talkers and vocoders of omni models are not served and left out."""
    thinker = config.get("thinker_config")
    place = thinker if isinstance(thinker, Mapping) else config
    top_type = ConfigReader(config).text("model_type")
    width = text.integer("hidden_size", "n_embd")
    towers = []
    for key in _VISION:
        found = place.get(key)
        if isinstance(found, Mapping):
            towers.append(_read_vision(ConfigReader(found), top_type, width))
            break
    for key in _AUDIO:
        found = place.get(key)
        if isinstance(found, Mapping):
            towers.append(_read_audio(ConfigReader(found), width))
            break
    for tower in towers:
        if not tower.parameters:
            text.guess(f"{tower.kind} tower", "not counted", "its table names no layers or no width")
    return tuple(towers)


def _read_vision(reader: ConfigReader, top_type: str, width: int) -> Tower:
    parts = reader.table("width").all_tables()
    if parts:  # several encoders, each with its layers and width (DeepSeek-VL, DeepSeek-OCR)
        sizes = [(part.integer("layers"), part.integer("width"), part.integer("heads", default=1)) for part in parts]
        layers, hidden, heads = max(sizes, key=lambda size: size[1])
        each = sum(12 * count * wide * wide for count, wide, _ in sizes)
        return Tower(
            kind="vision", parameters=each + sum(wide for _, wide, _ in sizes) * width, layers=layers, hidden=hidden,
            heads=max(1, heads),
        )  # fmt: skip
    layers = reader.integer("depth", "num_hidden_layers", "layers", "num_layers", "vt_num_hidden_layers")
    # Qwen2-VL's hidden_size is that of the language model; its own is embed_dim.
    hidden = reader.integer("embed_dim", "hidden_size", "width", "vt_hidden_size")
    facts = find_type(reader.text("model_type")) or find_type(top_type)
    matrices = facts.tower_matrices if facts else 2
    key = facts.tower_width if facts else "intermediate_size"
    intermediate = reader.integer(key, "intermediate_size", "mlp_dim") or 4 * hidden
    parameters = layers * (4 * hidden * hidden + matrices * hidden * intermediate)
    merged = hidden * max(1, reader.integer("spatial_merge_size", default=2)) ** 2
    mergers = 1 + len(reader.integers("deepstack_visual_indexes"))
    parameters += mergers * (merged * merged + merged * (reader.integer("out_hidden_size") or width))
    return Tower(
        kind="vision",
        parameters=parameters if layers and hidden else 0,
        layers=layers,
        hidden=hidden,
        heads=reader.integer("num_heads", "num_attention_heads", default=1) or 1,
    )


def _read_audio(reader: ConfigReader, width: int) -> Tower:
    layers = reader.integer("encoder_layers", "num_hidden_layers")
    hidden = reader.integer("d_model", "hidden_size")
    intermediate = reader.integer("encoder_ffn_dim", "intermediate_size") or 4 * hidden
    return Tower(
        kind="audio",
        parameters=layers * (4 * hidden * hidden + 2 * hidden * intermediate) + hidden * width if layers else 0,
        layers=layers,
        hidden=hidden,
        heads=reader.integer("encoder_attention_heads", "num_attention_heads", default=1) or 1,
    )
