"""Conclusions about pairs of GPUs on the recorded machines, with results made for the purpose."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.machines.recorded_machines import list_machines, read_machine
from tests.unit.evaluate.report_samples import make_cpu_run
from xpukit.core.finding import Finding
from xpukit.core.machine import AcsPort, Device, Iommu, Link, LinkEnd, Machine, NumaNode, Unread
from xpukit.evaluate.explain import explain
from xpukit.evaluate.explain_p2p import explain_p2p, foresee_p2p
from xpukit.evaluate.p2p_path import expected_p2p_gbps, trace_pair
from xpukit.evaluate.report_html import write_html
from xpukit.evaluate.report_markdown import write_markdown
from xpukit.evaluate.result import ReferenceUsed, Result
from xpukit.facts.p2p import load_link_facts, load_shapes

UNI: dict[str, Any] = {"mode": "write", "direction": "uni", "path": "peer"}
BI: dict[str, Any] = {"mode": "write", "direction": "bi", "path": "peer"}
ALL_ONES = "first difference at byte 0: 0xff instead of 0x3c"


def rate(pair: tuple[str, str], gbps: float, **rest: Any) -> Result:
    given: dict[str, Any] = {"params": UNI, "verified": True, "metric": "peak_bandwidth"} | rest
    return Result(benchmark="p2p", devices=pair, value=gbps, unit="GB/s", n=9, mad=0.01, **given)


def refuse(pair: tuple[str, str]) -> Result:
    return Result(benchmark="p2p", metric="access", devices=pair, params={}, value=0.0, unit="yes/no")


def wrong(pair: tuple[str, str], gbps: float) -> Result:
    return rate(pair, gbps, verified=False, verify_detail=ALL_ONES, verdict="fail")


def pair_of(machine: Machine, one: int, other: int) -> tuple[str, str]:
    return machine.devices[one].bdf, machine.devices[other].bdf


def ids(findings: tuple[Finding, ...]) -> list[str]:
    return [found.id.removeprefix("XPK-P2P-") for found in findings]


def two_in_vm() -> Machine:
    """The recorded virtual machine with a second card beside the first, as on a Q35 machine."""
    machine = read_machine("vm")
    first = machine.devices[0]
    second = msgspec.structs.replace(first, index=1, bdf="0000:02:00.0", path=("0000:00:01.1",))
    return msgspec.structs.replace(
        machine, devices=(msgspec.structs.replace(first, path=("0000:00:01.0",)), second), findings=()
    )


def two_small_bars() -> Machine:
    machine = read_machine("a770_small_bar")
    card = next(device for device in machine.devices if device.discrete)
    second = msgspec.structs.replace(card, index=2, bdf="0000:13:00.0", path=("0000:00:06.0", "0000:11:00.0"))
    return msgspec.structs.replace(machine, devices=(card, second))


def without_redirect(machine: Machine) -> Machine:
    return msgspec.structs.replace(
        machine,
        devices=tuple(
            msgspec.structs.replace(
                device,
                acs=tuple(msgspec.structs.replace(port, enabled=(), redirects=False) for port in device.acs),
                aer=dict.fromkeys(device.aer, 0),
            )
            for device in machine.devices
        ),
    )


def full_speed(machine: Machine) -> Machine:
    """Every link at what the card can do, in a slot of the same kind."""

    def widen(device: Device) -> Device:
        assert device.link is not None
        hops = tuple(
            msgspec.structs.replace(hop, current_speed_gts=32.0, max_speed_gts=32.0) for hop in device.link.hops
        )
        return msgspec.structs.replace(device, link=msgspec.structs.replace(device.link, hops=hops))

    return msgspec.structs.replace(machine, devices=tuple(widen(device) for device in machine.devices))


CASES: list[tuple[str, Any, Any, list[str]]] = [
    # What the machine is, its rows, and all conclusions in order.
    ("switch, fast and wrong", lambda: read_machine("b60x8_2s"), lambda p: [wrong(p(0, 1), 10.89)],
     ["WRONG-DATA", "ACS-REDIRECT", "IOMMU"]),
    ("switch, refused", lambda: read_machine("b60x8_2s"), lambda p: [refuse(p(0, 1)), refuse(p(1, 0))],
     ["ACS-REDIRECT", "IOMMU"]),
    ("switch, slow", lambda: read_machine("b60x8_2s"), lambda p: [rate(p(0, 1), 8.0)],
     ["ACS-REDIRECT", "LINK-SPEED", "IOMMU"]),
    ("Gen4 switch, as fast as it can be", lambda: read_machine("b60x8_2s"), lambda p: [rate(p(0, 1), 14.1)],
     ["LINK-SPEED"]),
    ("between sockets, slow", lambda: read_machine("b60x8_2s"), lambda p: [rate(p(0, 4), 6.0)],
     ["LINK-SPEED", "SOCKETS", "IOMMU"]),
    ("between sockets, refused", lambda: read_machine("b60x8_2s"), lambda p: [refuse(p(0, 4))],
     ["SOCKETS", "IOMMU"]),
    ("root ports, refused", lambda: read_machine("b60x8_2s"), lambda p: [refuse(p(4, 5))],
     ["ROOT-PORTS", "IOMMU"]),
    ("root ports, well", lambda: read_machine("b60x8_2s"), lambda p: [rate(p(4, 5), 27.0)], []),
    ("no redirect, nothing to see", lambda: without_redirect(full_speed(read_machine("b60x8_2s"))),
     lambda p: [refuse(p(0, 1))], ["UNEXPLAINED"]),
    ("no redirect, wrong all the same", lambda: without_redirect(read_machine("b60x8_2s")),
     lambda p: [wrong(p(0, 1), 13.0)], ["WRONG-DATA", "UNEXPLAINED"]),
    ("x4 link, all that it gives", lambda: read_machine("b60x4_bmc"), lambda p: [rate(p(0, 3), 14.0)],
     ["LINK-NARROW"]),
    ("x4 link, less than it gives", lambda: read_machine("b60x4_bmc"), lambda p: [rate(p(0, 3), 7.0)],
     ["LINK-NARROW", "ROOT-PORTS", "IOMMU"]),
    ("dual card, the known 33", lambda: read_machine("dual_card"), lambda p: [rate(p(0, 1), 33.0, params=BI)],
     ["DUAL-CARD", "PCIE-ERRORS"]),
    ("dual card after x8/x8", lambda: read_machine("dual_card"), lambda p: [rate(p(0, 1), 41.0, params=BI)], []),
    ("dual card, slow one way", lambda: read_machine("dual_card"), lambda p: [rate(p(0, 1), 12.0)],
     ["PCIE-ERRORS", "UNEXPLAINED"]),
    ("virtual machine, refused", two_in_vm, lambda p: [refuse(p(0, 1))], ["VM", "ROOT-PORTS"]),
    ("small BAR, refused", two_small_bars, lambda p: [refuse(p(0, 1))], ["SMALL-BAR", "ROOT-PORTS", "IOMMU"]),
    ("integrated and card, refused", lambda: read_machine("a770"), lambda p: [refuse(p(0, 1))],
     ["INTEGRATED", "ROOT-PORTS", "IOMMU"]),
    ("virtual function, refused", lambda: read_machine("sriov"), lambda p: [refuse(p(0, 1))], ["VIRTUAL-FUNCTION"]),
    ("kept for VMs, refused", lambda: read_machine("unbound"), lambda p: [refuse(p(0, 1))],
     ["NO-DRIVER", "RESERVED-FOR-VM", "ROOT-PORTS", "IOMMU"]),
    ("not verified, redirect on", lambda: read_machine("b60x8_2s"), lambda p: [rate(p(0, 1), 28.0, verified=None)],
     ["UNVERIFIED"]),
    ("tiles of one card", lambda: read_machine("max1550"),
     lambda p: [rate((p(0, 1)[0] + "/tile0", p(0, 1)[0] + "/tile1"), 185.0)], []),
    ("nothing measured", lambda: read_machine("b60x8_2s"), lambda p: [], []),
]  # fmt: skip


@pytest.mark.parametrize(("make", "rows", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_conclusions_in_order(make: Any, rows: Any, expected: list[str]) -> None:
    machine = make()
    found = explain_p2p(machine, rows(lambda one, other: pair_of(machine, one, other)))
    assert ids(found) == expected
    assert all(one.evidence and one.remedy for one in found)


def test_fast_and_wrong_is_critical_and_names_bridges_and_commands() -> None:
    machine = read_machine("b60x8_2s")
    data, redirect, _ = explain_p2p(machine, [wrong(pair_of(machine, 0, 1), 10.89), wrong(pair_of(machine, 1, 2), 9.0)])
    assert data.severity == redirect.severity == "critical"
    assert "10.9 GB/s" in data.summary
    assert "0xff" in data.evidence[0].value
    assert "data wrong on GPU0-GPU1, GPU1-GPU2" in redirect.summary
    assert redirect.subject == "0000:17:00.0"
    sources = [row.source for row in redirect.evidence]
    for port in ("0000:18:00.0", "0000:18:04.0", "0000:18:08.0"):
        assert f"/sys/bus/pci/devices/{port}/config, ACS control" in sources
        assert f"sudo setpci -s {port} ECAP_ACS+0x6.w=0000:002c" in redirect.remedy
    assert any("disable_acs_redir=0000:18:00.0;0000:18:04.0;0000:18:08.0 " in step for step in redirect.remedy)
    assert "RequestRedirect" in redirect.evidence[0].value
    # The root port redirects too, but lies above the bridge where traffic could turn round.
    assert not any("0000:16:01.0/config" in source for source in sources)


def test_a_switch_pair_with_redirect_is_not_certified_by_speed() -> None:
    machine = read_machine("b60x8_2s")
    (found,) = explain_p2p(machine, [rate(pair_of(machine, 0, 1), 28.0, verified=None)])
    assert (found.id, found.severity) == ("XPK-P2P-UNVERIFIED", "warning")
    assert "ACS redirect" in found.summary
    # ze_peer's own check, a row of its own, settles it.
    check = Result(benchmark="p2p", metric="data", devices=pair_of(machine, 0, 1), params={}, value=1.0, unit="yes/no")
    assert explain_p2p(machine, [rate(pair_of(machine, 0, 1), 28.0, verified=None), check]) == ()
    failed = msgspec.structs.replace(check, value=0.0)
    assert ids(explain_p2p(machine, [rate(pair_of(machine, 0, 1), 28.0, verified=None), failed]))[0] == "WRONG-DATA"


def test_wrong_data_comes_before_slow_and_impossible_pairs() -> None:
    machine = read_machine("b60x8_2s")
    rows = [refuse(pair_of(machine, 4, 5)), rate(pair_of(machine, 0, 4), 3.0), wrong(pair_of(machine, 0, 1), 10.9)]
    assert ids(explain_p2p(machine, rows))[:2] == ["WRONG-DATA", "ACS-REDIRECT"]


def test_a_narrow_link_is_named_by_lanes() -> None:
    machine = read_machine("b60x4_bmc")
    (found,) = explain_p2p(machine, [rate(pair_of(machine, 0, 3), 14.0)])
    assert "is x4, the card can do x8" in found.summary
    assert found.subject == "0000:7b:01.0"
    evidence = {row.source: row.value for row in found.evidence}
    assert evidence["/sys/bus/pci/devices/0000:7b:01.0/current_link_width"] == "x4"
    assert any("measured 99% of it" in value for value in evidence.values())


def test_unexplained_says_what_was_excluded() -> None:
    machine = without_redirect(full_speed(read_machine("b60x8_2s")))
    (found,) = explain_p2p(machine, [refuse(pair_of(machine, 0, 1))])
    excluded = [row.value for row in found.evidence if row.source == "excluded"]
    for start in (
        "ACS redirect: off on",
        "BAR:",
        "links:",
        "switch: both hang below 0000:17:00.0",
        "driver: xe",
        "IOMM",
    ):
        assert any(text.startswith(start) for text in excluded), start


def test_a_failed_reference_makes_a_pair_slow() -> None:
    machine = read_machine("b60x8_2s")
    reference = ReferenceUsed(value=40.0, kind="measured", source="test", tolerance=0.1)
    row = rate(pair_of(machine, 4, 5), 27.0, reference=reference, ratio=0.675, verdict="fail")
    assert ids(explain_p2p(machine, [row])) == ["ROOT-PORTS", "IOMMU"]


def test_copies_through_the_host_and_small_copies_say_nothing_of_the_way() -> None:
    machine = read_machine("b60x8_2s")
    host = rate(pair_of(machine, 0, 1), 1.0, params=UNI | {"path": "host"})
    small = rate(pair_of(machine, 0, 1), 0.1, params=UNI | {"bytes": 4096}, metric="bandwidth")
    assert explain_p2p(machine, [host, small]) == ()


def test_pairs_of_a_log_from_elsewhere_are_not_explained_by_this_machine() -> None:
    pair = ("gpu0", "gpu1")
    for machine in (Machine(), read_machine("b60x8_2s")):
        found = explain_p2p(machine, [refuse(pair)])
        assert ids(found) == ["UNEXPLAINED"]
        assert "does not list these devices" in found[0].summary
        assert ids(explain_p2p(machine, [wrong(pair, 10.9)])) == ["WRONG-DATA", "UNEXPLAINED"]
        assert explain_p2p(machine, [rate(pair, 3.0)]) == ()


def test_unread_acs_is_said_not_guessed() -> None:
    machine = read_machine("b60x8_2s")
    blind = tuple(
        msgspec.structs.replace(
            device, acs=(), unread=(Unread(what=f"ACS of {', '.join(device.path)}", why="only 64 bytes"),)
        )
        for device in machine.devices
    )
    found = explain_p2p(msgspec.structs.replace(machine, devices=blind), [refuse(pair_of(machine, 0, 1))])
    assert ids(found) == ["ACS-UNKNOWN", "UNEXPLAINED"]
    assert any("0000:18:00.0" in row.source for row in found[0].evidence)


def test_foreseen_from_the_machine_alone() -> None:
    table = {name: ids(foresee_p2p(read_machine(name))) for name in list_machines()}
    assert table == {
        "a770": [],
        "a770_small_bar": [],
        "b580": [],
        "b60_no_render": ["ROOT-PORTS", "IOMMU"],
        "b60_x4_slot": [],
        "b60x4_bmc": ["LINK-NARROW", "ROOT-PORTS", "IOMMU"],
        "b60x8_2s": ["ACS-REDIRECT", "LINK-SPEED", "SOCKETS", "ROOT-PORTS", "IOMMU"],
        "dual_card": ["DUAL-CARD", "PCIE-ERRORS"],
        "max1550": ["SOCKETS", "IOMMU"],
        "sriov": ["RESERVED-FOR-VM", "VIRTUAL-FUNCTION"],
        "unbound": ["NO-DRIVER", "RESERVED-FOR-VM", "ROOT-PORTS", "IOMMU"],
        "unknown_id": [],
        "vm": [],
    }
    assert ids(foresee_p2p(two_in_vm())) == ["VM", "ROOT-PORTS"]
    assert "SMALL-BAR" in ids(foresee_p2p(two_small_bars()))
    assert all(found.severity != "critical" for name in list_machines() for found in foresee_p2p(read_machine(name)))


@pytest.mark.parametrize(
    ("name", "one", "other", "direction", "gbps"),
    [
        ("b60x8_2s", 0, 1, "uni", 14.19),  # Gen4 switch port, x8
        ("b60x8_2s", 4, 5, "uni", 28.39),  # Gen5 x8 both: the vendor's 28.4
        ("b60x4_bmc", 0, 3, "uni", 14.19),  # Gen5 x4
        ("dual_card", 0, 1, "bi", 40.01),  # below the switch: its Gen4 uplink does not count
        ("max1550", 0, 1, "uni", 56.78),
    ],
)
def test_expected_from_the_negotiated_links(name: str, one: int, other: int, direction: str, gbps: float) -> None:
    machine = read_machine(name)
    value, source = expected_p2p_gbps(machine, *pair_of(machine, one, other), direction)
    assert value == pytest.approx(gbps, abs=0.01)
    assert "GT/s" in source
    assert "0.901" in source or "0.635" in source


def test_nothing_is_expected_where_links_do_not_say() -> None:
    machine = two_in_vm()
    assert expected_p2p_gbps(machine, *pair_of(machine, 0, 1), "uni")[0] is None
    assert expected_p2p_gbps(machine, "0000:ff:00.0", machine.devices[0].bdf, "uni")[0] is None
    sriov = read_machine("sriov")
    assert expected_p2p_gbps(sriov, *pair_of(sriov, 0, 1), "uni") == (None, "both are on one card")


def test_the_way_between_two_cards() -> None:
    machine = read_machine("b60x8_2s")
    path = trace_pair(machine, *pair_of(machine, 0, 3))
    assert path is not None
    assert (path.across, path.common) == ("switch", "0000:17:00.0")
    assert [leg.hop.bdf for leg in path.legs] == ["0000:18:00.0", "0000:18:0c.0"]
    far = trace_pair(machine, *pair_of(machine, 0, 7))
    assert far is not None
    assert (far.across, far.common) == ("sockets", "")


def test_facts_carry_their_source() -> None:
    facts = load_link_facts()
    assert facts.compute_gbps(32.0, 8) == pytest.approx(31.5, abs=0.02)
    assert facts.compute_gbps(2.5, 1) == pytest.approx(0.25)
    assert all(row.source and row.basis and row.date for row in facts.efficiency)
    assert {"dual-card-x16", "acs-redirect-switch"} <= set(load_shapes())
    assert all(shape.source and shape.link and shape.date for shape in load_shapes().values())


@pytest.fixture(scope="module")
def fonts() -> None:
    # On its first import anywhere matplotlib asks the machine which fonts it has, and remembers.
    import matplotlib.font_manager  # noqa: F401


def test_reports_show_the_explanations_in_their_order(fonts: None) -> None:
    machine = read_machine("b60x8_2s")
    found = explain(machine, [wrong(pair_of(machine, 0, 1), 10.89)])
    run = msgspec.structs.replace(make_cpu_run(), findings=found)
    page, text = write_html(run, machine, "host"), write_markdown(run, machine, "host")
    assert '<section id="explanations">' in page
    assert 'href="#explanations"' in page
    for report in (page, text):
        at = report.index("Explanations")
        places = [report.index(one.id, at) for one in found]
        assert places == sorted(places)
        assert "sudo setpci -s 0000:18:00.0 ECAP_ACS+0x6.w=0000:002c" in report
    without = msgspec.structs.replace(run, findings=())
    assert "Explanations" not in write_html(without, machine, "host")
    assert "Explanations" not in write_markdown(without, machine, "host")


BDFS = ["0000:01:00.0", "0000:02:00.0", "0000:03:00.0", "0001:00:02.0"]
PORTS = ["0000:00:01.0", "0000:00:01.1", "0000:10:00.0", "0000:11:00.0", "0000:11:01.0", "0000:12:00.0", "junk"]
SPEEDS = st.none() | st.sampled_from([2.5, 8.0, 16.0, 32.0, 64.0, 0.0, 128.0])
WIDTHS = st.none() | st.sampled_from([0, 1, 4, 8, 16])
HOPS = st.builds(
    LinkEnd,
    bdf=st.sampled_from(PORTS),
    partner_bdf=st.sampled_from(["", *PORTS]),
    current_speed_gts=SPEEDS,
    current_width=WIDTHS,
    max_speed_gts=SPEEDS,
    max_width=WIDTHS,
    partner_max_speed_gts=SPEEDS,
    partner_max_width=WIDTHS,
)
DEVICES = st.builds(
    Device,
    index=st.integers(0, 3),
    bdf=st.sampled_from(BDFS),
    vendor_id=st.just("8086"),
    device_id=st.sampled_from(["e211", "e223", "ffff"]),
    name=st.text(max_size=5),
    known=st.booleans(),
    discrete=st.sampled_from([None, True, False]),
    driver=st.sampled_from(["", "xe", "i915", "vfio-pci", "nouveau"]),
    virtual_function=st.booleans(),
    physical_function=st.sampled_from(["", BDFS[0]]),
    numa_node=st.sampled_from([None, 0, 1, 7]),
    bar_bytes=st.sampled_from([None, 1 << 28, 1 << 35]),
    memory_bytes=st.sampled_from([None, 0, 24 << 30]),
    iommu=st.none() | st.builds(Iommu, group=st.none() | st.integers(0, 9), mode=st.sampled_from(["", "DMA", "identity"])),
    acs=st.lists(
        st.builds(AcsPort, bdf=st.sampled_from(PORTS), redirects=st.booleans(), enabled=st.just(("RequestRedirect",))),
        max_size=4,
    ).map(tuple),
    aer=st.dictionaries(st.sampled_from(["fatal", "x", "0000:10:00.0/fatal/DLP", "a/b", "junk/c/d"]), st.integers(0, 3)),
    path=st.lists(st.sampled_from(PORTS), max_size=5).map(tuple),
    link=st.none()
    | st.builds(
        Link, read_at=st.sampled_from(["", *PORTS]), hops=st.lists(HOPS, max_size=4).map(tuple),
        max_speed_gts=SPEEDS, max_width=WIDTHS,
    ),
    extra=st.sampled_from([{}, {"small_bar": None}, {"small_bar": True}]),
    unread=st.sampled_from([(), (Unread(what="ACS of 0000:11:00.0, junk", why="cut"),)]),
)  # fmt: skip
MACHINES = st.builds(
    Machine,
    devices=st.lists(DEVICES, max_size=4).map(tuple),
    numa=st.lists(
        st.builds(NumaNode, node=st.integers(0, 1), cpus=st.just("0"), socket=st.none() | st.integers(0, 1)), max_size=2
    ).map(tuple),
    platform=st.sampled_from([{}, {"vm": None}, {"vm": True}, {"vm": True, "hypervisor": "KVM"}, {"vm": False}]),
)
NUMBERS = st.none() | st.sampled_from([0.0, -1.0, 0.5, 1.0, 10.9, 33.0, 1e9, float("inf"), float("nan")])
ROWS = st.builds(
    Result,
    benchmark=st.sampled_from(["p2p", "p2p", "collectives", "gemm"]),
    metric=st.sampled_from(["access", "bandwidth", "peak_bandwidth", "latency", "data", "busbw"]),
    devices=st.lists(st.sampled_from([*BDFS, BDFS[0] + "/tile1", "cpu"]), max_size=3).map(tuple),
    params=st.fixed_dictionaries(
        {},
        optional={
            "direction": st.sampled_from(["uni", "bi", 7]),
            "mode": st.sampled_from(["write", "read", "p2p", "usm", 3]),
            "path": st.sampled_from(["peer", "host"]),
            "bytes": st.sampled_from([8, 1 << 28, "large", 1.5]),
            "collective": st.sampled_from(["allreduce", "broadcast"]),
            "ranks": st.sampled_from([2, "x", float("inf")]),
        },
    ),
    value=NUMBERS,
    unit=st.sampled_from(["GB/s", "us", "yes/no"]),
    n=st.integers(0, 9),
    mad=NUMBERS,
    verified=st.sampled_from([None, True, False]),
    ratio=NUMBERS,
    verdict=st.sampled_from(["pass", "warn", "fail", "unknown", "not-applicable"]),
    reason=st.sampled_from(["", "no access to each other", "broken"]),
    higher_is_better=st.booleans(),
    noisy=st.booleans(),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(machine=MACHINES, rows=st.lists(ROWS, max_size=8))
def test_odd_machines_and_rows_never_raise(machine: Machine, rows: list[Result]) -> None:
    for found in (*explain(machine, rows), *foresee_p2p(machine)):
        assert found.id.startswith("XPK-")
        assert found.summary
        assert found.evidence
        assert all(row.source and row.value for row in found.evidence)
        assert found.remedy
        assert all(found.remedy)
    assert explain(machine, rows) == explain(machine, list(rows))
