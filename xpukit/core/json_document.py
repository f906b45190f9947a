"""The envelope of every `--json` document, and JSON written the same way each time."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import msgspec

from xpukit import __version__

# What msgspec raises for a damaged document: DecodeError, but UnicodeDecodeError for bytes that are no UTF-8, and
# RecursionError for a thousand brackets.
BAD_JSON = (ValueError, RecursionError)


def now_utc() -> str:
    """The current time, UTC, ISO 8601 with seconds."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def build_document(schema: str, host: str, body: object, *, created: str | None = None) -> dict[str, Any]:
    """Put `body` (a struct or mapping) behind the envelope {schema, xpukit_version, created, host}."""
    plain = msgspec.to_builtins(body)
    if not isinstance(plain, dict):
        raise TypeError(f"a document's body is a mapping, not {type(body).__name__}")
    return {
        "schema": schema,
        "xpukit_version": __version__,
        "created": created or now_utc(),
        "host": host,
        **plain,
    }


def encode_json(document: object) -> str:
    """JSON text, indented, keys in the order of the types, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"
