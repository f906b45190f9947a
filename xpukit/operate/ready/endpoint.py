"""An OpenAI-compatible endpoint: where it is, what it serves, which of its APIs it names."""

from __future__ import annotations

from typing import Protocol

import msgspec

from xpukit.core.errors import CouldNotJudgeError, ExternalError, UsageError
from xpukit.facts.readiness import find_limit
from xpukit.host.http_client import HttpReply, send_request, split_url
from xpukit.operate.ready.read_reply import get, read_error, read_json
from xpukit.operate.ready.result import Api

PATHS: dict[Api, str] = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "rerank": "/v1/rerank",
    "score": "/v1/score",
    "transcription": "/v1/audio/transcriptions",
}
JSON_TYPE = "application/json"
_MODELS = "/v1/models"


class Ask(Protocol):
    """Sends one request to the endpoint."""

    def __call__(
        self, method: str, path: str, body: bytes | None = None, *, content_type: str = JSON_TYPE, timeout_s: float
    ) -> HttpReply:
        """The reply; never raises for what the endpoint does."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What it says of itself. `paths`: the APIs that its own description names, None where it has none."""

    url: str
    model: str
    models: tuple[str, ...]
    context_tokens: int | None
    paths: frozenset[str] | None = None


def normalize_url(url: str) -> str:
    """The address without the API's version: requests bring it. Raises UsageError."""
    scheme, host, port, path = split_url(url)
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{port}{path.removesuffix('/v1')}"


def make_ask(url: str, key: str) -> Ask:
    """Requests to this address, with the key where there is one."""
    root = normalize_url(url)

    def ask(
        method: str, path: str, body: bytes | None = None, *, content_type: str = JSON_TYPE, timeout_s: float
    ) -> HttpReply:
        headers = {"Accept": "application/json, text/event-stream", "Content-Type": content_type}
        if body is None:
            del headers["Content-Type"]
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return send_request(
            root + path,
            method=method,
            headers=headers,
            body=body,
            timeout_s=timeout_s,
            limit_bytes=int(find_limit("reply_bytes")),
        )

    return ask


def describe_endpoint(
    ask: Ask, url: str, *, model: str = "", context_tokens: int | None = None, timeout_s: float | None = None
) -> Endpoint:
    """Ask for the models and the list of APIs.

    Raises ExternalError where nothing answers, UsageError for a key that is refused or a model that is not served,
    CouldNotJudgeError where no model is named.
    """
    limit = timeout_s or find_limit("request_s")
    reply = ask("GET", _MODELS, timeout_s=limit)
    root = normalize_url(url)
    if reply.trouble:
        raise ExternalError(
            f"{root} does not answer: {reply.detail or reply.trouble}", hint="is the server up, and this its address?"
        )
    if reply.status in (401, 403):
        raise UsageError(
            f"{root} refuses the request without a valid key (HTTP {reply.status})",
            hint="--api-key-env NAME, with the key in the environment variable NAME",
        )
    rows = get(read_json(reply.body), "data")
    if reply.status != 200 or not isinstance(rows, list):
        said = f"HTTP {reply.status}: {read_error(reply.body)[:200]}"
        raise ExternalError(
            f"{root}{_MODELS} is not an OpenAI-compatible list of models ({said})",
            hint="name the server's address without a path",
        )
    names = tuple(name for name in (get(row, "id") for row in rows) if isinstance(name, str) and name)
    if model and names and model not in names:
        raise UsageError(f"{root} does not serve {model!r}", hint=f"it serves: {', '.join(names[:10])}")
    chosen = model or _choose(rows) or (names[0] if names else "")
    if not chosen:
        raise CouldNotJudgeError(f"{root} names no model", hint="--model NAME")
    stated = next((get(row, "max_model_len") for row in rows if get(row, "id") == chosen), None)
    tokens = context_tokens or (stated if type(stated) is int and stated > 0 else None)
    return Endpoint(url=root, model=chosen, models=names, context_tokens=tokens, paths=_read_paths(ask, limit))


def _choose(rows: list[object]) -> str:
    """The first that is no adapter of another (vLLM gives those a `parent`)."""
    for row in rows:
        name = get(row, "id")
        if isinstance(name, str) and name and not get(row, "parent"):
            return name
    return ""


def _read_paths(ask: Ask, timeout_s: float) -> frozenset[str] | None:
    reply = ask("GET", "/openapi.json", timeout_s=timeout_s)
    paths = get(read_json(reply.body), "paths") if reply.status == 200 and not reply.trouble else None
    named = frozenset(str(path) for path in paths) if isinstance(paths, dict) else frozenset()
    # A gateway that describes itself, or other places than ours, says nothing of what is here.
    return named if named & set(PATHS.values()) else None


def is_alive(ask: Ask, timeout_s: float | None = None) -> bool:
    """Whether it still names its models."""
    reply = ask("GET", _MODELS, timeout_s=timeout_s or find_limit("request_s"))
    return not reply.trouble and reply.status == 200
