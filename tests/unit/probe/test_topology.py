from __future__ import annotations

import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xpukit.core.machine import Device, Link, NumaNode, OtherDevice, Topology
from xpukit.probe.topology import LEGEND, join_topology

TWO_NODES = (NumaNode(node=0, cpus="0-3"), NumaNode(node=1, cpus="4-7"))
ONE_NODE = (NumaNode(node=0, cpus="0-7"), NumaNode(node=1, cpus=""))


def make_gpu(index: int, bdf: str, *path: str, node: int | None = 0, tiles: int = 1, read_at: str = "") -> Device:
    return Device(
        index=index,
        bdf=bdf,
        vendor_id="8086",
        device_id="e211",
        name="B60",
        known=True,
        path=path,
        numa_node=node,
        tiles=tiles,
        link=Link(read_at=read_at) if read_at else None,
    )


def make_card(index: int, bus: int, *above: str, node: int | None = 0, tiles: int = 1) -> Device:
    """A discrete card with its own switch on buses `bus` to `bus`+2."""
    upstream = f"0000:{bus:02x}:00.0"
    path = (*above, upstream, f"0000:{bus + 1:02x}:01.0")
    return make_gpu(index, f"0000:{bus + 2:02x}:00.0", *path, node=node, tiles=tiles, read_at=upstream)


def make_other(bdf: str, *path: str, kind: str = "network", node: int | None = 0, name: str = "") -> OtherDevice:
    interfaces = (name,) if name else ()
    return OtherDevice(
        bdf=bdf,
        vendor_id="15b3",
        device_id="1021",
        pci_class="020000",
        kind=kind,
        numa_node=node,
        path=path,
        interfaces=interfaces,
    )


def relate(*devices: Device, nodes: tuple[NumaNode, ...] = TWO_NODES) -> str:
    return join_topology(devices, (), nodes).matrix[0][1]


def test_two_cards_below_one_switch_are_pix_and_the_switch_is_named() -> None:
    above = ("0000:16:01.0", "0000:17:00.0")
    one, other = make_card(0, 0x19, *above, "0000:18:00.0"), make_card(1, 0x1C, *above, "0000:18:01.0")
    found = join_topology((one, other), (), TWO_NODES)
    assert found.matrix == (("SELF", "PIX"), ("PIX", "SELF"))
    assert found.common == {"0,1": "0000:17:00.0"}
    assert found.labels == ("GPU0", "GPU1")
    assert found.bdfs == (one.bdf, other.bdf)


def test_the_cards_own_switch_is_recognised_without_the_link_reading() -> None:
    above = ("0000:16:01.0", "0000:17:00.0")
    cards = [make_card(0, 0x19, *above, "0000:18:00.0"), make_card(1, 0x1C, *above, "0000:18:01.0")]
    without = [make_gpu(card.index, card.bdf, *card.path) for card in cards]
    assert relate(*without) == "PIX"


def test_accelerators_without_a_switch_of_their_own() -> None:
    above = ("0000:16:01.0", "0000:17:00.0")
    assert relate(
        make_gpu(0, "0000:19:00.0", *above, "0000:18:00.0"), make_gpu(1, "0000:1a:00.0", *above, "0000:18:01.0")
    ) == ("PIX")


def test_cascaded_switches_are_pxb_and_the_upper_one_is_named() -> None:
    top = ("0000:16:01.0", "0000:17:00.0")
    left = (*top, "0000:18:00.0", "0000:19:00.0")
    right = (*top, "0000:18:01.0", "0000:20:00.0")
    cards = (
        make_card(0, 0x1B, *left, "0000:1a:00.0"),
        make_card(1, 0x22, *right, "0000:21:00.0"),
        make_card(2, 0x25, *right, "0000:21:01.0"),
        make_card(3, 0x28, *top, "0000:18:02.0"),
    )
    found = join_topology(cards, (), TWO_NODES)
    assert found.matrix[0] == ("SELF", "PXB", "PXB", "PXB")
    assert found.matrix[1] == ("PXB", "SELF", "PIX", "PXB")
    assert found.common["0,1"] == "0000:17:00.0"
    assert found.common["1,2"] == "0000:20:00.0"


def test_a_dual_card_on_two_root_ports_is_phb_below_one_host_bridge() -> None:
    assert relate(make_card(0, 0x17, "0000:16:01.0"), make_card(1, 0x1A, "0000:16:03.0")) == "PHB"


def test_an_integrated_gpu_meets_a_card_at_the_host_bridge() -> None:
    assert relate(make_gpu(0, "0000:00:02.0"), make_card(1, 0x01, "0000:00:01.0")) == "PHB"


def test_host_bridges_of_one_node_and_of_two() -> None:
    one = make_card(0, 0x17, "0000:16:01.0", node=0)
    assert relate(one, make_card(1, 0x31, "0000:30:01.0", node=0)) == "NODE"
    assert relate(one, make_card(1, 0x98, "0000:97:01.0", node=1)) == "SYS"


def test_the_same_bus_in_another_domain_is_another_host_bridge() -> None:
    assert relate(make_gpu(0, "0000:03:00.0", "0000:00:01.0"), make_gpu(1, "0001:03:00.0", "0001:00:01.0")) == "NODE"


