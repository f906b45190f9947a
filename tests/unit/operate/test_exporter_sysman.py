"""Level Zero's readings as samples, and where they yield to the driver's files."""

from __future__ import annotations

import msgspec

from tests.machines.dict_host import DictHost
from tests.unit.operate.test_exporter_readings import BDF, HWMON, UDEV, Clock, make_files, make_machine, pick
from xpukit.host.answers import FileAnswer
from xpukit.host.level_zero.snapshot import (
    EccState,
    EngineGroup,
    LevelZeroAnswer,
    LevelZeroDevice,
    MemoryModule,
    PciState,
    PowerDomain,
    RasErrorSet,
    Sysman,
    Temperature,
)
from xpukit.operate.exporter.collect import Exporter
from xpukit.operate.exporter.sample import Sample
from xpukit.operate.exporter.sysman import EngineLedger, list_sysman_samples


def make_answer(**changed: object) -> LevelZeroAnswer:
    fields: dict[str, object] = {
        "pci": PciState(bdf=BDF),
        "memories": (MemoryModule(kind="gddr6", location="device", size_bytes=1000, free_bytes=400),),
        "temperatures": (
            Temperature(sensor="gpu", tile=0, celsius=61.0),
            Temperature(sensor="memory", celsius=None),
        ),
        "power": (PowerDomain(energy_uj=7_000_000),),
        "ras": (RasErrorSet(kind="uncorrectable", tile=1, counts={"compute": 3}), RasErrorSet(kind="correctable")),
        "ecc": EccState(available=True, current="enabled"),
        "reset_needed": ("wedged",),
    }
    sysman = Sysman(**{**fields, **changed})  # type: ignore[arg-type]
    device = LevelZeroDevice(
        driver_index=0, index=0, type="gpu", name="B60", vendor_id=0x8086, device_id=0xE211, uuid="u", sysman=sysman
    )
    return LevelZeroAnswer(status="ok", devices=(device,))


def test_values() -> None:
    samples = list_sysman_samples(make_answer(), EngineLedger())
    assert pick(samples, "hw_gpu_memory_usage_bytes", hw_id=BDF, source="level-zero") == [600]
    assert pick(samples, "hw_temperature_celsius", hw_parent=BDF, hw_sensor_location="gpu tile0") == [61.0]
    assert len(pick(samples, "hw_temperature_celsius")) == 1, "a sensor without a value is absent"
    assert pick(samples, "hw_energy_joules_total") == [7.0]
    assert pick(samples, "hw_errors_total", error_type="ras_uncorrectable_compute_tile1") == [3]
    assert len(pick(samples, "hw_errors_total")) == 1, "refused counts are absent, not 0"
    assert pick(samples, "hw_gpu_ecc_enabled") == [1.0]
    assert pick(samples, "hw_gpu_reset_required", reason="wedged") == [1.0]


def test_unknown_is_absent() -> None:
    samples = list_sysman_samples(
        make_answer(
            memories=(MemoryModule(kind="hbm", location="device", size_bytes=1000),), ecc=None, reset_needed=None
        ),
        EngineLedger(),
    )
    for name in ("hw_gpu_memory_usage_bytes", "hw_gpu_ecc_enabled", "hw_gpu_reset_required"):
        assert pick(samples, name) == []
    assert list_sysman_samples(make_answer(pci=None), EngineLedger()) == []
    assert pick(
        list_sysman_samples(make_answer(reset_needed=()), EngineLedger()), "hw_gpu_reset_required", reason="any"
    ) == [0.0]


def test_files_of_the_driver_come_first() -> None:
    host = DictHost(make_files(), udev=UDEV, answers={("level-zero",): make_answer()})
    found = Exporter(host, make_machine, clock=Clock())
    found.refresh()
    samples = found.collect()
    assert pick(samples, "hw_energy_joules_total") == [5.0]
    assert pick(samples, "hw_temperature_celsius", hw_parent=BDF) == [52.5]
    assert pick(samples, "hw_errors_total", error_type="ras_uncorrectable_compute_tile1") == [3]
    assert pick(samples, "hw_errors_total", error_type="pcie_fatal") == [2]
    assert pick(samples, "hw_gpu_memory_utilization_ratio") == [600 / (24 << 30)]


