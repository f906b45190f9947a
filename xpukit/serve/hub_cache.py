"""The Hugging Face cache's folders: models--ORG--NAME/snapshots/REVISION, whose files are links into ../../blobs."""

from __future__ import annotations

import re

import msgspec

from xpukit.core.json_document import BAD_JSON

_CACHED = re.compile(r"(?P<root>(?:.*/)?models--(?P<org>[^/]+?)--(?P<name>[^/]+))(?:/snapshots/[^/]+)?/*")


def find_cached_id(path: str) -> str:
    """ORG/NAME of a model's folder in the cache, "" for any other path."""
    found = _CACHED.fullmatch(path)
    return f"{found['org']}/{found['name']}" if found else ""


def find_cached_root(path: str) -> str:
    """The folder that holds the files themselves, "" where the path is not in a cache."""
    found = _CACHED.fullmatch(path)
    return found["root"] if found else ""


def find_draft_model(speculative: str) -> str:
    """The draft model that a speculative configuration (JSON) names, "" where it names none."""
    try:
        found = msgspec.json.decode(speculative) if speculative else {}
    except BAD_JSON:
        return ""
    model = found.get("model") if isinstance(found, dict) else None
    return model.rstrip("/") if isinstance(model, str) else ""
