"""Requests to an ASGI application without a server, and a desk about machines that are recorded or named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from tests.machines.recorded_machines import read_machine
from tests.unit.serve.test_planner import find_model
from xpukit.core.errors import UsageError
from xpukit.serve.model_types import Model
from xpukit.serve.plan_types import Plan
from xpukit.serve.planner import Surroundings, make_plan
from xpukit.serve.platforms import parse_platform
from xpukit.serve.request import ServeRequest
from xpukit.serve.web.guard import AsgiApp

Header = tuple[str, str]
HOST: Header = ("host", "127.0.0.1:8470")
JSON: Header = ("content-type", "application/json")


class RecordedDesk:
    """A desk about a recorded machine; "" has no GPU."""

    source = "somewhere.tar.xz"

    def __init__(self, name: str = "b60x8_2s") -> None:
        self.name = name
        self.refreshed = 0

    def refresh(self) -> None:
        self.refreshed += 1

    def describe_machine(self) -> str:
        if not self.name:
            raise UsageError("no GPU to plan for")
        return self.name

    def make_both(self, request: ServeRequest) -> tuple[Plan, Model]:
        model = find_model(request.model)
        if request.platform:
            named = parse_platform(request.platform)
            return make_plan(request, model, Surroundings(machine=named.machine, platform=named)), model
        return make_plan(request, model, Surroundings(machine=read_machine(self.name), host="host")), model


class Reply:
    """An answer of the application."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def document(self) -> Any:
        return json.loads(self.body)


def ask_app(
    app: AsgiApp,
    method: str,
    path: str,
    *,
    headers: Sequence[Header] = (HOST,),
    body: bytes = b"",
    parts: Sequence[bytes] | None = None,
) -> Reply:
    """One request. `parts`: the body in pieces, as a client without a Content-Length sends it."""
    pieces = list(parts) if parts is not None else [body]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not pieces:
            await asyncio.sleep(3600)
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8470),
    }
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    start = next(message for message in sent if message["type"] == "http.response.start")
    body_sent = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return Reply(start["status"], {key.decode(): value.decode() for key, value in start["headers"]}, body_sent)


def post_plan(app: AsgiApp, **choices: Any) -> Reply:
    """What the page sends."""
    return ask_app(app, "POST", "/plan", headers=(HOST, JSON), body=json.dumps(choices).encode())