def test_a_counter_has_one_teller_even_where_that_one_fails() -> None:
    """Another source began to count elsewhere: a change to it and back would look like thousands of watts."""
    host, clock = DictHost(make_files(), udev=UDEV, answers={("level-zero",): make_answer()}), Clock()
    found = Exporter(host, make_machine, clock=clock)
    found.refresh()
    good = host._files[f"{HWMON}/energy1_input"]
    for said, told in ((good, [5.0]), (FileAnswer(error="EIO"), []), ("rubbish", []), (good, [5.0])):
        host._files[f"{HWMON}/energy1_input"] = said
        clock.now_s += 10
        assert pick(found.collect(), "hw_energy_joules_total") == told


def test_of_two_slow_sources_the_first_keeps_a_counter() -> None:
    host, clock = DictHost(make_files(), udev=UDEV, answers={("level-zero",): make_answer()}), Clock()
    found = Exporter(
        host, make_machine, clock=clock, ask_smi=lambda machine: {BDF: {"cache_errors_uncorrectable": 900.0}}
    )
    found.refresh()
    before = pick(found.collect(), "hw_errors_total", error_type="ras_uncorrectable_compute_tile1")
    assert before == [3]
    host._answers[("level-zero",)] = LevelZeroAnswer(status="crashed")
    clock.now_s += 91
    found.refresh()
    samples = found.collect()
    assert [sample for sample in samples if "ras_" in dict(sample.labels).get("error_type", "")] == []


def test_a_driver_that_crashes_is_an_error() -> None:
    host = DictHost(make_files(), udev=UDEV, answers={("level-zero",): LevelZeroAnswer(status="crashed")})
    found = Exporter(host, make_machine, clock=Clock())
    found.refresh()
    assert pick(found.collect(), "xpukit_exporter_read_errors_total", source="level-zero", error="crashed") == [1]


def read_engines(ledger: EngineLedger, *groups: EngineGroup) -> list[Sample]:
    return list_sysman_samples(make_answer(engines=groups), ledger)


def test_engines_work_for_anybody() -> None:
    ledger = EngineLedger()
    compute = EngineGroup(kind="compute", count=2, active_us=1_000_000, clock_us=5_000_000)
    copy = EngineGroup(kind="copy-all", tile=1, active_us=10, clock_us=5_000_000)
    first = read_engines(ledger, compute, copy, EngineGroup(kind="all", active_us=9, clock_us=9))
    assert pick(first, "hw_gpu_engine_active_seconds_total", engine_class="compute") == [1.0]
    assert pick(first, "hw_gpu_utilization_ratio") == [], "one reading has no share"
    later = msgspec.structs.replace(compute, active_us=4_000_000, clock_us=7_000_000)
    second = read_engines(ledger, later, copy)
    # Two engines could have worked 4 s in these 2 s, and worked 3.
    assert pick(second, "hw_gpu_utilization_ratio", engine_class="compute") == [0.75]
    assert pick(second, "hw_gpu_utilization_ratio", engine_class="copy", tile="1") == [], "its clock stood still"
    assert pick(second, "hw_gpu_engine_active_seconds_total") == [4.0, 1e-05]
    reloaded = read_engines(ledger, compute, copy)
    assert pick(reloaded, "hw_gpu_utilization_ratio") == [], "a clock that runs backwards gives no share"


def test_groups_of_all_engines_are_for_want_of_single_ones() -> None:
    both = (
        EngineGroup(kind="compute", active_us=2_000_000, clock_us=1),
        EngineGroup(kind="compute-all", active_us=2_000_000, clock_us=1),
        EngineGroup(kind="media-all", active_us=3_000_000, clock_us=1),
        EngineGroup(kind="render", count=1),
    )
    samples = read_engines(EngineLedger(), *both)
    assert pick(samples, "hw_gpu_engine_active_seconds_total") == [2.0, 3.0]


def test_traffic_only_where_it_is_counted() -> None:
    pci = PciState(bdf=BDF, received_bytes=7, sent_bytes=0, replays=2)
    samples = list_sysman_samples(make_answer(pci=pci), EngineLedger())
    assert pick(samples, "hw_gpu_io_bytes_total", network_io_direction="receive") == [7]
    assert pick(samples, "hw_gpu_io_bytes_total", network_io_direction="transmit") == [0], "a counted 0 is a 0"
    assert pick(samples, "hw_gpu_pcie_replays_total") == [2]
    assert pick(list_sysman_samples(make_answer(), EngineLedger()), "hw_gpu_io_bytes_total") == []
