"""The search for the longest request: few tries, the engine's own word first, resumable."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.core.errors import UsageError
from xpukit.facts.readiness import read_stated_length
from xpukit.operate.context.directory import ContextDirectory, ContextRecord
from xpukit.operate.context.needle import hide_needle
from xpukit.operate.context.search import Bounds, ContextReport, Try, search_context
from xpukit.operate.context.started import describe_start, read_room
from xpukit.operate.ready.attempt import Attempt, find_last_line
from xpukit.operate.ready.start_log import Progress, Suggestion

BOUNDS = Bounds(first=32768, lowest=1024, highest=None, precision=0.03, most_tries=12)


class Engine:
    """Serves up to `most` tokens. `suggests`: its refusal says so; `room`: its log says what its cache holds."""

    def __init__(self, most: int, *, suggests: bool = False, room: int | None = None) -> None:
        self.most, self.suggests, self.room = most, suggests, room
        self.asked: list[int] = []

    def __call__(self, tokens: int) -> Try:
        self.asked.append(tokens)
        if tokens <= self.most:
            return Try(tokens=tokens, outcome="serves", room=self.room)
        return Try(tokens=tokens, outcome="no-start", why="too long", suggested=self.most if self.suggests else None)


def search(engine: Engine, bounds: Bounds = BOUNDS, done: tuple[Try, ...] = ()) -> ContextReport:
    return search_context(engine, bounds, what="x", done=done)


def test_the_suggestion_is_proven_and_nothing_more_is_started() -> None:
    engine = Engine(20_013, suggests=True)
    found = search(engine)
    assert (found.proven, found.broken, found.finished) == (20_013, 32_768, True)
    assert engine.asked == [32_768, 20_013]


def test_room_is_used() -> None:
    engine = Engine(50_000, room=50_000)
    assert search(engine).proven == 50_000
    assert engine.asked == [32_768, 50_000]
    # What the engine promises is not what serves.
    engine = Engine(40_000, room=100_000)
    found = search(engine)
    assert found.proven is not None
    assert found.proven <= 40_000 < found.proven * 1.04


def test_without_a_word_it_halves() -> None:
    engine = Engine(9_000)
    found = search(engine)
    assert found.proven is not None
    assert engine.asked[:3] == [32_768, 16_384, 8_192]
    assert found.broken is not None
    assert found.proven <= 9_000 < found.broken <= found.proven * 1.04
    assert "serve" in found.statement


def test_doubling_of_an_endpoint_without_a_limit() -> None:
    bounds = msgspec.structs.replace(BOUNDS, first=2048, highest=1 << 21, doubling=True)
    engine = Engine(10_000)
    assert search(engine, bounds).proven is not None
    assert engine.asked[:4] == [2048, 4096, 8192, 16_384]
    assert max(engine.asked) == 16_384


def test_what_never_serves_ends() -> None:
    engine = Engine(10)
    found = search(engine)
    assert (found.proven, found.finished) == (None, True)
    assert engine.asked[-1] == 1024
    assert len(engine.asked) == 6
    assert "none of 6 lengths serves, down to 1024 tokens (too long)" in found.statement


def test_what_cannot_be_judged_ends_it() -> None:
    found = search_context(
        lambda tokens: Try(tokens=tokens, outcome="unknown", why="thinks too long"), BOUNDS, what="x"
    )
    assert (len(found.tries), found.finished, found.proven) == (1, False, None)
    assert found.statement == "it could not be judged: thinks too long"


@given(
    most=st.integers(1, 300_000),
    first=st.integers(1024, 200_000),
    suggests=st.booleans(),
    room=st.one_of(st.none(), st.integers(1, 400_000)),
    precision=st.floats(0.01, 0.5),
)
def test_it_always_ends_and_is_never_wrong(
    most: int, first: int, suggests: bool, room: int | None, precision: float
) -> None:
    engine = Engine(most, suggests=suggests, room=room)
    bounds = Bounds(first=first, lowest=1024, highest=None, precision=precision, most_tries=60)
    found = search(engine, bounds)
    assert len(set(engine.asked)) == len(engine.asked) <= 60
    assert found.finished
    if found.proven is not None:
        assert found.proven <= most
        if found.broken is not None and not suggests:
            assert found.broken <= math.ceil(found.proven * (1 + precision)) + 1
    else:
        assert most < max(1024, min(engine.asked))


@given(most=st.integers(1024, 100_000), cut=st.integers(0, 6))
def test_a_search_that_goes_on_comes_to_the_same(most: int, cut: int) -> None:
    whole = search(Engine(most))
    again = Engine(most)
    assert search(again, done=whole.tries[:cut]) == whole
    assert len(again.asked) == max(0, len(whole.tries) - cut)


def test_tries_are_kept_and_a_torn_one_is_left_out(tmp_path: Path) -> None:
    record = ContextRecord(what="x", bounds=BOUNDS)
    directory = ContextDirectory.open(tmp_path / "run", record, resume=False)
    tries = [Try(tokens=1000, outcome="serves"), Try(tokens=2000, outcome="refused", why="too long")]
    directory.keep(tries[0])
    with (tmp_path / "run" / "tries.jsonl").open("ab") as file:
        file.write(b'\n{"tokens": 15')
    directory.keep(tries[1])
    directory.keep(Try(tokens=3000, outcome="unknown"))
    assert directory.read_tries() == tuple(tries)
    with pytest.raises(UsageError):
        ContextDirectory.open(tmp_path / "run", record, resume=False)
    more = ContextRecord(what="x", bounds=msgspec.structs.replace(BOUNDS, most_tries=99))
    ContextDirectory.open(tmp_path / "run", more, resume=True)
    with pytest.raises(UsageError):
        ContextDirectory.open(tmp_path / "run", ContextRecord(what="y", bounds=BOUNDS), resume=True)


def test_what_a_start_says() -> None:
    said = Suggestion(flag="--max-model-len", option="--context", value="4096", why="", line="estimated … 4096")
    steps = (Progress(name="kv_cache", text="KV cache: 65,536 tokens"),)
    ended = Attempt(state="ended", seconds=3, exit_code=1, suggestions=(said,), steps=steps, last_line="ValueError: x")
    found = describe_start(ended, 8192, log="l")
    assert found is not None
    assert (found.outcome, found.suggested, found.why) == (
        "no-start", 4096, "the engine ended with exit code 1: ValueError: x",
    )  # fmt: skip
    assert found.evidence == ("KV cache: 65,536 tokens", "estimated … 4096")
    assert read_room(ended) == 65_536
    assert describe_start(msgspec.structs.replace(ended, state="ready"), 1, log="") is None
    assert "did not answer within 9 s" in Attempt(state="timeout", seconds=9).failure


def test_the_line_that_tells() -> None:
    assert find_last_line(["x", "Error: no such image", "", "see --help"]) == "Error: no such image"
    assert find_last_line(["x", "y "]) == "y"
    assert find_last_line([]) == ""


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("This model's maximum context length is 4096 tokens. However, you requested 9000", 4096),
        ("The input (9000 tokens) is longer than the model's context length (8192 tokens).", 8192),
        ("Requested token count exceeds the model's maximum context length of 8192 tokens.", 8192),
        ("no", None),
    ],
)
def test_refusals_that_say_the_length(text: str, tokens: int | None) -> None:
    assert read_stated_length(text) == tokens


@given(lines=st.integers(1, 200), depth=st.floats(0, 1))
def test_a_needle_is_in_the_hay_once(lines: int, depth: float) -> None:
    text = hide_needle(lines, depth, 84173)
    assert text.count("The number of the lighthouse is 84173.") == 1
    assert len(text.rstrip("\n").split("\n")) == lines + 1