def test_an_unknown_node_cannot_be_told_unless_there_is_only_one_with_cpus() -> None:
    one, other = make_card(0, 0x17, "0000:16:01.0", node=None), make_card(1, 0x31, "0000:30:01.0", node=0)
    found = join_topology((one, other), (), TWO_NODES)
    assert found.matrix[0][1] == "?"
    assert "?" in found.legend
    assert relate(one, other, nodes=ONE_NODE) == "NODE"
    assert relate(one, other, nodes=()) == "?"
    assert "?" not in join_topology((other,), (), TWO_NODES).legend


def test_tiles_are_rows_and_functions_of_one_card_are_pix() -> None:
    found = join_topology(
        (make_card(0, 0x17, "0000:16:01.0", tiles=2), make_card(1, 0x98, "0000:97:01.0", node=1)), (), TWO_NODES
    )
    assert found.labels == ("GPU0/0", "GPU0/1", "GPU1")
    assert found.matrix[0] == ("SELF", "TILE", "SYS")
    assert found.common == {}


def test_a_virtual_function_stays_with_its_card() -> None:
    above = ("0000:16:01.0", "0000:17:00.0")
    whole = make_card(0, 0x19, *above, "0000:18:00.0")
    virtual = make_gpu(1, "0000:1b:00.1", *whole.path)
    far = make_card(2, 0x1C, *above, "0000:18:01.0")
    found = join_topology((whole, virtual, far), (), TWO_NODES)
    assert found.matrix == (("SELF", "PIX", "PIX"), ("PIX", "SELF", "PIX"), ("PIX", "PIX", "SELF"))


def test_nics_and_drives_are_rows_after_the_gpus() -> None:
    above = ("0000:16:01.0", "0000:17:00.0")
    others = (
        make_other("0000:1d:00.0", *above, "0000:18:01.0", name="mlx5_0"),
        make_other("0000:1d:00.1", *above, "0000:18:01.0", name="mlx5_1"),
        make_other("0000:98:00.0", "0000:97:01.0", kind="nvme", node=1),
        make_other("0000:05:00.0", kind="display"),
    )
    found = join_topology((make_card(0, 0x19, *above, "0000:18:00.0"),), others, TWO_NODES)
    assert found.labels == ("GPU0", "NIC0 (mlx5_0)", "NIC1 (mlx5_1)", "NVME0")
    assert found.matrix[0] == ("SELF", "PIX", "PIX", "SYS")
    assert found.matrix[1][2] == "PIX"


def test_nothing_gives_an_empty_matrix() -> None:
    found = join_topology((), (), ())
    assert (found.labels, found.matrix, found.common) == ((), (), {})


unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
address = st.builds(
    "{:04x}:{:02x}:{:02x}.{}".format, st.integers(0, 1), st.integers(0, 255), st.integers(0, 31), st.integers(0, 7)
)


@st.composite
def pci_trees(draw: st.DrawFn) -> list[Device]:
    """GPUs at random places of a random tree of bridges, sometimes with wrong or missing link readings."""
    bridges: list[tuple[str, ...]] = [()]
    for name in draw(st.lists(address, max_size=12, unique=True)):
        bridges.append((*draw(st.sampled_from(bridges)), name))
    devices = []
    for index, bdf in enumerate(draw(st.lists(address, max_size=8, unique=True))):
        path = draw(st.sampled_from(bridges))
        read_at = draw(st.sampled_from(["", *path, bdf, "0000:ff:1f.7"]))
        node = draw(st.sampled_from([None, 0, 1, 7]))
        devices.append(make_gpu(index, bdf, *path, node=node, tiles=draw(st.integers(1, 3)), read_at=read_at))
    return devices


def check_matrix(found: Topology) -> None:
    size = len(found.labels)
    assert len(found.bdfs) == len(found.matrix) == size
    assert len(set(found.labels)) == size
    for i, j in itertools.product(range(size), range(size)):
        assert found.matrix[i][j] == found.matrix[j][i]
        assert (found.matrix[i][j] == "SELF") == (i == j)
        assert found.matrix[i][j] in LEGEND
        assert found.matrix[i][j] in found.legend
        assert (f"{i},{j}" in found.common) == (i < j and found.matrix[i][j] in ("PIX", "PXB"))


@unhurried
@given(pci_trees(), st.sampled_from([(), ONE_NODE, TWO_NODES]))
def test_random_trees_give_a_consistent_matrix(devices: list[Device], nodes: tuple[NumaNode, ...]) -> None:
    found = join_topology(devices, (), nodes)
    check_matrix(found)
    by_label = {label: device for device in devices for label in (f"GPU{device.index}",)}
    for (i, one), (j, other) in itertools.combinations(enumerate(found.labels), 2):
        common = found.common.get(f"{i},{j}")
        if common and one in by_label and other in by_label:
            assert common in by_label[one].path
            assert common in by_label[other].path


@unhurried
@given(st.lists(st.tuples(st.text(max_size=8), st.lists(st.text(min_size=1, max_size=4), max_size=4)), max_size=5))
def test_garbage_addresses_do_no_harm(rows: list[tuple[str, list[str]]]) -> None:
    check_matrix(join_topology([make_gpu(i, bdf, *path) for i, (bdf, path) in enumerate(rows)], (), TWO_NODES))
