"""One run of the driver (`host/fleet/driver.py`): what it is told, what it says, and what that means."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from xpukit import __version__
from xpukit.core.errors import CouldNotJudgeError, ExternalError
from xpukit.core.json_document import BAD_JSON
from xpukit.facts.launch_forms import load_launch_forms
from xpukit.host import Host
from xpukit.host import fleet as fleet_programs
from xpukit.host.fleet.ray_folders import PREFIX
from xpukit.operate.fleet.directory import FleetDirectory, FleetOptions
from xpukit.operate.fleet.hosts import FleetHost, make_hosts
from xpukit.operate.fleet.package import write_package
from xpukit.operate.fleet.ray_program import RayProgram
from xpukit.operate.fleet.result import HostRecord
from xpukit.operate.fleet.ssh import SshSettings

_MOST_BYTES = 256 << 20
# Joining, leaving and the slack of each wave of hosts.
_WAVE_S = 300.0


class DriverHost(msgspec.Struct, frozen=True, kw_only=True):
    """`resource`: what the host declares in Ray, and the task asks for, where the cluster is ours."""

    name: str
    ssh: str
    address: str
    folder: str
    resource: str


class DriverRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the driver reads. `address` "": bring Ray up over ssh. `else_`: programs tried where the first is absent."""

    address: str
    list: bool
    hosts: tuple[DriverHost, ...]
    ssh: tuple[str, ...]
    ray: str
    remote_ray: str
    head_address: str
    scratch: str
    token_since: str = ""
    program: tuple[str, ...]
    else_: tuple[str, ...] = msgspec.field(name="else", default=())
    argv: tuple[str, ...]
    files: dict[str, str]
    version: str
    limit_s: float
    collect: tuple[str, ...]
    most_bytes: int = _MOST_BYTES
    package: str
    at_once: int
    hold: dict[str, str]
    arriving: str


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A machine of a cluster."""

    name: str
    address: str


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the driver."""

    event: Literal["cluster", "nodes", "swept", "running", "ended", "lost", "failed", "done"]
    host: str = ""
    address: str = ""
    ray: str = ""
    rc: int = 0
    why: str = ""
    seconds: float = 0.0
    folder: str = ""
    nodes: tuple[Node, ...] = ()


Tell = Callable[[HostRecord | None, Event], None]


def list_cluster(host: Host, ray: RayProgram, address: str) -> tuple[FleetHost, ...]:
    """The machines of an existing cluster. Raises CouldNotJudgeError."""
    events: list[Event] = []
    request = DriverRequest(
        address=address, list=True, hosts=(), ssh=(), ray=ray.ray, remote_ray="", head_address="", scratch="",
        program=(), argv=(), files={}, version="", limit_s=0, collect=(), package="", at_once=1, hold={}, arriving="",
    )  # fmt: skip
    _drive(host, ray, request, 120.0, events.append)
    return make_hosts([node.address for event in events for node in event.nodes])


def run_fleet(
    host: Host,
    ray: RayProgram,
    directory: FleetDirectory,
    options: FleetOptions,
    left: tuple[FleetHost, ...],
    tell: Tell,
) -> None:
    """Run the command on `left`; every host gets a record, written as it is known. `tell` hears of each event.

    Raises CouldNotJudgeError when there is no cluster, ExternalError when the driver breaks.
    """
    known = {one.name: one for one in left}
    addresses: dict[str, str] = {}
    arriving = directory.path / ".arriving"

    def take(event: Event) -> None:
        if event.host and event.host not in known:
            return
        record: HostRecord | None = None
        if event.event == "running":
            addresses[event.host] = event.address
        elif event.event == "lost":
            record = HostRecord(host=event.host, status="lost", why=event.why, address=addresses.get(event.host, ""))
        elif event.event == "ended":
            record = HostRecord(
                host=event.host, status="done", rc=event.rc, why=event.why, seconds=event.seconds,
                address=addresses.get(event.host, ""),
            )  # fmt: skip
            record = directory.take(known[event.host], options.command, Path(event.folder), record)
        if record is not None:
            directory.add(record)
            del known[record.host]
        tell(record, event)

    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX, dir="/tmp"))
        package = Path(scratch) / "xpukit.zip"
        if options.send:
            write_package(package)
        request = _build_request(ray, options, left, scratch, str(package) if options.send else "", str(arriving))
        waves = -(-len(left) // options.at_once)
        _drive(host, ray, request, waves * (options.limit_s + _WAVE_S) + _WAVE_S, take)
    if known:
        raise ExternalError(f"the driver left {len(known)} hosts without a word", hint="run it again with --resume")


def _build_request(
    ray: RayProgram, options: FleetOptions, left: tuple[FleetHost, ...], scratch: str, package: str, arriving: str
) -> DriverRequest:
    ours = str(Path(sys.executable).parent / "xpukit")
    program: tuple[str, ...] = (options.program or ours,)
    if options.send:
        program = (options.python or sys.executable, "-m", "xpukit")
    return DriverRequest(
        address=options.address,
        list=False,
        hosts=tuple(
            DriverHost(
                name=one.name, ssh=one.ssh, address=one.name, folder=one.folder, resource=f"xpukit-host:{one.name}"
            )
            for one in left
        ),
        ssh=SshSettings(config=options.ssh_config, strict=options.strict_keys).argv,
        ray=ray.ray,
        remote_ray=options.remote_ray or ray.ray,
        head_address=options.head_address,
        scratch=scratch,
        token_since=load_launch_forms().ray.token_since,
        program=program,
        else_=() if options.program or options.send else ("xpukit",),
        argv=options.command.argv,
        files=options.command.files,
        version=f"xpukit {__version__}",
        limit_s=options.limit_s or options.command.facts.limit_s,
        collect=options.command.facts.collect,
        package=package,
        at_once=options.at_once,
        hold=options.hold,
        arriving=arriving,
    )


def _drive(host: Host, ray: RayProgram, request: DriverRequest, limit_s: float, take: Callable[[Event], None]) -> None:
    decoder = msgspec.json.Decoder(Event)
    failed: list[str] = []
    done = False

    def read(line: str) -> None:
        nonlocal done
        if not line.startswith('{"event"'):
            return
        with contextlib.suppress(*BAD_JSON):
            event = decoder.decode(line)
            done = done or event.event == "done"
            if event.event == "failed":
                failed.append(event.why)
            take(event)

    program = str(Path(fleet_programs.__file__).parent / "driver.py")
    # For a cluster that is there already: its token, its TLS keys, its folder.
    names = host.env_names("RAY_").names if request.address else ()
    env = {name: host.env(name).value or "" for name in names}
    # Ray says things in colour and asks home about its use otherwise.
    env |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
    ran = host.run((ray.python, program), timeout_s=limit_s, input=msgspec.json.encode(request), env=env, on_line=read)
    if failed:
        raise CouldNotJudgeError(failed[0], hint=_hint(request))
    if not ran.ok or not done:
        last = (ran.err_text.strip().splitlines() or [""])[-1][:300]
        raise ExternalError(f"the driver of Ray {ran.failure or f'ended with {ran.rc}'}: {last}", hint=_hint(request))


def _hint(request: DriverRequest) -> str:
    if request.address:
        return "run this on a machine of that cluster; its Ray and Python must be the versions of --ray"
    return "leave --address out only where hosts are reached by ssh with a key; docs/fleet.md"
