"""What happens to output on its way: cut, mixed with other output, shuffled, coloured; and what must hold then."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import strategies as st

DATA = Path(__file__).resolve().parents[3] / "data"
Parse = Callable[[str], Any]

# What other programs, the shell and stderr write into the same terminal.
FOREIGN = (
    "ERROR : zeCommandQueueSynchronize(command_queue, UINT64_MAX) : 1879048193\n",
    "Devices 0 and 1 do not have P2P capabilities \nterminate called without an active exception\n",
    "Segmentation fault (core dumped)\n",
    "\x1b[31m[WARN]\x1b[0m 12:00:01 4 of 17\r\n",
    "     134217728      67108864            50       5321.20\n",
    "0, 12.5, 2400\n",
    "12,25;7\n",
    "\x00\ud800٣,٤\u00a0\x85\n",
)


def read_samples(tool: str) -> list[str]:
    texts = [path.read_text(encoding="utf-8") for path in sorted((DATA / tool).glob("*.txt"))]
    assert len(texts) > 5
    return texts


@st.composite
def damage(draw: st.DrawFn, texts: list[str]) -> str:
    """A sample after one to four accidents."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(text)))
        accident = draw(
            st.sampled_from(("cut", "head", "foreign", "splice", "char", "lines", "crlf", "colour", "random"))
        )
        if accident == "cut":
            text = text[:place]
        elif accident == "head":
            text = text[place:]
        elif accident == "foreign":
            text = text[:place] + draw(st.sampled_from(FOREIGN)) + text[place:]
        elif accident == "splice":  # two programs write into one file
            other = draw(st.sampled_from(texts))
            text = text[:place] + other[draw(st.integers(0, len(other))) :] + text[place:]
        elif accident == "char":
            text = text[:place] + draw(st.characters()) + text[place + 1 :]
        elif accident == "lines":
            lines = text.split("\n")
            first = draw(st.integers(0, len(lines) - 1))
            last = min(len(lines) - 1, first + draw(st.integers(0, 3)))
            lines[first : last + 1] = draw(st.permutations(lines[first : last + 1]))[: draw(st.integers(0, 4))]
            text = "\n".join(lines)
        elif accident == "crlf":
            text = text.replace("\n", "\r\n")
        elif accident == "colour":
            text = text[:place] + "\x1b[1;32m" + text[place:]
        else:
            text = text[:place] + draw(st.text(max_size=30)) + text[place:]
    return text


def check_sound(parse: Parse, text: str) -> None:
    """No exception; finite, non-negative values; lines that exist; the whole can be written as JSON."""
    output = parse(text)
    lines = text.count("\n") + 1
    assert msgspec.json.encode(output)
    for reading in output.readings:
        assert 1 <= reading.line <= lines
        for field in ("value", "gbps", "latency_us", "flops"):
            number = getattr(reading, field, 0.0)
            assert math.isfinite(number)
            assert number >= 0
    for said in (*output.notes, *output.problems):
        assert 0 <= said.line <= lines
        assert said.text


def check_prefix(parse: Parse, text: str, end: int) -> None:
    """A truncated output gives a subset of the readings of the whole."""
    whole = set(parse(text).readings)
    missing = set(parse(text[:end]).readings) - whole
    assert not missing, f"cut after {end} characters: {missing}"


def check_every_prefix(parse: Parse, text: str) -> None:
    whole = set(parse(text).readings)
    seen: set[Any] = set()
    for end in range(len(text) + 1):
        readings = set(parse(text[:end]).readings)
        assert readings <= whole, f"cut after {end} characters: {readings - whole}"
        assert len(readings) >= len(seen), f"a reading got lost at {end}"
        seen = readings
    assert seen == whole
