from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.recorded_machines import find_device, open_machine, read_machine
from xpukit.core.machine import Link
from xpukit.host.answers import FileAnswer
from xpukit.host.overlay import OverlayHost
from xpukit.probe.machine import probe_machine
from xpukit.probe.pcie_link import (
    Hop,
    PortState,
    compute_gbps,
    find_card_port,
    find_limit,
    is_degraded,
    measure_hop,
    pair_links,
    parse_speed,
)
from xpukit.probe.question import PciFunction


def get_link(name: str, bdf: str) -> Link:
    link = find_device(name, bdf).link
    assert link is not None
    return link


@pytest.mark.parametrize(
    ("speed", "width", "gbps"),
    [(2.5, 1, 0.25), (8.0, 16, 15.754), (16.0, 16, 31.508), (32.0, 8, 31.508), (32.0, 16, 63.015), (64.0, 16, 121.0)],
)
def test_bandwidth(speed: float, width: int, gbps: float) -> None:
    assert compute_gbps(speed, width) == gbps


def test_bandwidth_of_what_is_not_known() -> None:
    assert compute_gbps(None, 8) is None
    assert compute_gbps(16.0, 0) is None


def test_speeds_as_the_kernel_writes_them() -> None:
    assert parse_speed("16.0 GT/s PCIe") == 16.0
    assert parse_speed("8 GT/s") == 8.0
    assert parse_speed("Unknown") is None
    assert parse_speed(None) is None


def test_a_card_is_read_at_its_own_upstream_port() -> None:
    link = get_link("b60x4_bmc", "0000:18:00.0")
    assert link.read_at == "0000:16:00.0"
    assert (link.current_speed_gts, link.current_width) == (32.0, 8)
    assert (link.limited_by, link.limit_gbps, link.degraded) == ("", 31.508, False)


def test_a_card_that_lost_lanes_is_degraded() -> None:
    link = get_link("b60x4_bmc", "0000:7e:00.0")
    assert (link.current_width, link.max_width, link.degraded) == (4, 8, True)
    assert link.current_gbps == 15.754
    assert "x4 of x8" in link.note


def test_a_gen4_switch_limits_gen5_cards_and_is_shared() -> None:
    link = get_link("b60x8_2s", "0000:1f:00.0")
    assert (link.limited_by, link.limit_gbps) == ("0000:18:04.0", 15.754)
    assert link.degraded is False
    assert [(hop.bdf, hop.partner_bdf) for hop in link.hops] == [
        ("0000:16:01.0", "0000:17:00.0"),
        ("0000:18:04.0", "0000:1d:00.0"),
    ]
    assert "with 0000:1b:00.0, 0000:23:00.0, 0000:27:00.0" in link.note


def test_the_slot_of_a_dual_card_is_shared() -> None:
    link = get_link("dual_card", "0000:05:00.0")
    assert (link.read_at, link.limited_by, link.current_gbps) == ("0000:03:00.0", "", 31.508)
    assert link.note == "shares the link 0000:00:01.0 to 0000:01:00.0 with 0000:09:00.0"


def test_a_max_has_no_switch_and_is_read_at_the_endpoint() -> None:
    link = get_link("max1550", "0000:2a:00.0")
    assert (link.read_at, link.current_gbps, link.limited_by) == ("0000:2a:00.0", 63.015, "")


def test_unknown_bridges_directly_above_the_gpu_are_taken_for_the_cards() -> None:
    assert get_link("unknown_id", "0000:03:00.0").read_at == "0000:01:00.0"


def test_a_virtual_function_has_the_link_of_its_card() -> None:
    assert get_link("sriov", "0000:18:00.1").read_at == "0000:16:00.0"


def test_an_integrated_gpu_has_no_link() -> None:
    assert find_device("a770", "0000:00:02.0").link is None


def test_in_a_virtual_machine_the_endpoints_claim_is_not_believed() -> None:
    device = find_device("vm", "0000:01:00.0")
    assert device.link is not None
    assert (device.link.current_speed_gts, device.link.read_at) == (None, "")
    assert [row.what for row in device.unread if "PCIe link" in row.what] == ["PCIe link of 0000:01:00.0"]


def overlay_card(**files: str) -> Link:
    """The first card of the four, with files of its upstream port or (slot_…) of its slot changed."""
    base = "/sys/devices/pci0000:15/0000:15:01.0"
    changes = {
        (
            "read",
            f"{base}/{name.removeprefix('slot_')}" if name.startswith("slot_") else f"{base}/0000:16:00.0/{name}",
        ): (FileAnswer(data=text.encode()))
        for name, text in files.items()
    }
    link = probe_machine(OverlayHost(open_machine("b60x4_bmc"), changes), include_all=True).devices[0].link
    assert link is not None
    return link


