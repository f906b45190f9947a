from __future__ import annotations

import msgspec

from tests.machines.recorded_machines import find_device, open_machine, read_machine
from xpukit.core.finding import Finding
from xpukit.host.answers import LinkAnswer, NamesAnswer, StatAnswer
from xpukit.host.overlay import OverlayHost
from xpukit.probe.machine import probe_machine

DENIED = StatAnswer(kind="char", mode=0o660, uid=0, gid=992, owner="root", group="render")


def find_findings(changes: dict[tuple[str, ...], msgspec.Struct], prefix: str) -> list[Finding]:
    machine = probe_machine(OverlayHost(open_machine("b60x4_bmc"), changes), include_all=True)
    return [finding for finding in machine.findings if finding.id.startswith(prefix)]


def test_nodes_and_their_links() -> None:
    device = find_device("b60x4_bmc", "0000:18:00.0")
    assert (device.card_node, device.card_index) == ("/dev/dri/card1", 1)
    assert device.render_node == "/dev/dri/renderD128"
    assert device.by_path == (
        "/dev/dri/by-path/pci-0000:18:00.0-card",
        "/dev/dri/by-path/pci-0000:18:00.0-render",
    )
    assert device.extra["node_access"]["render"]["mode"] == "0660"


def test_every_gpu_has_nodes_of_its_own() -> None:
    nodes = [device.render_node for device in read_machine("b60x8_2s").devices]
    assert nodes == [f"/dev/dri/renderD{number}" for number in range(128, 136)]


def test_without_a_driver_there_are_no_nodes() -> None:
    for device in read_machine("unbound").devices:
        assert (device.card_node, device.render_node, device.card_index, device.by_path) == ("", "", None, ())


def test_links_are_read_from_the_directory_where_udev_has_no_database() -> None:
    replay = open_machine("vm")
    bare = replay.udev("drm")
    devices = tuple(msgspec.structs.replace(device, device_links=()) for device in bare.devices)
    by_path = "/dev/dri/by-path"
    changes: dict[tuple[str, ...], msgspec.Struct] = {
        ("udev", "drm"): msgspec.structs.replace(bare, devices=devices),
        ("list", by_path): NamesAnswer(names=("pci-0000:01:00.0-card", "pci-0000:01:00.0-render", "platform-x-card")),
        ("link", f"{by_path}/pci-0000:01:00.0-card"): LinkAnswer(target="../card1"),
        ("link", f"{by_path}/pci-0000:01:00.0-render"): LinkAnswer(target="../renderD128"),
    }
    changes |= {
        ("link", f"{by_path}/pci-0000:00:01.0-{kind}"): LinkAnswer(error="ENOENT") for kind in ("card", "render")
    }
    device = probe_machine(OverlayHost(replay, changes), include_all=True).devices[0]
    assert device.by_path == find_device("vm", "0000:01:00.0").by_path != ()


def test_a_node_that_the_user_may_not_open() -> None:
    (finding,) = find_findings({("stat", "/dev/dri/renderD129"): DENIED}, "XPK-PROBE-NODE-DENIED")
    assert finding.subject == "0000:3a:00.0"
    assert finding.evidence[0].value == "mode 0660 root:render"
    assert "usermod -aG render" in finding.remedy[0]


def test_a_node_without_group_access_is_not_helped_by_a_group() -> None:
    closed = msgspec.structs.replace(DENIED, mode=0o600, group="root")
    (finding,) = find_findings({("stat", "/dev/dri/renderD129"): closed}, "XPK-PROBE-NODE-DENIED")
    assert "usermod" not in finding.remedy[0]


def test_a_container_without_the_node() -> None:
    (finding,) = find_findings({("stat", "/dev/dri/renderD130"): StatAnswer(error="ENOENT")}, "XPK-PROBE-NODE-MISSING")
    assert "--device /dev/dri" in finding.remedy[0]


def test_nothing_is_found_where_all_is_well() -> None:
    assert find_findings({}, "XPK-PROBE-NODE") == []
