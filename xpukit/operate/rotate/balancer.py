"""HAProxy through its control socket: what it says of its servers, and the few commands a rotation needs.

Formats: HAProxy 2.6, management guide, "show stat" (CSV with named columns) and "set server".
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable

import msgspec

from xpukit.core.errors import ExternalError
from xpukit.operate.rotate.site import Command
from xpukit.operate.rotate.state import Balance

BACKEND = "engines"
_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
_ADDRESS = re.compile(r"[0-9a-fA-F.:]+")
# What "set server ... addr" says where all is well: changed, as it was, or no address so far.
_TAKEN = re.compile(r"changed from|no need to change|nothing changed|current server address family")
# Words of the status column and what they come to; "UP 1/2" and "DOWN 1/2" are on the way to the other.
_STATUS: dict[str, Balance] = {
    "UP": "up",
    "no": "up",
    "DOWN": "down",
    "NOLB": "drain",
    "DRAIN": "drain",
    "MAINT": "maint",
}

Ask = Callable[[str], str]


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A server of the backend. `requests`: those it works on and those that wait for it."""

    name: str
    balance: Balance
    requests: int
    status: str
    check: str = ""


def parse_servers(text: str, backend: str = BACKEND) -> tuple[Server, ...]:
    """The servers in an answer to "show stat"; () where there are none. Never raises."""
    lines = text.strip().removeprefix("# ").splitlines()
    found: list[Server] = []
    for row in csv.DictReader(lines):
        name, status = row.get("svname") or "", row.get("status") or ""
        if row.get("pxname") != backend or name in ("", "FRONTEND", "BACKEND"):
            continue
        found.append(
            Server(
                name=name,
                balance=_STATUS.get(status.split(" ")[0], "down"),
                requests=_count(row.get("scur")) + _count(row.get("qcur")),
                status=status,
                check=row.get("check_status") or "",
            )
        )
    return tuple(found)


def _count(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() else 0


class Balancer:
    """The servers of one backend. All methods raise ExternalError where HAProxy does not answer or refuses."""

    def __init__(self, ask: Ask, backend: str = BACKEND) -> None:
        self._ask = ask
        self._backend = backend

    def list_servers(self) -> tuple[Server, ...]:
        # 4: servers only; -1: of any number.
        text = self._ask(f"show stat {self._backend} 4 -1")
        servers = parse_servers(text, self._backend)
        if not servers:
            raise ExternalError(
                f"HAProxy knows no servers in {self._backend!r}: {text[:120]}", hint="is it xpukit's configuration?"
            )
        return servers

    def set_state(self, server: str, command: Command) -> None:
        self._do(f"set server {self._backend}/{_checked(server, _NAME)} state {command}")

    def set_address(self, server: str, address: str, port: int) -> None:
        """Where the server is from now on; HAProxy says so even where nothing changed.

        Of a server whose name never led anywhere (a spare that runs for the first time) HAProxy takes no address: then
        nothing stale is in the way, and its own look-up of the name finds the container.
        """
        words = f"set server {self._backend}/{_checked(server, _NAME)} addr {_checked(address, _ADDRESS)} port {port}"
        said = self._ask(words)
        if said and not _TAKEN.search(said):
            raise ExternalError(f"HAProxy: {said[:200]}", hint="docker logs of the balancer says more")

    def _do(self, command: str) -> None:
        if said := self._ask(command):  # it says nothing to what it did
            raise ExternalError(f"HAProxy: {command}: {said[:200]}", hint="docker logs of the balancer says more")


def _checked(text: str, pattern: re.Pattern[str]) -> str:
    """The text, where it cannot be taken for a second command."""
    if not pattern.fullmatch(text):
        raise ExternalError(f"HAProxy is not given {text!r}", hint="is this xpukit's deployment?")
    return text
