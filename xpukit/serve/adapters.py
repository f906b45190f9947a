"""LoRA adapters in folders: their rank, and the model that they were made for (adapter_config.json, PEFT's format)."""

from __future__ import annotations

from typing import Any

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.host.door import Host
from xpukit.serve.hub_cache import find_cached_id
from xpukit.serve.request import ServeRequest

_LIMIT_BYTES = 4 << 20
# vLLM takes 16 where nothing is said, and only these (choices of --max-lora-rank in the engine schemas).
_USUAL_RANK = 16
_RANKS = (16, 32, 64, 128, 256, 320, 512)


def adopt_adapters(request: ServeRequest, host: Host) -> tuple[ServeRequest, tuple[str, ...]]:
    """The request with room for the largest rank of the adapters that lie here, and what should be told.

    An adapter that is not here, or has no readable adapter_config.json, is left for the engine to judge.
    """
    told: list[str] = []
    largest = 0
    for text in request.loras:
        name, _, path = text.partition("=")
        found = _read(host, path) if path.startswith("/") else {}
        rank, base = found.get("r"), found.get("base_model_name_or_path")
        if type(rank) is int and rank > 0:
            patterns = found.get("rank_pattern")
            others = patterns.values() if isinstance(patterns, dict) else ()
            largest = max(largest, rank, *(one for one in others if type(one) is int))
        if isinstance(base, str) and base and _last(base) != _last(request.model):
            told.append(f"the adapter {name} was made for {base}")
    asked = request.lora_rank or _USUAL_RANK
    if largest > asked and request.lora_rank is not None:
        told.append(f"--lora-rank {asked} is less than the largest rank of the adapters, {largest}")
    elif largest > asked:
        rank = next((one for one in _RANKS if one >= largest), largest)
        told.append(f"an adapter has rank {largest}: --lora-rank {rank} is taken")
        return msgspec.structs.replace(request, lora_rank=rank), tuple(told)
    return request, tuple(told)


def _read(host: Host, path: str) -> dict[str, Any]:
    answer = host.read(f"{path.rstrip('/')}/adapter_config.json", limit_bytes=_LIMIT_BYTES)
    try:
        found = msgspec.json.decode(answer.data) if answer.ok else {}
    except BAD_JSON:
        return {}
    return found if isinstance(found, dict) else {}


def _last(name: str) -> str:
    """What names of the same model have in common, from a folder and by an id."""
    return (find_cached_id(name) or name).rstrip("/").rpartition("/")[2].lower()
