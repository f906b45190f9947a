"""Server-sent events, and whether a streamed answer is whole."""

from __future__ import annotations

from codecs import BOM_UTF8

import msgspec

from xpukit.operate.ready.read_reply import Answer, first_of, get, make_answer, read_json
from xpukit.operate.ready.result import PASSED, Judged

_DONE = b"[DONE]"


class Streamed(msgspec.Struct, frozen=True, kw_only=True):
    """A streamed answer put together. `error`: what an event said went wrong; `unread`: events that are no JSON."""

    answer: Answer
    pieces: int
    done: bool
    error: str = ""
    unread: int = 0


def list_events(body: bytes) -> list[bytes]:
    """The data of each event (WHATWG's event stream): lines of one event are joined, comments left out."""
    events: list[bytes] = []
    data: list[bytes] = []
    for line in body.removeprefix(BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        if not line:
            if data:
                events.append(b"\n".join(data))
            data = []
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
    # An event that its empty line has not ended is dropped by the standard; servers that stop after [DONE] are not.
    if data == [_DONE]:
        events.append(_DONE)
    return events


def read_stream(body: bytes) -> Streamed:
    """All events of one answer, of chat or completions. Never raises."""
    text: list[str] = []
    thinking: list[str] = []
    finish, error = "", ""
    pieces = unread = 0
    done = False
    for event in list_events(body):
        if event.strip() == _DONE:
            done = True
            continue
        parsed = read_json(event)
        if not isinstance(parsed, dict):
            unread += 1
            continue
        if parsed.get("error"):
            said = get(parsed["error"], "message") or parsed["error"]
            error = error or str(said)
            continue
        choice = first_of(parsed.get("choices"))
        delta = get(choice, "delta")
        said = get(delta, "content") if isinstance(delta, dict) else get(choice, "text")
        thought = get(delta, "reasoning_content") or get(delta, "reasoning")
        if isinstance(said, str) and said:
            text.append(said)
        if isinstance(thought, str) and thought:
            thinking.append(thought)
        pieces += bool(said) or bool(thought)
        if isinstance(get(choice, "finish_reason"), str):
            finish = choice["finish_reason"]
    answer = make_answer("".join(text), "".join(thinking), finish=finish)
    return Streamed(answer=answer, pieces=pieces, done=done, error=error, unread=unread)


def judge_stream(streamed: Streamed, content_type: str) -> Judged:
    """Whether it is an event stream that came to its end. What it says is judged by others."""
    if streamed.error:
        return Judged(verdict="fail", why=f"an error in the stream: {streamed.error:.200}")
    if not content_type.lower().startswith("text/event-stream"):
        return Judged(verdict="fail", why=f"no event stream but {content_type or 'no content type'}")
    if streamed.unread:
        return Judged(verdict="fail", why=f"{streamed.unread} events are no JSON")
    if not streamed.done:
        return Judged(verdict="fail", why="the stream ends without [DONE]")
    if not streamed.pieces:
        return Judged(verdict="fail", why="the answer is empty")
    if not streamed.answer.finish:
        return Judged(verdict="fail", why="no event says why the answer ended (finish_reason)")
    return PASSED
