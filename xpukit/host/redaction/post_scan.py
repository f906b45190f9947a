"""The second opinion: a finished archive searched once more, by rules written apart from the redactor's.

It looks for what an attacker would: known prefixes, random-looking values behind secret names, key blocks, logins,
addresses, and whatever this host is known to hold. It reports places, never what stands there.
"""

from __future__ import annotations

import base64
import binascii
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.host.answers import IdentityAnswer
from xpukit.host.recording_format import ANSWERS, read_archive
from xpukit.host.redaction.common_names import is_distinct
from xpukit.host.redaction.lazy_pattern import LazyPattern
from xpukit.host.redaction.near import Text, find_spans
from xpukit.host.redaction.scan_hidden import (
    find_base64_texts,
    find_wide_texts,
    has_pci_serial,
    has_vpd_serial,
    is_login,
)
from xpukit.host.redaction.scan_rule import ScanRule
from xpukit.host.redaction.scan_rules import SCAN_RULES, is_secret_setting

_AROUND = 200


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """Where something was left: never the text itself. `line` counts from 1."""

    file: str
    line: int
    rule: str


def scan_bundle(
    path: Path,
    *,
    identity: IdentityAnswer,
    literals: Collection[str] = (),
    leaves: Callable[[str], bool] = lambda text: False,
) -> tuple[Leak, ...]:
    """Every place of an archive or directory that still seems to hold something private, in order.

    `literals` are what the redactor replaced, handed over in memory; `leaves` says whether it leaves all of a text as
    it is when it looks for them again (a name inside a longer word). Raises BadRecordingError for what is no archive.
    """
    members = _read_members(path)
    wanted = _Wanted(_list_literals(identity, literals, os.environ), leaves)
    leaks: list[Leak] = []
    for name, content in sorted(members.items()):
        leaks += _find(name, 0, name, wanted)
        leaks += _scan_member(name, content, wanted)
    return tuple(dict.fromkeys(leaks))


