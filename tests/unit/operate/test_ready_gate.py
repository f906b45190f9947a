"""The gate as a whole: what a good endpoint gets, and what each wrong answer costs."""

from __future__ import annotations

import base64
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.operate.ready_stub import FakeEngine, make_reply, say
from xpukit.core.errors import CouldNotJudgeError, ExternalError, UsageError
from xpukit.facts.readiness import find_level
from xpukit.host.http_client import HttpReply
from xpukit.operate.ready.endpoint import describe_endpoint, normalize_url
from xpukit.operate.ready.gate import Gate
from xpukit.operate.ready.long_prompt import LongPrompt, find_target, measure_line
from xpukit.operate.ready.result import Api, CheckReport

URL = "http://h:1"
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
EMBEDDINGS, RERANK = "/v1/embeddings", "/v1/rerank"


def check(engine: FakeEngine, level: str = "quick", **settings: Any) -> CheckReport:
    endpoint = describe_endpoint(engine, URL)
    return Gate(engine, endpoint, find_level(level), **settings).run()


def list_failing(report: CheckReport) -> set[str]:
    return {row.name for row in report.rows if row.verdict == "fail"}


@pytest.mark.parametrize("level", ["quick", "normal", "long"])
def test_a_good_endpoint_passes(level: str) -> None:
    engine = FakeEngine()
    report = check(engine, level)
    assert {row.name: row.verdict for row in report.rows if row.verdict != "pass"} == {
        "transcription": "not-applicable"
    }
    assert report.exit_code == 0
    assert report.verdict == "pass"
    assert all(row.request and row.response and row.requests for row in report.rows if row.verdict == "pass")
    wide = find_level(level).concurrent
    assert [row.requests for row in report.rows if row.name.endswith("concurrent")] == [wide, wide]
    long = max(len(request["messages"][-1]["content"].split()) for path, request in engine.asked if path == CHAT)
    assert long > (900 if level == "quick" else 4096 * 0.75)
    assert long < 4096
    msgspec.json.encode(report)


BAD: dict[str, tuple[dict[str, Any], set[str]]] = {
    "empty": ({CHAT: say("")}, {"arithmetic", "prose", "stream", "long", "concurrent"}),
    "degenerate": ({CHAT: say("!" * 64)}, {"arithmetic", "prose", "stream", "long", "concurrent"}),
    "loop": ({CHAT: say("so on " * 40)}, {"arithmetic", "prose", "stream", "long", "concurrent"}),
    "wrong sum": ({CHAT: say("It is 7, said the old man by the river.")},
                  {"arithmetic", "stream", "long", "concurrent"}),
    "nan": ({CHAT: lambda request, good: spoil_logprobs(good, float("nan"))}, {"logprobs"}),
    "no logprobs": ({CHAT: lambda request, good: spoil_logprobs(good, None)}, {"logprobs"}),
    "500 for logprobs": ({CHAT: lambda request, good: make_reply({"message": "x"}, 500) if "logprobs" in request
                          else good}, {"logprobs"}),
    "stream cut": ({CHAT: lambda request, good: good.replace(b"data: [DONE]\n\n", b"") if isinstance(good, bytes)
                    else good}, {"stream"}),
    "deep": ({CHAT: lambda request, good: say("!" * 64)(request, good) if len(str(request)) > 3000 else good}, {"long"}),
    "no json": ({CHAT: lambda request, good: make_reply(b"{")}, {"arithmetic", "prose", "logprobs", "stream", "long",
                                                                  "concurrent"}),
}  # fmt: skip


def spoil_logprobs(good: Any, value: object) -> Any:
    if isinstance(good, dict) and good["choices"][0].get("logprobs"):
        row = {"token": "3", "logprob": value}
        good["choices"][0]["logprobs"] = {"content": [row]} if value is not None else None
    return good


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_fails(name: str) -> None:
    changes, rows = BAD[name]
    report = check(FakeEngine(changes))
    assert list_failing(report) == {f"chat-{row}" for row in rows}
    assert report.exit_code == 1
    assert all(row.why and row.response for row in report.rows if row.verdict == "fail")


@pytest.mark.parametrize(
    ("path", "change", "rows"),
    [
        (EMBEDDINGS, lambda request, good: {"data": good["data"][:1]}, {"embeddings"}),
        (RERANK, lambda request, good: {"results": good["results"][::-1]}, {"rerank"}),
        ("/v1/score", lambda request, good: {"data": [{"score": 1}] * 4}, {"score"}),
    ],
)
def test_pooling_that_is_wrong_fails(path: str, change: Any, rows: set[str]) -> None:
    if path == EMBEDDINGS:
        report = check(
            FakeEngine({path: lambda request, good: change(request, good) if len(request["input"]) > 1 else good})
        )
    else:
        report = check(FakeEngine({path: change}))
    assert list_failing(report) == rows


