from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xpukit.core.machine import Device, Link, Machine, NumaNode, OtherDevice
from xpukit.probe.draw import draw_dot, draw_svg
from xpukit.probe.forest import Branch, build_forest, describe_link

SVG = "{http://www.w3.org/2000/svg}"
UPSTREAM = "0000:19:00.0"


def make_link(*, degraded: bool, read_at: str) -> Link:
    speed = 16.0 if degraded else 32.0
    return Link(
        read_at=read_at,
        current_speed_gts=speed,
        current_width=8,
        max_speed_gts=32.0,
        max_width=8,
        degraded=degraded,
    )


def make_gpu(index: int, node: int | None, *above: str, degraded: bool = False, name: str = "Arc Pro B60") -> Device:
    bus = 0x40 + 3 * index
    upstream = f"0000:{bus:02x}:00.0"
    return Device(
        index=index,
        bdf=f"0000:{bus + 2:02x}:00.0",
        vendor_id="8086",
        device_id="e211",
        name=name,
        known=True,
        driver="xe",
        memory_bytes=24 << 30,
        numa_node=node,
        path=(*above, upstream, f"0000:{bus + 1:02x}:01.0"),
        link=make_link(degraded=degraded, read_at=upstream),
    )


def make_machine(gpus: int = 8) -> Machine:
    """Two sockets; the first two GPUs of each below a switch, the others on root ports of their own."""
    devices = []
    for index in range(gpus):
        node, place = divmod(index, max(gpus // 2, 1))
        bus = 0x10 + 0x80 * node
        switch = (f"0000:{bus:02x}:01.0", f"0000:{bus + 1:02x}:00.0", f"0000:{bus + 2:02x}:0{place % 8}.0")
        own = (f"0000:{bus:02x}:{2 + place:02x}.0",)
        devices.append(make_gpu(index, node, *(switch if place < 2 else own), degraded=index == 5))
    others = (
        OtherDevice(
            bdf="0000:e8:00.0",
            vendor_id="15b3",
            device_id="1021",
            pci_class="020700",
            kind="network",
            driver="mlx5_core",
            numa_node=1,
            path=("0000:e7:01.0",),
            interfaces=("mlx5_0", "ib0"),
        ),
        OtherDevice(bdf="0000:05:00.0", vendor_id="1a03", device_id="2000", pci_class="030000", kind="display"),
    )
    nodes = tuple(
        NumaNode(node=n, cpus=f"{32 * n}-{32 * n + 31}", memory_bytes=256 << 30, distances=d, socket=n)
        for n, d in ((0, (10, 21)), (1, (21, 10)))
    )
    return Machine(devices=tuple(devices), others=others, numa=nodes)


def read_svg(machine: Machine) -> ElementTree.Element:
    return ElementTree.fromstring(draw_svg(machine))


def list_texts(root: ElementTree.Element) -> list[str]:
    """What is written, in full: the tooltip where a line is shortened."""
    return [node.findtext(f"{SVG}title") or node.text or "" for node in root.iter(f"{SVG}text")]


def count_leaves(branch: Branch) -> int:
    return len(branch.leaves) + sum(map(count_leaves, branch.branches))


def test_the_forest_nests_cards_below_switches_and_leaves_out_their_own() -> None:
    first = build_forest(make_machine())[0]
    assert first.title == "Socket 0"
    [box] = first.nodes
    assert (box.title, box.detail) == ("NUMA node 0", "CPUs 0-31 · 256 GiB · distances 10 21")
    [root] = box.roots
    assert (root.kind, root.name) == ("root", "0000:10")
    assert [(port.name, count_leaves(port)) for port in root.branches] == [
        ("0000:10:01.0", 2),
        ("0000:10:04.0", 1),
        ("0000:10:05.0", 1),
    ]
    [switch] = root.branches[0].branches
    assert (switch.kind, switch.name) == ("switch", "0000:11:00.0")
    assert [leaf.title for leaf in switch.leaves] == ["GPU0 · Arc Pro B60", "GPU1 · Arc Pro B60"]


def test_svg_holds_every_card_once_with_its_link() -> None:
    texts = list_texts(read_svg(make_machine()))
    for index in range(8):
        assert texts.count(f"GPU{index} · Arc Pro B60") == 1
    assert texts.count("PCIe 5.0 x8") == 7
    assert texts.count("PCIe 4.0 x8 (could be 5.0 x8)") == 1
    assert texts.count("NIC0 (mlx5_0)") == 1
    assert texts.count("switch") == 2
    assert not any("0000:05:00.0" in text for text in texts)


@pytest.mark.parametrize("gpus", [1, 2, 8, 16])
def test_svg_boxes_stay_inside_and_cards_do_not_overlap(gpus: int) -> None:
    root = read_svg(make_machine(gpus))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    boxes = [tuple(float(r.get(k, 0)) for k in ("x", "y", "width", "height")) for r in root.iter(f"{SVG}rect")]
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in boxes)
    cards = sorted(box for box in boxes if box[2] == 330)
    assert len(cards) == gpus + 1
    assert all(above[1] + above[3] < below[1] for above, below in itertools.pairwise(cards))


def test_memory_only_nodes_and_unknown_ones_are_drawn() -> None:
    nodes = (
        NumaNode(node=0, cpus="0-3", memory_bytes=1 << 30, distances=(10, 13), socket=0),
        NumaNode(node=2, cpus="", memory_bytes=64 << 30, distances=(13, 10), socket=0),
    )
    texts = list_texts(read_svg(Machine(numa=nodes, devices=(make_gpu(0, None, "0000:10:01.0"),))))
    assert "no CPUs · 64 GiB · distances 13 10" in texts
    assert "NUMA node unknown" in texts


def test_an_empty_machine_says_so() -> None:
    assert list_texts(read_svg(Machine())) == ["no NUMA nodes and no devices were found"]


def test_link_texts() -> None:
    assert describe_link(None) == ""
    assert describe_link(Link(read_at="")) == ""
    assert describe_link(Link(read_at="", current_speed_gts=7.5, current_width=4)) == "7.5 GT/s x4"


@pytest.mark.live
def test_graphviz_takes_the_dot_source() -> None:
    if shutil.which("dot") is None:
        pytest.skip("graphviz is not installed")
    source = draw_dot(make_machine(16))
    ran = subprocess.run(["dot", "-Tplain"], input=source.encode(), capture_output=True, timeout=60, check=True)
    drawn = ran.stdout.decode()
    assert ran.stderr == b""
    assert len(re.findall(r"^node .*GPU\d+ · Arc Pro B60", drawn, re.MULTILINE)) == 16
    assert len(re.findall(r"^edge ", drawn, re.MULTILINE)) == drawn.count("\nnode ") - 2 - count_roots(make_machine(16))


def count_roots(machine: Machine) -> int:
    """Boxes without an edge to them; each NUMA node has an invisible one too."""
    return sum(len(box.roots) for socket in build_forest(machine) for box in socket.nodes)


names = st.text(max_size=40)
nodes = st.lists(
    st.builds(
        NumaNode,
        node=st.integers(0, 9),
        cpus=st.sampled_from(["", "0-3", "0,2,4,6,8,10,12,14,16,18,20,22,24,26"]),
        memory_bytes=st.sampled_from([None, 0, 1 << 34]),
        socket=st.sampled_from([None, 0, 1]),
    ),
    max_size=4,
    unique_by=lambda node: node.node,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(nodes, st.lists(st.tuples(names, st.sampled_from([None, 0, 3]), st.integers(0, 3)), max_size=16))
def test_any_machine_is_drawn_completely(numa: list[NumaNode], cards: list[tuple[str, int | None, int]]) -> None:
    bridges = ("0000:10:01.0", "0000:11:00.0", "0000:12:01.0")
    devices = tuple(make_gpu(i, node, *bridges[:depth], name=name) for i, (name, node, depth) in enumerate(cards))
    machine = Machine(devices=devices, numa=tuple(sorted(numa, key=lambda node: node.node)))
    root = read_svg(machine)
    assert sum(r.get("width") == "330" for r in root.iter(f"{SVG}rect")) == len(cards)
    boxes = [box for socket in build_forest(machine) for box in socket.nodes]
    assert len({box.node for box in boxes}) == len(boxes)
    assert {node.node for node in numa} <= {box.node for box in boxes}
    dot = draw_dot(machine)
    assert dot.count("{") == dot.count("}") + sum(name.count("{") - name.count("}") for name, *_ in cards)
