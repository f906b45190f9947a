#!/usr/bin/env python3
"""How long a scrape of `xpukit exporter` takes: python benchmarks/exporter.py [--devices 16] [--clients 4] [--rounds 50]

A machine with as many B60 as asked is built as files in a temporary directory (the files that xe offers, two GTs and
eleven sensor files a card) and read by the live host; that each card has --clients DRM clients is in files too. What
this measures is our reading, parsing and rendering, over HTTP as Prometheus does it. What it does not: a real driver,
some of whose files ask the card's firmware (hwmon by pcode) and take longer than a file in memory.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from xpukit.core.machine import Device, Gt, Link, LinkEnd, Machine, Sensor
from xpukit.host.answers import FileAnswer, LinkAnswer, NamesAnswer, UdevAnswer, UdevDevice
from xpukit.host.live import LiveHost
from xpukit.operate.exporter.collect import Exporter
from xpukit.operate.exporter.expose import start_server

TARGET_MS = 50
# As Prometheus asks.
ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
SENSORS = {
    "energy1_input": ("energy card", "J", "81239412345"),
    "energy2_input": ("energy pkg", "J", "60239412345"),
    "temp2_input": ("temp pkg", "C", "52000"),
    "temp3_input": ("temp vram", "C", "58000"),
    "fan1_input": ("fan 1", "RPM", "1180"),
    "fan2_input": ("fan 2", "RPM", "1180"),
    "in1_input": ("in pkg", "V", "843"),
    "power1_max": ("power card max", "W", "200000000"),
    "power1_crit": ("power card crit", "W", "400000000"),
    "power1_cap": ("power card cap", "W", "240000000"),
    "power2_max": ("power pkg max", "W", "120000000"),
}
REASONS = ("pl1", "pl2", "pl4", "prochot", "ratl", "thermal", "vr_tdc", "vr_thermalert")


class BelowHost(LiveHost):
    """The live host with its /sys and /proc in another directory."""

    def __init__(self, root: Path, devices: tuple[UdevDevice, ...]) -> None:
        super().__init__()
        self._root = str(root)
        self._devices = devices

    def read(self, path: str, **options: object) -> FileAnswer:
        return super().read(self._root + path, **options)  # type: ignore[arg-type]

    def read_many(self, paths: Sequence[str], **options: object) -> tuple[FileAnswer, ...]:
        return super().read_many([self._root + path for path in paths], **options)  # type: ignore[arg-type]

    def list(self, path: str, **options: object) -> NamesAnswer:
        return super().list(self._root + path, **options)  # type: ignore[arg-type]

    def link(self, path: str) -> LinkAnswer:
        return super().link(self._root + path)

    def udev(self, subsystem: str) -> UdevAnswer:
        return UdevAnswer(devices=self._devices if subsystem == "pci" else ())


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def build_card(root: Path, index: int) -> tuple[Device, list[UdevDevice]]:
    slot, port, bdf = (f"{index:04x}:{bus:02x}:00.0" for bus in (0, 1, 3))
    above = f"/sys/devices/pci{index:04x}:00/{slot}"
    sys_path = f"{above}/{port}/{bdf}"
    for path in (above, f"{above}/{port}", sys_path):
        write(root / f"{path}/current_link_speed"[1:], "32.0 GT/s PCIe")
        write(root / f"{path}/current_link_width"[1:], "8")
        for severity in ("correctable", "nonfatal", "fatal"):
            write(root / f"{path}/aer_dev_{severity}"[1:], "RxErr 0\nTOTAL_ERR_X 0")
    (root / f"{sys_path}/config"[1:]).write_bytes(b"\x86\x80\x11\xe2" + bytes(60))
    write(root / f"{sys_path}/power/runtime_status"[1:], "active")
    hwmon = f"{sys_path}/hwmon/hwmon{index}"
    for name, (_, _, value) in SENSORS.items():
        write(root / f"{hwmon}/{name}"[1:], value)
    for gt in (0, 1):
        below = f"{sys_path}/tile0/gt{gt}"
        write(root / f"{below}/gtidle/idle_residency_ms"[1:], "1234567")
        for name, value in (("act", 1900), ("cur", 1900), ("min", 400), ("max", 2400)):
            write(root / f"{below}/freq0/{name}_freq"[1:], str(value))
        for name in ("status", *(f"reason_{reason}" for reason in REASONS)):
            write(root / f"{below}/freq0/throttle/{name}"[1:], str(int(gt == 0 and name in ("status", "reason_pl1"))))
    device = Device(
        index=index,
        bdf=bdf,
        vendor_id="8086",
        device_id="e211",
        name="Intel Arc Pro B60",
        known=True,
        driver="xe",
        memory_bytes=24 << 30,
        gts=(Gt(tile=0, gt=0, kind="main"), Gt(tile=0, gt=1, kind="media")),
        sensors=tuple(
            Sensor(name=label, value=0, unit=unit, source=f"{hwmon}/{name}")
            for name, (label, unit, _) in SENSORS.items()
        ),
        link=Link(read_at=port, max_speed_gts=32, max_width=8, hops=(LinkEnd(bdf=slot, partner_bdf=port),)),
        path=(slot, port),
    )
    places = ((slot, above), (port, f"{above}/{port}"), (bdf, sys_path))
    return device, [UdevDevice(sys_path=path, sys_name=name, subsystem="pci") for name, path in places]


def add_clients(root: Path, devices: list[Device], clients: int) -> None:
    (root / "proc/self/ns").mkdir(parents=True)
    (root / "proc/self/ns/pid").symlink_to("pid:[4026531836]")
    for pid in range(1000, 1000 + clients):
        write(root / f"proc/{pid}/comm", "vllm")
        write(root / f"proc/{pid}/cgroup", f"0::/docker/{pid:064x}")
        (root / f"proc/{pid}/fd").mkdir()
        for number, device in enumerate(devices):
            (root / f"proc/{pid}/fd/{number}").symlink_to("/dev/dri/renderD128")
            engines = "".join(
                f"drm-cycles-{name}:\t{pid}\ndrm-total-cycles-{name}:\t7655183225\n"
                for name in ("rcs", "bcs", "vcs", "vecs", "ccs")
            )
            text = f"drm-driver:\txe\ndrm-client-id:\t{pid}{number}\ndrm-pdev:\t{device.bdf}\n{engines}"
            write(root / f"proc/{pid}/fdinfo/{number}", text + "drm-resident-vram0:\t23992 KiB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=16)
    parser.add_argument("--clients", type=int, default=4, help="processes, each with a client on every card")
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        root = Path(folder)
        built = [build_card(root, index) for index in range(options.devices)]
        devices = [device for device, _ in built]
        add_clients(root, devices, options.clients)
        host = BelowHost(root, tuple(udev for _, listed in built for udev in listed))
        found = Exporter(host, lambda: Machine(devices=tuple(devices)), level_zero=False)
        begun_s = time.perf_counter()
        found.refresh()
        found.scan()
        print(f"refresh and first scan: {(time.perf_counter() - begun_s) * 1e3:.1f} ms (in the background, once)")
        server = start_server(found.collect, address="127.0.0.1", port=0)
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        asked = urllib.request.Request(url, headers={"Accept": ACCEPT})
        reading: list[float] = []
        scrape: list[float] = []
        processor: list[float] = []
        for _ in range(options.rounds + 1):
            begun_s = time.perf_counter()
            found.collect()
            reading.append((time.perf_counter() - begun_s) * 1e3)
            begun_s, used_s = time.perf_counter(), time.process_time()
            with urllib.request.urlopen(asked) as answer:
                text = answer.read().decode()
            scrape.append((time.perf_counter() - begun_s) * 1e3)
            processor.append((time.process_time() - used_s) * 1e3)
        server.shutdown()
        threads = threading.active_count()
    series = sum(not line.startswith("#") for line in text.splitlines())
    print(f"{options.devices} devices, {options.clients * options.devices} clients, {series} series, {threads} threads")
    # Processor time does not count what others on the machine take.
    measured = (("reading", reading), ("scrape over HTTP", scrape), ("processor time of a scrape", processor))
    for label, figures in ((label, figures[1:]) for label, figures in measured):
        ordered = sorted(figures)
        p95 = ordered[int(len(ordered) * 0.95)]
        print(f"{label}: best {ordered[0]:.1f} ms, median {ordered[len(ordered) // 2]:.1f} ms, p95 {p95:.1f} ms")
    median = sorted(scrape[1:])[options.rounds // 2]
    print(f"target {TARGET_MS} ms for 16 devices: {'met' if median <= TARGET_MS else 'missed'} by the median scrape")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
