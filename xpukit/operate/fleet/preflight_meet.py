"""Ports and bandwidth between neighbours: each host listens once and sends once, disjoint pairs at the same time."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from xpukit.facts.fleet import PreflightLimits
from xpukit.host import Host
from xpukit.host import fleet as fleet_programs
from xpukit.operate.fleet.hosts import FleetHost
from xpukit.operate.fleet.reach import read_pairs
from xpukit.operate.fleet.ssh import SshSettings, explain_ssh

_SLACK_S = 40.0


class Meeting(msgspec.Struct, frozen=True, kw_only=True):
    """`source` sent to `target`. `ports`: "tcp 6379" -> "ok" or what stood in the way; `busy`: taken at the target."""

    source: str
    target: str
    ports: dict[str, str] = {}
    busy: tuple[str, ...] = ()
    gbits: float | None = None
    problem: str = ""


def list_pairs(count: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Rounds of disjoint pairs (source, target) in which each of `count` hosts sends to the next, around a ring."""
    if count < 2:
        return ()
    ring = [(index, (index + 1) % count) for index in range(count)]
    rounds: list[list[tuple[int, int]]] = []
    for pair in ring:
        for group in rounds:
            if not {host for other in group for host in other} & set(pair):
                group.append(pair)
                break
        else:
            rounds.append([pair])
    return tuple(tuple(group) for group in rounds)


def meet_all(
    host: Host,
    settings: SshSettings,
    hosts: Sequence[FleetHost],
    addresses: Sequence[str],
    tcp: Sequence[int],
    udp: Sequence[int],
    limits: PreflightLimits,
) -> tuple[Meeting, ...]:
    """All meetings, in the order of the ring."""
    meetings: dict[tuple[int, int], Meeting] = {}
    with ThreadPoolExecutor(max_workers=16) as pool:
        for group in list_pairs(len(hosts)):
            jobs = {
                pair: pool.submit(
                    _meet, host, settings, hosts[pair[0]], hosts[pair[1]], addresses[pair[1]], tcp, udp, limits
                )
                for pair in group
            }
            meetings |= {pair: job.result() for pair, job in jobs.items()}
    return tuple(meetings[pair] for pair in sorted(meetings))


def _meet(
    host: Host,
    settings: SshSettings,
    source: FleetHost,
    target: FleetHost,
    address: str,
    tcp: Sequence[int],
    udp: Sequence[int],
    limits: PreflightLimits,
) -> Meeting:
    script = (Path(fleet_programs.__file__).parent / "meet.py").read_bytes()
    tcp_text, udp_text = ",".join(map(str, tcp)), ",".join(map(str, udp))
    # Ports that drop everything are waited for, one after the other.
    slow_s = 3.0 * len(tcp) + 2.5 * len(udp) + limits.transfer_s + _SLACK_S
    ready = threading.Event()
    port: list[str] = []

    def read(line: str) -> None:
        name, _, value = line.partition("=")
        if name == "ready":
            port.append(value)
            ready.set()

    def listen() -> dict[str, str]:
        argv = _python(settings, target, "listen", f"{slow_s:.0f}", tcp_text, udp_text)
        ran = host.run(argv, timeout_s=slow_s + _SLACK_S, input=script, on_line=read)
        ready.set()
        return {**read_pairs(ran.text), **({} if port else {"problem": explain_ssh(ran)})}

    with ThreadPoolExecutor(max_workers=1) as pool:
        listening = pool.submit(listen)
        ready.wait(timeout=_SLACK_S)
        if not port:
            return Meeting(source=source.name, target=target.name, problem=listening.result().get("problem", "silent"))
        words = ("send", address, port[0], str(limits.transfer_bytes), f"{limits.transfer_s}", tcp_text, udp_text)
        ran = host.run(_python(settings, source, *words), timeout_s=slow_s + _SLACK_S, input=script)
        heard = listening.result()
    said = read_pairs(ran.text)
    problem = "" if ran.ok else explain_ssh(ran)
    try:
        gbits = int(said["sent"]) * 8 / float(said["seconds"]) / 1e9
    except (KeyError, ValueError, ZeroDivisionError):
        gbits = None
    return Meeting(
        source=source.name,
        target=target.name,
        ports={name.replace("_", " "): value for name, value in said.items() if name.startswith(("tcp_", "udp_"))},
        busy=tuple(name.removeprefix("busy_").replace("_", " ") for name in heard if name.startswith("busy_")),
        gbits=gbits,
        problem=problem or said.get("unsent", ""),
    )


def _python(settings: SshSettings, target: FleetHost, *words: str) -> tuple[str, ...]:
    return (*settings.argv, "-T", target.ssh, shlex.join(("python3", "-", *words)))
