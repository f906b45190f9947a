"""A first look at all hosts over ssh, at once: who answers, from where we come, what is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from xpukit.host import Host
from xpukit.operate.fleet.hosts import FleetHost
from xpukit.operate.fleet.ssh import SshSettings, ask_host, explain_ssh

# ssh processes at a time: each costs about 2 MiB here and a connection there.
_AT_ONCE = 32

_SCRIPT = r"""
set -- "$1" $SSH_CONNECTION
echo "client=$2"
echo "address=$4"
echo "name=$(hostname 2>/dev/null || cat /proc/sys/kernel/hostname)"
n=0
for node in /dev/dri/renderD*; do [ -e "$node" ] && n=$((n + 1)); done
echo "gpus=$n"
if [ -n "$1" ]; then
  said=$("$1" -c 'import xpukit; print(xpukit.__version__)' 2>&1) && echo "version=$said" ||
    echo "problem=$1: $(printf %s "$said" | tail -n 1)"
fi
"""


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """What a host said. `client`: our address as the host sees it; `problem`: why it cannot be used."""

    host: FleetHost
    client: str = ""
    address: str = ""
    name: str = ""
    gpus: int = 0
    version: str = ""
    problem: str = ""


def ask_all(hosts: Sequence[FleetHost], ask: Callable[[FleetHost], Reached]) -> tuple[Reached, ...]:
    """Ask many hosts at a time, answers in their order."""
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return tuple(pool.map(ask, hosts))


def reach_hosts(
    host: Host, settings: SshSettings, hosts: Sequence[FleetHost], *, python: str = ""
) -> tuple[Reached, ...]:
    """Look at each. `python`: the interpreter there that must have xpukit."""

    def ask(target: FleetHost) -> Reached:
        ran = ask_host(host, settings, target, _SCRIPT, words=(python,), timeout_s=60)
        if not ran.ok:
            return Reached(host=target, problem=explain_ssh(ran))
        said = read_pairs(ran.text)
        gpus = said.get("gpus", "")
        return Reached(
            host=target,
            client=said.get("client", ""),
            address=said.get("address", ""),
            name=said.get("name", ""),
            gpus=int(gpus) if gpus.isdigit() else 0,
            version=said.get("version", ""),
            problem=said.get("problem", ""),
        )

    return ask_all(hosts, ask)


def read_pairs(text: str) -> dict[str, str]:
    """NAME=VALUE a line; the last word on a name counts, other lines are passed over."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value.strip() for name, equals, value in pairs if equals and name.isidentifier()}


def find_interface(host: Host, address: str) -> str:
    """The network device of this machine with that address, "" when it is not known."""
    ran = host.run(("ip", "-o", "addr", "show"), timeout_s=10)
    for line in ran.text.splitlines():
        words = line.split()
        if len(words) > 3 and words[3].partition("/")[0] == address:
            return words[1].partition("@")[0]
    return ""