def test_an_embedding_of_another_dimension_than_stated_fails() -> None:
    assert list_failing(check(FakeEngine(), size=16)) == set()
    assert list_failing(check(FakeEngine(), size=17)) == {"embeddings"}


def test_an_embedding_that_changes_outside_the_batch_fails() -> None:
    def change(request: dict[str, Any], good: Any) -> Any:
        if len(request["input"]) == 1:
            good["data"][0]["embedding"].reverse()
        return good

    assert list_failing(check(FakeEngine({EMBEDDINGS: change}))) == {"embeddings-concurrent"}


def test_answers_of_other_requests_fail() -> None:
    sums: list[str] = []

    def swap(request: dict[str, Any], good: Any) -> Any:
        if isinstance(good, dict) and request["messages"][0]["content"].startswith("24"):
            good["choices"][0]["message"]["content"] = sums[0]
        elif isinstance(good, dict):
            sums.append(good["choices"][0]["message"]["content"])
        return good

    report = check(FakeEngine({CHAT: swap}))
    assert list_failing(report) == {"chat-concurrent"}
    [row] = [row for row in report.rows if row.verdict == "fail"]
    assert row.why.startswith("1 of 4 at once: wrong arithmetic")


def refuse(status: int, text: str) -> Any:
    return lambda request, good: make_reply({"error": {"message": text}}, status)


def test_what_a_model_is_not_made_for_does_not_apply() -> None:
    changes = {
        CHAT: refuse(400, "you must provide a chat template"),
        EMBEDDINGS: refuse(400, "The model does not support Embeddings API"),
        RERANK: refuse(404, "Not Found"),
        "/v1/score": refuse(422, "field required"),
    }
    report = check(FakeEngine(changes))
    assert {row.name for row in report.rows if row.verdict == "not-applicable"} == {
        "chat", "embeddings", "rerank", "score", "transcription",
    }  # fmt: skip
    # Depth is asked of what speaks.
    assert {"completions-long", "completions-concurrent"} <= {row.name for row in report.rows}
    assert report.exit_code == 0


def test_an_api_that_was_asked_for_has_to_be_there() -> None:
    report = check(FakeEngine({EMBEDDINGS: refuse(404, "Not Found")}), apis=("embeddings",))
    assert [(row.name, row.verdict) for row in report.rows] == [("embeddings", "fail")]


def test_a_bad_request_of_chat_is_no_excuse() -> None:
    report = check(FakeEngine({CHAT: refuse(400, "max_tokens must be at least 1")}))
    assert "chat-arithmetic" in list_failing(report)


def test_nothing_to_judge_is_no_pass() -> None:
    gone = dict.fromkeys((CHAT, COMPLETIONS, EMBEDDINGS, RERANK, "/v1/score"), refuse(404, "Not Found"))
    assert check(FakeEngine(gone)).exit_code == 3


def test_the_endpoints_own_list_of_paths_is_believed() -> None:
    listed = {"/openapi.json": lambda request, good: {"paths": {CHAT: {}, "/v1/audio/transcriptions": {}}}}
    engine = FakeEngine(listed)
    report = check(engine)
    assert {row.name: row.verdict for row in report.rows if row.api not in ("chat",)} == {
        **dict.fromkeys(("completions", "embeddings", "rerank", "score"), "not-applicable"),
        "transcription": "pass",
    }
    assert COMPLETIONS not in {path for path, _ in engine.asked}


def test_an_endpoint_that_dies_meanwhile_fails_and_the_rest_is_unknown() -> None:
    count = 0

    def die(request: dict[str, Any], good: Any) -> Any:
        nonlocal count
        count += 1
        return HttpReply(trouble="unreachable", detail="refused") if count > 2 else good

    dead = {CHAT: die, "/v1/models": lambda request, good: HttpReply(trouble="unreachable") if count > 2 else good}
    report = check(FakeEngine(dead))
    assert list_failing(report) == {"chat-prose", "alive"}
    assert {row.verdict for row in report.rows if row.api in ("completions", "embeddings", "rerank")} == {"unknown"}
    assert report.exit_code == 1


def test_time_limits_are_failures() -> None:
    slow = {CHAT: lambda request, good: HttpReply(trouble="timeout", detail="no whole answer within 1 s")}
    report = check(FakeEngine(slow), apis=("chat",), timeout_s=1)
    assert [(row.name, row.verdict) for row in report.rows] == [("chat-arithmetic", "fail")]
    assert "in time" in report.rows[0].why


