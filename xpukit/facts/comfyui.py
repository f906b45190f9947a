"""Which ComfyUI is set up (data/launch/comfyui.toml)."""

from __future__ import annotations

from functools import cache

import msgspec

from xpukit.facts.tables import read_table


class ComfyuiFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where it comes from, at which tag, and the port that it listens on."""

    schema: str
    repository: str
    tag: str
    port: int
    source: str
    date: str


@cache
def load_comfyui() -> ComfyuiFacts:
    """The facts. Raises BadFactsError."""
    return read_table("launch", "comfyui", ComfyuiFacts, "xpukit.comfyui/1")
