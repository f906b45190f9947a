from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.machines.recorded_machines import find_device, open_machine
from tests.machines.umockdev_builder import format_aer
from xpukit.host.answers import FileAnswer, LinkAnswer
from xpukit.host.overlay import OverlayHost
from xpukit.probe.iommu import parse_counters, total_counters
from xpukit.probe.machine import probe_machine


def test_a_group_with_its_mode() -> None:
    iommu = find_device("b60x4_bmc", "0000:18:00.0").iommu
    assert iommu is not None
    assert iommu.group is not None
    assert (iommu.mode, iommu.group_members) == ("DMA-FQ", ("0000:18:00.0",))


def test_without_an_iommu_it_is_off() -> None:
    iommu = find_device("vm", "0000:01:00.0").iommu
    assert iommu is not None
    assert (iommu.group, iommu.mode) == (None, "off")


def test_a_group_link_that_makes_no_sense() -> None:
    path = "/sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0/iommu_group"
    host = OverlayHost(open_machine("vm"), {("link", path): LinkAnswer(target="../nowhere")})
    iommu = probe_machine(host, include_all=True).devices[0].iommu
    assert iommu is not None
    assert (iommu.group, iommu.mode) == (None, "")


def test_a_switch_that_redirects_peer_traffic() -> None:
    ports = {port.bdf: port for port in find_device("b60x8_2s", "0000:1b:00.0").acs}
    assert ports["0000:18:00.0"].redirects
    assert "RequestRedirect" in ports["0000:18:00.0"].enabled
    assert not ports["0000:1a:01.0"].redirects
    assert not any(port.redirects for port in find_device("dual_card", "0000:05:00.0").acs if port.bdf[5:7] == "02")


def test_errors_of_the_way_are_counted_and_named() -> None:
    aer = find_device("dual_card", "0000:05:00.0").aer
    assert aer == {"correctable": 3, "nonfatal": 0, "fatal": 0, "0000:01:00.0/correctable/BadTLP": 3}


def test_aer_file() -> None:
    counters = parse_counters(format_aer("correctable", {"RxErr": 2, "BadDLLP": 1}))
    assert (counters["RxErr"], counters["BadDLLP"], total_counters(counters)) == (2, 1, 3)


def test_a_file_without_total_is_summed() -> None:
    assert total_counters(parse_counters("RxErr 2\nBadTLP 5\n")) == 7


@given(st.text())
def test_any_aer_text_is_survived(text: str) -> None:
    counters = parse_counters(text)
    assert total_counters(counters) >= 0


@given(st.dictionaries(st.sampled_from(["RxErr", "BadTLP", "BadDLLP", "Rollover", "Timeout"]), st.integers(0, 1 << 40)))
def test_aer_round_trips(counts: dict[str, int]) -> None:
    counters = parse_counters(format_aer("correctable", counts))
    assert {name: counters[name] for name in counts} == counts
    assert total_counters(counters) == sum(counts.values())


def test_an_unreadable_counter_is_said() -> None:
    path = "/sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0/aer_dev_fatal"
    host = OverlayHost(open_machine("vm"), {("read", path): FileAnswer(error="EIO")})
    device = probe_machine(host, include_all=True).devices[0]
    assert [row.why for row in device.unread if row.what == path] == ["input/output error"]