def test_what_hangs_once_is_not_asked_again() -> None:
    engine = FakeEngine({CHAT: lambda request, good: HttpReply(trouble="timeout", detail="no whole answer within 1 s")})
    report = check(engine)
    assert sum(path == CHAT for path, _ in engine.asked) == 1
    assert {row.verdict for row in report.rows if row.api != "chat"} == {"unknown", "not-applicable"}
    assert report.exit_code == 1


def test_turned_away_requests_are_a_warning() -> None:
    def turn(request: dict[str, Any], good: Any) -> Any:
        busy = isinstance(good, dict) and request["messages"][0]["content"].startswith("24")
        return make_reply({"error": {"message": "busy"}}, 429) if busy else good

    report = check(FakeEngine({CHAT: turn}))
    assert {row.name: row.why for row in report.rows if row.verdict == "warn"} == {
        "chat-concurrent": "1 of 4 at once were turned away (HTTP 429)"
    }
    assert (report.verdict, report.exit_code) == ("warn", 0)


def test_prompts_that_are_cut_without_a_word_are_seen() -> None:
    def count_few(request: dict[str, Any], good: Any) -> Any:
        if isinstance(good, dict) and len(request["messages"][0]["content"]) > 3000:
            good["usage"]["prompt_tokens"] = 100
        return good

    report = check(FakeEngine({CHAT: count_few}))
    assert [row.name for row in report.rows if row.verdict == "warn"] == ["chat-long"]


def test_a_prompt_a_little_too_long_is_made_shorter() -> None:
    def refuse_long(request: dict[str, Any], good: Any) -> Any:
        words = len(str(request["messages"][0]["content"]).split())
        return make_reply({"message": "maximum context length"}, 400) if words > 3000 else good

    report = check(FakeEngine({CHAT: refuse_long}), "normal", apis=("chat",))
    assert report.verdict == "pass"


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "text", "data", "index", "embedding", "usage", "error"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=60)
@given(
    ANY_JSON, st.sampled_from([200, 204, 302, 400, 404, 429, 500]), st.sampled_from(["chat", "embeddings", "rerank"])
)
def test_whatever_comes_back_there_is_a_report(body: Any, status: int, api: Api) -> None:
    paths = (CHAT, COMPLETIONS, EMBEDDINGS, RERANK, "/v1/score", "/v1/audio/transcriptions")
    odd = {path: lambda request, good: make_reply(body, status) for path in paths}
    report = check(FakeEngine(odd), apis=(api,))
    assert report.rows
    assert report.exit_code in (1, 3)
    msgspec.json.encode(report)


def test_models_that_were_not_asked_are_named() -> None:
    rows = [{"id": "a"}, {"id": "b"}]
    assert check(FakeEngine({"/v1/models": lambda request, good: {"data": rows}})).notes == (
        "not checked: b (--model NAME)",
    )


def test_evidence_is_cut() -> None:
    report = check(FakeEngine())
    assert all(len(row.request) < 700 and len(row.response) < 700 for row in report.rows)


@pytest.mark.parametrize(
    ("reply", "error", "hint"),
    [
        (HttpReply(trouble="unreachable", detail="Connection refused"), ExternalError, "address"),
        (make_reply({}, 401), UsageError, "--api-key-env"),
        (make_reply({}, 403), UsageError, "--api-key-env"),
        (make_reply({"hello": 1}), ExternalError, "path"),
        (make_reply(b"<html>", 404), ExternalError, "path"),
        (make_reply({"data": []}), CouldNotJudgeError, "--model"),
    ],
)
def test_what_is_no_endpoint_is_said(reply: HttpReply, error: type[Exception], hint: str) -> None:
    engine = FakeEngine({"/v1/models": lambda request, good: reply})
    with pytest.raises(error) as found:
        describe_endpoint(engine, URL)
    assert hint in found.value.hint  # type: ignore[attr-defined]


