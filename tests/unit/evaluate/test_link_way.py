"""References scaled to the link at hand, rows about links, and known shapes, on the recorded machines."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.machines.recorded_machines import list_machines, open_loosely, open_machine, read_machine
from xpukit.core.machine import Machine
from xpukit.core.measurement import Measurement, Target, make_key
from xpukit.evaluate.limits import gather_limits
from xpukit.evaluate.link_rows import judge_links
from xpukit.evaluate.link_way import Links, read_seen_links
from xpukit.evaluate.reference import ReferenceBook
from xpukit.evaluate.result import Result
from xpukit.evaluate.verdict import judge_all
from xpukit.facts.pcie import PcieLink, name_link, parse_link
from xpukit.facts.references import load_references, parse_reference_csv
from xpukit.facts.suites import JudgeSettings
from xpukit.host.answers import FileAnswer
from xpukit.host.overlay import OverlayHost
from xpukit.probe.machine import probe_machine

HEADER = "device,benchmark,metric,params,value,unit,direction,kind,tolerance,source,date\n"
H2D = HEADER + "8086:e211,transfer,peak_bandwidth,direction=h2d{link},28,GB/s,higher,measured,0.1,lab,2026-01-01\n"
X4 = "0000:7e:00.0"


def targets_of(machine: Machine) -> tuple[Target, ...]:
    return tuple(
        Target(label=d.bdf, kind="gpu", name=d.name, bdf=d.bdf, device_id=d.device_id, level_zero_index=d.index)
        for d in machine.devices
    )


def judge(
    machine: Machine, *rows: tuple[Any, float], text: str = "", seen: dict[str, PcieLink] | None = None,
) -> dict[tuple[str, str], Result]:  # fmt: skip
    """By benchmark and metric, the rows of a run that measured these."""
    targets = targets_of(machine)
    references = parse_reference_csv(text, origin="t.csv") if text else load_references()
    links = Links(machine, seen)
    measured = [
        ("embedded", Measurement(key=key, unit="GB/s", samples=(value,) * 9, verified=True)) for key, value in rows
    ]
    book = ReferenceBook(references, targets).with_links(links)
    limits = gather_limits(machine, targets)
    judged = judge_all(measured, (), (), book=book, limits=limits, settings=JudgeSettings())
    judged += judge_links(links, targets, judged)
    named = {(row.benchmark, row.metric): row for row in judged if row.benchmark != "link"}
    return named | {(row.devices[0], row.metric): row for row in judged if row.benchmark == "link"}


def h2d(bdf: str) -> Any:
    return make_key("transfer", "peak_bandwidth", (bdf,), direction="h2d", memory="pinned")


def pair(machine: Machine, one: int, other: int, direction: str = "uni") -> Any:
    labels = (machine.devices[one].bdf, machine.devices[other].bdf)
    return make_key("p2p", "peak_bandwidth", labels, mode="write", direction=direction, path="peer")


def test_a_copy_is_judged_by_what_its_narrow_link_carries_and_the_link_itself_fails() -> None:
    machine = read_machine("b60x4_bmc")
    rows = judge(machine, (h2d(X4), 13.5), text=H2D.format(link=";link=gen5x8"))
    copy = rows["transfer", "peak_bandwidth"]
    assert (copy.verdict, copy.link) == ("pass", "gen5x4")
    assert copy.reference is not None
    assert copy.reference.value == pytest.approx(14.0, rel=1e-3)
    assert copy.reference.unscaled == 28
    assert "28.00 on gen5x8, scaled by 0.5 to gen5x4 (0000:7b:01.0 to 0000:7c:00.0)" in copy.reference.scaling
    width = rows[X4, "width"]
    assert (width.verdict, width.value, width.unit) == ("fail", 4.0, "lanes")
    assert width.reason.startswith("link is x4, the card can do x8 (0000:7b:01.0 to 0000:7c:00.0, of 0000:7e:00.0)")
    assert rows[X4, "rate"].verdict == "fail"
    assert {rows[d.bdf, "width"].verdict for d in machine.devices if d.bdf != X4} == {"pass"}


def test_a_slow_copy_over_a_narrow_link_says_both() -> None:
    rows = judge(read_machine("b60x4_bmc"), (h2d(X4), 5.0), text=H2D.format(link=";link=gen5x8"))
    copy = rows["transfer", "peak_bandwidth"]
    assert copy.verdict == "fail"
    assert copy.reason.startswith("link is x4, the card can do x8 (0000:7b:01.0")
    assert "36% of the reference scaled to this link" in copy.reason


def test_without_the_references_link_nothing_is_scaled_and_a_narrow_link_only_warns() -> None:
    machine = read_machine("b60x4_bmc")
    rows = judge(machine, (h2d(X4), 13.5), text=H2D.format(link=""))
    copy = rows["transfer", "peak_bandwidth"]
    assert copy.verdict == "warn"
    assert copy.reason.startswith("link is x4")
    assert "does not say under which link" in copy.reason
    assert copy.reference is not None
    assert copy.reference.unscaled is None
    wide = judge(machine, (h2d(machine.devices[0].bdf), 13.5), text=H2D.format(link=""))
    assert wide["transfer", "peak_bandwidth"].verdict == "fail", "on a full link nothing excuses it"


def test_a_reference_is_never_scaled_up() -> None:
    rows = judge(read_machine("max1550"), (h2d("0000:2a:00.0"), 25.0),
                 text=H2D.replace("e211", "0bd5").format(link=";link=gen4x16"))  # fmt: skip
    copy = rows["transfer", "peak_bandwidth"]
    assert copy.verdict == "warn", copy.reason
    assert copy.reference is not None
    assert (copy.reference.value, copy.reference.scaling) == (28, "not scaled up: had on gen4x16, here is gen5x16")


def test_a_switch_of_an_older_generation_warns_and_scales() -> None:
    machine = read_machine("b60x8_2s")
    rows = judge(machine, (pair(machine, 0, 1), 13.9))
    copy = rows["p2p", "peak_bandwidth"]
    assert (copy.verdict, copy.link) == ("pass", "gen4x8")
    assert copy.reference is not None
    assert copy.reference.value == pytest.approx(14.2, rel=1e-3)
    rate = rows[machine.devices[0].bdf, "rate"]
    assert (rate.verdict, rows[machine.devices[0].bdf, "width"].verdict) == ("warn", "pass")
    assert "runs at 16 GT/s, the card can do 32 (0000:18:00.0" in rate.reason


def test_between_sockets_a_shortfall_only_warns() -> None:
    machine = read_machine("b60x8_2s")
    copy = judge(machine, (pair(machine, 3, 4), 2.0))["p2p", "peak_bandwidth"]
    assert copy.verdict == "warn"
    assert "between processor sockets" in copy.reason
    same = judge(machine, (pair(machine, 4, 5), 2.0))["p2p", "peak_bandwidth"]
    assert same.verdict == "fail"


def test_a_dual_card_in_one_slot_is_judged_by_its_known_shape() -> None:
    machine = read_machine("dual_card")
    copy = judge(machine, (pair(machine, 0, 1, "bi"), 33.0))["p2p", "peak_bandwidth"]
    assert copy.verdict == "pass"
    assert copy.reference is not None
    assert copy.reference.value == 33
    assert "known shape dual-card-x16" in copy.reference.source
    assert judge(machine, (pair(machine, 0, 1, "bi"), 12.0))["p2p", "peak_bandwidth"].verdict == "fail"
    split = split_slot(machine)
    judged = judge(split, (pair(split, 0, 1, "bi"), 33.0))["p2p", "peak_bandwidth"]
    assert judged.reference is not None
    assert judged.reference.value == 40, "after BIOS x8/x8"


def split_slot(machine: Machine) -> Machine:
    paths = (("0000:00:01.0", "0000:03:00.0"), ("0000:00:01.1", "0000:07:00.0"))
    devices = []
    for device, path in zip(machine.devices, paths, strict=True):
        assert device.link is not None
        link = msgspec.structs.replace(
            device.link, hops=(msgspec.structs.replace(device.link.hops[-1], bdf=path[0], partner_bdf=path[1]),)
        )
        devices.append(msgspec.structs.replace(device, path=path, link=link))
    return msgspec.structs.replace(machine, devices=tuple(devices))


def test_two_b70_on_root_ports_have_their_known_rate() -> None:
    machine = read_machine("b60x8_2s")
    machine = msgspec.structs.replace(
        machine, devices=tuple(msgspec.structs.replace(d, device_id="e223") for d in machine.devices)
    )
    copy = judge(machine, (pair(machine, 4, 5), 10.0))["p2p", "peak_bandwidth"]
    assert copy.reference is not None
    assert (copy.verdict, copy.reference.value, copy.reference.kind) == ("pass", 10.26, "measured")
    assert judge(machine, (pair(machine, 0, 1), 10.0))["p2p", "peak_bandwidth"].verdict == "no-baseline"


def test_in_a_virtual_machine_nothing_is_scaled_and_nothing_fails() -> None:
    machine = read_machine("vm")
    rows = judge(machine, (h2d(machine.devices[0].bdf), 6.0), text=H2D.format(link=";link=gen5x8"))
    copy = rows["transfer", "peak_bandwidth"]
    assert copy.verdict == "warn"
    assert "virtual machine" in copy.reason
    assert rows[machine.devices[0].bdf, "width"].verdict == "not-applicable"


@pytest.mark.parametrize(("value", "verdict"), [(15.0, "pass"), (18.0, "unknown")])
def test_more_than_the_link_carries_is_not_believed(value: float, verdict: str) -> None:
    copy = judge(read_machine("b60x4_bmc"), (h2d(X4), value), text=H2D.format(link=";link=gen5x8"))
    assert copy["transfer", "peak_bandwidth"].verdict == verdict


def test_tiles_of_one_card_are_not_bound_by_its_link() -> None:
    machine = read_machine("max1550")
    key = make_key("p2p", "peak_bandwidth", ("0000:2a:00.0/tile0", "0000:2a:00.0/tile1"), mode="write",
                   direction="uni", path="peer")  # fmt: skip
    assert judge(machine, (key, 158.5))["p2p", "peak_bandwidth"].verdict == "no-baseline"


def test_an_idle_link_is_taken_at_its_possible_speed_until_it_is_seen_under_load() -> None:
    """The recorded A770, whose link says 2.5 GT/s and x4 as an idle card in a x4 slot does."""
    port = "/sys/devices/pci0000:00/0000:00:01.0"
    answers: dict[tuple[str, ...], Any] = {}
    for base in (port, f"{port}/0000:01:00.0"):
        answers["read", f"{base}/current_link_speed"] = FileAnswer(data=b"2.5 GT/s PCIe\n")
        answers["read", f"{base}/current_link_width"] = FileAnswer(data=b"4\n")
    machine = probe_machine(OverlayHost(open_loosely("a770"), answers))
    card = "0000:03:00.0"
    text = H2D.replace("e211", "56a0").format(link=";link=gen4x16")
    rows = judge(machine, (h2d(card), 6.6), text=text)
    assert (rows["transfer", "peak_bandwidth"].link, rows[card, "width"].verdict) == ("gen4x4", "fail")
    assert rows["transfer", "peak_bandwidth"].verdict == "pass"
    assert "read idle only" in rows[card, "rate"].note
    seen = read_seen_links([{card: {"link": ["2.5 GT/s x4", "8 GT/s x4"]}}, {card: {"link": "odd"}, "problem": "x"}])
    assert seen == {card: PcieLink(speed_gts=8.0, width=4)}
    slower = judge(machine, (h2d(card), 3.4), text=text, seen=seen)["transfer", "peak_bandwidth"]
    assert (slower.link, slower.verdict) == ("gen3x4", "pass")


@pytest.mark.parametrize("name", list_machines())
def test_every_recorded_machine_gets_its_rows(name: str) -> None:
    machine = probe_machine(open_machine(name))
    cards = [device for device in machine.devices if device.discrete is not False]
    for device in cards:
        rows = judge(machine, (h2d(device.bdf), 5.0))
        assert (device.bdf, "width") in rows
    assert judge_links(Links(machine), targets_of(machine), ()) == ()


def test_links_are_named() -> None:
    assert parse_link("gen5x8") == PcieLink(speed_gts=32.0, width=8)
    for text in ("", "gen7x8", "gen5x3", "x8", "gen5", "5x8"):
        assert parse_link(text) is None
    assert (name_link(16.0, 4), name_link(12.0, 4)) == ("gen4x4", "12 GT/s x4")
    row = parse_reference_csv(H2D.format(link=";link=gen5x8"), origin="t.csv")[0]
    assert (str(row.link), row.params) == ("gen5x8", (("direction", "h2d"),))
    assert row.written_params == {"direction": "h2d", "link": "gen5x8"}