def _read_members(path: Path) -> Mapping[str, bytes]:
    if not path.is_dir():
        return read_archive(path)
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def _list_literals(
    identity: IdentityAnswer, literals: Collection[str], environment: Mapping[str, str]
) -> dict[str, LazyPattern]:
    """What this host is known to hold: text (lower case) -> the pattern that finds it alone."""
    words: dict[str, str] = {word: "replaced-text" for word in literals if len(word) >= 6}
    for name in (identity.hostname, identity.hostname.partition(".")[0], identity.username):
        if is_distinct(name):
            words[name] = "identity"
    words.update(dict.fromkeys(list_environment_secrets(environment), "environment"))
    return {
        f"{rule}\0{word.lower()}": LazyPattern(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", re.IGNORECASE)
        for word, rule in words.items()
    }


def list_environment_secrets(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Values of variables whose names say that they are secret, and that are no words of a language."""
    return tuple(
        value
        for name, value in environment.items()
        if is_secret_setting(name)
        and 8 <= len(value) <= 4096
        and not value.startswith(("/", "~"))
        and (not value.isalpha() or len(value) >= 16)
        and not value.replace(".", "").isdigit()
        and _is_random(value, 2.0)
    )


def list_own_secrets() -> tuple[str, ...]:
    """Those of this process."""
    return list_environment_secrets(os.environ)


def _is_random(value: str, bits: float) -> bool:
    """Shannon entropy in bits per character."""
    counts = Counter(value)
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values()) >= bits


class _Wanted(NamedTuple):
    """What is looked for as it stands: "rule, NUL, text" -> pattern; `leaves` as in `scan_bundle`."""

    literals: Mapping[str, LazyPattern]
    leaves: Callable[[str], bool]
    rules: tuple[ScanRule, ...] = SCAN_RULES

    def narrow(self, texts: Collection[str]) -> _Wanted:
        """Only what can be in one of these texts: there are hundreds of them, and most rules fit none."""
        all_of_it = Text("\n".join(texts))
        return self._replace(
            literals={key: found for key, found in self.literals.items() if all_of_it.holds(key.partition("\0")[2])},
            rules=tuple(rule for rule in self.rules if not rule.hints or any(map(all_of_it.holds, rule.hints))),
        )


def _scan_member(name: str, content: bytes, wanted: _Wanted) -> Iterator[Leak]:
    text = content.decode("utf-8", "surrogateescape")
    if not name.endswith((".json", ".jsonl")):
        yield from _find_lines(name, text, wanted)
        return
    flat: dict[int, str] = {}
    for number, line in enumerate(text.split("\n") if name.endswith(".jsonl") else [text], 1):
        try:
            document = msgspec.json.decode(line.encode("utf-8", "surrogateescape"))
        except BAD_JSON:
            yield from _find_lines(name, line, wanted, number - 1)
            continue
        flat[number] = _flatten(document, name == ANSWERS)
        if name == ANSWERS and _has_device_serial(_take_bytes(document)):
            yield Leak(file=name, line=number, rule="pci-serial")
        if not name.endswith(".jsonl"):
            yield from _find_lines(name, line, wanted)
    possible = wanted.narrow([said.replace("\0", "\n") for said in flat.values()])
    for number, said in flat.items():
        yield from _find(name, number, said, wanted, possible)


def _find_lines(name: str, text: str, wanted: _Wanted, before: int = 0) -> Iterator[Leak]:
    for rule, position in _match(text, wanted):
        yield Leak(file=name, line=before + text.count("\n", 0, position) + 1, rule=rule)
    yield from (Leak(file=name, line=before + 1, rule=rule) for rule in _match_hidden(text, wanted))


def _find(name: str, line: int, text: str, wanted: _Wanted, possible: _Wanted | None = None) -> Iterator[Leak]:
    """`possible`: what of `wanted` can stand in it as it is; what is hidden in it may be anything."""
    for rule, _ in _match(text.replace("\0", "\n"), possible or wanted):
        yield Leak(file=name, line=line, rule=rule)
    yield from (Leak(file=name, line=line, rule=rule) for rule in _match_hidden(text, wanted))


def _match(text: str, wanted: _Wanted) -> Iterator[tuple[str, int]]:
    given = Text(text)
    for key, pattern in wanted.literals.items():
        rule, _, word = key.partition("\0")
        if not given.holds(word):
            continue
        for found in pattern.compiled.finditer(text):
            around = text[max(0, found.start() - _AROUND) : found.end() + _AROUND]
            if rule != "replaced-text" or not wanted.leaves(around):
                yield rule, found.start()
                break
    for scan_rule in wanted.rules:
        for begin, end in find_spans(given, scan_rule.hints):
            for match in scan_rule.pattern.compiled.finditer(text, begin, end):
                if scan_rule.is_leak(match):
                    yield scan_rule.name, match.start()


def _match_hidden(text: str, wanted: _Wanted) -> Iterator[str]:
    """What stands in it as UTF-16 or base64."""
    for hidden in find_wide_texts(text):
        yield from (rule for rule, _ in _match(hidden, wanted))
    for hidden in find_base64_texts(text):
        if is_login(hidden):
            yield "encoded-login"
        yield from (rule for rule, _ in _match(hidden, wanted))


def _flatten(document: Any, is_answer: bool) -> str:
    """All texts of a JSON document as `name=text` lines; base64 decoded; words of one list side by side."""
    parts: list[str] = []

    def walk(value: Any, name: str) -> None:
        if isinstance(value, dict):
            if set(value) == {"base64"} and isinstance(value["base64"], str):
                parts.append(_decode(value["base64"]))
                return
            for key, item in value.items():
                walk(item, str(key))
        elif isinstance(value, list):
            if value and all(isinstance(item, str) for item in value):
                parts.append(" ".join(f'"{item}"' if " " in item else item for item in value))
                parts.extend(value)
            else:
                for item in value:
                    walk(item, name)
        elif isinstance(value, str):
            parts.append(value if name in ("data", "out", "err", "") else f"{name}={value}")

    walk(document, "")
    if is_answer and isinstance(document, dict):
        question = document.get("question", ())
        answer = document.get("answer", {})
        if list(question[:1]) == ["env"] and len(question) == 2 and isinstance(answer, dict):
            parts.append(f"{question[1]}={answer.get('value') or ''}")
        if list(question[:1]) == ["read"] and isinstance(answer, dict) and isinstance(answer.get("data"), str):
            parts.append(f"file {question[1]} = {answer['data'].strip()}")
    return "\n".join(parts)


def _has_device_serial(raw: bytes) -> bool:
    return has_pci_serial(raw) or has_vpd_serial(raw)


def _take_bytes(document: Any) -> bytes:
    """What was read, of an answer that is not text."""
    answer = document.get("answer") if isinstance(document, dict) else None
    data = answer.get("data") if isinstance(answer, dict) else None
    if isinstance(data, dict) and isinstance(data.get("base64"), str):
        return _decode(data["base64"]).encode("utf-8", "surrogateescape")
    return data.encode("utf-8", "surrogateescape") if isinstance(data, str) else b""


def _decode(text: str) -> str:
    try:
        return base64.b64decode(text).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return text
