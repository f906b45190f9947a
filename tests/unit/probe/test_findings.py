from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.machines.dict_host import DictHost
from tests.machines.four_b60 import BDFS, make_devices
from xpukit.core.finding import Finding
from xpukit.core.machine import Device, Link, NumaNode, OtherDevice
from xpukit.probe.findings import RULES, Situation, judge, read_machine

NODES = (NumaNode(node=0, cpus="0-3"), NumaNode(node=1, cpus="4-7"))
HEALTHY = Situation(devices=make_devices(), numa=NODES, platform={"vm": False}, level_zero={"status": "ok"})
BMC = OtherDevice(
    bdf="0000:02:00.0", vendor_id="1a03", device_id="2000", pci_class="030000", kind="display", name="AST"
)


def change(situation: Situation, **changes: Any) -> Situation:
    return msgspec.structs.replace(situation, **changes)


def change_first(**changes: Any) -> Situation:
    devices = (msgspec.structs.replace(HEALTHY.devices[0], **changes), *HEALTHY.devices[1:])
    return change(HEALTHY, devices=devices)


def test_a_healthy_machine_has_no_finding() -> None:
    assert judge(HEALTHY) == ()


SLOW = Link(
    read_at="0000:16:01.0", current_speed_gts=2.5, current_width=8, max_speed_gts=32.0, max_width=8, degraded=True
)
NARROW = Link(
    read_at="0000:16:01.0", current_speed_gts=32.0, current_width=4, max_speed_gts=32.0, max_width=8, degraded=True
)

CASES: list[tuple[Situation, str, str, str, str]] = [
    (change(HEALTHY, devices=(), others=(BMC,)), "XPK-PROBE-NO-GPU", "warning", "", "AST"),
    (change_first(render_node=""), "XPK-PROBE-NO-RENDER-NODE", "critical", BDFS[0], "card1"),
    (change_first(driver="vfio-pci"), "XPK-PROBE-RESERVED-FOR-VM", "info", BDFS[0], "vfio-pci"),
    (change_first(numa_rule="ancestor 0000:16:01.0"), "XPK-PROBE-NUMA-GUESSED", "info", BDFS[0], "ancestor"),
    (change_first(numa_node=None, numa_rule="none: x"), "XPK-PROBE-NUMA-GUESSED", "warning", BDFS[0], "none"),
    (change_first(link=SLOW), "XPK-PROBE-LINK-DEGRADED", "info", BDFS[0], "2.5 GT/s x8"),
    (change_first(link=NARROW), "XPK-PROBE-LINK-DEGRADED", "warning", BDFS[0], "32 GT/s x4"),
    (change_first(known=False), "XPK-PROBE-UNKNOWN-ID", "info", BDFS[0], "e211"),
    (
        change(HEALTHY, platform={"vm": True, "hypervisor": "QEMU/KVM", "vm_evidence": "flag"}),
        "XPK-PROBE-VM",
        "info",
        "",
        "flag",
    ),
    (change_first(driver="i915"), "XPK-PROBE-MIXED-DRIVERS", "warning", "", BDFS[0]),
    (change(HEALTHY, selectors={"ZE_AFFINITY_MASK": "1"}), "XPK-PROBE-DEVICES-HIDDEN", "info", "", "1"),
    (
        change(HEALTHY, level_zero={"status": "ok", "environment": {"ZE_AFFINITY_MASK": "0"}}),
        "XPK-PROBE-DEVICES-HIDDEN",
        "info",
        "",
        "0",
    ),
]


@pytest.mark.parametrize(("situation", "identifier", "severity", "subject", "value"), CASES)
def test_each_rule_finds_its_fault_and_nothing_else(
    situation: Situation, identifier: str, severity: str, subject: str, value: str
) -> None:
    (finding,) = judge(situation)
    assert (finding.id, finding.severity, finding.subject) == (identifier, severity, subject)
    assert any(value in evidence.value for evidence in finding.evidence)
    assert finding.remedy


