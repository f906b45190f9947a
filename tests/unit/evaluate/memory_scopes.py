"""Machines for the plans of memory, transfer and p2p: two sockets with a shared cache each, or one."""

from __future__ import annotations

from typing import Any

import msgspec

from xpukit.core.measurement import Job, Method, Target
from xpukit.evaluate.benchmark import Scope
from xpukit.evaluate.embedded.protocol import Request
from xpukit.host.answers import FileAnswer, NamesAnswer
from xpukit.host.level_zero.snapshot import LevelZeroAnswer, Peer
from xpukit.host.live import LiveHost
from xpukit.host.overlay import OverlayHost

CPU = Target(label="cpu", kind="cpu", name="a CPU")
GIB = 1 << 30


def make_gpu(index: int, tile: int | None = None, memory_bytes: int | None = 24 * GIB) -> Target:
    label = f"0000:{index + 3:02x}:00.0" + ("" if tile is None else f"/tile{tile}")
    return Target(label=label, kind="gpu", name="a GPU", level_zero_index=index, tile=tile, memory_bytes=memory_bytes)


def make_host(*, sockets: int = 1, cache: str = "32768K", peers: tuple[Peer, ...] = ()) -> OverlayHost:
    """Two CPUs per socket, which share a level-3 cache of that size; each has its own level 1."""
    answers: dict[tuple[str, ...], Any] = {
        ("read", "/sys/devices/system/cpu/online"): FileAnswer(data=f"0-{2 * sockets - 1}\n".encode()),
        ("level-zero",): LevelZeroAnswer(status="ok", peers=peers),
    }
    for cpu in range(2 * sockets):
        folder = f"/sys/devices/system/cpu/cpu{cpu}/cache"
        answers[("list", folder)] = NamesAnswer(names=("index0", "index3", "uevent"))
        shared = f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}"
        for name, level, size, sharing in (("index0", 1, "48K", str(cpu)), ("index3", 3, cache, shared)):
            answers[("read", f"{folder}/{name}/level")] = FileAnswer(data=f"{level}\n".encode())
            answers[("read", f"{folder}/{name}/size")] = FileAnswer(data=f"{size}\n".encode())
            answers[("read", f"{folder}/{name}/shared_cpu_list")] = FileAnswer(data=f"{sharing}\n".encode())
    return OverlayHost(LiveHost(), answers)


def make_scope(settings: dict[str, Any], *targets: Target, **changes: Any) -> Scope:
    values: dict[str, Any] = {
        "targets": targets,
        "settings": settings,
        "method": Method(),
        "host": make_host(),
        "numa_nodes": ((0, "0-1"),),
        "memory_bytes": 24 * GIB,
    }
    return Scope(**(values | changes))


def read_request(job: Job) -> Request:
    return msgspec.json.decode(job.input, type=Request)
