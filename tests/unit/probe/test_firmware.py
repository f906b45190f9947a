from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.recorded_machines import find_device, open_machine
from xpukit.core.machine import Device
from xpukit.host.answers import FileAnswer, NamesAnswer, Ran
from xpukit.host.overlay import OverlayHost
from xpukit.probe.firmware import parse_dmc_info, parse_uc_info
from xpukit.probe.machine import probe_machine

XE = (
    "GuC firmware: xe/bmg_guc_70.bin\n\tstatus: RUNNING\n\twanted release version 70.44.1\n"
    "\tfound release version 70.49.4\n\tfound compatibility version 1.26.4\n\tuCode: 452160 bytes\n"
)
XE_GSC = (
    "GSC firmware: xe/lnl_gsc_1.bin\n\tstatus: RUNNING\n\twanted compatibility version 104.1.0\n"
    "\tfound release version 104.0.5.1429\n\tfound compatibility version 104.1.0\n"
)
I915 = "GuC firmware: i915/dg2_guc_70.bin\n\tstatus: RUNNING\n\tversion: found 70.29.2\n"
I915_OLD = (
    "GuC firmware: i915/dg2_guc_70.bin\nGuC firmware wanted: i915/dg2_guc_70.bin\n\tstatus: LOADABLE\n"
    "\tversion: wanted 70.13.1, found 70.5.1\n"
)
MISSING = "HuC firmware: xe/bmg_huc.bin\n\tstatus: MISSING\n\twanted release version 8.2.10\n"


@pytest.mark.parametrize(
    ("text", "name", "version", "status"),
    [
        (XE, "GuC", "70.49.4", "RUNNING"),
        (XE_GSC, "GSC", "104.0.5.1429", "RUNNING"),
        (I915, "GuC", "70.29.2", "RUNNING"),
        (I915_OLD, "GuC", "70.5.1", "LOADABLE"),
        (MISSING, "HuC", "", "MISSING"),
    ],
)
def test_versions(text: str, name: str, version: str, status: str) -> None:
    firmware = parse_uc_info(text, "somewhere")
    assert firmware is not None
    assert (firmware.name, firmware.version, firmware.status, firmware.source) == (name, version, status, "somewhere")


def test_a_gt_without_the_unit_has_no_firmware() -> None:
    assert parse_uc_info("HuC firmware: N/A\n\tstatus: N/A\n", "") is None
    assert parse_uc_info("HuC not supported\n", "") is None


def test_dmc() -> None:
    loaded = parse_dmc_info("DMC initialized: yes\nfw loaded: yes\npath: i915/bmg_dmc.bin\nversion: 2.6\n", "")
    assert loaded is not None
    assert (loaded.name, loaded.version, loaded.status) == ("DMC", "2.6", "loaded")
    missing = parse_dmc_info("fw loaded: no\npath: i915/bmg_dmc.bin\n", "")
    assert missing is not None
    assert (missing.version, missing.status) == ("", "not loaded")
    assert parse_dmc_info("", "") is None


@given(st.text())
def test_any_text_is_survived(text: str) -> None:
    parse_uc_info(text, "")
    parse_dmc_info(text, "")
    parse_uc_info(f"GuC firmware: {text}\n{text}", "")


def get_versions(device: Device) -> dict[str, str]:
    return {firmware.name: firmware.version for firmware in device.firmware}


def test_xe_has_all_of_them() -> None:
    assert get_versions(find_device("b60x4_bmc", "0000:18:00.0")) == {
        "fan control": "203.0.0.0",
        "voltage regulator": "105.3.0.0",
        "GuC": "70.49.4",
        "HuC": "8.2.10",
        "DMC": "2.6",
        "GFX": "BMG__21.1156",
    }


def test_i915_is_found_by_card_number() -> None:
    assert get_versions(find_device("a770", "0000:00:02.0"))["HuC"] == "7.9.3"
    assert get_versions(find_device("a770", "0000:03:00.0")) == {
        "GuC": "70.29.2",
        "HuC": "7.10.16",
        "DMC": "2.8",
        "GFX": "DG02_1.3267",
    }


def read_denied(error: str) -> Device:
    changes = {
        ("list", "/sys/kernel/debug/dri"): NamesAnswer(error=error),
        ("run", "modinfo", "-F", "firmware", "xe"): Ran(
            argv=("modinfo",), rc=0, out=b"xe/bmg_guc_70.bin\nxe/bmg_huc.bin\nxe/bmg_huc.bin\n"
        ),
    }
    return probe_machine(OverlayHost(open_machine("b60x4_bmc"), changes), include_all=True).devices[0]


def test_an_ordinary_user_is_told_to_be_root_and_sees_what_the_module_asks_for() -> None:
    device = read_denied("EACCES")
    (row,) = (row for row in device.unread if row.what == "/sys/kernel/debug/dri")
    assert (row.why, row.remedy) == ("permission denied", "run as root")
    assert "GuC" not in get_versions(device)
    assert device.extra["firmware_files"] == ["xe/bmg_guc_70.bin", "xe/bmg_huc.bin"]


def test_debugfs_that_is_not_mounted() -> None:
    (row,) = (row for row in read_denied("ENOENT").unread if row.what == "/sys/kernel/debug/dri")
    assert "mount -t debugfs" in row.remedy


def test_survivability_mode_is_critical() -> None:
    path = "/sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0/survivability_mode"
    changes = {("read", path): FileAnswer(data=b"Boot\n")}
    machine = probe_machine(OverlayHost(open_machine("vm"), changes), include_all=True)
    (finding,) = (finding for finding in machine.findings if finding.id == "XPK-PROBE-SURVIVABILITY")
    assert (finding.severity, finding.evidence[0].value) == ("critical", "Boot")
