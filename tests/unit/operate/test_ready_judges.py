"""Each judge fails what is wrong, passes what is right, and never raises."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpukit.facts.readiness import find_limit, list_limits, load_prompts, load_start
from xpukit.operate.ready.check_audio import judge_transcript, make_tone
from xpukit.operate.ready.check_generation import judge_sum_answer, list_sums
from xpukit.operate.ready.event_stream import judge_stream, list_events, read_stream
from xpukit.operate.ready.judge_logprobs import judge_logprobs
from xpukit.operate.ready.judge_ranking import judge_ranking
from xpukit.operate.ready.judge_text import find_loop, judge_first_number, judge_sum, judge_text, list_numbers
from xpukit.operate.ready.judge_vectors import judge_embeddings
from xpukit.operate.ready.read_reply import read_answer, read_error, read_json
from xpukit.operate.ready.result import Judged

GOOD_TEXTS = (
    "Paris",
    "42",
    "1000000000000",
    "Rain forms when warm, moist air rises. It cools as it climbs, and the vapour condenses into tiny drops that grow "
    "until they are too heavy to float, and fall. Dust gives the first drops something to hold on to.",
    "雨は、暖かく湿った空気が上昇して冷え、水蒸気が小さな水滴になることで生まれます。水滴は集まって重くなり、地上に落ちてきます。",
    "Дождь образуется, когда тёплый влажный воздух поднимается и остывает; капли растут и падают на землю.",
    "1. Water evaporates.\n2. Air rises and cools.\n3. Vapour condenses.\n4. Drops merge.\n5. Rain falls.",
    "| step | what |\n| --- | --- |\n| 1 | evaporation |\n| 2 | condensation |\n| 3 | rain |",
    "ha ha ha, very funny",
    "```python\nfor i in range(3):\n    print(i)\n```",
    "21 + 12 = 33 ✅",
)
BAD_TEXTS = {
    "!!!!": "degenerate",
    "?!": "degenerate",
    "!" * 64: "degenerate",
    "!" * 8: "degenerate",
    " \n\t ": "empty",
    "": "empty",
    ", ,, ,, ,, ,, ,,": "degenerate",
    "the" + " the" * 63: "repeated",
    "The sky." + "\nIt" * 60: "repeated",
    "Rain falls from the clouds. " * 12: "repeated",
    "雨が降る。" * 20: "repeated",
    "a" * 40: "degenerate",
    "\ufffd" * 12: "no text",
    "ok \x00\x01\x02\x03\x04": "no text",
    "0" * 64: "degenerate",
    "abc" * 30: "repeated",
    "Sure! " + "ab cd ef gh " * 10: "repeated",
}


@pytest.mark.parametrize("text", GOOD_TEXTS, ids=range(len(GOOD_TEXTS)))
def test_good_texts_pass(text: str) -> None:
    assert judge_text(text) == Judged(verdict="pass", why="")


@pytest.mark.parametrize(("text", "why"), BAD_TEXTS.items(), ids=range(len(BAD_TEXTS)))
def test_bad_texts_fail(text: str, why: str) -> None:
    judged = judge_text(text)
    assert judged.verdict == "fail"
    assert why in judged.why


@pytest.mark.parametrize("text", [None, 3, [], {}, b"x"])
def test_what_is_no_text_fails(text: object) -> None:
    assert judge_text(text).verdict == judge_sum(text, 3).verdict == judge_first_number(text, 3).verdict == "fail"


def test_loops_are_found_wherever_the_last_copy_is_cut() -> None:
    whole = "A start of some words: " + "and so on " * 20
    assert all(find_loop(whole[:-cut]) is not None for cut in range(1, 10))
    assert find_loop("and so on and so on") is None


@pytest.mark.parametrize(
    "text",
    [
        "33",
        "21 + 12 = 33",
        "The answer is **33**.",
        "٣٣",
        "３３",
        "33.0",
        "= 33!",
        "Das macht 33.",
        "\\boxed{33}",
        "第33",
    ],
)
def test_right_sums_pass(text: str) -> None:
    assert judge_sum(text, 33).verdict == "pass"


@pytest.mark.parametrize(
    "text",
    ["34", "21 + 12 = 34", "333", "3 3", "thirty-three", "!!!!", "3.3", "-33", "", " ".join(map(str, range(60)))],
)
def test_wrong_sums_fail(text: str) -> None:
    assert judge_sum(text, 33).verdict == "fail"


def test_the_first_number_decides_for_texts_that_go_on() -> None:
    assert judge_first_number(" 33\n40 + 2 = 42", 33).verdict == "pass"
    assert judge_first_number(" 42\n33", 33).verdict == "fail"
    # What a base model does after the right number is its own affair.
    assert judge_first_number(" 33" + "\n33" * 40, 33).verdict == "pass"
    assert judge_first_number("!" * 16, 33).why.startswith("degenerate")


def test_numbers_are_read_in_all_writings() -> None:
    assert list_numbers("1,024 and 2.50 and -7 and 3.000 and 12,5") == ["1024", "2.50", "-7", "3", "12,5"]


def test_sums_do_not_hold_their_own_answers_and_differ() -> None:
    sums = list(list_sums(32))
    rights = [left + right for left, right in sums]
    assert len(set(rights)) == 32
    assert all(left + right not in (left, right) for left, right in sums)


def chat(text: object, **message: object) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text, **message}, "finish_reason": "length"}]}


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (chat("33"), "pass"),
        (chat("<think>\n21 + 12, 40?\n</think>\n\n33"), "pass"),
        (chat("21 and 12… it is 34\n</think>33"), "pass"),
        (chat("33\n</think>34"), "fail"),
        (chat("33", reasoning_content="is it 34?"), "pass"),
        (chat(None, reasoning_content="21 + 12 is 33"), "pass"),
        (chat(None, reasoning="let me think about it"), "unknown"),
        (chat("<think>let me"), "unknown"),
        (chat("", reasoning_content="!" * 99), "fail"),
        (chat(None), "fail"),
        (chat(""), "fail"),
        ({"choices": []}, "fail"),
        ({}, "fail"),
        (None, "fail"),
    ],
)
def test_thoughts_are_no_answer(reply: object, verdict: str) -> None:
    assert judge_sum_answer("chat", read_answer(reply), 33).verdict == verdict


def content(*values: object) -> dict[str, Any]:
    return {"content": [{"token": "x", "logprob": value} for value in values]}


@pytest.mark.parametrize(
    ("logprobs", "verdict"),
    [
        (content(-0.1, -2), "pass"),
        (content(0.0), "pass"),
        ({"token_logprobs": [-0.5, -1.5]}, "pass"),
        (None, "fail"),
        ({}, "fail"),
        ({"content": []}, "fail"),
        (content(-0.1, math.nan), "fail"),
        (content(-math.inf), "fail"),
        (content(-9999.0), "fail"),
        (content(None), "fail"),
        (content("-0.1"), "fail"),
        (content(True), "fail"),
        (content(0.7), "fail"),
        ({"token_logprobs": [None, -1.0]}, "fail"),
        (content(-11.9, -11.9), "warn"),
    ],
)
def test_log_probabilities(logprobs: object, verdict: str) -> None:
    assert judge_logprobs(logprobs).verdict == verdict


def vectors(*rows: list[Any], order: list[int] | None = None) -> dict[str, Any]:
    return {"data": [{"index": place, "embedding": rows[place]} for place in (order or range(len(rows)))]}


A, B = [0.6, 0.8, 0.0], [0.0, 0.6, 0.8]


@pytest.mark.parametrize(
    ("reply", "size", "why"),
    [
        (vectors(A, B, A), None, ""),
        (vectors(A, B, A), 3, ""),
        (vectors(A, B, A, order=[2, 0, 1]), 3, ""),
        (vectors(A, B, A), 4, "dimension 3 instead of 4"),
        (vectors(A, B), None, "2 embeddings for 3 texts"),
        (vectors(A, B, A[:2]), None, "different dimensions"),
        (vectors(A, [0.0, math.nan, 1.0], A), None, "nan"),
        (vectors(A, [0.0, math.inf, 1.0], A), None, "inf"),
        (vectors(A, [0.0, None, 1.0], A), None, "no number"),
        (vectors(A, [0.0, 0.0, 0.0], A), None, "all 3 numbers are 0.0"),
        (vectors(A, [0.5, 0.5, 0.5], A), None, "all 3 numbers are 0.5"),
        (vectors(A, A, A), None, "have one embedding"),
        (vectors(A, B, [0.8, 0.6, 0.0]), None, "the same text has two embeddings"),
        (vectors(A, [10**400, 1, 2], A), None, "beyond all measure"),
        (vectors(A, "AAAA", A), None, "no vector"),  # type: ignore[arg-type]
        ({"data": None}, None, "0 embeddings"),
        (None, None, "0 embeddings"),
    ],
)
def test_embeddings(reply: object, size: int | None, why: str) -> None:
    judged = judge_embeddings(reply, ["a", "b", "a"], size=size)
    assert judged.verdict == ("fail" if why else "pass")
    assert why in judged.why


def ranks(*pairs: tuple[int, Any]) -> list[dict[str, Any]]:
    return [{"index": index, "relevance_score": score} for index, score in pairs]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ({"results": ranks((1, 0.9), (0, 0.5), (2, 0.1))}, ""),
        (ranks((1, 0.9), (0, 0.5), (2, 0.1)), ""),
        ({"data": [{"score": 0.1}, {"score": 0.9}, {"score": 0.0}]}, "not sorted"),
        ({"results": ranks((0, 0.9), (1, 0.5), (2, 0.1))}, "wrong order: document 0"),
        ({"results": ranks((1, 0.9), (2, 0.1), (0, 0.5))}, "not sorted"),
        ({"results": ranks((1, 0.9), (0, 0.5))}, "2 scores for 3"),
        ({"results": ranks((1, 0.9), (1, 0.5), (0, 0.1))}, "not each once"),
        ({"results": ranks((1, math.nan), (0, 0.5), (2, 0.1))}, "nan"),
        ({"results": ranks((1, None), (0, 0.5), (2, 0.1))}, "None"),
        ({"results": ranks((1, 10**400), (0, 0.5), (2, 0.1))}, "score of document 1"),
        ({"results": ranks((0, 0.5), (1, 0.5), (2, 0.5))}, "all documents"),
        ({"results": "x"}, "0 scores"),
        ("abc", "0 scores"),
        (None, "0 scores"),
    ],
)
def test_rankings(reply: object, why: str) -> None:
    judged = judge_ranking(reply, documents=3, best=1, in_order=True)
    assert judged.verdict == ("fail" if why else "pass")
    assert why in judged.why


def test_scores_may_come_in_the_order_of_the_documents() -> None:
    reply = {"data": [{"score": 0.1}, {"score": 0.9}, {"score": 0.0}]}
    assert judge_ranking(reply, documents=3, best=1, in_order=False).verdict == "pass"


EVENT = b'data: {"choices": [{"delta": {"content": "33"}}]}\n\n'
END = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
TYPE = "text/event-stream; charset=utf-8"


@pytest.mark.parametrize(
    ("body", "content_type", "why"),
    [
        (EVENT + END + DONE, TYPE, ""),
        ((b": ping\n\n" + EVENT + END + DONE).replace(b"\n", b"\r\n"), TYPE, ""),
        (EVENT + END + b"data: [DONE]", TYPE, ""),
        (EVENT + END, TYPE, "without [DONE]"),
        (EVENT + DONE, TYPE, "finish_reason"),
        (END + DONE, TYPE, "empty"),
        (EVENT + END + DONE, "application/json", "no event stream"),
        (EVENT + b"data: {x\n\n" + END + DONE, TYPE, "no JSON"),
        (EVENT + b'data: {"error": {"message": "dead"}}\n\n' + DONE, TYPE, "dead"),
        (b"", TYPE, "without [DONE]"),
    ],
)
def test_streams(body: bytes, content_type: str, why: str) -> None:
    judged = judge_stream(read_stream(body), content_type)
    assert judged.verdict == ("fail" if why else "pass")
    assert why in judged.why


def test_streams_are_put_together() -> None:
    body = b"".join(
        b'data: {"choices": [{"delta": {"%s": "%s"}}]}\n\n' % (name, text)
        for name, text in ((b"reasoning_content", b"hm"), (b"content", b"3"), (b"content", b"3"))
    )
    streamed = read_stream(body + END + DONE)
    assert (streamed.answer.text, streamed.answer.thinking, streamed.pieces) == ("33", "hm", 3)
    assert list_events(b"data: a\ndata: b\n\nid: 1\n\n") == [b"a\nb"]


def test_transcripts_are_judged_by_their_form() -> None:
    assert judge_transcript({"text": ""}).verdict == judge_transcript({"text": "thank you"}).verdict == "pass"
    assert judge_transcript({"text": "!" * 40}).verdict == "warn"
    assert judge_transcript({}).verdict == judge_transcript([]).verdict == "fail"


def test_the_tone_is_a_wav_file() -> None:
    import io
    import wave

    with wave.open(io.BytesIO(make_tone(0.5))) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getnframes()) == (16000, 1, 8000)


NAMES = [
    *("choices", "message", "content", "text", "delta", "logprobs", "logprob", "token_logprobs", "data", "index"),
    *("embedding", "results", "relevance_score", "score", "usage", "prompt_tokens", "error", "finish_reason"),
    *("reasoning_content", "detail"),
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150)
@given(VALUES)
def test_no_judge_raises(value: Any) -> None:
    answer = read_answer(value)
    body = json.dumps(value).encode()
    texts = ["a", "b", "a"]
    judged = [
        judge_sum_answer("chat", answer, 33),
        judge_sum_answer("completions", answer, 33),
        judge_text(value),
        judge_logprobs(value),
        judge_logprobs(answer.logprobs),
        judge_embeddings(value, texts, size=3),
        judge_embeddings({"data": value}, texts),
        judge_embeddings({"data": [{"embedding": value}] * 3}, texts),
        judge_ranking(value, documents=3, best=1, in_order=True),
        judge_ranking({"results": value}, documents=3, best=1, in_order=False),
        judge_transcript(value),
        judge_stream(read_stream(b"data: " + body + b"\n\n" + DONE), TYPE),
    ]
    assert all(isinstance(one, Judged) for one in judged)
    assert isinstance(read_error(body), str)


@settings(max_examples=100)
@given(st.text(max_size=300))
def test_texts_of_any_kind_are_judged(text: str) -> None:
    assert judge_text(text).verdict in ("pass", "fail")
    assert judge_sum(text, 33).verdict in ("pass", "fail")
    # Whatever a text is: said over and over it fails.
    if text.strip() and len(text) <= find_limit("period_length"):
        assert judge_text(text * max(64, 1 + 400 // len(text))).verdict == "fail"


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_read(body: bytes) -> None:
    read_json(body)
    assert isinstance(read_error(body), str)
    assert judge_stream(read_stream(body), TYPE).verdict == "fail" or b"[DONE]" in body


def test_a_reply_nested_too_deep_is_no_json() -> None:
    assert read_json(b"[" * 100_000) is None


def test_facts_say_what_they_rest_on() -> None:
    assert all(limit.why and limit.unit for limit in list_limits())
    prompts = load_prompts()
    assert 0 <= prompts.rerank.best < len(prompts.rerank.documents)
    assert len(set(prompts.embedding_texts)) == len(prompts.embedding_texts) - 1
    start = load_start()
    assert all(bool(row.regex) != bool(row.log) for row in (*start.progress, *start.suggestion))