@pytest.mark.parametrize(
    ("status", "identifier"),
    [
        ("no-loader", "XPK-PROBE-LEVEL-ZERO-MISSING"),
        ("no-driver", "XPK-PROBE-LEVEL-ZERO-MISSING"),
        ("init-failed", "XPK-PROBE-LEVEL-ZERO-FAILED"),
        ("denied", "XPK-PROBE-LEVEL-ZERO-DENIED"),
        ("crashed", "XPK-PROBE-LEVEL-ZERO-CRASHED"),
        ("timeout", "XPK-PROBE-LEVEL-ZERO-HANGS"),
        ("garbled", "XPK-PROBE-LEVEL-ZERO-FAILED"),
    ],
)
def test_level_zero_failures(status: str, identifier: str) -> None:
    table = {"status": status, "detail": f"because of {status}", "remedy": "do this"}
    (finding,) = judge(change(HEALTHY, level_zero=table))
    assert (finding.id, finding.severity, finding.remedy) == (identifier, "critical", ("do this",))
    assert finding.evidence[0].value == f"because of {status}"
    without_gpu = [found.id for found in judge(change(HEALTHY, devices=(), level_zero=table))]
    # A machine without a GPU needs no driver; one that crashes or hangs is worth a word all the same.
    assert (identifier in without_gpu) == (status not in ("no-loader", "no-driver"))


@pytest.mark.parametrize(
    ("status", "step"),
    [
        ("no-loader", "apt-get install libze1"),
        ("no-driver", "apt-get install libze-intel-gpu1"),
        ("init-failed", "dmesg"),
        ("denied", "usermod -aG render"),
        ("crashed", "--reinstall libze-intel-gpu1"),
        ("timeout", "fuser -v /dev/dri"),
        ("garbled", "xpukit.host.level_zero"),
    ],
)
def test_a_level_zero_failure_without_advice_gets_some(status: str, step: str) -> None:
    (finding,) = judge(change(HEALTHY, level_zero={"status": status, "detail": "x"}))
    assert any(step in remedy for remedy in finding.remedy)


def test_a_child_that_could_not_be_started_is_no_matter_of_groups() -> None:
    table = {"status": "denied", "detail": "the child could not be started: /root/python: permission denied"}
    (finding,) = judge(change(HEALTHY, level_zero=table))
    assert "Python that runs xpukit" in finding.remedy[0]


def test_every_rule_is_tried_by_a_case() -> None:
    found: set[str] = set()
    for rule in RULES:
        ids = {finding.id for situation, *_ in CASES for finding in rule(situation)}
        broken = change(HEALTHY, level_zero={"status": "crashed"})
        ids |= {finding.id for finding in rule(broken)}
        assert ids, rule
        found |= ids
    assert len(found) == len(RULES)


def test_one_node_needs_no_guess_and_integrated_gpus_may_differ() -> None:
    guessed = change_first(numa_rule="local_cpulist")
    assert judge(change(guessed, numa=NODES[:1])) == ()
    integrated = change_first(driver="i915", discrete=False)
    assert judge(integrated) == ()


def test_no_gpu_in_a_virtual_machine_asks_for_passthrough_first() -> None:
    (finding,) = judge(change(HEALTHY, devices=(), platform={"vm": True, "container": "docker"}))
    assert "virtual machine" in finding.remedy[0]
    assert "container" in finding.remedy[1]


def test_the_question_reads_what_the_others_left() -> None:
    devices = HEALTHY.devices
    so_far = {
        "platform": {"vm": False},
        "numa": NODES,
        "level_zero": {"status": "timeout", "detail": "no answer", "remedy": "reset"},
        "extra": {"device_selectors": {"ONEAPI_DEVICE_SELECTOR": "level_zero:0"}},
    }
    findings: tuple[Finding, ...] = read_machine(DictHost(), devices, so_far)["findings"]
    assert {finding.id for finding in findings} == {"XPK-PROBE-LEVEL-ZERO-HANGS", "XPK-PROBE-DEVICES-HIDDEN"}
    assert read_machine(DictHost(), devices, {}) == {"findings": ()}


@pytest.mark.parametrize("rule", RULES)
def test_rules_take_a_device_of_which_nothing_is_known(rule: Callable[[Situation], Any]) -> None:
    blank = Device(index=0, bdf="0000:00:02.0", vendor_id="8086", device_id="ffff", name="", known=False)
    for finding in rule(Situation(devices=(blank,), numa=NODES)):
        assert finding.evidence
        assert finding.remedy
