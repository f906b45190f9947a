"""What the page sends: a flat JSON object of choices, as a request and the way to write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from xpukit.core.errors import UsageError
from xpukit.core.json_document import BAD_JSON
from xpukit.serve.request import ServeRequest
from xpukit.serve.request_words import FIELDS, Output

# Files that the planner would open: the page may not name others than those the command line named.
FILE_FIELDS = ("config_file", "schema_file")
_OUTPUT = tuple(field.name for field in FIELDS if field.group == "output")
_REQUEST = tuple(field.name for field in FIELDS if field.group != "output")
_LONGEST_TEXT, _MOST_WORDS = 4096, 64


def read_body(data: bytes, given: ServeRequest) -> tuple[ServeRequest, Output]:
    """The choices. Raises UsageError for anything that is not one of them, or of another type.

    `given`: what the command line that opened the page said.
    """
    try:
        document = msgspec.json.decode(data)
    except BAD_JSON as err:
        raise UsageError(f"not JSON: {err}", hint="send an object of choices, as the page does") from err
    if not isinstance(document, dict):
        raise UsageError("not a JSON object", hint="send an object of choices, as the page does")
    for name, value in document.items():
        _check(name, value, given)
    try:
        request = msgspec.convert({"model": "", **_pick(document, ("model", *_REQUEST))}, ServeRequest)
        output = msgspec.convert(_pick(document, _OUTPUT), Output)
    except msgspec.ValidationError as err:
        raise UsageError(f"a choice is of the wrong type: {err}", hint="see GET /facts for the kinds") from err
    for field in FIELDS:
        value = getattr(output if field.group == "output" else request, field.name)
        if field.least is not None and value is not None and value < field.least:
            raise UsageError(f"{field.option} {value}: at least {field.least}", hint="leave it empty to have it chosen")
    if request.port is not None and request.port > 65535:
        raise UsageError(f"--port {request.port}: no port", hint="1 to 65535")
    if request.utilization is not None and not 0.05 <= request.utilization <= 1:
        raise UsageError(f"--utilization {request.utilization:g}: 0.05 to 1", hint="0.9 is usual")
    return request, output


def _check(name: str, value: Any, given: ServeRequest) -> None:
    if name not in ("model", *_REQUEST, *_OUTPUT):
        raise UsageError(f"no choice is called {name!r}", hint="see GET /facts for their names")
    if name in FILE_FIELDS and value != getattr(given, name):
        field = next(one for one in FIELDS if one.name == name)
        raise UsageError(
            f"{field.option} names a file, which a page may not",
            hint=f"start the page with it: xpukit serve --web {field.option} FILE",
        )
    texts = value if isinstance(value, list) else [value]
    if len(texts) > _MOST_WORDS or any(isinstance(text, str) and len(text) > _LONGEST_TEXT for text in texts):
        raise UsageError(f"{name}: too long", hint=f"at most {_LONGEST_TEXT} characters and {_MOST_WORDS} values")
    if any(isinstance(text, str) and "\0" in text for text in texts):
        raise UsageError(f"{name}: holds a zero character", hint="leave it out")


def _pick(document: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: document[name] for name in names if name in document}
