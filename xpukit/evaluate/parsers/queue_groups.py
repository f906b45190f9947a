"""The engine groups that ze_peer -q, ze_peak -q and ze_bandwidth list."""

from __future__ import annotations

import re

import msgspec


class QueueGroup(msgspec.Struct, frozen=True, kw_only=True):
    """`indices` are the numbers that ze_peer's -u takes; empty where the listing does not give them."""

    device: int | None
    group: int
    queues: int
    compute: bool
    copy: bool
    indices: tuple[int, ...] = ()


_DEVICE = re.compile(r"\s*Device ([0-9]{1,6}):?")
_PLAIN = re.compile(r"\s*Group ([0-9]{1,6}) \((compute|copy)\): ([0-9]{1,6}) queues?")
_ROW = re.compile(
    r"\|\s*([0-9]{1,6})?\s*\|\s*([0-9]{1,6})?\s*\|\s*(X?)\s*\|\s*(X?)\s*\|\s*([0-9]{1,6})?\s*\|"
)  # fmt: skip
_DECORATION = re.compile(r"\| Group\s+\| Number of Queues.*|\s*No queue groups found")


class QueueGroups:
    """Both listings: the table of ze_peer -q, and lines ' Group 0 (compute): 1 queues'."""

    def __init__(self) -> None:
        self._device: int | None = None
        self._groups: list[QueueGroup] = []
        self._unclaimed = 0  # how many groups wait for the line that names their device

    def take(self, line: str) -> bool:
        """Whether the line belongs to a listing."""
        named = _DEVICE.fullmatch(line)
        if named:
            self._device = int(named[1])
            return True
        plain = _PLAIN.fullmatch(line)
        if plain:
            self._add(int(plain[1]), int(plain[3]), compute=plain[2] == "compute", copy=plain[2] == "copy")
            return True
        row = _ROW.fullmatch(line.strip())
        if row is None:
            return _DECORATION.fullmatch(line) is not None
        if row[1] and row[2]:
            self._add(int(row[1]), int(row[2]), compute=row[3] == "X", copy=row[4] == "X")
        elif row[5] and self._groups:
            last = self._groups[-1]
            self._groups[-1] = msgspec.structs.replace(last, indices=(*last.indices, int(row[5])))
        return True

    def claim(self, device: int) -> None:
        """ze_bandwidth names the device after its groups."""
        for place in range(len(self._groups) - self._unclaimed, len(self._groups)):
            self._groups[place] = msgspec.structs.replace(self._groups[place], device=device)
        self._unclaimed = 0

    def done(self) -> tuple[QueueGroup, ...]:
        return tuple(self._groups)

    def _add(self, group: int, queues: int, *, compute: bool, copy: bool) -> None:
        self._groups.append(QueueGroup(device=self._device, group=group, queues=queues, compute=compute, copy=copy))
        self._unclaimed = self._unclaimed + 1 if self._device is None else 0
