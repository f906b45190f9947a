"""What probe concludes about each recorded machine: these findings, and no others."""

from __future__ import annotations

import pytest

from tests.machines.catalog import MACHINES, STACKS
from tests.machines.recorded_machines import list_machines, read_machine

# (id, severity, subject), worst first.
EXPECTED: dict[str, list[tuple[str, str, str]]] = {
    # Healthy: a server with everything, a dual-GPU card, an integrated GPU beside a card, two cards of two tiles.
    "b60x8_2s": [],
    "dual_card": [],
    "a770": [],
    "max1550": [],
    "b580": [],
    # As good as its slot: what is wrong there is the doctor's to say.
    "b60_x4_slot": [],
    "b60_no_render": [
        ("XPK-PROBE-LEVEL-ZERO-DENIED", "critical", ""),
        ("XPK-PROBE-NODE-DENIED", "critical", "0000:18:00.0"),
        ("XPK-PROBE-NODE-DENIED", "critical", "0000:3a:00.0"),
    ],
    # The card in the last slot has half of its lanes.
    "b60x4_bmc": [("XPK-PROBE-LINK-DEGRADED", "warning", "0000:7e:00.0")],
    # A user outside of the group render, on a board with a 256 MiB window.
    "a770_small_bar": [
        ("XPK-PROBE-LEVEL-ZERO-DENIED", "critical", ""),
        ("XPK-PROBE-NODE-DENIED", "critical", "0000:00:02.0"),
        ("XPK-PROBE-NODE-DENIED", "critical", "0000:03:00.0"),
        ("XPK-PROBE-BAR-SMALL", "warning", "0000:03:00.0"),
    ],
    "sriov": [("XPK-PROBE-RESERVED-FOR-VM", "info", "0000:18:00.2")],
    # No Level Zero is installed, and no GPU is there for it: no finding about that.
    "unbound": [
        ("XPK-PROBE-NO-DRIVER", "critical", "0000:18:00.0"),
        ("XPK-PROBE-RESERVED-FOR-VM", "info", "0000:3a:00.0"),
    ],
    "unknown_id": [("XPK-PROBE-UNKNOWN-ID", "info", "0000:03:00.0")],
    # The distribution's loader without Intel's driver.
    "vm": [("XPK-PROBE-LEVEL-ZERO-MISSING", "critical", ""), ("XPK-PROBE-VM", "info", "")],
}


def test_every_machine_has_its_expectation() -> None:
    assert set(EXPECTED) == set(MACHINES) == set(STACKS) == set(list_machines())


@pytest.mark.parametrize("name", EXPECTED)
def test_findings(name: str) -> None:
    findings = read_machine(name).findings
    assert [(finding.id, finding.severity, finding.subject) for finding in findings] == EXPECTED[name]
    assert all(finding.evidence and finding.remedy for finding in findings)


@pytest.mark.parametrize("name", EXPECTED)
def test_what_could_not_be_read_says_why_and_what_helps(name: str) -> None:
    machine = read_machine(name)
    rows = [row for device in machine.devices for row in device.unread] + list(machine.unread)
    assert all(row.what and row.why for row in rows)
    # debugfs has no directory for a virtual function: nothing helps.
    assert [row.what for row in rows if not row.remedy] == (
        ["/sys/kernel/debug/dri/0000:18:00.1"] if name == "sriov" else []
    )


# By PCI order: (Level Zero's index, ZE_AFFINITY_MASK, SYCL's index, xpu-smi's index).
INDICES: dict[str, list[tuple[int | None, str, int | None, int | None]]] = {
    "b60x8_2s": [(number, str(number), number, number) for number in range(8)],
    # Four orders on one machine: card numbers (the BMC is card0), PCI, Level Zero with SYCL, xpu-smi.
    "b60x4_bmc": [(1, "1", 1, 0), (3, "3", 3, 1), (0, "0", 0, 2), (2, "2", 2, 3)],
    # Level Zero puts the card before the integrated GPU.
    "a770": [(1, "1", 1, None), (0, "0", 0, None)],
    # Tiles are devices of their own to programs that say nothing else.
    "max1550": [(0, "0,1", 0, 0), (1, "2,3", 2, 1)],
    "sriov": [(0, "0", None, None), (1, "1", None, None), (None, "", None, None)],
}


@pytest.mark.parametrize("name", INDICES)
def test_each_device_has_all_of_its_numbers(name: str) -> None:
    found = [
        (device.level_zero_index, device.affinity_mask, device.sycl_index, device.xpu_smi_index)
        for device in read_machine(name).devices
    ]
    assert found == INDICES[name]
