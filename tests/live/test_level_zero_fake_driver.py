"""Our Level Zero reading against a driver built here, behind the distribution's real loader."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.native.build import LEVEL_ZERO_HEADER, build_fake_level_zero, compile_c, find_missing, write_config
from tests.native.newer_loader import NewerLoader
from xpukit.host.level_zero import api, names, sysman_api
from xpukit.host.level_zero.child import ask_in_child
from xpukit.host.level_zero.snapshot import LevelZeroAnswer
from xpukit.host.runner import run_process

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(bool(find_missing()), reason=find_missing() or "built"),
]

B60 = {"name": "Intel(R) Arc(TM) Pro B60 Graphics", "id": "0xe211", "memory_mib": 24480}
MAX = {
    "name": "Intel(R) Data Center GPU Max 1550",
    "id": "0x0bd5",
    "tiles": 2,
    "slices": 2,
    "subslices": 64,
    "memory_mib": 131072,
    "bus_width": 8192,
    "ecc": 1,
    "fabric_ports": 4,
}
NPU = {"name": "Intel(R) AI Boost", "id": "0x643e", "type": "npu", "bdf": "0000:00:0b.0"}


class Fake:
    """Configures the fake driver for this test's environment and asks it."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.patch = patch
        self.library = build_fake_level_zero()
        self.loader: NewerLoader | None = None
        for name in ("ZE_FLAT_DEVICE_HIERARCHY", "ZE_AFFINITY_MASK", "ZES_ENABLE_SYSMAN"):
            patch.delenv(name, raising=False)
        patch.setenv("ZE_ENABLE_ALT_DRIVERS", str(self.library))

    def ask(self, devices: list[dict[str, Any]], *, timeout_s: float = 10.0, **whole: Any) -> LevelZeroAnswer:
        also = whole.pop("also", [])
        self.patch.setenv("ZE_FAKE_CONFIG", str(write_config(self.directory / "fake.ini", devices, also=also, **whole)))
        return ask_in_child(self.loader.run if self.loader else run_process, timeout_s=timeout_s)


