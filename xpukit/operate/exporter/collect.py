"""The exporter: reads all GPUs when it is asked, and slower sources beside it in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import msgspec

from xpukit import __version__
from xpukit.core.errors import XpukitError
from xpukit.core.machine import Machine
from xpukit.host.door import Host
from xpukit.operate.exporter.busy import MIN_WINDOW_S, BusyLedger, sum_device_memory, summarize_clients
from xpukit.operate.exporter.plan import DevicePlan, plan_devices
from xpukit.operate.exporter.processes import ClientFinder, SeenClient
from xpukit.operate.exporter.read_device import READ_TIMEOUT_S, DeviceReader
from xpukit.operate.exporter.sample import Labels, Sample, SampleSet, gpu_labels, make_labels
from xpukit.operate.exporter.steady import SteadyCounters
from xpukit.operate.exporter.sysman import EngineLedger, list_sysman_samples
from xpukit.operate.exporter.text_files import read_text_files

_DRIVERS = ("xe", "i915")
_COREDUMPS = "/sys/class/devcoredump"
# After this many intervals without an answer a slow source's values are left out.
_STALE_INTERVALS = 3
# What xpu-smi says: our metric, its further labels, the factor to its unit.
_SMI = {
    "resets": ("hw_gpu_resets_total", {}, 1),
    "cache_errors_correctable": ("hw_errors_total", {"error_type": "ras_correctable_cache"}, 1),
    "cache_errors_uncorrectable": ("hw_errors_total", {"error_type": "ras_uncorrectable_cache"}, 1),
    "memory_used": ("hw_gpu_memory_usage_bytes", {"source": "xpu-smi"}, 1 << 20),
    "pcie_read": ("hw_gpu_pcie_throughput_bytes_per_second", {"network_io_direction": "receive"}, 1000),
    "pcie_write": ("hw_gpu_pcie_throughput_bytes_per_second", {"network_io_direction": "transmit"}, 1000),
}
SmiReadings = Mapping[str, Mapping[str, float]]
Place = tuple[str, str, str]


class _Power(msgspec.Struct, frozen=True):
    """An energy counter at a moment, and the mean power in the window that ended then."""

    at_s: float
    joules: float
    watts: float | None


class Exporter:
    """Collects samples. `discover` probes the machine, at the start and when GPUs came or went.

    `ask_smi` gives xpu-smi's readings by BDF. Values of slow sources are refreshed by `refresh` (GPUs, limits, error
    counters, Level Zero, xpu-smi) and `scan` (processes), which `start` calls from threads.
    """

    def __init__(
        self,
        host: Host,
        discover: Callable[[], Machine],
        *,
        ask_smi: Callable[[Machine], SmiReadings] | None = None,
        level_zero: bool = True,
        text_files: str = "",
        interval_s: float = 30.0,
        scan_interval_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._discover = discover
        self._ask_smi = ask_smi
        self._level_zero = level_zero
        self._text_files = text_files
        self._interval_s = interval_s
        self._scan_interval_s = scan_interval_s
        self._clock = clock
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._steady = SteadyCounters()
        self._errors: dict[tuple[str, str, str], int] = {}
        self._reader = DeviceReader(host, self._steady, self._count_error)
        self._finder = ClientFinder(host)
        self._ledger = BusyLedger()
        self._engines = EngineLedger()
        self._signature: tuple[str, ...] | None = None
        self._machine = Machine()
        self._plans: dict[str, DevicePlan] = {}
        self._slow: dict[str, tuple[float, list[Sample]]] = {}
        self._energy: dict[Labels, _Power] = {}
        # Who tells each counter: another source's count begins elsewhere, and a change would look like a leap.
        self._tellers: dict[Place, str] = {}
        self._dumps: dict[str, set[str]] = {}
        self._reading_s: float | None = None

    def start(self) -> None:
        """Refresh in the background until `stop`."""
        for work, every_s in ((self.refresh, self._interval_s), (self.scan, self._scan_interval_s)):
            threading.Thread(target=self._repeat, args=(work, every_s), daemon=True, name=work.__name__).start()

    def stop(self) -> None:
        self._stop.set()

    def _repeat(self, work: Callable[[], None], every_s: float) -> None:
        while not self._stop.wait(every_s):
            try:
                work()
            except Exception as err:  # the scrapes must go on; that this failed is in the metrics
                self._count_error("", work.__name__, type(err).__name__)

    def scan(self) -> None:
        """Find the processes that use GPUs."""
        if self._plans:
            self._finder.scan()

    def refresh(self) -> None:
        """Look for GPUs that came or went, and ask the slow sources."""
        names = (f"{driver} {name}" for driver in _DRIVERS for name in self._list_bound(driver))
        signature = tuple(sorted(names))
        if signature != self._signature:
            self._machine = self._discover()
            # A GPU that is gone stays known, as failed: that it is missing is what must be told.
            self._plans = {**self._plans, **{plan.bdf: plan for plan in plan_devices(self._host, self._machine)}}
            self._signature = signature
            for plan in self._plans.values():
                counters = (reading.metric for reading in plan.each if reading.counter)
                self._tellers.update({(metric, plan.bdf, ""): "files" for metric in counters})
        if not self._plans:
            return
        self._keep("sysfs", self._read_seldom)
        self._keep("coredumps", self._read_coredumps)
        if any(self._reader.is_suspended(plan) for plan in self._plans.values()):
            return  # these two start every GPU that there is
        if self._level_zero:
            self._keep("level-zero", self._ask_level_zero)
        if self._ask_smi is not None:
            self._keep("xpu-smi", self._read_smi)

    def _list_bound(self, driver: str) -> tuple[str, ...]:
        return tuple(name for name in self._host.list(f"/sys/bus/pci/drivers/{driver}").names if ":" in name)

    def _keep(self, source: str, ask: Callable[[], list[Sample] | None]) -> None:
        try:
            samples = ask()
        except XpukitError as err:
            self._count_error("", source, type(err).__name__)
            return
        if samples is not None:
            self._slow[source] = (self._clock(), [self._make_steady(source, sample) for sample in samples])

    def _make_steady(self, source: str, sample: Sample) -> Sample:
        if not sample.name.endswith("_total"):
            return sample
        return sample._replace(value=self._steady.advance((source, sample.name, sample.labels), sample.value))

    def _read_seldom(self) -> list[Sample]:
        found = SampleSet()
        for plan in list(self._plans.values()):
            self._reader.read_seldom(plan, found)
        return list(found)

    def _read_coredumps(self) -> list[Sample] | None:
        """Core dumps by GPU. The first look only learns which ones are old."""
        listing = self._host.list(_COREDUMPS)
        if listing.error:  # a kernel without core dumps of devices
            return None
        first = not self._dumps
        for bdf in self._plans:
            self._dumps.setdefault(bdf, set())
        for name in listing.names:
            target = self._host.resolve(f"{_COREDUMPS}/{name}/failing_device").target.rpartition("/")[2]
            if target in self._plans:
                key = f"old {name}" if first else name
                if f"old {name}" not in self._dumps[target]:
                    self._dumps[target].add(key)
        return [
            Sample("hw_gpu_coredumps_total", gpu_labels(bdf), sum(not name.startswith("old ") for name in names))
            for bdf, names in self._dumps.items()
        ]

    def _ask_level_zero(self) -> list[Sample] | None:
        answer = self._host.level_zero()
        if not answer.devices:
            if answer.status not in ("no-loader", "no-driver", "unrecorded"):
                self._count_error("", "level-zero", answer.status)
            return None
        return list_sysman_samples(answer, self._engines)

    def _read_smi(self) -> list[Sample] | None:
        readings = self._ask_smi(self._machine) if self._ask_smi is not None else {}
        samples = [
            Sample(_SMI[name][0], gpu_labels(bdf, **_SMI[name][1]), value * _SMI[name][2])
            for bdf, values in readings.items()
            for name, value in values.items()
            if name in _SMI
        ]
        return samples or None  # a tool that is not there is no source

    def _count_error(self, bdf: str, source: str, error: str) -> None:
        key = (bdf, source, error)
        self._errors[key] = self._errors.get(key, 0) + 1

    def collect(self) -> list[Sample]:
        """Everything, as it is now."""
        with self._lock:
            begun_s = self._clock()
            found = SampleSet()
            plans = list(self._plans.values())
            for plan in plans:
                self._reader.read_each(plan, found)
            self._add_power(found)
            clients = self._add_processes(plans, found)
            self._add_slow(found)
            self._add_memory_of_clients(plans, clients, found)
            self._add_memory_share(found)
            if self._text_files:
                found.extend(read_text_files(self._host, self._text_files, self._count_error))
            self._add_own(found)
            self._reading_s = self._clock() - begun_s
            return list(found)

    def _add_power(self, found: SampleSet) -> None:
        """Mean power since the reading before, where the driver has an energy counter and no power reading."""
        now_s = self._clock()
        energies = [sample for sample in found if sample.name == "hw_energy_joules_total"]
        for _, labels, joules in energies:
            before = self._energy.get(labels)
            if before is None or now_s - before.at_s >= MIN_WINDOW_S:
                watts = None if before is None else (joules - before.joules) / (now_s - before.at_s)
                before = self._energy[labels] = _Power(at_s=now_s, joules=joules, watts=watts)
            if before.watts is not None:
                found.add("hw_power_watts", labels, before.watts)

    def _add_slow(self, found: SampleSet) -> None:
        own = {_find_place(sample) for sample in found}
        now_s = self._clock()
        for source, (at_s, samples) in list(self._slow.items()):
            found.add("xpukit_exporter_source_age_seconds", make_labels(source=source), now_s - at_s)
            if now_s - at_s > _STALE_INTERVALS * self._interval_s:
                continue
            told = set()
            for sample in samples:
                place = _find_place(sample)
                counted = sample.name.endswith("_total")
                if place not in own and (not counted or self._tellers.setdefault(place, source) == source):
                    told.add(place)
                    found.add(*sample)
            own |= told

    def _add_processes(self, plans: list[DevicePlan], found: SampleSet) -> list[SeenClient]:
        complete = self._finder.complete
        if complete is None or not plans:
            return []
        clients: list[SeenClient] = self._finder.read(timeout_s=READ_TIMEOUT_S)
        clients = [seen for seen in clients if seen.client.bdf in self._plans]
        self._ledger.advance(self._clock(), clients)
        found.add("xpukit_exporter_all_processes_visible", (), float(complete))
        found.extend(self._ledger.list_samples(complete=complete))
        found.extend(summarize_clients([plan.bdf for plan in plans] if complete else [], clients))
        return clients

    def _add_memory_of_clients(self, plans: list[DevicePlan], clients: list[SeenClient], found: SampleSet) -> None:
        """For want of one who counts all memory: what clients hold, where all of them are seen."""
        for plan in plans if self._finder.complete else ():
            if not plan.memory_bytes or found.has("hw_gpu_memory_usage_bytes", plan.bdf):
                continue
            used = sum_device_memory(plan.bdf, clients)
            if used is not None:
                found.add("hw_gpu_memory_usage_bytes", gpu_labels(plan.bdf, source="fdinfo"), used)

    def _add_memory_share(self, found: SampleSet) -> None:
        samples = list(found)
        limits = {
            dict(sample.labels)["hw_id"]: sample.value
            for sample in samples
            if sample.name == "hw_gpu_memory_limit_bytes"
        }
        for sample in samples:
            bdf = dict(sample.labels).get("hw_id", "")
            if sample.name == "hw_gpu_memory_usage_bytes" and limits.get(bdf):
                found.add("hw_gpu_memory_utilization_ratio", gpu_labels(bdf), min(1.0, sample.value / limits[bdf]))

    def _add_own(self, found: SampleSet) -> None:
        found.add("xpukit_exporter_info", make_labels(version=__version__), 1.0)
        found.add("xpukit_exporter_devices", (), len(self._plans))
        if self._reading_s is not None:
            found.add("xpukit_exporter_reading_seconds", (), self._reading_s)
        for (bdf, source, error), count in sorted(dict(self._errors).items()):
            labels = make_labels(hw_id=bdf, source=source, error=error)
            found.add("xpukit_exporter_read_errors_total", labels, count)


def _find_place(sample: Sample) -> Place:
    """What has one source only: a metric of a GPU; of its errors those of the bus and its own apart, of its use each
    class, and the tiles apart from the whole."""
    labels = dict(sample.labels)
    bdf = labels.get("hw_parent", labels.get("hw_id", ""))
    part = labels.get("error_type", "").partition("_")[0]
    if sample.name == "hw_gpu_utilization_ratio":
        part = labels["engine_class"] + (" of tiles" if "tile" in labels else "")
    return (sample.name, bdf, part)