def test_a_slower_link_may_be_idle() -> None:
    link = overlay_card(current_link_speed="2.5 GT/s PCIe\n", slot_current_link_speed="2.5 GT/s PCIe\n")
    assert link.degraded is True
    assert "under load" in link.note


def test_the_slot_limits() -> None:
    link = overlay_card(slot_max_link_speed="8.0 GT/s PCIe\n", slot_max_link_width="4\n")
    assert (link.limited_by, link.limit_gbps) == ("0000:15:01.0", 3.938)
    assert (link.max_speed_gts, link.max_width) == (8.0, 4)


def test_a_port_that_does_not_know() -> None:
    link = overlay_card(current_link_speed="Unknown\n", current_link_width="0\n")
    assert link.current_speed_gts is None
    assert link.degraded is False  # the slot's end still says


def test_without_configuration_space_places_tell_what_a_port_is() -> None:
    for name in ("b60x8_2s", "dual_card", "max1550", "b60x4_bmc"):
        replay = open_machine(name)
        paths = [
            f"/sys{device.sources['bars'].removeprefix('/sys').rpartition('/')[0]}"
            for device in read_machine(name).devices
        ]
        ports = {path[: path.index(bdf) + len(bdf)] for path in paths for bdf in path.split("/")[4:]}
        cut = {("read", f"{port}/config"): FileAnswer(data=b"\x86\x80" + b"\0" * 62) for port in ports}
        devices = probe_machine(OverlayHost(replay, cut), include_all=True).devices
        assert [device.link for device in devices] == [device.link for device in read_machine(name).devices]
        assert all(any("ACS" in row.what for row in device.unread) for device in devices)


def make_function(bdf: str, ids: str) -> PciFunction:
    vendor, _, device = ids.partition(":")
    return PciFunction(bdf=bdf, sys_path=f"/sys/{bdf}", vendor_id=vendor, device_id=device)


def test_an_external_switch_is_not_the_cards() -> None:
    root, up, down = (make_function(f"0000:0{i}:00.0", ids) for i, ids in enumerate(("8086:1", "1000:2", "1000:2")))
    assert find_card_port([root, up, down], None) is None
    own_up, own_down = make_function("0000:04:00.0", "8086:4fa0"), make_function("0000:05:01.0", "8086:4fa4")
    assert find_card_port([root, up, down, own_up, own_down], True) == 3
    assert find_card_port([root, up, down, own_up, own_down], False) is None


@given(st.lists(st.sampled_from(["root-port", "upstream", "downstream", "endpoint", "bridge", ""]), max_size=12))
def test_links_are_between_neighbours_and_never_share_a_port(kinds: list[str]) -> None:
    pairs = pair_links(kinds)
    assert all(below == above + 1 for above, below in pairs)
    if kinds == [""] * len(kinds):
        flat = [index for pair in pairs for index in pair]
        assert len(flat) == len(set(flat))
        assert len(pairs) == len(kinds) // 2


speeds = st.sampled_from([None, 2.5, 5.0, 8.0, 16.0, 32.0, 64.0])
widths = st.sampled_from([None, 1, 2, 4, 8, 16])


@st.composite
def make_hops(draw: st.DrawFn) -> list[Hop]:
    def port(number: int) -> PortState:
        return PortState(
            bdf=f"0000:{number:02x}:00.0",
            current_gts=draw(speeds),
            current_width=draw(widths),
            max_gts=draw(speeds),
            max_width=draw(widths),
        )

    return [Hop(above=port(2 * i), below=port(2 * i + 1)) for i in range(draw(st.integers(0, 4)))]


@given(make_hops())
def test_the_limit_is_the_smallest_hop_and_never_above_the_card(hops: list[Hop]) -> None:
    limiter, limit = find_limit(hops)
    if not hops:
        assert (limiter, limit) == ("", None)
        return
    card = compute_gbps(hops[-1].below.max_gts, hops[-1].below.max_width)
    known = [value for value in (card, *map(measure_hop, hops)) if value is not None]
    assert limit == (min(known) if known else None)
    if limiter:
        assert limiter != hops[-1].below.bdf or card is None or limit != card
        assert limiter in {end.bdf for hop in hops for end in (hop.above, hop.below)}
    for hop in hops:
        assert is_degraded(hop) in (True, False, None)
