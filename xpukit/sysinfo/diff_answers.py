"""The answers of a recording as text, and which of them differ between two."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from xpukit.facts.diff_rules import DiffRules
from xpukit.host.door import Host
from xpukit.host.mediated import Question
from xpukit.host.recording_format import BLOBS, RecordingFiles, read_lines
from xpukit.host.scrub import Scrubber, build_scrubber
from xpukit.sysinfo.diff_result import AnswerDifference, AnswerText

_SAMPLE_LINES = 3
_SAMPLE_CHARS = 200
# A longer answer is compared by its first part: a difference further behind is not worth the time.
_MOST_CHARS = 4 << 20
_BYTES = ("out", "err", "data")


def name_question(question: Question) -> str:
    """'run lscpu -J', 'read /proc/cmdline'; settings of a command stand behind it in brackets."""
    words = list(question)
    if "\0" in words:
        at = words.index("\0")
        words = [*words[:at], f"[{' '.join(words[at + 1 :])}]"]
    return " ".join(word.replace("\n", "\\n").replace("\t", "\\t") for word in words)


def load_answers(source: Path) -> dict[Question, AnswerText]:
    """All answers of a recording; of a question asked several times the last. Raises BadRecordingError."""
    files = RecordingFiles(source)
    lines, _ = read_lines(files)
    return {question: _read_answer(question, answers[-1], files) for question, answers in lines.items()}


def ask_answers(host: Host, questions: Iterable[Question]) -> dict[Question, AnswerText]:
    """The files and variables among `questions`, asked of a machine now and scrubbed like a recording."""
    scrub = build_scrubber(host.identity())
    answers: dict[Question, AnswerText] = {}
    for question in questions:
        if question[0] == "read":
            file = host.read(question[1])
            answers[question] = AnswerText(text=scrub(file.data.decode("utf-8", errors="replace")), error=file.error)
        elif question[0] == "env":
            answers[question] = _read_variable(host, question[1], scrub)
        elif question[0] == "env-names":
            names = host.env_names(question[1])
            answers[question] = AnswerText(text="\n".join(names.names), error=names.error)
    return answers


def _read_variable(host: Host, name: str, scrub: Scrubber) -> AnswerText:
    found = host.env(name)
    if found.value is None:
        return AnswerText(error=found.error or "ENOENT")
    return AnswerText(text=scrub(found.value))


def _read_answer(question: Question, packed: Mapping[str, Any], files: RecordingFiles) -> AnswerText:
    kind = question[0]
    error = str(packed.get("error", "") or packed.get("failure", ""))
    if kind == "read":
        return AnswerText(text=_unpack(packed.get("data", ""), files), error=error)
    if kind == "run":
        failed = f"(exit {packed.get('rc', 0)})\n" if packed.get("rc") and not error else ""
        said = _unpack(packed.get("err", ""), files)
        return AnswerText(text=failed + _unpack(packed.get("out", ""), files) + _mark(said), error=error)
    if kind in ("env", "which"):
        value = packed.get("value")
        return AnswerText(text=str(value)) if value is not None else AnswerText(error=error or "ENOENT")
    if kind in ("list", "env-names"):
        return AnswerText(text="\n".join(map(str, packed.get("names", ()))), error=error)
    if kind in ("link", "resolve"):
        return AnswerText(text=str(packed.get("target", "")), error=error)
    # A directory's size changes with its entries, a log's with each line.
    plain = {name: value for name, value in packed.items() if name not in ("error", "size_bytes", "argv", "seconds")}
    return AnswerText(text=msgspec.json.format(msgspec.json.encode(plain), indent=1).decode(), error=error)


def _mark(said: str) -> str:
    return "".join(f"\nstderr: {line}" for line in said.splitlines())


def _unpack(value: object, files: RecordingFiles) -> str:
    """Text of what stands for bytes in a recording. What is damaged is said in the text."""
    if isinstance(value, str):
        return value[:_MOST_CHARS]
    if isinstance(value, dict) and isinstance(value.get("base64"), str):
        try:
            return base64.b64decode(value["base64"]).decode("utf-8", errors="replace")
        except binascii.Error:
            return "(damaged)"
    if isinstance(value, dict) and isinstance(value.get("blob"), str) and "/" not in value["blob"]:
        content = files.load(f"{BLOBS}/{value['blob']}")
        return "(missing)" if content is None else content[:_MOST_CHARS].decode("utf-8", errors="replace")
    return ""


def compare_answers(
    a: Mapping[Question, AnswerText], b: Mapping[Question, AnswerText], rules: DiffRules
) -> tuple[tuple[AnswerDifference, ...], int]:
    """(answers that differ, how many were compared). Settings and packages have rows of their own and are left out."""
    found: list[AnswerDifference] = []
    compared = 0
    for question in sorted(set(a) & set(b)):
        name = name_question(question)
        if rules.find_setting(name) or rules.find_package(name) or rules.skips(name) or question[0] == "env-names":
            continue
        compared += 1
        if a[question] != b[question]:
            found += _compare(name, a[question], b[question], rules)
    return tuple(found), compared


def _compare(name: str, a: AnswerText, b: AnswerText, rules: DiffRules) -> list[AnswerDifference]:
    counts = [Counter(_list_lines(name, side, rules)) for side in (a, b)]
    removed, added = counts[0] - counts[1], counts[1] - counts[0]
    if not removed and not added:
        return []
    sample = (
        *(f"- {line[:_SAMPLE_CHARS]}" for line in list(removed)[:_SAMPLE_LINES]),
        *(f"+ {line[:_SAMPLE_CHARS]}" for line in list(added)[:_SAMPLE_LINES]),
    )
    return [AnswerDifference(question=name, lines_a=removed.total(), lines_b=added.total(), sample=sample)]


def _list_lines(name: str, answer: AnswerText, rules: DiffRules) -> list[str]:
    if answer.error:
        return [f"({answer.error})"]
    return [line.rstrip() for line in rules.remove_noise(name, answer.text).splitlines() if line.strip()]
