"""What a model is for, from its config.json; for models that the registry does not list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xpukit.facts.models import Category, Task
from xpukit.serve.config_reader import ConfigReader
from xpukit.serve.model_types import Architecture, TowerKind

_EMBEDDED: dict[TowerKind, str] = {"vision": "image_embd_layer", "audio": "audio_embd_layer"}


def find_tasks(config: Mapping[str, Any], architecture: Architecture) -> tuple[Category, tuple[Task, ...], str]:
    """Category, tasks, and why it is a guess ("" where the config says it)."""
    reader = ConfigReader(config)
    names = reader.texts("architectures")
    joined = " ".join(names).lower()
    model_type = reader.text("model_type").lower()
    if architecture.encoder is not None and "whisper" in model_type:
        return "audio", ("transcription",), ""
    if "sequenceclassification" in joined or "reranker" in joined:
        return "reranker", ("score", "rerank"), ""
    heads = ("forcausal", "lmhead", "chatglm", "conditionalgeneration", "chatmodel")
    headless = joined.endswith("model") and not any(word in joined for word in heads) and not architecture.towers
    if not architecture.causal or headless:
        return "embedding", ("embed",), "" if not architecture.causal else f"{joined} has no language-model head"
    if "omni" in model_type:
        return "omni", ("generate", "chat", "image", "video", "audio", "omni"), ""
    kinds = {tower.kind for tower in architecture.towers}
    embedded = reader.table("embd_layer")  # Phi-4: its towers are code, not tables
    kinds |= {kind for kind, key in _EMBEDDED.items() if embedded.has(key)}
    if "ocr" in model_type or "ocr" in joined:
        return "multimodal", ("generate", "chat", "ocr", "image"), ""
    if kinds:
        tasks: tuple[Task, ...] = ("generate", "chat")
        tasks += ("image",) if "vision" in kinds else ()
        tasks += ("audio",) if "audio" in kinds else ()
        return ("multimodal-moe" if architecture.is_moe else "multimodal"), tasks, ""
    category: Category = "language-moe" if architecture.is_moe else "language"
    known = "causallm" in joined or "lmhead" in joined or "conditionalgeneration" in joined
    return category, ("generate", "chat"), "" if known else "the config names no architecture of a known task"
