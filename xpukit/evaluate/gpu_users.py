"""Who else uses the GPUs: DRM clients of other processes (fdinfo, drm-usage-stats), and `xpu-smi ps`.

A process that only holds the device open (a monitor, a display server) is told; one that computes, or holds much
memory, disturbs what is measured. Processes of other users are visible to root only.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from xpukit.core.machine import Machine
from xpukit.core.units import format_bytes
from xpukit.evaluate.parsers.xpu_smi_ps import parse_ps
from xpukit.host import Host

XPU_SMI = "xpu-smi"
# From this much device memory on, a process counts as using the device even while it does nothing (ours).
MUCH_MEMORY_BYTES = 256 << 20
_TIMEOUT_S = 10.0
_WATCH_S = 0.3
# Looking is bounded to this share of a run, and is not done more often than this.
_SHARE, _SHORTEST_S = 0.05, 2.0
_FIELD = re.compile(r"^(drm-[a-z0-9-]+):[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)
_SIZES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


class GpuUser(msgspec.Struct, frozen=True, kw_only=True):
    """A process on a device. `busy`: its engines worked while we looked (None: not to be told)."""

    bdf: str
    process: str
    memory_bytes: int = 0
    busy: bool | None = None
    source: str = "fdinfo"

    @property
    def disturbs(self) -> bool:
        return bool(self.busy) or self.memory_bytes >= MUCH_MEMORY_BYTES

    def describe(self) -> str:
        """'python3 (4711): busy, 21.0 GiB (fdinfo)'."""
        state = {True: "busy", False: "idle", None: "holds the device"}[self.busy]
        memory = f", {format_bytes(self.memory_bytes)}" if self.memory_bytes else ""
        return f"{self.process}: {state}{memory} ({self.source})"


class _Client(msgspec.Struct):
    """One process on one device, over its file descriptors (a client may have several)."""

    process: str
    memory: dict[str, int]
    work: dict[str, int]


def find_gpu_users(
    host: Host, machine: Machine, *, ask_smi: bool = True, sleep: Callable[[float], None] = time.sleep
) -> tuple[GpuUser, ...]:
    """All other processes on the machine's GPUs, in order of device and name. Nothing is asked without a GPU."""
    bdfs = {device.bdf for device in machine.devices}
    if not bdfs:
        return ()
    first = _read_clients(host, bdfs, None)
    later: dict[tuple[str, int], _Client] = {}
    if first:
        sleep(_WATCH_S)
        later = _read_clients(host, bdfs, {pid for _, pid in first})
    users = [
        GpuUser(
            bdf=bdf,
            process=client.process,
            memory_bytes=sum(client.memory.values()),
            busy=_has_worked(client, later.get((bdf, pid))),
        )
        for (bdf, pid), client in first.items()
    ]
    if ask_smi:
        users += _ask_smi(host, machine, {pid for _, pid in first})
    return tuple(sorted(users, key=lambda user: (user.bdf, user.process)))


def _read_clients(host: Host, bdfs: set[str], pids: set[int] | None) -> dict[tuple[str, int], _Client]:
    found: dict[tuple[str, int], _Client] = {}
    for process in host.processes().processes:
        if pids is not None and process.pid not in pids:
            continue
        for descriptor in host.list(f"/proc/{process.pid}/fd").names:
            if not host.link(f"/proc/{process.pid}/fd/{descriptor}").target.startswith("/dev/dri/"):
                continue
            fields = dict(_FIELD.findall(host.read(f"/proc/{process.pid}/fdinfo/{descriptor}").text))
            bdf = fields.get("drm-pdev", "")
            if bdf not in bdfs:
                continue
            client = found.setdefault(
                (bdf, process.pid), _Client(process=f"{process.name} ({process.pid})", memory={}, work={})
            )
            # Descriptors of one client say the same: each client counts once.
            number = fields.get("drm-client-id", descriptor)
            client.memory[number] = _read_memory(fields)
            client.work[number] = _read_work(fields)
    return found


