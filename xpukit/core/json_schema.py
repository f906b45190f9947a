"""JSON schemas of the documents we publish, made from their types."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec


def build_schema(name: str, body: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON schema of a document `name` (such as xpukit.probe/1) whose own part is `body`."""
    (reference,), components = msgspec.json.schema_components([body], ref_template="#/$defs/{name}")
    definitions: dict[str, Any] = dict(components)
    _clean_descriptions(definitions)
    own = definitions.pop(str(reference["$ref"]).rpartition("/")[2])
    envelope = {
        "schema": {"const": name},
        "xpukit_version": {"type": "string"},
        "created": {"type": "string", "description": "UTC, ISO 8601"},
        "host": {"type": "string"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        "description": own.get("description", ""),
        "type": "object",
        "properties": {**envelope, **own["properties"]},
        "required": [*envelope, *own.get("required", [])],
        "$defs": definitions,
    }


def build_file_schema(name: str, body: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON schema of a file without an envelope: what users write, or what must be the same bytes each time."""
    schema = msgspec.json.schema(body)
    _clean_descriptions(schema.get("$defs", {}))
    return {"title": name, **schema}


def _clean_descriptions(definitions: dict[str, Any]) -> None:
    """Python 3.13 takes a docstring's indentation away, earlier ones do not."""
    for part in definitions.values():
        if "description" in part:
            part["description"] = inspect.cleandoc(part["description"])
