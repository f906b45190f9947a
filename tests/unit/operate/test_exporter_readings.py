"""What is read of a GPU, from recorded and written machines: values and units, what is missing, what fails."""

from __future__ import annotations

import prometheus_client  # noqa: F401  (its import reads /proc, which a test may not)
import pytest

from tests.machines.dict_host import DictHost
from tests.machines.recorded_machines import list_machines, open_loosely, read_machine
from xpukit.core.machine import Device, Gt, Link, LinkEnd, Machine, Sensor
from xpukit.host.answers import FileAnswer, NamesAnswer, UdevDevice
from xpukit.operate.exporter.collect import Exporter
from xpukit.operate.exporter.expose import render_text
from xpukit.operate.exporter.sample import Sample

BDF, PORT, ROOT = "0000:03:00.0", "0000:01:00.0", "0000:00:01.0"
SYS = f"/sys/devices/pci0000:00/{ROOT}/{PORT}/{BDF}"
HWMON = f"{SYS}/hwmon/hwmon0"
FREQ = f"{SYS}/tile0/gt0/freq0"


def make_files() -> dict[str, str | bytes | FileAnswer]:
    return {
        f"{SYS}/config": b"\x86\x80\x11\xe2",
        f"{SYS}/power/runtime_status": "active\n",
        f"{HWMON}/energy1_input": "5000000\n",
        f"{HWMON}/temp2_input": "52500\n",
        f"{HWMON}/fan1_input": "0\n",
        f"{HWMON}/power1_max": "200000000\n",
        f"{FREQ}/act_freq": "1900\n",
        f"{FREQ}/cur_freq": "2000\n",
        f"{FREQ}/min_freq": "400\n",
        f"{FREQ}/max_freq": "2400\n",
        f"{FREQ}/throttle/status": "0\n",
        f"{FREQ}/throttle/reason_pl1": "0\n",
        f"{FREQ}/throttle/reason_thermal": "0\n",
        f"{SYS}/tile0/gt0/gtidle/idle_residency_ms": "1500\n",
        f"/sys/devices/pci0000:00/{ROOT}/{PORT}/current_link_speed": "16.0 GT/s PCIe\n",
        f"/sys/devices/pci0000:00/{ROOT}/{PORT}/current_link_width": "4\n",
        f"{SYS}/aer_dev_fatal": "DLP 0\nTOTAL_ERR_FATAL 2\n",
    }


def make_machine() -> Machine:
    sensors = (
        Sensor(name="energy card", value=5, unit="J", source=f"{HWMON}/energy1_input"),
        Sensor(name="temp pkg", value=52.5, unit="C", source=f"{HWMON}/temp2_input"),
        Sensor(name="fan 1", value=0, unit="RPM", source=f"{HWMON}/fan1_input"),
        Sensor(name="power card max", value=200, unit="W", source=f"{HWMON}/power1_max"),
    )
    hop = LinkEnd(bdf=ROOT, partner_bdf=PORT)
    link = Link(read_at=PORT, max_speed_gts=16.0, max_width=8, hops=(hop,))
    device = Device(
        index=0,
        bdf=BDF,
        vendor_id="8086",
        device_id="e211",
        name="B60",
        known=True,
        driver="xe",
        gts=(Gt(tile=0, gt=0, kind="main"),),
        sensors=sensors,
        link=link,
        memory_bytes=24 << 30,
    )
    return Machine(devices=(device,))


