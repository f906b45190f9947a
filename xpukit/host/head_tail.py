"""A byte sink that keeps the beginning and the end of what is written to it."""

from __future__ import annotations

from collections import deque


class HeadTail:
    """Holds at most `limit` bytes: the first half as it came, of the rest the last half."""

    def __init__(self, limit: int) -> None:
        self._head_room = limit - limit // 2
        self._tail_limit = limit // 2
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self.dropped = 0

    def write(self, chunk: bytes) -> None:
        if self._head_room > 0:
            taken = chunk[: self._head_room]
            self._head += taken
            self._head_room -= len(taken)
            chunk = chunk[len(taken) :]
        if not chunk:
            return
        self._tail.append(chunk)
        self._tail_size += len(chunk)
        while self._tail_size > self._tail_limit:
            excess = self._tail_size - self._tail_limit
            first = self._tail.popleft()
            if len(first) > excess:
                self._tail.appendleft(first[excess:])
                first = first[:excess]
            self._tail_size -= len(first)
            self.dropped += len(first)

    def skip(self, count: int) -> None:
        """Count `count` bytes as left out, which lie behind all that was written so far; the tail starts anew."""
        self.dropped += count + self._tail_size
        self._tail.clear()
        self._tail_size = 0

    def content(self) -> bytes:
        """What was kept, with a line that says how much is missing between the halves."""
        gap = f"\n[xpukit: {self.dropped} bytes left out here]\n".encode() if self.dropped else b""
        return bytes(self._head) + gap + b"".join(self._tail)
