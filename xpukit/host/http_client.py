"""One HTTP request with a deadline for all of it. Standard library only; proxies of the environment are not used."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from xpukit.core.errors import UsageError

_PIECE_BYTES = 1 << 16
# A machine that is not there drops packets without a word.
_CONNECT_LIMIT_S = 10.0

# Private authorities: OpenSSL reads these.
CA_HINT = "for a certificate authority of your own: SSL_CERT_FILE=its certificate"

Trouble = Literal["", "unreachable", "timeout", "tls", "cut-off", "too-long", "protocol"]


class HttpReply(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. `trouble`: why it is not a whole answer, `detail` in the system's words.

    `headers` have lower-case names. `seconds`: from the call to the last byte.
    """

    status: int = 0
    headers: dict[str, str] = {}
    body: bytes = b""
    seconds: float = 0.0
    trouble: Trouble = ""
    detail: str = ""


def split_url(url: str) -> tuple[str, str, int, str]:
    """Scheme, host, port and path (without a slash at its end). Raises UsageError."""
    hint = "for example http://127.0.0.1:8000"
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError as err:
        raise UsageError(f"{url!r} is no address: {err}", hint=hint) from err
    if parts.username or parts.password:
        raise UsageError("an address with a name or password in it", hint="give a key with --api-key-env NAME")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"{url!r} is no address of a service", hint=hint)
    if any(char.isspace() or not char.isprintable() for char in url):
        raise UsageError(f"{url!r} is no address: it has blanks in it", hint=hint)
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), parts.path.rstrip("/")


class _Deadline:
    """Shuts the socket down when the time is over, whatever is being waited for."""

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def watch(self, one: socket.socket) -> None:
        self._socket = one
        self._timer.start()

    def cancel(self) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.passed = True
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return


def send_request(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout_s: float,
    limit_bytes: int,
) -> HttpReply:
    """Ask once and read all of the answer, streams too. Redirects are answers, not followed.

    Never raises for what the other side does; UsageError for an address that is none.
    """
    scheme, host, port, path = split_url(url)
    began = time.monotonic()
    deadline = _Deadline(timeout_s)
    connection: http.client.HTTPConnection
    limit = min(timeout_s, _CONNECT_LIMIT_S)
    status = 0
    came: dict[str, str] = {}
    parts: list[bytes] = []
    trouble: Trouble = ""
    detail = ""
    held: socket.socket | None = None
    try:
        if scheme == "https":
            connection = http.client.HTTPSConnection(host, port, timeout=limit, context=ssl.create_default_context())
        else:
            connection = http.client.HTTPConnection(host, port, timeout=limit)
    except (OSError, http.client.HTTPException, ValueError) as err:
        return HttpReply(trouble="protocol", detail=str(err))
    try:
        connection.connect()
        held = connection.sock
        held.settimeout(timeout_s)
        deadline.watch(held)
        connection.request(method, path or "/", body=body, headers={"Connection": "close", **(headers or {})})
        reply = connection.getresponse()
        status, came = reply.status, {name.lower(): value for name, value in reply.getheaders()}
        if (coding := came.get("content-encoding", "identity").lower()) != "identity":
            trouble, detail = "protocol", f"the answer is compressed ({coding:.20}), which was not asked for"
        size = 0
        while piece := reply.read1(_PIECE_BYTES):
            parts.append(piece[: limit_bytes - size])
            size += len(piece)
            if size > limit_bytes:
                trouble, detail = "too-long", f"more than {limit_bytes} bytes"
                break
        else:
            # read1 takes an early end of a body of stated length for its end.
            stated = came.get("content-length", "")
            if method != "HEAD" and stated.isdecimal() and size < int(stated):
                trouble, detail = "cut-off", f"{int(stated) - size} bytes are missing"
    except ssl.SSLError as err:
        trouble, detail = "tls", err.reason or str(err)
        if isinstance(err, ssl.SSLCertVerificationError):
            detail = f"its certificate is not trusted: {err.verify_message} ({CA_HINT})"
    except TimeoutError:
        unanswered = f"no whole answer within {timeout_s:g} s"
        trouble, detail = "timeout", unanswered if held is not None else f"no connection within {limit:g} s"
    except (http.client.HTTPException, ValueError) as err:
        trouble, detail = ("cut-off" if status or _ended(err) else "protocol"), f"{type(err).__name__}: {err}"
    except (OSError, UnicodeError) as err:
        trouble, detail = ("cut-off" if held is not None else "unreachable"), str(err)
    finally:
        deadline.cancel()
        connection.close()
    if deadline.passed:
        trouble, detail = "timeout", f"no whole answer within {timeout_s:g} s"
    return HttpReply(
        status=status, headers=came, body=b"".join(parts), seconds=time.monotonic() - began, trouble=trouble,
        detail=detail,
    )  # fmt: skip


def _ended(err: Exception) -> bool:
    return isinstance(err, http.client.RemoteDisconnected | http.client.IncompleteRead)
