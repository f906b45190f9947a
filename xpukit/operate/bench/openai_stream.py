"""One request to an OpenAI-compatible endpoint and what came of it, piece by piece."""

from __future__ import annotations

import asyncio
import contextlib
import time
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

    @property
    def said(self) -> bool:
        delta = self.delta
        return bool(self.text or (delta and (delta.content or delta.reasoning_content or delta.reasoning)))


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Event(msgspec.Struct):
    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


_DECODER = msgspec.json.Decoder(_Event)


class Answer(msgspec.Struct, kw_only=True):
    """A request's times (`time.perf_counter`, seconds) and counts. `error` "" : a whole answer.

    `intended`: when the load wanted it to start; `sent`: when its first byte was written; `pieces`: when each piece of
    text came. `output_tokens` is the server's count, or the number of pieces where it gives none (`counted` False).
    """

    intended: float
    sent: float = 0.0
    ended: float = 0.0
    pieces: list[float] = msgspec.field(default_factory=list)
    input_tokens: int | None = None
    output_tokens: int = 0
    counted: bool = False
    error: str = ""
    cut: bool = False


class EventReader:
    """Server-sent events out of pieces of bytes."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads (`data:`) of the events that are complete now."""
        self._rest += data
        if b"\n\n" not in self._rest and b"\r\n\r\n" not in self._rest:
            return []
        *whole, self._rest = self._rest.replace(b"\r\n", b"\n").split(b"\n\n")
        payloads = []
        for event in whole:
            lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
            if lines:
                payloads.append(b"\n".join(lines))
        return payloads


def take_event(answer: Answer, payload: bytes, at: float) -> None:
    """Add one event. Raises HttpFailure where it says an error or is none of this protocol."""
    if payload == b"[DONE]":
        return
    try:
        event = _DECODER.decode(payload)
    except BAD_JSON as err:
        raise HttpFailure(f"an event that is not understood: {str(err)[:80]}") from err
    if bytes(event.error) != b"null":
        raise HttpFailure(f"error in the stream: {bytes(event.error).decode('utf-8', 'replace')[:_LONGEST_ERROR]}")
    if any(choice.said for choice in event.choices):
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

    try:
        await asyncio.wait_for(read(), timeout_s)
    except asyncio.TimeoutError:
        answer.error = f"no whole answer within {timeout_s:g} s"
    except HttpFailure as err:
        answer.error = err.text[:_LONGEST_ERROR]
    answer.ended = answer.pieces[-1] if answer.pieces else time.perf_counter()
    if not answer.error and not answer.pieces:
        answer.error = "an empty answer"
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