def _read_memory(fields: Mapping[str, str]) -> int:
    """Device memory of a client: resident where the driver tells it, else what it has allocated."""
    for start in ("drm-resident-", "drm-total-", "drm-memory-"):
        sizes = [
            _read_size(value)
            for name, value in fields.items()
            if name.startswith(start) and name.removeprefix(start).startswith(("vram", "local"))
        ]
        if sizes:
            return sum(sizes)
    return 0


def _read_size(text: str) -> int:
    number, _, unit = text.partition(" ")
    return int(number) * _SIZES.get(unit.strip(), 0) if number.isascii() and number.isdigit() else 0


def _read_work(fields: Mapping[str, str]) -> int:
    """What only grows while engines work: nanoseconds (i915) or cycles (xe)."""
    return sum(
        int(number)
        for name, value in fields.items()
        if name.startswith(("drm-engine-", "drm-cycles-")) and not name.startswith("drm-engine-capacity")
        and (number := value.partition(" ")[0]).isascii() and number.isdigit()
    )  # fmt: skip


def _has_worked(before: _Client, after: _Client | None) -> bool | None:
    if after is None:  # it has ended
        return False
    if not any(before.work.values()) and not any(after.work.values()):
        return False
    return any(work > before.work.get(number, 0) for number, work in after.work.items())


def _ask_smi(host: Host, machine: Machine, known: set[int]) -> list[GpuUser]:
    """Processes that fdinfo did not show. The tool lists itself."""
    if host.which(XPU_SMI).value is None:
        return []
    ran = host.run([XPU_SMI, "ps"], timeout_s=_TIMEOUT_S)
    places = {device.xpu_smi_index: device.bdf for device in machine.devices if device.xpu_smi_index is not None}
    return [
        GpuUser(bdf=places[row.device], process=f"{row.command} ({row.pid})", source=f"{XPU_SMI} ps")
        for row in parse_ps(ran.text, ran.err_text).readings
        if row.device in places and row.pid not in known and not row.command.rpartition("/")[2].startswith(XPU_SMI)
    ]


def describe_users(users: Iterable[GpuUser]) -> dict[str, list[str]]:
    """BDF -> who is there, in words."""
    found: dict[str, list[str]] = {}
    for user in users:
        found.setdefault(user.bdf, []).append(user.describe())
    return {bdf: list(dict.fromkeys(words)) for bdf, words in sorted(found.items())}


class UserLookout:
    """Looks for users between jobs, as often as costs little; in between the last answer stands."""

    def __init__(
        self,
        find: Callable[[], Sequence[GpuUser]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._clock = clock
        self._next_s = float("-inf")
        self._last: tuple[GpuUser, ...] = ()
        self.seen: dict[tuple[str, str], GpuUser] = {}

    def look(self, *, now: bool = False) -> tuple[GpuUser, ...]:
        """Users of this moment (or of the last look). `now`: whatever it costs."""
        begun = self._clock()
        if now or begun >= self._next_s:
            self._last = tuple(self._find())
            spent = self._clock() - begun
            self._next_s = begun + spent + max(_SHORTEST_S, spent / _SHARE)
            for user in self._last:
                known = self.seen.get((user.bdf, user.process))
                if known is None or user.disturbs or not known.disturbs:
                    self.seen[user.bdf, user.process] = user
        return self._last

    def describe(self) -> dict[str, list[str]]:
        """Everyone who was seen in the run, by BDF."""
        return describe_users(self.seen[key] for key in sorted(self.seen))


def name_disturbing(users: Iterable[GpuUser]) -> dict[str, list[str]]:
    """BDF -> those who disturb."""
    found: dict[str, list[str]] = {}
    for user in users:
        if user.disturbs:
            found.setdefault(user.bdf, []).append(user.process)
    return found