@pytest.fixture(params=["installed", *(pytest.param(suite, marks=pytest.mark.slow) for suite in ("trixie", "sid"))])
def fake(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake(tmp_path, monkeypatch)
    if request.param != "installed":
        made.loader = NewerLoader(request.param)
        problem = made.loader.fetch()
        if problem:
            pytest.skip(problem)
    return made


def place(number: int) -> str:
    return f"0000:{0x03 + 0x20 * number:02x}:00.0"


def test_four_b60(fake: Fake) -> None:
    devices = [dict(B60, bdf=place(number)) for number in range(4)]
    devices[2].update(link_width=4, temperature_c=88.5, throttle=0b1001, frequency_mhz=1200, ras_uncorrectable=7)
    devices[3].update(firmware=["GFX BMG__20.1107", "OPROM_CODE 1.2 beta"], power_ext=1, processes=3)
    answer = fake.ask(devices, extensions="all")

    assert (answer.status, answer.detail, answer.errors[1:]) == ("ok", "", ())
    assert [(d.index, d.mask_composite, d.masks_flat, d.bdf) for d in answer.devices] == [
        (number, str(number), (number,), place(number)) for number in range(4)
    ]
    first = answer.devices[0]
    assert (first.type, first.name, first.vendor_id, first.device_id) == ("gpu", B60["name"], 0x8086, 0xE211)
    assert (first.memory_bytes, first.eus, first.threads_per_eu) == (24480 << 20, 160, 8)
    assert first.pci_max_speed
    assert first.pci_max_speed.bandwidth_bytes_per_s == 32_000_000_000
    assert (first.memories[0].kind, first.memories[0].read_bandwidth_gbps) == ("gddr6", 456)
    # sysman lists devices in another order than the core: each must come back to its own address
    assert [device.sysman and device.sysman.pci and device.sysman.pci.bdf for device in answer.devices] == [
        place(number) for number in range(4)
    ]
    hot = answer.devices[2].sysman
    assert hot
    assert hot.pci
    assert hot.frequencies
    assert hot.temperatures
    assert hot.ras
    assert hot.pci.speed
    assert (hot.pci.speed.width, hot.pci.status, hot.pci.issues) == (4, "quality-issues", ("speed",))
    assert (hot.temperatures[0].sensor, hot.temperatures[0].celsius) == ("gpu", 88.5)
    assert hot.frequencies[0].throttle_reasons == ("average-power-cap", "thermal-limit")
    assert (hot.frequencies[0].actual_mhz, hot.frequencies[0].tdp_mhz) == (1200, None)
    assert hot.ras[1].kind == "uncorrectable"
    assert hot.ras[1].counts
    assert hot.ras[1].counts["compute"] == 7
    last = answer.devices[3].sysman
    assert last
    assert last.firmwares
    assert last.power
    assert last.engines
    assert [(f.name, f.version) for f in last.firmwares] == [("GFX", "BMG__20.1107"), ("OPROM_CODE", "1.2 beta")]
    assert (last.power[0].domain, last.power[0].limits[0].limit, last.process_count) == ("card", 200_000, 3)
    assert {engine.kind: engine.count for engine in last.engines} == {"all": 1, "compute": 2, "copy": 1}
    assert len(answer.peers) == 12
    assert all(peer.can_access and not peer.atomics and peer.bandwidth == 53 for peer in answer.peers)
    assert b"SECRET" not in msgspec.json.encode(answer)


def test_tiles_of_a_max(fake: Fake) -> None:
    answer = fake.ask([dict(MAX, bdf=place(0)), dict(MAX, bdf=place(1))], p2p="tiles")
    first, second = answer.devices
    assert (first.masks_flat, second.masks_flat) == ((0, 1), (2, 3))
    assert [(tile.mask_composite, tile.masks_flat, tile.is_subdevice, tile.bdf) for tile in second.tiles] == [
        ("1.0", (2,), True, place(1)),
        ("1.1", (3,), True, place(1)),
    ]
    assert len({first.uuid, second.uuid, *(tile.uuid for tile in (*first.tiles, *second.tiles))}) == 6
    assert sum(tile.memory_bytes or 0 for tile in first.tiles) == first.memory_bytes == 128 << 30
    assert {(peer.src, peer.dst): peer.can_access for peer in answer.peers} == {
        ("0", "1"): False,
        ("1", "0"): False,
        ("0.0", "0.1"): True,
        ("0.1", "0.0"): True,
        ("1.0", "1.1"): True,
        ("1.1", "1.0"): True,
    }
    sysman = first.sysman
    assert sysman
    assert sysman.fabric_ports
    assert sysman.frequencies
    assert sysman.memories
    assert sysman.ecc
    assert [domain.tile for domain in sysman.frequencies] == [0, 1]
    assert [port.status for port in sysman.fabric_ports] == ["healthy"] * 3 + ["disabled"]
    assert sysman.fabric_ports[0].rx_bits_per_s == 4 * 53_125_000_000
    assert (sysman.fabric_ports[3].rx_bits_per_s, sysman.fabric_ports[3].remote_port) == (None, None)
    assert sysman.ecc.current == "enabled"
    assert "ecc" in first.flags


def test_callers_mask_and_hierarchy_do_not_hide_devices(fake: Fake) -> None:
    fake.patch.setenv("ZE_AFFINITY_MASK", "1")
    fake.patch.setenv("ZE_FLAT_DEVICE_HIERARCHY", "FLAT")
    answer = fake.ask([dict(MAX, bdf=place(0)), dict(MAX, bdf=place(1))])
    assert [len(device.tiles) for device in answer.devices] == [2, 2]
    assert answer.environment["ZE_AFFINITY_MASK"] == "1"
    assert answer.environment["ZE_FLAT_DEVICE_HIERARCHY"] == "FLAT"


def test_npu_of_a_second_driver_keeps_its_type(fake: Fake) -> None:
    answer = fake.ask([dict(B60, bdf=place(0))], also=[NPU])
    assert [(d.driver_index, d.index, d.type) for d in answer.devices] == [(0, 0, "gpu"), (1, 0, "npu")]
    assert len(answer.drivers) == 2
    assert answer.peers == ()


def test_two_driver_libraries(fake: Fake) -> None:
    """With more than one library the loader hands out handles of its own."""
    second = fake.directory / "libsecond.so"
    shutil.copy(fake.library, second)
    write_config(fake.directory / "libsecond.ini", [NPU])
    fake.patch.setenv("ZE_ENABLE_ALT_DRIVERS", f"{fake.library},{second}")
    answer = fake.ask([dict(B60, bdf=place(0)), dict(B60, bdf=place(1))])
    assert sorted((d.type, d.bdf) for d in answer.devices) == [
        ("gpu", place(0)), ("gpu", place(1)), ("npu", NPU["bdf"]),
    ]  # fmt: skip
    assert {d.bdf for d in answer.devices if d.sysman and d.sysman.frequencies} >= {place(0), place(1)}


def test_refused_calls_become_none_and_an_entry(fake: Fake) -> None:
    refused = "zesDeviceEnumFirmwares,zesDeviceEnumTemperatureSensors,zeDeviceGetP2PProperties,zesFrequencyGetState"
    answer = fake.ask([dict(B60, bdf=place(0)), dict(B60, bdf=place(1))], refuse=refused)
    assert answer.status == "ok"
    sysman = answer.devices[1].sysman
    assert sysman
    assert sysman.frequencies
    assert (sysman.firmwares, sysman.temperatures) == (None, None)
    assert (sysman.frequencies[0].max_mhz, sysman.frequencies[0].actual_mhz) == (2400, None)
    assert (answer.peers[0].can_access, answer.peers[0].atomics) == (True, None)
    entries = {entry.call: entry for entry in answer.errors if entry.code_hex}
    assert set(entries) == set(refused.split(","))
    assert entries["zesDeviceEnumFirmwares"].name == "ERROR_UNSUPPORTED_FEATURE"
    assert sorted(entries["zesDeviceEnumFirmwares"].devices) == [place(0), place(1)]


def test_no_peer_access(fake: Fake) -> None:
    answer = fake.ask([dict(B60, bdf=place(0)), dict(B60, bdf=place(1))], p2p="none")
    assert [(peer.can_access, peer.access_flags) for peer in answer.peers] == [(False, ()), (False, ())]


def test_init_error_is_named(fake: Fake) -> None:
    answer = fake.ask([B60], init_error="0x70000001", sysman_init_error="0x70000001")
    assert (answer.status, answer.devices) == ("init-failed", ())
    # Some loaders replace a driver's code by their own
    assert re.search(r"zeInit: 0x[0-9a-f]{8} ERROR_(DEVICE_LOST|UNINITIALIZED)", answer.detail)
    assert "dmesg" in answer.remedy


@pytest.mark.parametrize("where", ["zeInit", "zeDeviceGet", "zeDeviceGetMemoryProperties"])
def test_crash_names_the_call(fake: Fake, where: str) -> None:
    answer = fake.ask([dict(B60, bdf=place(0))], mode=f"crash-{where}")
    assert answer.status == "crashed"
    assert "SIGSEGV" in answer.detail
    assert [entry.name for entry in answer.errors] == ["CRASHED_SIGSEGV"]
    # The loader of 1.20 asks each driver for its devices within zeInit, to sort the drivers.
    assert answer.errors[0].call in (where, "zeInit" if where == "zeDeviceGet" else where)


def test_hang_in_init_ends_in_time(fake: Fake) -> None:
    answer = fake.ask([B60], mode="hang-zeInit", timeout_s=2.0)
    assert answer.status == "timeout"
    assert "zeInit" in answer.detail


def test_crash_in_sysman_costs_sysman_only(fake: Fake) -> None:
    answer = fake.ask([dict(B60, bdf=place(0))], mode="crash-zesPowerGetProperties")
    assert (answer.status, answer.sysman_mode, answer.devices[0].bdf) == ("ok", "none", place(0))
    assert answer.devices[0].sysman is None
    assert "zesPowerGetProperties" in answer.detail
    assert [entry.name for entry in answer.errors if not entry.code_hex][-1] == "CRASHED_SIGSEGV"


def test_hang_in_sysman_costs_sysman_only(fake: Fake) -> None:
    answer = fake.ask([dict(B60, bdf=place(0))], mode="hang-zesTemperatureGetState", timeout_s=4.0)
    assert (answer.status, answer.sysman_mode, len(answer.devices)) == ("ok", "none", 1)
    assert "zesTemperatureGetState" in answer.detail


def test_driver_that_ends_the_process(fake: Fake) -> None:
    answer = fake.ask([B60], mode="exit-zeInit")
    assert answer.status == "garbled"
    assert "exit 3 in zeInit" in answer.detail


def test_driver_that_prints_does_not_garble(fake: Fake) -> None:
    answer = fake.ask([dict(B60, bdf=place(0))], mode="noise-zeInit")
    assert (answer.status, len(answer.devices)) == ("ok", 1)


def test_core_fails_but_sysman_answers(fake: Fake) -> None:
    """Seen on a machine with a B70 and an integrated GPU: zeInit 0x70020000, zesInit fine."""
    if fake.loader is None:
        pytest.skip("the installed loader has no zesInit")
    answer = fake.ask([dict(B60, bdf=place(0)), dict(B60, bdf=place(1))], init_error="0x70020000")
    assert (answer.status, answer.sysman_mode) == ("init-failed", "zesInit")
    assert "sysman (zesInit) works" in answer.detail
    assert sorted((d.bdf or "", d.index, d.device_id) for d in answer.devices) == [
        (place(0), None, 0xE211), (place(1), None, 0xE211),
    ]  # fmt: skip


def test_loader_with_zesinit_and_driver_without(fake: Fake) -> None:
    if fake.loader is None:
        pytest.skip("the installed loader has no zesInit")
    answer = fake.ask([dict(B60, bdf=place(0))], sysman_init_error="0x78000003")
    assert (answer.status, answer.sysman_mode) == ("ok", "ZES_ENABLE_SYSMAN")
    assert answer.devices[0].sysman
    assert answer.devices[0].sysman.frequencies


def test_absent_driver_and_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZE_ENABLE_ALT_DRIVERS", str(tmp_path / "libnone.so"))
    assert ask_in_child(run_process).status == "no-driver"
    answer = ask_in_child(run_process, loader=str(tmp_path / "libze_loader.so.1"))
    assert (answer.status, answer.devices) == ("no-loader", ())
    assert "libze1" in answer.remedy
    broken = tmp_path / "libze_broken.so"
    broken.write_bytes(b"\x7fELF not a library")
    answer = ask_in_child(run_process, loader=str(broken))
    assert answer.status == "no-loader"
    assert "cannot be loaded" in answer.remedy


def test_real_output_is_one_document(fake: Fake) -> None:
    """The child as a command, as a user with a wedged machine would run it by hand."""
    config = write_config(fake.directory / "fake.ini", [dict(B60, bdf=place(0))], mode="noise-zeDeviceGet")
    ran = run_process(
        [sys.executable, "-m", "xpukit.host.level_zero"],
        timeout_s=10,
        env={"ZE_FAKE_CONFIG": str(config)},
        cwd=str(Path(__file__).parents[2]),
    )
    assert ran.rc == 0
    assert msgspec.json.decode(ran.out, type=LevelZeroAnswer).devices[0].bdf == place(0)
    assert "driver debug output" in ran.err_text


_DPCTL = """
import json, dpctl, dpctl.memory as memory
devices = [d for d in dpctl.get_devices() if d.backend == dpctl.backend_type.level_zero]
tiles = [d.create_sub_devices(partition="next_partitionable") if "Max" in d.name else [] for d in devices]
queue = dpctl.SyclQueue(devices[0])
data = bytes(range(256)) * 257
first, second = (memory.MemoryUSMDevice(len(data), queue=queue) for _ in range(2))
first.copy_from_host(bytearray(data))
second.copy_from_device(first)
print(json.dumps({
    "devices": [[d.name, d.global_mem_size] for d in devices],
    "tiles": [len(found) for found in tiles],
    "peers": [a.can_access_peer(b) for a in devices for b in devices if a != b],
    "copied": bytes(second.copy_to_host()) == data,
}))
"""


@pytest.mark.slow
def test_dpctls_own_adapter_accepts_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake is only worth something if software that we did not write takes it for a driver."""
    pytest.importorskip("dpctl")
    fake = Fake(tmp_path, monkeypatch)
    loader = NewerLoader("sid")
    problem = loader.fetch()
    if problem:
        pytest.skip(problem)
    devices = [dict(B60, bdf=place(0)), dict(B60, bdf=place(1)), dict(MAX, bdf=place(2))]
    env = {
        "ZE_FAKE_CONFIG": str(write_config(tmp_path / "fake.ini", devices)),
        "ZE_ENABLE_ALT_DRIVERS": str(fake.library),
        "ZE_FLAT_DEVICE_HIERARCHY": "COMPOSITE",
        "ONEAPI_DEVICE_SELECTOR": "level_zero:*",
    }
    ran = loader.run([sys.executable, "-c", _DPCTL], timeout_s=60, env=env)
    assert ran.ok, ran.describe_failure()
    said = msgspec.json.decode(ran.out)
    assert said["devices"] == [[d["name"], int(str(d["memory_mib"])) << 20] for d in devices]
    assert (said["tiles"], said["peers"], said["copied"]) == ([0, 0, 2], [True] * 6, True)


def list_structures() -> list[type[Any]]:
    return [
        kind
        for kind in {**vars(api), **vars(sysman_api)}.values()
        if isinstance(kind, type) and hasattr(kind, "C_NAME")
    ]


def test_layouts_are_the_compilers(tmp_path: Path) -> None:
    """sizeof, offsetof and structure types of every structure, from the headers that are installed."""
    expected: dict[str, int] = {}
    lines = []
    for kind in list_structures():
        name = kind.C_NAME
        expected[name] = ctypes.sizeof(kind)
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        for field, *_ in kind._fields_:
            expected[f"{name}.{field}"] = getattr(kind, field).offset
            lines.append(f'printf("{name}.{field} %zu\\n", offsetof({name}, {field}));')
        if issubclass(kind, api.Described):
            prefix, _, rest = name.removesuffix("_t").partition("_")
            enumerator = f"{prefix}_STRUCTURE_TYPE_{rest}".upper()
            expected[enumerator] = kind.STYPE
            lines.append(f'printf("{enumerator} %zu\\n", (size_t){enumerator});')
    source = tmp_path / "layouts.c"
    headers = "".join(
        f"#include <{header}>\n"
        for header in (
            "stddef.h",
            "stdio.h",
            "level_zero/ze_api.h",
            "level_zero/zes_api.h",
            "level_zero/loader/ze_loader.h",
        )
    )
    source.write_text(f"{headers}int main(void) {{\n{chr(10).join(lines)}\nreturn 0; }}\n", encoding="utf-8")
    program = compile_c("layouts", [source], ["-std=gnu11"], tmp_path)
    said = subprocess.run([program], check=True, capture_output=True, text=True, timeout=30).stdout
    found = {key: int(value) for key, value in (line.split() for line in said.splitlines())}
    assert len(found) > 250
    assert found == expected


ENUMERATIONS = {
    "ze_device_memory_ext_type_t": names.CORE_MEMORY_TYPES,
    "ze_bandwidth_unit_t": names.BANDWIDTH_UNITS,
    "ze_latency_unit_t": names.LATENCY_UNITS,
    "zes_mem_type_t": names.SYSMAN_MEMORY_TYPES,
    "zes_mem_health_t": names.MEMORY_HEALTH,
    "zes_temp_sensors_t": names.TEMPERATURE_SENSORS,
    "zes_power_domain_t": names.POWER_DOMAINS,
    "zes_power_level_t": names.POWER_LEVELS,
    "zes_engine_group_t": names.ENGINE_GROUPS,
    "zes_fabric_port_status_t": names.FABRIC_STATUS,
    "zes_ras_error_cat_t": names.RAS_CATEGORY_NAMES,
    "zes_freq_throttle_reason_flag_t": names.THROTTLE_REASONS,
}


def test_names_cover_the_headers() -> None:
    """Every number that the installed headers define has a name here, and memory kinds the same one."""
    folder = LEVEL_ZERO_HEADER.parent
    text = (folder / "ze_api.h").read_text("utf-8") + (folder / "zes_api.h").read_text("utf-8")
    for enumeration, known in ENUMERATIONS.items():
        body = re.search(rf"typedef enum _{enumeration}\n\{{(.*?)\n\}}", text, re.DOTALL)
        assert body, enumeration
        entries = re.findall(r"^\s+(ZES?_\w+) = (?:ZE_BIT\()?\s*(\d+)\s*\)?,", body.group(1), re.MULTILINE)
        assert entries, enumeration
        for entry, value in entries:
            assert int(value) < len(known), entry
            if "MEM" in enumeration.upper() and "_TYPE_" in entry:
                assert known[int(value)] == entry.rpartition("_TYPE_")[2].lower(), entry
    for code, name in names.RESULTS.items():
        defined = re.search(rf"\bZE_RESULT_{name} = (0x[0-9a-f]+|\d+)", text)
        assert defined is None or int(defined.group(1), 0) == code, name


def test_engines_and_traffic_are_counted(fake: Fake) -> None:
    counters = {"pcie_counters": 1, "pcie_rx": 7000, "pcie_tx": 500, "pcie_replays": 2}
    busy = {"engine_active_us": 600, "engine_clock_us": 9000}
    answer = fake.ask([dict(B60, bdf=place(0), **counters, **busy), dict(B60, bdf=place(1), engine_clock_us=0)])
    counted, silent = (device.sysman for device in answer.devices)
    assert counted is not None
    assert silent is not None
    assert counted.pci is not None
    assert (counted.pci.received_bytes, counted.pci.sent_bytes, counted.pci.replays) == (7000, 500, 2)
    engines = {group.kind: group for group in counted.engines or ()}
    # The fake driver's engines: all, two compute, one copy; engine n worked 600 / (n + 1).
    assert (engines["compute"].count, engines["compute"].active_us, engines["compute"].clock_us) == (2, 500, 9000)
    assert engines["copy"].active_us == 150
    assert silent.pci is not None
    assert (silent.pci.received_bytes, silent.pci.replays) == (None, None)
    assert {group.active_us for group in silent.engines or ()} == {None}
    assert [error.call for error in answer.errors] == ["zesEngineGetActivity"]
