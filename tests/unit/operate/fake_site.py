"""A deployment as values: a balancer, containers and a clock that only moves when somebody waits."""

from __future__ import annotations

from collections.abc import Callable

from xpukit.core.errors import ExternalError
from xpukit.operate.rotate.site import Command, Load
from xpukit.operate.rotate.state import Balance, Container, SlotState

_BALANCE: dict[Command, Balance] = {"ready": "up", "drain": "drain", "maint": "maint"}


class FakeEngine:
    """One generation of an engine. `requests` end one a second; those of the balancer keep coming while it is "up"."""

    def __init__(self, number: int, requests: int = 0) -> None:
        self.number = number
        self.requests = requests


class FakeSlot:
    def __init__(self, name: str, *, spare: bool = False, requests: int = 2) -> None:
        self.name = name
        self.spare = spare
        self.balance: Balance = "maint" if spare else "up"
        self.container: Container = "stopped" if spare else "running"
        self.engine = FakeEngine(0, 0 if spare else requests)
        self.previous: Container = "absent"
        self.kept: FakeEngine | None = None
        self.age_s: float | None = 86400.0

    @property
    def serving(self) -> FakeEngine | None:
        if self.container == "running":
            return self.engine
        return self.kept if self.previous == "running" else None


class FakeSite:
    """`fail`: method name -> what it does instead, called with the slot; `wrong`: generations that the gate refuses.

    `lost` counts requests that were ended, `least` the fewest healthy slots that were ever seen.
    """

    def __init__(self, replicas: int = 2, spares: int = 0) -> None:
        self.slots = {f"engine-{i}": FakeSlot(f"engine-{i}", spare=i >= replicas) for i in range(replicas + spares)}
        self.clock = 0.0
        self.lost = 0
        self.wrong: set[int] = set()
        self.silent: set[int] = set()
        self.stuck: set[str] = set()
        self.fail: dict[str, Callable[[str], str | None]] = {}
        self.calls: list[tuple[str, str]] = []
        self.generation = 0
        self.obstacle = ""
        self.least = self.count_healthy()

    def count_healthy(self) -> int:
        return sum(one.balance == "up" and one.serving is not None for one in self.slots.values())

    def _note(self, call: str, slot: str) -> None:
        self.calls.append((call, slot))
        self.least = min(self.least, self.count_healthy())
        if call in self.fail:
            self.fail[call](slot)

    def read(self) -> tuple[SlotState, ...]:
        return tuple(
            SlotState(
                slot=one.name,
                service=f"chat-{one.name[-1]}",
                balance="down" if one.balance == "up" and one.serving is None else one.balance,
                container=one.container,
                previous=one.previous,
                requests=one.serving.requests if one.serving else 0,
                spare=one.spare,
                age_s=one.age_s,
            )
            for one in self.slots.values()
        )

    def find_obstacle(self) -> str:
        return self.obstacle

    def set_state(self, slot: str, command: Command) -> None:
        self._note(f"set {command}", slot)
        self.slots[slot].balance = _BALANCE[command]
        self.least = min(self.least, self.count_healthy())

    def count_requests(self, slot: str) -> Load:
        self._note("count", slot)
        serving = self.slots[slot].serving
        return Load(balancer=serving.requests if serving else 0, engine=serving.requests if serving else None)

    def park(self, slot: str) -> None:
        self._note("park", slot)
        one = self.slots[slot]
        one.kept, one.previous = one.engine, "stopped"

    def recreate(self, slot: str) -> None:
        one = self.slots[slot]
        if one.serving is not None:
            self.lost += one.serving.requests
        if one.previous == "running":
            one.previous = "stopped"
        one.container = "stopped"
        self._note("recreate", slot)
        self.generation += 1
        one.engine, one.container, one.age_s = FakeEngine(self.generation), "running", 0.0

    def wait_answer(self, slot: str, limit_s: float) -> str:
        self._note("wait", slot)
        serving = self.slots[slot].serving
        if serving is None or serving.number in self.silent:
            self.sleep(limit_s)
            return "no answer"
        self.sleep(60)
        return ""

    def gate(self, slot: str) -> str:
        self._note("gate", slot)
        serving = self.slots[slot].serving
        return "chat-prose: degenerate" if serving is None or serving.number in self.wrong else ""

    def admit(self, slot: str) -> None:
        self._note("admit", slot)
        self.slots[slot].balance = "up"

    def drop_previous(self, slot: str) -> None:
        self._note("drop", slot)
        self.slots[slot].previous, self.slots[slot].kept = "absent", None

    def bring_back(self, slot: str) -> None:
        self._note("bring back", slot)
        one = self.slots[slot]
        if one.kept is None:
            raise ExternalError("no such container", hint="")
        one.container, one.previous = "stopped", "running"

    def stop(self, slot: str) -> None:
        self._note("stop", slot)
        one = self.slots[slot]
        if one.serving is not None:
            self.lost += one.serving.requests
        one.container = "stopped"

    def now(self) -> float:
        return self.clock

    def sleep(self, seconds: float) -> None:
        self.clock += seconds
        for one in self.slots.values():
            serving = one.serving
            if serving is None or one.name in self.stuck:
                continue
            serving.requests = 2 if one.balance == "up" else max(0, serving.requests - int(seconds + 0.999))