UDEV = (
    UdevDevice(sys_path=SYS, sys_name=BDF, subsystem="pci"),
    UdevDevice(sys_path=f"/sys/devices/pci0000:00/{ROOT}/{PORT}", sys_name=PORT, subsystem="pci"),
    UdevDevice(sys_path=f"/sys/devices/pci0000:00/{ROOT}", sys_name=ROOT, subsystem="pci"),
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def make_exporter(host: DictHost, clock: Clock | None = None, **options: object) -> Exporter:
    found = Exporter(host, make_machine, clock=clock or Clock(), level_zero=False, **options)  # type: ignore[arg-type]
    found.refresh()
    return found


def pick(samples: list[Sample], name: str, **labels: str) -> list[float]:
    return [
        sample.value
        for sample in samples
        if sample.name == name and all(dict(sample.labels).get(key) == value for key, value in labels.items())
    ]


def test_units_are_base_units() -> None:
    samples = make_exporter(DictHost(make_files(), udev=UDEV)).collect()
    assert pick(samples, "hw_energy_joules_total", hw_id=BDF, hw_sensor_location="card") == [5.0]
    assert pick(samples, "hw_temperature_celsius", hw_parent=BDF, hw_sensor_location="pkg") == [52.5]
    assert pick(samples, "hw_power_limit_watts", hw_limit_type="max") == [200.0]
    assert pick(samples, "hw_gpu_speed_hertz", tile="0", gt="0", gt_kind="main") == [1.9e9]
    assert pick(samples, "hw_gpu_speed_limit_hertz", hw_limit_type="max") == [2.4e9]
    assert pick(samples, "hw_gpu_idle_seconds_total") == [1.5]
    assert pick(samples, "hw_gpu_memory_limit_bytes") == [24 << 30]
    assert pick(samples, "hw_errors_total", error_type="pcie_fatal", port=BDF) == [2]
    assert pick(samples, "hw_fan_speed_rpm") == [0.0], "a fan that stands still says 0"


def test_the_link_is_compared_with_what_both_ends_can_do() -> None:
    samples = make_exporter(DictHost(make_files(), udev=UDEV)).collect()
    assert pick(samples, "hw_gpu_pcie_link_speed_transfers_per_second", port=PORT) == [16e9]
    assert pick(samples, "hw_gpu_pcie_link_width_lanes") == [4]
    assert pick(samples, "hw_gpu_pcie_link_degraded", aspect="width") == [1.0]
    assert pick(samples, "hw_gpu_pcie_link_degraded", aspect="speed") == [0.0]
    assert pick(samples, "hw_status", hw_state="degraded") == [1.0]


def test_the_upper_end_tells_where_the_card_does_not() -> None:
    files = make_files()
    below, above = f"/sys/devices/pci0000:00/{ROOT}/{PORT}", f"/sys/devices/pci0000:00/{ROOT}"
    files[f"{below}/current_link_width"], files[f"{above}/current_link_width"] = "255\n", "8\n"
    samples = make_exporter(DictHost(files, udev=UDEV)).collect()
    assert pick(samples, "hw_gpu_pcie_link_width_lanes") == [8]


@pytest.mark.parametrize(
    ("path", "metric"),
    [
        (f"{HWMON}/temp2_input", "hw_temperature_celsius"),
        (f"{HWMON}/energy1_input", "hw_energy_joules_total"),
        (f"{FREQ}/act_freq", "hw_gpu_speed_hertz"),
        (f"{FREQ}/throttle/status", "hw_gpu_throttled"),
        (f"{SYS}/tile0/gt0/gtidle/idle_residency_ms", "hw_gpu_idle_seconds_total"),
        (f"{SYS}/aer_dev_fatal", "hw_errors_total"),
    ],
)
@pytest.mark.parametrize(("error", "counted"), [("ENODATA", False), ("EACCES", True), ("EIO", True)])
def test_what_cannot_be_read_is_absent_and_only_failures_are_counted(
    path: str, metric: str, error: str, counted: bool
) -> None:
    files = {**make_files(), path: FileAnswer(error=error)}
    samples = make_exporter(DictHost(files, udev=UDEV)).collect()
    assert pick(samples, metric) == []
    assert bool(pick(samples, "xpukit_exporter_read_errors_total", hw_id=BDF, error=error)) is counted
    assert pick(samples, "hw_gpu_info"), "the rest is still there"


def test_rubbish_is_counted_and_absent() -> None:
    files = {**make_files(), f"{HWMON}/temp2_input": "warm\n"}
    samples = make_exporter(DictHost(files, udev=UDEV)).collect()
    assert pick(samples, "hw_temperature_celsius") == []
    assert pick(samples, "xpukit_exporter_read_errors_total", source="hwmon", error="EINVAL") == [1]


@pytest.mark.parametrize(
    ("path", "said", "metric"),
    [
        (f"{HWMON}/temp2_input", str((1 << 64) - 1), "hw_temperature_celsius"),
        (f"{HWMON}/temp2_input", str((1 << 32) - 1), "hw_temperature_celsius"),
        (f"{HWMON}/energy1_input", str((1 << 63) - 1), "hw_energy_joules_total"),
        (f"{HWMON}/fan1_input", "-5", "hw_fan_speed_rpm"),
        (f"{FREQ}/act_freq", "-1", "hw_gpu_speed_hertz"),
    ],
)
def test_numbers_that_stand_for_none_are_counted_and_absent(path: str, said: str, metric: str) -> None:
    samples = make_exporter(DictHost({**make_files(), path: said}, udev=UDEV)).collect()
    assert pick(samples, metric) == []
    assert pick(samples, "xpukit_exporter_read_errors_total", hw_id=BDF, error="ERANGE") == [1]


def test_below_zero_is_a_temperature() -> None:
    samples = make_exporter(DictHost({**make_files(), f"{HWMON}/temp2_input": "-5000"}, udev=UDEV)).collect()
    assert pick(samples, "hw_temperature_celsius") == [-5.0]


def test_throttle_reasons() -> None:
    files = {**make_files(), f"{FREQ}/throttle/status": "1\n", f"{FREQ}/throttle/reason_thermal": "1\n"}
    samples = make_exporter(DictHost(files, udev=UDEV)).collect()
    assert pick(samples, "hw_gpu_throttled", reason="thermal") == [1.0]
    assert pick(samples, "hw_gpu_throttled", reason="pl1") == [0.0]
    files[f"{FREQ}/throttle/reason_thermal"] = "0\n"
    samples = make_exporter(DictHost(files, udev=UDEV)).collect()
    assert pick(samples, "hw_gpu_throttled", reason="unknown") == [1.0]


@pytest.mark.parametrize(
    ("said", "held"),
    [
        ("none\n", set()),
        ("pl1 thermal\n", {"pl1", "thermal"}),
        ("psys_crit\n", {"psys_crit"}),  # one that has no file of its own
        ("", set()),
        ("PL1 \xff 7\n", set()),
    ],
)
def test_reasons_of_one_moment_come_before_those_that_are_read_one_by_one(said: str, held: set[str]) -> None:
    files = {**make_files(), f"{FREQ}/throttle/reasons": said, f"{FREQ}/throttle/status": "1\n"}
    samples = make_exporter(DictHost(files, udev=UDEV)).collect()
    told = {dict(sample.labels)["reason"]: sample.value for sample in samples if sample.name == "hw_gpu_throttled"}
    assert {name for name, value in told.items() if value} == held
    assert {"pl1", "thermal"} <= set(told), "what does not hold is 0, for it is known"


def test_reasons_that_cannot_be_read_at_once_are_read_one_by_one() -> None:
    files = {
        **make_files(),
        f"{FREQ}/throttle/reasons": FileAnswer(error="EIO"),
        f"{FREQ}/throttle/status": "1\n",
        f"{FREQ}/throttle/reason_thermal": "1\n",
    }
    samples = make_exporter(DictHost(files, udev=UDEV)).collect()
    assert pick(samples, "hw_gpu_throttled", reason="thermal") == [1.0]


def test_a_sleeping_gpu_is_not_woken() -> None:
    host = DictHost({**make_files(), f"{SYS}/power/runtime_status": "suspended\n"}, udev=UDEV)
    samples = make_exporter(host).collect()
    assert pick(samples, "hw_gpu_runtime_suspended") == [1.0]
    assert pick(samples, "hw_temperature_celsius") == []
    found = Exporter(host, make_machine, clock=Clock(), ask_smi=lambda machine: pytest.fail("xpu-smi wakes it"))
    found.refresh()
    assert ("level-zero",) not in host.asked
    asked = [question[1] for question in host.asked if question[0] == "read"]
    assert not [path for path in asked if "hwmon" in path or "freq0" in path]


@pytest.mark.parametrize("config", [FileAnswer(error="ENOENT"), b"\xff\xff\xff\xff"])
def test_a_lost_gpu_is_failed_and_says_nothing_else(config: bytes | FileAnswer) -> None:
    host = DictHost(make_files(), udev=UDEV)
    found = make_exporter(host)
    host._files[f"{SYS}/config"] = config
    samples = found.collect()
    assert pick(samples, "hw_status", hw_state="failed") == [1.0]
    assert pick(samples, "hw_status", hw_state="ok") == [0.0]
    assert pick(samples, "hw_gpu_info") == []
    assert pick(samples, "hw_gpu_speed_hertz") == []


def test_a_gpu_that_came_later_is_found_and_one_that_went_is_kept() -> None:
    host = DictHost(make_files(), udev=UDEV)
    machines = [Machine(), make_machine(), Machine()]
    found = Exporter(host, lambda: machines.pop(0), clock=Clock(), level_zero=False)
    for bound, devices in (("", 0), ("0000:03:00.0", 1), ("", 1)):
        host._answers[("list", "/sys/bus/pci/drivers/xe")] = NamesAnswer(names=(bound,))
        found.refresh()
        assert pick(found.collect(), "xpukit_exporter_devices") == [devices]


def test_a_file_that_hangs_costs_one_wait_and_not_one_for_each_file() -> None:
    files = {**make_files(), f"{HWMON}/energy1_input": FileAnswer(error="ETIMEDOUT")}
    host = DictHost(files, udev=UDEV)
    found = make_exporter(host)
    host.asked.clear()
    samples = found.collect()
    hwmon = [question for question in host.asked if "hwmon" in str(question)]
    assert len(hwmon) == 1
    assert pick(samples, "hw_status", hw_state="degraded") == [1.0]
    assert pick(samples, "xpukit_exporter_read_errors_total", error="ETIMEDOUT") == [1]


def test_counters_never_run_backwards() -> None:
    host, clock = DictHost(make_files(), udev=UDEV), Clock()
    found = make_exporter(host, clock)
    raw = [5, 6, 0, 7, 8, 1, 2, 3]  # a bad reading (0), then a counter that began anew (1, 2, 3)
    told = []
    for joules in raw:
        host._files[f"{HWMON}/energy1_input"] = str(joules * 1_000_000)
        clock.now_s += 10
        told += pick(found.collect(), "hw_energy_joules_total")
    assert told == sorted(told)
    assert told == [5, 6, 6, 7, 8, 8, 10, 11]


def test_power_is_the_energy_since_the_reading_before() -> None:
    host, clock = DictHost(make_files(), udev=UDEV), Clock()
    found = make_exporter(host, clock)
    assert pick(found.collect(), "hw_power_watts") == [], "one reading is no power"
    clock.now_s += 10
    host._files[f"{HWMON}/energy1_input"] = "1505000000"
    assert pick(found.collect(), "hw_power_watts", hw_sensor_location="card") == [150.0]


def test_two_who_scrape_at_once_hear_the_same_power() -> None:
    host, clock = DictHost(make_files(), udev=UDEV), Clock()
    found = make_exporter(host, clock)
    found.collect()
    clock.now_s += 10
    host._files[f"{HWMON}/energy1_input"] = "1505000000"
    first = found.collect()
    clock.now_s += 0.004  # the driver's counter has not moved yet
    second = found.collect()
    assert pick(first, "hw_power_watts") == pick(second, "hw_power_watts") == [150.0]
    clock.now_s += 9.996
    host._files[f"{HWMON}/energy1_input"] = "2505000000"
    assert pick(found.collect(), "hw_power_watts") == [100.0], "the window is that since the reading that counted"


def test_core_dumps_are_counted_from_the_start_on() -> None:
    files = make_files()
    links = {"/sys/class/devcoredump/devcd1/failing_device": SYS}
    files["/sys/class/devcoredump/devcd1/data"] = ""
    host = DictHost(files, udev=UDEV, links=links)
    found = make_exporter(host)
    assert pick(found.collect(), "hw_gpu_coredumps_total") == [0]
    host._files["/sys/class/devcoredump/devcd2/data"] = ""
    host._links["/sys/class/devcoredump/devcd2/failing_device"] = SYS
    host._directories.add("/sys/class/devcoredump/devcd2")
    for _ in range(2):
        found.refresh()
    assert pick(found.collect(), "hw_gpu_coredumps_total") == [1]


def test_slow_sources_fill_in_and_grow_stale() -> None:
    clock = Clock()
    readings = {BDF: {"memory_used": 512.0, "pcie_read": 3.0, "resets": 4.0, "nonsense": 1.0}}
    found = make_exporter(DictHost(make_files(), udev=UDEV), clock, ask_smi=lambda machine: readings)
    samples = found.collect()
    assert pick(samples, "hw_gpu_memory_usage_bytes", source="xpu-smi") == [512 << 20]
    assert pick(samples, "hw_gpu_memory_utilization_ratio") == [512 / (24 << 10)]
    assert pick(samples, "hw_gpu_pcie_throughput_bytes_per_second", network_io_direction="receive") == [3000]
    assert pick(samples, "hw_gpu_resets_total") == [4]
    clock.now_s += 91
    samples = found.collect()
    assert pick(samples, "hw_gpu_memory_usage_bytes") == []
    assert pick(samples, "xpukit_exporter_source_age_seconds", source="xpu-smi") == [91]


def test_a_tool_that_is_not_there_is_no_source() -> None:
    samples = make_exporter(DictHost(make_files(), udev=UDEV), ask_smi=lambda machine: {}).collect()
    assert pick(samples, "xpukit_exporter_source_age_seconds", source="sysfs") == [0]
    assert pick(samples, "xpukit_exporter_source_age_seconds", source="xpu-smi") == []


def test_text_files_of_rotations_are_passed_on_and_nothing_else() -> None:
    files = make_files()
    files["/run/metrics/a.prom"] = 'xpukit_rotation_failed{service="chat"} 1\nother_metric 3\nhw_gpu_ecc_enabled 1\n'
    files["/run/metrics/b.prom"] = "{ no metric\n"
    files["/run/metrics/c.txt"] = 'xpukit_rotation_failed{service="x"} 1\n'
    samples = make_exporter(DictHost(files, udev=UDEV), text_files="/run/metrics").collect()
    assert pick(samples, "hw_gpu_ecc_enabled") == [], "no other program speaks for the GPUs"
    assert [sample for sample in samples if "rotation" in sample.name] == [
        Sample("xpukit_rotation_failed", (("service", "chat"),), 1.0)
    ]
    assert pick(samples, "xpukit_exporter_read_errors_total", source="text-files", error="EINVAL") == [1]


@pytest.mark.parametrize(("error", "counted"), [("ENOENT", []), ("EACCES", [1])])
def test_a_directory_of_text_files_that_is_closed_is_told(error: str, counted: list[int]) -> None:
    host = DictHost(make_files(), udev=UDEV, answers={("list", "/run/metrics"): NamesAnswer(error=error)})
    samples = make_exporter(host, text_files="/run/metrics").collect()
    assert pick(samples, "xpukit_exporter_read_errors_total", source="text-files", error=error) == counted


@pytest.fixture(params=list_machines())
def recorded(request: pytest.FixtureRequest) -> tuple[str, list[Sample]]:
    host = open_loosely(request.param)
    found = Exporter(host, lambda: read_machine(request.param))
    found.refresh()
    found.scan()
    return request.param, found.collect()


def test_recorded_machines_give_all_gpus_and_valid_text(recorded: tuple[str, list[Sample]]) -> None:
    name, samples = recorded
    machine = read_machine(name)
    told = {dict(sample.labels)["hw_id"] for sample in samples if sample.name == "hw_gpu_info"}
    assert told == {device.bdf for device in machine.devices}
    from prometheus_client.parser import text_string_to_metric_families

    families = list(text_string_to_metric_families(render_text(samples)))
    assert sum(len(family.samples) for family in families) == len(samples)
    for device in machine.devices:
        temperatures = [
            s for s in samples if s.name == "hw_temperature_celsius" and ("hw_parent", device.bdf) in s.labels
        ]
        sensors = [s for s in device.sensors if s.unit == "C" and s.source.endswith("_input")]
        assert len(temperatures) >= len(sensors)
        clocks = pick(samples, "hw_gpu_speed_requested_hertz", hw_id=device.bdf)
        assert sorted(clocks) == sorted(gt.current_mhz * 1e6 for gt in device.gts if gt.current_mhz is not None)
    assert pick(samples, "hw_gpu_utilization_ratio") == [], "a recording does not move: no utilisation, and not 0"


def test_tiles_of_a_max_1550_are_told_apart() -> None:
    found = Exporter(open_loosely("max1550"), lambda: read_machine("max1550"))
    found.refresh()
    samples = found.collect()
    tiles = {dict(s.labels)["tile"] for s in samples if s.name == "hw_gpu_speed_hertz"}
    assert tiles == {"0", "1"}
