"""Whether a text can be a model's answer at all, and whether it holds the right number."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter

from xpukit.facts.readiness import find_limit
from xpukit.operate.ready.result import PASSED, Judged

_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*")
_THOUSANDS = re.compile(r"-?\d{1,3}(?:,\d{3})+")
# Longer texts than any prompt here asks for: the beginning and the end tell enough.
_LOOKED_AT_CHARS = 20_000


def judge_text(text: object) -> Judged:
    """Fails what is no text, empty, one character over and over ("!!!!"), a loop, or undecodable. Never raises."""
    if not isinstance(text, str):
        return Judged(verdict="fail", why=f"no text but {type(text).__name__}")
    visible = "".join(text.split())
    if not visible:
        return Judged(verdict="fail", why="the answer is empty")
    if len(visible) > _LOOKED_AT_CHARS:
        text, visible = text[:_LOOKED_AT_CHARS], visible[:_LOOKED_AT_CHARS]
    broken = sum(char == "�" or unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn") for char in visible)
    if broken > 2 and broken / len(visible) > find_limit("broken_share"):
        return Judged(verdict="fail", why=f"{broken} of {len(visible)} characters are no text")
    char, count = Counter(visible).most_common(1)[0]
    if len(visible) >= find_limit("one_char_length") and count / len(visible) > find_limit("one_char_share"):
        return Judged(verdict="fail", why=f"degenerate: {count} of {len(visible)} characters are {char!r}")
    if len(visible) >= find_limit("no_words_length") and not any(char.isalnum() for char in visible):
        return Judged(verdict="fail", why="degenerate: not one letter or digit")
    if (unit := find_loop(text)) is not None:
        return Judged(verdict="fail", why=f"repeated: the answer ends in copies of {_show(unit)}")
    words = _WORD.findall(text.lower())
    if len(words) >= find_limit("few_words_length") and len(set(words)) / len(words) < find_limit("few_words_share"):
        return Judged(verdict="fail", why=f"repeated: {len(set(words))} different words of {len(words)}")
    data = text.encode("utf-8", errors="replace")
    share = len(zlib.compress(data, 6)) / len(data)
    if len(data) >= find_limit("compressed_length") and share < find_limit("compressed_share"):
        return Judged(verdict="fail", why=f"repeated: {len(data)} bytes compress to {share:.0%}")
    return PASSED


def find_loop(text: str) -> str | None:
    """The unit whose copies end a text and make up much of it; None where there is none."""
    tail = text.rstrip()
    # The last copy may be cut anywhere: compare the end with itself, moved by one unit.
    for period in range(1, min(int(find_limit("period_length")), len(tail) // 2) + 1):
        same = 0
        while same + period < len(tail) and tail[-1 - same] == tail[-1 - same - period]:
            same += 1
        length = same + period
        unit = tail[-period:]
        if not unit.strip() or length < period * find_limit("period_copies"):
            continue
        if length >= find_limit("one_char_length") and length / len(tail) >= find_limit("period_share"):
            return unit
    return None


def judge_sum(text: object, right: int) -> Judged:
    """Fails an answer without the right number. Digits of any script count; the language does not."""
    first = judge_text(text)
    if first.verdict != "pass" or not isinstance(text, str):
        return first
    numbers = list_numbers(text)
    if not numbers:
        return Judged(verdict="fail", why=f"no number in the answer, {right} is right")
    if len(numbers) > find_limit("many_numbers"):
        numbers = numbers[-1:]
    if str(right) in numbers:
        return PASSED
    return Judged(verdict="fail", why=f"wrong arithmetic: {', '.join(numbers[-3:])} instead of {right}")


def judge_first_number(text: object, right: int) -> Judged:
    """As judge_sum, for a text that goes on after "=": its first number decides, what follows may be anything."""
    if not isinstance(text, str) or not text.strip():
        return judge_text(text)
    numbers = list_numbers(text)
    if numbers and numbers[0] == str(right):
        return PASSED
    first = judge_text(text)
    if first.verdict != "pass":
        return first
    said = f"{numbers[0]} instead of {right}" if numbers else f"no number, {right} is right"
    return Judged(verdict="fail", why=f"wrong arithmetic: {said}")


def list_numbers(text: str) -> list[str]:
    """Numbers as ASCII digits, without thousands separators and without zeros behind the point."""
    found = []
    for match in _NUMBER.findall(text[:_LOOKED_AT_CHARS]):
        plain = "".join(str(unicodedata.digit(char, char)) for char in match)
        if _THOUSANDS.fullmatch(plain):
            plain = plain.replace(",", "")
        whole, point, rest = plain.partition(".")
        found.append(whole if point and not rest.strip("0") else plain)
    return found


def _show(unit: str) -> str:
    return repr(unit if len(unit) <= 30 else unit[:30] + "…")