def test_the_model_is_chosen() -> None:
    rows = [{"id": "adapter", "parent": "base"}, {"id": "base", "max_model_len": 10}, {"id": 3}, None]
    engine = FakeEngine({"/v1/models": lambda request, good: {"data": rows}})
    endpoint = describe_endpoint(engine, URL)
    assert (endpoint.model, endpoint.models, endpoint.context_tokens) == ("base", ("adapter", "base"), 10)
    assert describe_endpoint(engine, URL, model="adapter").context_tokens is None
    assert describe_endpoint(engine, URL, context_tokens=5).context_tokens == 5
    with pytest.raises(UsageError, match="does not serve"):
        describe_endpoint(engine, URL, model="other")


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("http://h", "http://h:80"),
        ("h:8000", "http://h:8000"),
        ("http://h:8000/v1/", "http://h:8000"),
        ("https://h/models/a/v1", "https://h:443/models/a"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_addresses(url: str, root: str) -> None:
    assert normalize_url(url) == root


@pytest.mark.parametrize("url", ["", "ftp://h", "http://", "http://h:99999", "http://u:p@h", "http://h/ x", "h?x=1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        normalize_url(url)


@pytest.mark.parametrize(("limit", "level"), [(None, 0), (None, 512), (1, 0), (100, 0), (4096, 1024), (131072, 0)])
def test_long_prompts_leave_room_for_the_answer(limit: int | None, level: int) -> None:
    target, room = find_target(limit, level, 1024)
    assert target >= 1
    assert room >= 1
    assert not level or target <= level
    assert limit is None or limit < 20 or target + room <= limit


def test_long_prompts_hold_no_two_lines_alike_and_no_sum() -> None:
    prompt = LongPrompt(lines=500)
    lines = prompt.text.strip().split("\n")
    assert len(set(lines)) == 500
    assert "+" not in prompt.text
    assert measure_line(prompt, 4000) == 8
    assert 3 < measure_line(prompt, None) < 20


def put_off(times: int, after: str, status: int = 429) -> Any:
    left = [times]

    def change(request: dict[str, Any], good: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            return good
        reply = make_reply({"error": {"message": "slow down"}}, status)
        return msgspec.structs.replace(reply, headers={**reply.headers, "retry-after": after})

    return change


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_endpoint_is_asked_again_when_it_says(status: int) -> None:
    slept: list[float] = []
    report = check(FakeEngine({CHAT: put_off(2, "7", status)}), apis=["chat"], sleep=slept.append)
    assert list_failing(report) == set()
    assert slept == [7.0, 7.0]


@pytest.mark.parametrize("after", ["900", "Wed, 21 Oct 2026 07:28:00 GMT", "", "-1", "9" * 400, "²"])
def test_what_limits_requests_is_not_called_wrong(after: str) -> None:
    slept: list[float] = []
    report = check(FakeEngine({CHAT: put_off(1, after)}), apis=["chat"], sleep=slept.append)
    assert slept == []
    [row] = [row for row in report.rows if row.verdict == "unknown"]
    assert row.why.startswith("HTTP 429: slow down")
    assert report.exit_code == 3


def move(good: Any, name: str) -> Any:
    """All of the answer as thoughts."""
    message = good["choices"][0]["message"]
    message[name], message["content"] = message["content"], None
    return good


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_an_answer_that_is_all_thoughts_names_the_parser(name: str) -> None:
    change = {CHAT: lambda request, good: good if isinstance(good, bytes) else move(good, name)}
    report = check(FakeEngine(change), apis=["chat"])
    [row] = [row for row in report.rows if row.name == "chat-arithmetic"]
    assert row.verdict == "fail"
    assert "told as thoughts" in row.why
    assert "--reasoning-parser" in row.remedy


def call_a_tool(request: dict[str, Any], good: Any) -> Any:
    if not isinstance(good, bytes):
        call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
        good["choices"][0]["message"] = {"role": "assistant", "content": None, "tool_calls": [call]}
    return good


def test_a_call_of_a_tool_is_no_answer() -> None:
    report = check(FakeEngine({CHAT: call_a_tool}), apis=["chat"])
    assert "it calls a tool (add); none was offered" in {row.why for row in report.rows}


def test_a_gateway_that_describes_other_paths_is_tried() -> None:
    described = make_reply({"paths": {"/gateway/v1/chat/completions": {}}})
    report = check(FakeEngine({"/openapi.json": lambda *_: described}))
    assert report.exit_code == 0
    assert {row.verdict for row in report.rows if row.api == "chat"} == {"pass"}


def test_an_event_stream_by_any_spelling() -> None:
    def spell(request: dict[str, Any], good: Any) -> Any:
        return make_reply(b"\xef\xbb\xbf" + good, content_type="TEXT/EVENT-STREAM") if isinstance(good, bytes) else good

    assert check(FakeEngine({CHAT: spell}), apis=["chat"]).exit_code == 0


def test_vectors_in_openais_other_encoding() -> None:
    def pack(request: dict[str, Any], good: Any) -> Any:
        for row in good["data"]:
            data = struct.pack(f"<{len(row['embedding'])}f", *row["embedding"])
            row["embedding"] = base64.b64encode(data).decode()
        return good

    assert check(FakeEngine({EMBEDDINGS: pack}), apis=["embeddings"]).exit_code == 0
