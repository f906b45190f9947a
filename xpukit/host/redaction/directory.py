"""The second look at a finished recording: what was learned late goes from what was written early."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from xpukit.core.atomic import write_atomic
from xpukit.core.json_document import BAD_JSON, encode_json
from xpukit.host.recording_format import ANSWERS, BLOBS, MANIFEST, name_blob, scrub_value
from xpukit.host.redaction.redactor import Redactor


def redact_directory(directory: Path, redactor: Redactor) -> int:
    """Scrub a recording's directory once more, in place; how many files changed. Raises OSError, OutputError.

    Answers and blobs went through the rules when they were written: only what was learned since is looked for.
    Other files (summary, findings) get all rules.
    """
    changed = 0
    renamed: dict[str, str] = {}
    for blob in sorted((directory / BLOBS).glob("*")):
        content = blob.read_bytes()
        scrubbed = _change_bytes(content, redactor.remove_late)
        if scrubbed != content:
            renamed[blob.name] = name_blob(scrubbed)
            blob.with_name(renamed[blob.name]).write_bytes(scrubbed)
            blob.unlink()
            changed += 1
    answers = directory / ANSWERS
    if answers.exists():
        before = answers.read_bytes()
        after = b"\n".join(_redact_line(line, redactor, renamed) for line in before.split(b"\n"))
        if after != before:
            write_atomic(answers, after)
            changed += 1
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if not path.is_file() or name in (ANSWERS, MANIFEST) or name.startswith(f"{BLOBS}/"):
            continue
        changed += _redact_file(path, name, redactor)
    redactor.about("")
    return changed


def _redact_line(line: bytes, redactor: Redactor, renamed: dict[str, str]) -> bytes:
    try:
        document = msgspec.json.decode(line)
    except BAD_JSON:
        return _change_bytes(line, redactor.remove_late)
    after = _walk(document, redactor.remove_late, renamed)
    return msgspec.json.encode(after) if after != document else line


def _walk(value: Any, change: Callable[[str], str], renamed: dict[str, str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_walk(item, change, renamed) for item in value]
    if isinstance(value, dict):
        if set(value) == {"base64"} and isinstance(value["base64"], str):
            return {"base64": _change_base64(value["base64"], change)}
        if set(value) == {"blob"}:
            return {"blob": renamed.get(value["blob"], value["blob"])}
        return {key: _walk(item, change, renamed) for key, item in value.items()}
    return value


def _change_base64(text: str, change: Callable[[str], str]) -> str:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        return change(text)
    return base64.b64encode(_change_bytes(raw, change)).decode()


def _change_bytes(data: bytes, change: Callable[[str], str]) -> bytes:
    return change(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _redact_file(path: Path, name: str, redactor: Redactor) -> int:
    redactor.about(name)
    before = path.read_bytes()
    after = before
    if name.endswith(".json"):
        try:
            document = msgspec.json.decode(before)
        except BAD_JSON:
            document = None
        if document is not None:
            scrubbed = scrub_value(document, redactor)
            after = before if scrubbed == document else encode_json(scrubbed).encode()
    if name.endswith(".json") and after == before:
        after = _change_bytes(before, redactor.remove_late)
    elif not name.endswith(".json"):
        after = redactor.scrub_bytes(before)
    if after == before:
        return 0
    write_atomic(path, after, mode=0o600)
    return 1
