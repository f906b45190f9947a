"""The machines that are meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from xpukit.core.errors import UsageError

# A word for ssh: a name, an address, USER@NAME. Nothing that ssh could take for an option or a shell for a command.
_TARGET = re.compile(r"(?:[A-Za-z0-9_][\w.-]{0,31}@)?(?:[A-Za-z0-9][\w.:-]{0,252})")


class FleetHost(msgspec.Struct, frozen=True, kw_only=True):
    """A machine. `ssh`: what ssh is told; `name`: without the user; `folder`: its name in a run's directory."""

    name: str
    ssh: str

    @property
    def folder(self) -> str:
        """The name as a directory's name."""
        return re.sub(r"[^A-Za-z0-9_.-]", "_", self.name)


def read_hosts(text: str) -> tuple[FleetHost, ...]:
    """`A,user@B`, or the path of a file with a host a line (text after # is left out).

    Raises UsageError for none, for a name that ssh cannot take, and for one that is given twice.
    """
    path = Path(text)
    if "/" in text or path.is_file():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as err:
            raise UsageError(f"--hosts {text}: {err}", hint="name hosts as A,B or a file with a host a line") from err
        words = [line.partition("#")[0].strip() for line in lines]
    else:
        words = [word.strip() for word in text.split(",")]
    return make_hosts([word for word in words if word])


def make_hosts(words: Sequence[str]) -> tuple[FleetHost, ...]:
    """Hosts from words for ssh. Raises UsageError."""
    hosts: dict[str, FleetHost] = {}
    for word in words:
        if not _TARGET.fullmatch(word):
            raise UsageError(
                f"{word!r} is no host", hint="names, addresses or USER@NAME; what else ssh needs: ssh_config"
            )
        host = FleetHost(name=word.rpartition("@")[2], ssh=word)
        if host.folder in {one.folder for one in hosts.values()}:
            raise UsageError(f"host {host.name} is given twice", hint="each host is looked at once")
        hosts[host.name] = host
    if not hosts:
        raise UsageError("no host is named", hint="--hosts A,B or --hosts FILE with a host a line")
    return tuple(hosts.values())
