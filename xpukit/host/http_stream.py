"""HTTP/1.1 requests whose answers come in pieces, each with the time at which it came.

asyncio streams and nothing more: what a benchmark's client costs is part of what it measures, so it does only what an
OpenAI-compatible server needs: POST and GET, chunked or sized answers, kept-alive connections, TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from urllib.parse import urlsplit

import msgspec

from xpukit.core.errors import UsageError
from xpukit.host.http_client import CA_HINT

_LIMIT_BYTES = 1 << 20
_MOST_HEADERS = 200
_MOST_IDLE = 4096


class HttpFailure(Exception):
    """A request that got no whole answer. `text` is short and holds no address, so that failures can be counted."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server listens. `prefix` is the path before /v1, without a slash at its end."""

    host: str
    port: int
    tls: bool
    prefix: str

    @property
    def url(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{name}:{self.port}{self.prefix}"


def read_url(url: str) -> Endpoint:
    """An http or https address; a path `/v1` at its end is left out. Raises UsageError."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError as err:
        raise UsageError(f"{url!r} is no address: {err}", hint="--url http://127.0.0.1:8000") from err
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.query or parts.fragment:
        raise UsageError(f"{url!r} is no address of a server", hint="--url http://127.0.0.1:8000")
    tls = parts.scheme == "https"
    prefix = parts.path.rstrip("/").removesuffix("/v1")
    return Endpoint(host=host, port=port or (443 if tls else 80), tls=tls, prefix=prefix)


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.used = False

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.writer.close()


class Piece(msgspec.Struct, frozen=True):
    """Bytes of an answer and the time (`time.perf_counter`) at which they were there."""

    data: bytes
    at: float


class HttpStreamClient:
    """Requests to one server over connections that are kept."""

    def __init__(
        self, endpoint: Endpoint, *, headers: Mapping[str, str] | None = None, connect_timeout_s: float = 10.0
    ) -> None:
        self.endpoint = endpoint
        self._connect_timeout_s = connect_timeout_s
        self._idle: list[_Connection] = []
        self._tls = ssl.create_default_context() if endpoint.tls else None
        name = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        own = {"Host": f"{name}:{endpoint.port}", "User-Agent": "xpukit", "Accept-Encoding": "identity"}
        given = {**own, **(headers or {})}
        if any("\r" in value or "\n" in value for value in given.values()):
            raise UsageError("a header holds a line break", hint="check the key in the environment variable")
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in given.items())

    async def stream(self, method: str, path: str, body: bytes = b"") -> AsyncGenerator[Piece, None]:
        """The answer's body, as it comes. Raises HttpFailure for anything but a whole answer of status 200.

        The first piece is empty: the time at which the request had been written.
        """
        for attempt in (0, 1):
            connection = await self._take()
            kept = connection.used
            try:
                connection.used = True
                sent_at = time.perf_counter()
                connection.writer.write(self._write_head(method, path, body) + body)
                await connection.writer.drain()
                status, headers = await _read_head(connection.reader)
            except (OSError, asyncio.IncompleteReadError, ValueError, HttpFailure) as err:
                connection.close()
                # A kept connection that the server has closed meanwhile says nothing of the server.
                if kept and attempt == 0 and isinstance(err, OSError | asyncio.IncompleteReadError):
                    self._close_idle()
                    continue
                raise HttpFailure(_describe(err)) from err
            except BaseException:
                connection.close()
                raise
            break
        finished = False
        try:
            yield Piece(b"", sent_at)
            if status != 200:
                said = b"".join([piece.data async for piece in _read_body(connection.reader, headers)])[:300]
                finished = True
                text = " ".join(said.decode("utf-8", "replace").split())
                raise HttpFailure(f"HTTP {status}{': ' + text if text else ''}")
            if (coding := headers.get("content-encoding", "identity").lower()) != "identity":
                raise HttpFailure(f"the answer is compressed ({coding:.20}), which was not asked for")
            async for piece in _read_body(connection.reader, headers):
                yield piece
            finished = True
        except (OSError, asyncio.IncompleteReadError, ValueError) as err:
            raise HttpFailure(_describe(err)) from err
        finally:
            sized = "content-length" in headers or "chunked" in headers.get("transfer-encoding", "")
            if finished and sized and headers.get("connection", "").lower() != "close":
                self._keep(connection)
            else:
                connection.close()

    async def fetch(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The whole answer. Raises HttpFailure."""
        return b"".join([piece.data async for piece in self.stream(method, path, body)])

    def close(self) -> None:
        """Close what is kept."""
        self._close_idle()

    def _write_head(self, method: str, path: str, body: bytes) -> bytes:
        sized = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        return f"{method} {self.endpoint.prefix}{path} HTTP/1.1\r\n{self._headers}{sized}\r\n".encode(
            "latin-1", "replace"
        )

    async def _take(self) -> _Connection:
        while self._idle:
            kept = self._idle.pop()
            if not kept.reader.at_eof() and not kept.writer.is_closing():
                return kept
            kept.close()
        try:
            reader, writer = await asyncio.wait_for(
                asyncio.open_connection(self.endpoint.host, self.endpoint.port, ssl=self._tls, limit=_LIMIT_BYTES),
                self._connect_timeout_s,
            )
        except (OSError, asyncio.TimeoutError) as err:
            raise HttpFailure(f"no connection: {_describe(err)}") from err
        return _Connection(reader, writer)

    def _keep(self, connection: _Connection) -> None:
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    while True:
        line = await _read_line(reader)
        parts = line.split(None, 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
            raise HttpFailure("not an HTTP answer")
        headers: dict[str, str] = {}
        for _ in range(_MOST_HEADERS):
            line = await _read_line(reader)
            if not line:
                break
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        else:
            raise HttpFailure("too many headers")
        status = int(parts[1])
        if status >= 200:  # 100 Continue and its like come before the answer
            return status, headers


async def _read_line(reader: asyncio.StreamReader) -> str:
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError as err:
        raise HttpFailure("a header line is too long") from err
    return line.decode("latin-1").rstrip("\r\n")


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> AsyncIterator[Piece]:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        while True:
            size = int((await _read_line(reader)).partition(";")[0], 16)
            if size == 0:
                while await _read_line(reader):
                    pass
                return
            if size < 0:
                raise ValueError("a chunk of negative size")
            data = await reader.readexactly(size)
            at = time.perf_counter()
            await reader.readexactly(2)
            yield Piece(data, at)
    elif "content-length" in headers:
        left = int(headers["content-length"])
        while left > 0:
            data = await reader.read(min(left, 1 << 16))
            if not data:
                raise HttpFailure("the answer ended too early")
            left -= len(data)
            yield Piece(data, time.perf_counter())
    else:
        while data := await reader.read(1 << 16):
            yield Piece(data, time.perf_counter())


def _describe(err: BaseException) -> str:
    if isinstance(err, HttpFailure):
        return err.text
    if isinstance(err, asyncio.IncompleteReadError):
        return "the connection was closed before the answer ended"
    if isinstance(err, asyncio.TimeoutError):
        return "timed out"
    if isinstance(err, ssl.SSLCertVerificationError):
        return f"TLS: its certificate is not trusted: {err.verify_message} ({CA_HINT})"
    if isinstance(err, ssl.SSLError):
        return f"TLS: {err.reason or 'failed'}"
    if isinstance(err, OSError):
        return (err.strerror or type(err).__name__).lower()
    return f"not HTTP: {err}"
