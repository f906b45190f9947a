"""The readings of one GPU at one moment, by its plan."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from xpukit.host.answers import FileAnswer
from xpukit.host.door import Host
from xpukit.operate.exporter.plan import DevicePlan, FileReading, LinkReading, ThrottleReading
from xpukit.operate.exporter.sample import SampleSet, gpu_labels
from xpukit.operate.exporter.steady import SteadyCounters

# A scrape must end before Prometheus gives up on it (10 s by default), whatever a driver does.
READ_TIMEOUT_S = 0.5
_LIMIT_BYTES = 4096
_SPEED = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*GT/s")
_REASON = re.compile(r"[a-z][a-z0-9_]{0,40}")
_TOTAL = re.compile(r"^TOTAL_ERR_\w+\s+(\d{1,20})$", re.MULTILINE)
# What a driver does not offer on this card, and what a recording does not hold: absent, and no error.
_NOT_OFFERED = frozenset({"ENOENT", "ENODATA", "EOPNOTSUPP", "ENOTSUP", "UNRECORDED"})
# What drivers and firmware say in place of a number that they do not have.
_ALL_ONES = frozenset({(1 << 64) - 1, (1 << 63) - 1, (1 << 32) - 1})
_SIGNED = frozenset({"hw_temperature_celsius", "hw_temperature_limit_celsius", "hw_voltage_volts"})
ErrorSink = Callable[[str, str, str], None]


class HungError(Exception):
    """A file of the device did not answer in time: the others would not either."""


class DeviceReader:
    """Reads a plan. `count_error(bdf, source, error)` hears of every reading that failed."""

    def __init__(self, host: Host, steady: SteadyCounters, count_error: ErrorSink) -> None:
        self._host = host
        self._steady = steady
        self._count_error = count_error
        # Of the device that is being read: what was read at once, for a call costs more than a file.
        self._ahead: dict[str, FileAnswer] = {}

    def read_each(self, plan: DevicePlan, into: SampleSet) -> None:
        """What moves: clocks, sensors, throttling, the link, the state. Never raises."""
        problems: set[str] = set()
        try:
            if self._is_lost(plan):
                problems.add("failed")
                return
            suspended = self._read("power", plan.bdf, _runtime_status(plan))
            if suspended.ok:
                asleep = suspended.text == "suspended"
                into.add("hw_gpu_runtime_suspended", gpu_labels(plan.bdf), float(asleep))
                if asleep:
                    return
            self._read_ahead([*(one.path for one in plan.each), *_list_others(plan)])
            for reading in plan.each:
                self._add_number(plan, reading, into)
            for throttle in plan.throttles:
                self._add_throttle(plan, throttle, into)
            if plan.link is not None and self._add_link(plan, plan.link, into):
                problems.add("degraded")
        except HungError:
            problems.add("degraded")
        finally:
            self._ahead = {}
            state = next((state for state in ("failed", "degraded") if state in problems), "ok")
            for name in ("ok", "degraded", "failed"):
                into.add("hw_status", gpu_labels(plan.bdf, hw_state=name), float(name == state))
            if state != "failed":
                into.add("hw_gpu_info", plan.info, 1.0)
                if plan.memory_bytes:
                    into.add("hw_gpu_memory_limit_bytes", gpu_labels(plan.bdf), plan.memory_bytes)

    def read_seldom(self, plan: DevicePlan, into: SampleSet) -> None:
        """Limits and the ports' error counters. Never raises."""
        try:
            if self.is_suspended(plan):
                return
            for reading in plan.seldom:
                self._add_number(plan, reading, into)
            for error in plan.errors:
                answer = self._read("aer", plan.bdf, error.path)
                match = _TOTAL.search(answer.text) if answer.ok else None
                if match:
                    into.add("hw_errors_total", error.labels, self._steady.advance(error.labels, int(match[1])))
        except HungError:
            return

    def is_suspended(self, plan: DevicePlan) -> bool:
        """Whether the kernel has put the GPU to sleep."""
        return self._host.read(_runtime_status(plan), timeout_s=READ_TIMEOUT_S).text == "suspended"

    def _is_lost(self, plan: DevicePlan) -> bool:
        """Off the bus: no directory any more, or only ones where the vendor id is."""
        answer = self._host.read(f"{plan.sys_path}/config", limit_bytes=64, timeout_s=READ_TIMEOUT_S)
        if answer.error == "ETIMEDOUT":
            self._count_error(plan.bdf, "config", answer.error)
            raise HungError
        return answer.error in ("ENOENT", "ENODEV") or answer.data[:2] == b"\xff\xff"

    def _read(self, source: str, bdf: str, path: str) -> FileAnswer:
        answer = self._ahead.get(path) or self._host.read(path, limit_bytes=_LIMIT_BYTES, timeout_s=READ_TIMEOUT_S)
        if answer.error and answer.error not in _NOT_OFFERED:
            self._count_error(bdf, source, answer.error)
            if answer.error == "ETIMEDOUT":
                raise HungError
        return answer

    def _read_ahead(self, paths: Sequence[str]) -> None:
        answers = self._host.read_many(paths, limit_bytes=_LIMIT_BYTES, timeout_s=READ_TIMEOUT_S)
        self._ahead = dict(zip(paths, answers, strict=True))

    def _read_int(self, source: str, bdf: str, path: str) -> int | None:
        answer = self._read(source, bdf, path)
        if not answer.ok:
            return None
        try:
            return int(answer.text)
        except ValueError:
            if answer.text:
                self._count_error(bdf, source, "EINVAL")
            return None

    def _add_number(self, plan: DevicePlan, reading: FileReading, into: SampleSet) -> None:
        source = "hwmon" if "/hwmon/" in reading.path else "clocks"
        value = self._read_int(source, plan.bdf, reading.path)
        if value is None:
            return
        if value in _ALL_ONES or (value < 0 and reading.metric not in _SIGNED):
            self._count_error(plan.bdf, source, "ERANGE")
            return
        total = self._steady.advance(reading.path, value) if reading.counter else value
        into.add(reading.metric, reading.labels, total / reading.divisor)

    def _add_throttle(self, plan: DevicePlan, throttle: ThrottleReading, into: SampleSet) -> None:
        listed = self._read("throttle", plan.bdf, throttle.listed) if throttle.listed else None
        if listed is not None and listed.ok:
            told = {name for name in listed.text.split() if _REASON.fullmatch(name)} - {"none"}
            known = {name: name in told for name, _ in throttle.reasons}
            self._tell_throttle(throttle, {**known, **dict.fromkeys(told, True)}, into)
            return
        status = self._read_int("throttle", plan.bdf, throttle.status)
        if status is None:
            return
        values = {name: self._read_int("throttle", plan.bdf, path) if status else 0 for name, path in throttle.reasons}
        if status and not any(values.values()):
            values["unknown"] = 1
        self._tell_throttle(throttle, values, into)

    def _tell_throttle(self, throttle: ThrottleReading, values: Mapping[str, int | None], into: SampleSet) -> None:
        for name, value in values.items():
            if value is not None:
                into.add("hw_gpu_throttled", tuple(sorted((*throttle.labels, ("reason", name)))), float(bool(value)))

    def _add_link(self, plan: DevicePlan, link: LinkReading, into: SampleSet) -> bool:
        """Whether the link has lost lanes."""
        speed = width = None
        for path in link.paths:
            match = _SPEED.search(self._read("link", plan.bdf, f"{path}/current_link_speed").text)
            lanes = self._read_int("link", plan.bdf, f"{path}/current_link_width")
            speed = speed if speed is not None else float(match[1]) if match else None
            # 0 and 255 say that the port does not know.
            width = width if width is not None else lanes if lanes and lanes <= 32 else None
            if speed is not None and width is not None:
                break
        labels = gpu_labels(plan.bdf, port=link.port)
        for name, now, most, scale in (
            ("speed", speed, link.max_gts, 1e9),
            ("width", width, link.max_width, 1),
        ):
            unit = "transfers_per_second" if name == "speed" else "lanes"
            if now is not None:
                into.add(f"hw_gpu_pcie_link_{name}_{unit}", labels, now * scale)
            if most is not None:
                into.add(f"hw_gpu_pcie_link_{name}_limit_{unit}", labels, most * scale)
            if now is not None and most is not None:
                aspect = gpu_labels(plan.bdf, port=link.port, aspect=name)
                into.add("hw_gpu_pcie_link_degraded", aspect, float(now < most))
        return width is not None and link.max_width is not None and width < link.max_width


def _list_others(plan: DevicePlan) -> Iterator[str]:
    """What is read of throttling and of the link in any case."""
    for throttle in plan.throttles:
        yield throttle.listed or throttle.status
    if plan.link is not None and plan.link.paths:
        yield f"{plan.link.paths[0]}/current_link_speed"
        yield f"{plan.link.paths[0]}/current_link_width"


def _runtime_status(plan: DevicePlan) -> str:
    return f"{plan.sys_path}/power/runtime_status"
