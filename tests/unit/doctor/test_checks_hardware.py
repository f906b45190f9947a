"""What the hardware-side checks say of each recorded machine: these findings of theirs, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from tests.machines.dict_host import DictHost
from tests.machines.recorded_machines import list_machines, open_loosely, open_machine, read_machine
from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.core.machine import Device, Machine, SoftwareItem, Unread
from xpukit.doctor.check import Patient
from xpukit.doctor.examine import Diagnosis, examine_machine
from xpukit.doctor.registry import list_checks
from xpukit.facts.stack_versions import is_kernel_older, is_older, load_drivers, load_versions
from xpukit.host.answers import FileAnswer, LinkAnswer, NamesAnswer
from xpukit.host.mediated import Question
from xpukit.host.overlay import OverlayHost

OURS = (
    "device_driver", "driver_version", "firmware_version", "permissions", "by_path", "rebar", "pcie_link", "aspm",
    "iommu_acs", "passthrough", "numa_layout", "aer", "power_and_heat", "gpu_reset",
)  # fmt: skip
CHECKS = tuple(check for check in list_checks() if check.name in OURS)
IDS = frozenset(name for check in CHECKS for name in check.ids)

# (id, severity, subject), worst first. Other checks' ids are not looked at here.
EXPECTED: dict[str, list[tuple[str, str, str]]] = {
    "a770": [],
    "a770_small_bar": [
        ("XPK-PROBE-NODE-DENIED", "critical", "0000:00:02.0"),
        ("XPK-PROBE-NODE-DENIED", "critical", "0000:03:00.0"),
        ("XPK-PROBE-BAR-SMALL", "warning", "0000:03:00.0"),
    ],
    "b580": [],
    "b60_no_render": [
        ("XPK-PROBE-NODE-DENIED", "critical", "0000:18:00.0"),
        ("XPK-PROBE-NODE-DENIED", "critical", "0000:3a:00.0"),
        ("XPK-IOMMU-TRANSLATING", "info", ""),
    ],
    "b60_x4_slot": [
        ("XPK-AER-CORRECTABLE", "warning", "0000:00:1b.4"),
        ("XPK-ASPM-ON", "warning", "0000:05:00.0"),
        ("XPK-FIRMWARE-OLDER-THAN-TESTED", "warning", "0000:05:00.0"),
        ("XPK-GPU-COREDUMP", "warning", "0000:05:00.0"),
        ("XPK-LINK-SLOT-WEAK", "warning", "0000:05:00.0"),
    ],
    "b60x4_bmc": [
        ("XPK-FIRMWARE-OLDER-THAN-TESTED", "warning", "0000:18:00.0"),
        ("XPK-FIRMWARE-OLDER-THAN-TESTED", "warning", "0000:3a:00.0"),
        ("XPK-FIRMWARE-OLDER-THAN-TESTED", "warning", "0000:5c:00.0"),
        ("XPK-FIRMWARE-OLDER-THAN-TESTED", "warning", "0000:7e:00.0"),
        ("XPK-KERNEL-OLDER-THAN-TESTED", "warning", ""),
        ("XPK-PROBE-LINK-DEGRADED", "warning", "0000:7e:00.0"),
        ("XPK-GPU-AT-POWER-LIMIT", "info", "0000:3a:00.0"),
        ("XPK-IOMMU-TRANSLATING", "info", ""),
    ],
    "b60x8_2s": [
        ("XPK-ACS-REDIRECT", "warning", "0000:17:00.0"),
        ("XPK-FIRMWARE-OLDER-THAN-TESTED", "warning", "0000:1b:00.0"),
        ("XPK-FIRMWARE-OLDER-THAN-TESTED", "warning", "0000:1f:00.0"),
        ("XPK-FIRMWARE-OLDER-THAN-TESTED", "warning", "0000:23:00.0"),
        ("XPK-FIRMWARE-OLDER-THAN-TESTED", "warning", "0000:27:00.0"),
        ("XPK-FIRMWARE-OLDER-THAN-TESTED", "warning", "0000:9a:00.0"),
        ("XPK-FIRMWARE-OLDER-THAN-TESTED", "warning", "0000:ab:00.0"),
        ("XPK-FIRMWARE-OLDER-THAN-TESTED", "warning", "0000:c3:00.0"),
        ("XPK-FIRMWARE-OLDER-THAN-TESTED", "warning", "0000:db:00.0"),
        ("XPK-KERNEL-OLDER-THAN-TESTED", "warning", ""),
        ("XPK-IOMMU-TRANSLATING", "info", ""),
        ("XPK-LINK-SLOT-WEAK", "info", "0000:1b:00.0"),
        ("XPK-LINK-SLOT-WEAK", "info", "0000:1f:00.0"),
        ("XPK-LINK-SLOT-WEAK", "info", "0000:23:00.0"),
        ("XPK-LINK-SLOT-WEAK", "info", "0000:27:00.0"),
        ("XPK-NUMA-GPUS-ACROSS-SOCKETS", "info", ""),
    ],
    "dual_card": [
        ("XPK-FIRMWARE-OLDER-THAN-TESTED", "warning", "0000:05:00.0"),
        ("XPK-FIRMWARE-OLDER-THAN-TESTED", "warning", "0000:09:00.0"),
        ("XPK-KERNEL-OLDER-THAN-TESTED", "warning", ""),
        ("XPK-AER-CORRECTABLE", "info", "0000:01:00.0"),
        ("XPK-IOMMU-TRANSLATING", "info", ""),
    ],
    "max1550": [("XPK-IOMMU-TRANSLATING", "info", ""), ("XPK-NUMA-GPUS-ACROSS-SOCKETS", "info", "")],
    "sriov": [
        ("XPK-FIRMWARE-OLDER-THAN-TESTED", "warning", "0000:18:00.0"),
        ("XPK-SRIOV-SHARES-CARD", "warning", "0000:18:00.0"),
        ("XPK-PROBE-RESERVED-FOR-VM", "info", "0000:18:00.2"),
    ],
    "unbound": [
        ("XPK-FIRMWARE-FILE-MISSING", "critical", "0000:18:00.0"),
        ("XPK-KERNEL-TOO-OLD", "critical", "0000:18:00.0"),
        ("XPK-PROBE-NO-DRIVER", "critical", "0000:18:00.0"),
        ("XPK-PROBE-RESERVED-FOR-VM", "info", "0000:3a:00.0"),
    ],
    "unknown_id": [],
    "vm": [("XPK-KERNEL-OLDER-THAN-TESTED", "warning", ""), ("XPK-PROBE-VM", "info", "")],
}


def examine(name: str) -> Diagnosis:
    return examine_machine(open_machine(name), read_machine(name))


def test_every_machine_has_its_expectation() -> None:
    assert set(EXPECTED) == set(list_machines())
    assert {check.name for check in CHECKS} == set(OURS)


@pytest.mark.parametrize("name", EXPECTED)
def test_findings_of_a_machine(name: str) -> None:
    found = examine(name).findings
    assert [(item.id, item.severity, item.subject) for item in found if item.id in IDS] == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_each_finding_says_what_it_needs_to(name: str) -> None:
    for item in examine(name).findings:
        if item.id in IDS:
            assert all((item.evidence, item.remedy, item.explanation, item.concerns)), item.id
            assert all(link.startswith("https://") for link in item.links)
            assert all(row.source and row.value for row in item.evidence), item.id


def test_a_healthy_machine_is_clean() -> None:
    diagnosis = examine("b580")
    assert [item.id for item in diagnosis.findings if item.severity != "info"] == []
    assert diagnosis.unchecked == ()


def test_what_an_ordinary_user_may_not_read_is_unchecked_with_what_root_would_add() -> None:
    rows = [row for row in examine("b60_no_render").unchecked if row.check == "firmware_version"]
    assert len(rows) == 2
    assert all("permission denied" in row.why and row.remedy for row in rows)


def test_the_integrated_gpu_draws_no_finding_meant_for_cards() -> None:
    assert [item.id for item in examine("a770").findings if item.subject == "0000:00:02.0"] == []


def look(
    name: str, changed: Mapping[Question, msgspec.Struct] | None = None, machine: Machine | None = None
) -> dict[str, Finding | Unchecked]:
    """What our checks say of a recorded machine with some answers, or the readings, changed."""
    patient = Patient(machine=machine or read_machine(name), host=OverlayHost(open_loosely(name), dict(changed or {})))
    said = [item for check in CHECKS for item in check.look(patient)]
    return {item.id if isinstance(item, Finding) else item.check: item for item in said}


def change(name: str, number: int, **fields: object) -> Machine:
    """A machine with fields of one device changed."""
    machine = read_machine(name)
    devices = list(machine.devices)
    devices[number] = msgspec.structs.replace(devices[number], **fields)
    return msgspec.structs.replace(machine, devices=tuple(devices))


def test_a_machine_without_gpu_is_asked_nothing() -> None:
    host = DictHost()
    patient = Patient(machine=Machine(), host=host)
    assert [item for check in CHECKS for item in check.look(patient)] == []
    assert host.asked == []


def test_links_by_path_missing_in_a_container() -> None:
    inside = msgspec.structs.replace(
        read_machine("b60x4_bmc"), platform={"container": "docker", "container_evidence": "/.dockerenv"}
    )
    found = look("b60x4_bmc", {("list", "/dev/dri/by-path"): NamesAnswer(error="ENOENT")}, inside)
    item = found["XPK-BY-PATH-MISSING"]
    assert isinstance(item, Finding)
    assert item.severity == "warning"
    assert item.commands == ()
    assert "-v /dev/dri/by-path" in item.remedy[0]
    one = look("b580", {("list", "/dev/dri/by-path"): NamesAnswer(error="ENOENT")})["XPK-BY-PATH-MISSING"]
    assert isinstance(one, Finding)
    assert one.severity == "info"
    assert one.commands


def test_a_card_under_a_driver_that_does_not_know_it() -> None:
    item = look("b580", machine=change("b580", 0, driver="i915"))["XPK-DRIVER-WRONG"]
    assert isinstance(item, Finding)
    assert item.severity == "critical"
    assert item.commands[-1] == "echo 0000:03:00.0 | sudo tee /sys/bus/pci/drivers/xe/bind"
    usual = look("a770", machine=change("a770", 1, driver="xe"))["XPK-DRIVER-UNUSUAL"]
    assert isinstance(usual, Finding)
    assert usual.severity == "info"


def test_a_card_that_level_zero_does_not_list() -> None:
    assert "XPK-NEO-DEVICE-UNSEEN" not in look("b580")
    assert "XPK-NEO-DEVICE-UNSEEN" in look("b580", machine=change("b580", 0, level_zero_index=None))


@pytest.mark.parametrize(
    ("version", "bad"),
    [("25.40.35563.7", False), ("25.44.36015.5", True), ("26.05.37020.3-0", True), ("26.09.37435.12", False)],
)
def test_runtimes_with_a_known_defect_on_several_cards(version: str, bad: bool) -> None:
    rows = (SoftwareItem(name="Level Zero GPU driver", version=version),)
    several = msgspec.structs.replace(read_machine("b60x4_bmc"), software=rows)
    assert ("XPK-NEO-KNOWN-BAD" in look("b60x4_bmc", machine=several)) == bad
    one = msgspec.structs.replace(read_machine("b580"), software=rows)
    assert "XPK-NEO-KNOWN-BAD" not in look("b580", machine=one)


def test_firmware_older_than_the_driver_wants_and_not_running() -> None:
    path = read_machine("b580").devices[0].firmware
    guc = next(item for item in path if item.name == "GuC")
    told = FileAnswer(data=b"GuC firmware: xe/bmg_guc_70.bin\n\twanted release version 70.60.0\n")
    item = look("b580", {("read", guc.source): told})["XPK-FIRMWARE-OLDER-THAN-WANTED"]
    assert isinstance(item, Finding)
    assert item.severity == "warning"
    failed = change("b580", 0, firmware=(msgspec.structs.replace(guc, status="LOAD FAIL"),))
    stopped = look("b580", machine=failed)["XPK-FIRMWARE-NOT-LOADED"]
    assert isinstance(stopped, Finding)
    assert stopped.severity == "critical"


def test_an_idle_link_is_to_be_read_under_load() -> None:
    machine = read_machine("b580")
    told = Finding(
        id="XPK-PROBE-LINK-DEGRADED",
        severity="info",
        summary="slow",
        evidence=(Evidence(source="link", value="2.5 GT/s x8"),),
        subject="0000:03:00.0",
    )
    item = look("b580", machine=msgspec.structs.replace(machine, findings=(told,)))["XPK-PROBE-LINK-DEGRADED"]
    assert isinstance(item, Finding)
    assert item.severity == "info"
    assert "under load to be sure" in item.explanation


def test_two_cards_of_a_guest_without_a_common_bridge() -> None:
    machine = read_machine("vm")
    first = machine.devices[0]
    second: Device = msgspec.structs.replace(first, bdf="0000:02:00.0", path=("0000:00:03.0",))
    apart = msgspec.structs.replace(machine, devices=(first, second))
    assert "XPK-VM-NO-P2P" in look("vm", machine=apart)
    together = msgspec.structs.replace(second, path=first.path)
    assert "XPK-VM-NO-P2P" not in look("vm", machine=msgspec.structs.replace(machine, devices=(first, together)))


def test_acs_that_cannot_be_read_is_unchecked() -> None:
    machine = read_machine("b60x8_2s")
    cut = Unread(what="ACS of 0000:18:00.0, 0000:18:04.0", why="only the first 64 bytes", remedy="run as root")
    blind = tuple(msgspec.structs.replace(device, acs=(), unread=(cut,)) for device in machine.devices)
    found = look("b60x8_2s", machine=msgspec.structs.replace(machine, devices=blind))
    assert isinstance(found["iommu_acs"], Unchecked)
    assert "XPK-ACS-REDIRECT" not in found


@pytest.mark.parametrize(
    ("name", "severity", "identifier"),
    [("nonfatal/CmpltTO", "warning", "XPK-AER-NONFATAL"), ("fatal/DLP", "critical", "XPK-AER-FATAL")],
)
def test_worse_pcie_errors(name: str, severity: str, identifier: str) -> None:
    item = look("b580", machine=change("b580", 0, aer={f"0000:00:01.0/{name}": 1}))[identifier]
    assert isinstance(item, Finding)
    assert (item.severity, item.subject) == (severity, "0000:00:01.0")


def test_heat_is_worse_than_a_power_limit() -> None:
    gts = read_machine("b580").devices[0].gts
    hot = (msgspec.structs.replace(gts[0], throttle_reasons=("pl1", "thermal")), *gts[1:])
    found = look("b580", machine=change("b580", 0, gts=hot))
    assert "XPK-GPU-THROTTLED-BY-HEAT" in found
    assert "XPK-GPU-AT-POWER-LIMIT" not in found


def test_a_core_dump_of_another_device_is_not_ours() -> None:
    name = "/sys/class/devcoredump"
    other = {
        ("list", name): NamesAnswer(names=("devcd1",)),
        ("link", f"{name}/devcd1/failing_device"): LinkAnswer(target="../../../devices/platform/wifi"),
    }
    assert "XPK-GPU-COREDUMP" not in look("b580", other)


@pytest.mark.parametrize(
    ("release", "older"),
    [
        ("6.14.0-1006-intel", True),
        ("6.14.0-1011-intel", False),
        ("6.14.0-35-generic", False),
        ("6.8.0-60-generic", True),
        ("6.17.0-1009-intel", False),
        ("", None),
    ],
)
def test_kernel_builds_count_within_their_flavour_only(release: str, older: bool | None) -> None:
    assert is_kernel_older(release, "6.14.0-1011", "intel") is older


def test_versions_are_compared_by_number() -> None:
    assert is_older("70.9.0", "70.55.3") is True
    assert is_older("1:25.9.1-1", "25.44") is True
    assert is_older("70.55.3", "70.55") is False
    assert is_older("unknown", "70.55") is None


def test_each_fact_names_its_source() -> None:
    assert all(row.source and row.link.startswith("https://") for row in (*load_drivers(), *load_versions()))


def test_docs_hold_each_id_of_ours() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "checks.md").read_text(encoding="utf-8")
    assert [name for name in sorted(IDS) if f"`{name}`" not in text] == []
