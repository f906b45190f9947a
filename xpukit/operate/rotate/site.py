"""What a rotation can do to a deployment. Real ones stand behind this, and the tests' own."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from xpukit.operate.rotate.state import SlotState

Command = Literal["ready", "drain", "maint"]


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that an engine still has: by the balancer, and by its own metrics (None where it has none)."""

    balancer: int
    engine: int | None

    @property
    def idle(self) -> bool:
        return self.balancer == 0 and not self.engine

    @property
    def text(self) -> str:
        own = "its metrics do not say" if self.engine is None else f"{self.engine} by its metrics"
        return f"{self.balancer} by the balancer, {own}"


class Site(Protocol):
    """A deployment: slots behind a balancer, each with an engine. All methods may raise ExternalError."""

    def read(self) -> tuple[SlotState, ...]:
        """All slots as they are now."""

    def find_obstacle(self) -> str:
        """What would make a rotation fail after it has begun, "" for nothing that can be seen beforehand."""

    def set_state(self, slot: str, command: Command) -> None:
        """Tell the balancer."""

    def count_requests(self, slot: str) -> Load:
        """What the slot's engine still works on."""

    def park(self, slot: str) -> None:
        """Keep what is needed to bring the present engine back; it goes on as it is."""

    def recreate(self, slot: str) -> None:
        """Stop the slot's engine, if it runs, and start a new one in its place."""

    def wait_answer(self, slot: str, limit_s: float) -> str:
        """Wait until the slot's engine answers; why it does not, "" when it does."""

    def gate(self, slot: str) -> str:
        """Judge the answers of the slot's engine; what is wrong with them, "" when they are right."""

    def admit(self, slot: str) -> None:
        """Let the balancer give the slot's engine requests, at the address that it has now."""

    def drop_previous(self, slot: str) -> None:
        """The engine that was replaced is no longer needed."""

    def bring_back(self, slot: str) -> None:
        """Stop the slot's new engine and start the one that it should have replaced."""

    def stop(self, slot: str) -> None:
        """Stop the slot's engine."""

    def now(self) -> float:
        """Seconds of a clock that never goes back."""

    def sleep(self, seconds: float) -> None:
        """Wait."""
