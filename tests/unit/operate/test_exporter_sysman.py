"""Level Zero's readings as samples, and where they yield to the driver's files."""

from __future__ import annotations

from tests.machines.dict_host import DictHost
from tests.unit.operate.test_exporter_readings import BDF, UDEV, Clock, make_files, make_machine, pick
from xpukit.host.level_zero.snapshot import (
    EccState,
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
from xpukit.operate.exporter.sysman import list_sysman_samples


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
    samples = list_sysman_samples(make_answer())
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
        )
    )
    for name in ("hw_gpu_memory_usage_bytes", "hw_gpu_ecc_enabled", "hw_gpu_reset_required"):
        assert pick(samples, name) == []
    assert list_sysman_samples(make_answer(pci=None)) == []
    assert pick(list_sysman_samples(make_answer(reset_needed=())), "hw_gpu_reset_required", reason="any") == [0.0]


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


def test_a_driver_that_crashes_is_an_error() -> None:
    host = DictHost(make_files(), udev=UDEV, answers={("level-zero",): LevelZeroAnswer(status="crashed")})
    found = Exporter(host, make_machine, clock=Clock())
    found.refresh()
    assert pick(found.collect(), "xpukit_exporter_read_errors_total", source="level-zero", error="crashed") == [1]
