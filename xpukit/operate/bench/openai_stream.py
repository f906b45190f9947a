"""One request to an OpenAI-compatible endpoint and what came of it, piece by piece."""

from __future__ import annotations

import asyncio
import contextlib
import time
from codecs import BOM_UTF8
from typing import Literal

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.host.http_stream import HttpFailure, HttpStreamClient

Api = Literal["chat", "completions"]
PATHS: dict[Api, str] = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}
_LONGEST_ERROR = 200


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None

    @property
    def said(self) -> bool:
        delta = self.delta
        return bool(self.text or (delta and (delta.content or delta.reasoning_content or delta.reasoning)))


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Event(msgspec.Struct):
    choices: tuple[_Choice, ...] | None = ()
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


_DECODER = msgspec.json.Decoder(_Event)


class Answer(msgspec.Struct, kw_only=True):
    """A request's times (`time.perf_counter`, seconds) and counts. `error` "" : a whole answer.

    `intended`: when the load wanted it to start; `sent`: when its first byte was written; `pieces`: when each piece of
    text came. `output_tokens` is the server's count, or the number of pieces where it gives none (`counted` False).
    `over`: the server said that this is all: [DONE], or why the answer ended.
    """

    intended: float
    sent: float = 0.0
    ended: float = 0.0
    pieces: list[float] = msgspec.field(default_factory=list)
    input_tokens: int | None = None
    output_tokens: int = 0
    counted: bool = False
    over: bool = False
    error: str = ""
    cut: bool = False


class EventReader:
    """Server-sent events (WHATWG) out of pieces of bytes, which may end anywhere."""

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads (`data:`) of the events that are complete now."""
        self._rest += data
        if not self._begun and len(self._rest) >= len(BOM_UTF8):
            self._rest, self._begun = self._rest.removeprefix(BOM_UTF8), True
        if b"\r" in self._rest:
            # A carriage return is a line's end of its own, or half of one that is not here yet.
            cut = len(self._rest) - self._rest.endswith(b"\r")
            self._rest = self._rest[:cut].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + self._rest[cut:]
        if b"\n\n" not in self._rest:
            return []
        *whole, self._rest = self._rest.split(b"\n\n")
        payloads = []
        for event in whole:
            lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
            if lines:
                payloads.append(b"\n".join(lines))
        return payloads

    def finish(self) -> list[bytes]:
        """The payload of a last event that no empty line ends: the standard drops it, servers that end so do not."""
        return self.feed(b"\n\n\n")


def take_event(answer: Answer, payload: bytes, at: float) -> None:
    """Add one event. Raises HttpFailure where it says an error or is none of this protocol."""
    if payload == b"[DONE]":
        answer.over = True
        return
    try:
        event = _DECODER.decode(payload)
    except BAD_JSON as err:
        raise HttpFailure(f"an event that is not understood: {str(err)[:80]}") from err
    if bytes(event.error) != b"null":
        raise HttpFailure(f"error in the stream: {bytes(event.error).decode('utf-8', 'replace')[:_LONGEST_ERROR]}")
    choices = event.choices or ()
    answer.over = answer.over or any(choice.finish_reason for choice in choices)
    if any(choice.said for choice in choices):
        answer.pieces.append(at)
    if event.usage is not None:
        if event.usage.completion_tokens is not None:
            answer.output_tokens, answer.counted = event.usage.completion_tokens, True
        if event.usage.prompt_tokens is not None:
            answer.input_tokens = event.usage.prompt_tokens


async def ask(client: HttpStreamClient, api: Api, body: bytes, *, intended: float, timeout_s: float) -> Answer:
    """Send and read to the end. Never raises but for being cancelled; then the answer is lost."""
    answer = Answer(intended=intended)
    reader = EventReader()

    async def read() -> None:
        async with contextlib.aclosing(client.stream("POST", PATHS[api], body)) as pieces:
            async for piece in pieces:
                if not piece.data:
                    answer.sent = piece.at
                for payload in reader.feed(piece.data):
                    take_event(answer, payload, piece.at)
        for payload in reader.finish():
            take_event(answer, payload, time.perf_counter())

    try:
        await asyncio.wait_for(read(), timeout_s)
    except asyncio.TimeoutError:
        answer.error = f"no whole answer within {timeout_s:g} s"
    except HttpFailure as err:
        answer.error = err.text[:_LONGEST_ERROR]
    answer.ended = answer.pieces[-1] if answer.pieces else time.perf_counter()
    if not answer.error and not answer.pieces:
        answer.error = "an empty answer"
    elif not answer.error and not answer.over:
        answer.error = "the stream ended in the middle: neither [DONE] nor a reason to end"
    if not answer.counted:
        answer.output_tokens = len(answer.pieces)
    return answer


def build_body(model: str, api: Api, prompt: str, output_len: int, *, ignore_eos: bool) -> bytes:
    """The request: streamed, counted by the server, always the most likely token."""
    asked = {"prompt": prompt} if api == "completions" else {"messages": [{"role": "user", "content": prompt}]}
    body = {
        "model": model,
        **asked,
        "max_tokens": output_len,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        **({"ignore_eos": True} if ignore_eos else {}),
    }
    return msgspec.json.encode(body)
