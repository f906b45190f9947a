"""Who may ask the page's server: this machine's own browser, and no page of somebody else's through it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
BODY_LIMIT_BYTES = 64 << 10
HEADERS = {
    b"content-security-policy": (
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cache-control": b"no-store",
}


def guard(app: AsgiApp) -> AsgiApp:
    """The app behind the checks, with the headers on every answer.

    A name that is not loopback's in `Host` is refused: a foreign page that had its own name resolve to 127.0.0.1 would
    send that (DNS rebinding). So is a request that says it comes from another origin, and a body over the limit.
    """

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        refusal = _refuse(scope)
        if refusal is not None:
            await _answer_text(send, *refusal)
            return
        body = await _read_limited(receive)
        if body is None:
            await _answer_text(send, 413, f"more than {BODY_LIMIT_BYTES} bytes")
            return
        await app(scope, _replay(body, receive), _add_headers(send))

    return guarded


def _refuse(scope: Scope) -> tuple[int, str] | None:
    hosts = _read_headers(scope, b"host")
    if len(hosts) != 1 or strip_port(hosts[0]) not in LOOPBACK_NAMES:
        return 421, "this server answers to 127.0.0.1 and localhost only"
    for origin in _read_headers(scope, b"origin"):
        if origin.lower() != f"http://{hosts[0].lower()}":
            return 403, "another page may not ask this server"
    if any(site not in ("same-origin", "none") for site in _read_headers(scope, b"sec-fetch-site")):
        navigates = _read_headers(scope, b"sec-fetch-mode") == ["navigate"]
        # A link to the page may stand anywhere; everything else has to come from the page itself.
        if not (navigates and scope["method"] == "GET" and scope["path"] == "/"):
            return 403, "another page may not ask this server"
    if scope["method"] not in ("GET", "HEAD", "POST"):
        return 405, "GET, or POST to /plan"
    return None


def strip_port(host: str) -> str:
    """ "localhost:8470" -> "localhost"; "[::1]:8470" -> "[::1]"."""
    name, colon, port = host.strip().lower().rpartition(":")
    return name if colon and port.isdigit() else host.strip().lower()


def _read_headers(scope: Scope, name: bytes) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]


async def _read_limited(receive: Receive) -> bytes | None:
    """The whole body; None for one over the limit."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_LIMIT_BYTES:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def give() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give


def _add_headers(send: Send) -> Send:
    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(key, value) for key, value in message["headers"] if key.lower() not in HEADERS]
            message = {**message, "headers": [*kept, *HEADERS.items()]}
        await send(message)

    return add


async def _answer_text(send: Send, status: int, text: str) -> None:
    data = f"{text}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *HEADERS.items()]})
    await send({"type": "http.response.body", "body": data})
