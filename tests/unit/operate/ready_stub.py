"""An endpoint in the process: answers as a good engine does, except where a test puts another answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from xpukit.host.http_client import HttpReply

SUM = re.compile(r"(\d+) \+ (\d+) =(?: \?)?$")
Change = Callable[[dict[str, Any], Any], Any]


def make_reply(body: Any, status: int = 200, content_type: str = "application/json") -> HttpReply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(status=status, headers={"content-type": content_type}, body=data, seconds=0.01)


class FakeEngine:
    """`changes`: path -> function of (request, the good reply's body) giving another body, or an HttpReply."""

    def __init__(self, changes: dict[str, Change] | None = None, *, limit: int | None = 4096) -> None:
        self.changes = changes or {}
        self.limit = limit
        self.asked: list[tuple[str, Any]] = []

    def __call__(
        self, method: str, path: str, body: bytes | None = None, *, content_type: str = "", timeout_s: float
    ) -> HttpReply:
        assert timeout_s > 0
        request = json.loads(body) if body and content_type == "application/json" else {}
        self.asked.append((path, request))
        good = self.answer(path, request)
        change = self.changes.get(path)
        made = change(request, good) if change is not None else good
        if isinstance(made, HttpReply):
            return made
        if made is None:
            return make_reply({"error": {"message": "Not Found"}}, 404)
        if isinstance(made, bytes):
            return make_reply(made, content_type="text/event-stream")
        return make_reply(made)

    def answer(self, path: str, request: dict[str, Any]) -> Any:
        if path == "/v1/models":
            model = {"id": "m", "object": "model"}
            return {"data": [{**model, "max_model_len": self.limit} if self.limit else model]}
        if path == "/v1/chat/completions":
            return self.chat(request)
        if path == "/v1/completions":
            return self.complete(request)
        if path == "/v1/embeddings":
            rows = [{"index": place, "embedding": embed(text)} for place, text in enumerate(request["input"])]
            return {"data": rows, "usage": {"prompt_tokens": len(" ".join(request["input"]).split())}}
        if path == "/v1/rerank":
            rows = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}]
            return {"results": [*rows, {"index": 3, "relevance_score": 0.15}, {"index": 2, "relevance_score": 0.1}]}
        if path == "/v1/score":
            return {"data": [{"index": place, "score": value} for place, value in enumerate((0.1, 0.8, 0.2, 0.0))]}
        if path == "/v1/audio/transcriptions":
            return {"text": ""}
        return None

    def chat(self, request: dict[str, Any]) -> Any:
        prompt = request["messages"][-1]["content"]
        text = speak(prompt)
        if request.get("stream"):
            parts = [{"delta": {"role": "assistant", "content": ""}}]
            parts += [{"delta": {"content": text}}, {"delta": {}, "finish_reason": "stop"}]
            return stream(parts)
        logprobs = {"content": [{"token": text, "logprob": -0.1}]} if request.get("logprobs") else None
        choice = {"message": {"content": text}, "finish_reason": "stop", "logprobs": logprobs}
        return {"choices": [choice], "usage": {"prompt_tokens": len(prompt.split())}}

    def complete(self, request: dict[str, Any]) -> Any:
        prompt = request["prompt"]
        text = " " + speak(prompt)
        if request.get("stream"):
            return stream([{"text": text}, {"text": "", "finish_reason": "length"}])
        logprobs = {"tokens": [text], "token_logprobs": [-0.1]} if request.get("logprobs") else None
        choice = {"text": text, "finish_reason": "length", "logprobs": logprobs}
        return {"choices": [choice], "usage": {"prompt_tokens": len(prompt.split())}}


def stream(choices: list[Any], end: bytes = b"data: [DONE]\n\n") -> bytes:
    return b"".join(b"data: " + json.dumps({"choices": [one]}).encode() + b"\n\n" for one in choices) + end


def speak(prompt: str) -> str:
    found = SUM.search(prompt)
    return str(int(found[1]) + int(found[2])) if found else "Warm air rises, cools, and lets go of its water."


def embed(text: str) -> list[float]:
    return [((len(text) * 7 + sum(text.encode()) * place) % 101) / 101 - 0.5 for place in range(1, 17)]


def say(text: Any, **fields: Any) -> Change:
    """Another text in place of the good one, streams too."""

    def change(request: dict[str, Any], good: Any) -> Any:
        if isinstance(good, bytes):
            return stream([{"delta": {"content": text}, "text": text, "finish_reason": "stop"}])
        choice = good["choices"][0]
        if "message" in choice:
            choice["message"] = {"content": text, **fields}
        else:
            choice["text"] = text
        return good

    return change
