from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.dict_host import DictHost
from tests.machines.four_b60 import (
    BDFS,
    DRIVER_VERSION,
    LEVEL_ZERO_ORDER,
    MEMORY_BYTES,
    NAME,
    make_answer,
    make_devices,
    make_level_zero_device,
    make_uuid,
)
from xpukit.core.finding import Finding
from xpukit.core.machine import Device
from xpukit.host.level_zero import snapshot
from xpukit.host.level_zero.snapshot import LevelZeroAnswer
from xpukit.probe import join, level_zero
from xpukit.probe.sighting import Sighting, find_device, format_uuid, read_uuid

ASKED_ALL = {"level-zero": "ok", "xpu-smi": "ok", "sycl-ls": "ok"}


def see_xpu_smi(bdf: str, index: int, **changes: object) -> Sighting:
    fields: dict[str, object] = {
        "source": "xpu-smi",
        "evidence": f"xpu-smi discovery -d {index} -j",
        "index": index,
        "label": str(index),
        "bdf": bdf,
        "name": NAME,
        "device_id": "e211",
        "memory_bytes": MEMORY_BYTES,
        "tiles": 1,
        "driver_version": str(DRIVER_VERSION),
        **changes,
    }
    return Sighting(**fields)  # type: ignore[arg-type]


def see_sycl(number: int, *, uuid: str = "", source: str = "sycl-ls", driver: str = "1.14.38646+7") -> Sighting:
    return Sighting(
        source=source,
        evidence="sycl-ls --verbose",
        index=number,
        label=f"level_zero:{number}",
        uuid=uuid,
        name=NAME,
        driver_version=driver,
    )


def see_all(**answer_changes: object) -> tuple[tuple[Device, ...], tuple[Sighting, ...], dict[str, object]]:
    """Devices, sightings and Level Zero's table of a healthy machine."""
    joined = level_zero.join_answer(make_answer(**answer_changes), make_devices())
    sightings = (
        *joined["sightings"],
        *(see_xpu_smi(bdf, 3 - place) for place, bdf in enumerate(BDFS)),
        *(see_sycl(number) for number in range(4)),
    )
    return joined["devices"], sightings, joined["level_zero"]


def identify(findings: object) -> list[str]:
    assert isinstance(findings, (list, tuple))
    return [finding.id for finding in findings]


def test_level_zeros_order_is_not_pcis() -> None:
    joined = level_zero.join_answer(make_answer(), make_devices())
    by_bdf = {device.bdf: device for device in joined["devices"]}
    for index, place in enumerate(LEVEL_ZERO_ORDER):
        device = by_bdf[BDFS[place]]
        assert (device.level_zero_index, device.affinity_mask) == (index, str(index))
        assert (device.index, device.card_index) == (place, place + 1)
        assert device.memory_bytes == MEMORY_BYTES
        assert device.sources["memory_bytes"] == "level-zero"
    assert by_bdf["0000:18:00.0"].uuid == "00000000-0000-0018-0000-0000e2118086"  # as xpu-smi prints it
    assert joined["asked"] == {"level-zero": "ok"}
    assert joined["unread"] == ()


def test_peers_are_named_by_address() -> None:
    peers = level_zero.join_answer(make_answer(), make_devices())["level_zero"]["peers"]
    assert len(peers) == 12
    pairs = {(peer["src"], peer["dst"]) for peer in peers}
    assert pairs == {(a, b) for a in BDFS for b in BDFS if a != b}
    assert all(peer["can_access"] is True and peer["src_tile"] is None for peer in peers)


def make_max(**environment: str) -> tuple[LevelZeroAnswer, tuple[Device, ...]]:
    """Two cards of two tiles each."""
    cards = []
    for index, bdf in enumerate(BDFS[:2]):
        tiles = tuple(
            make_level_zero_device(
                bdf, tile, mask_composite=f"{index}.{tile}", masks_flat=(2 * index + tile,), is_subdevice=True
            )
            for tile in range(2)
        )
        cards.append(make_level_zero_device(bdf, index, tiles=tiles, masks_flat=(2 * index, 2 * index + 1)))
    peers = (snapshot.Peer(driver_index=0, src="1.0", dst="1.1", can_access=True),)
    devices = tuple(msgspec.structs.replace(device, tiles=2) for device in make_devices(2))
    return make_answer(devices=tuple(cards), peers=peers, environment=dict(environment)), devices


def test_masks_of_tiles_follow_the_hierarchy() -> None:
    answer, devices = make_max()
    flat = level_zero.join_answer(answer, devices)
    assert [device.affinity_mask for device in flat["devices"]] == ["0,1", "2,3"]
    assert [device.level_zero_index for device in flat["devices"]] == [0, 1]
    (peer,) = flat["level_zero"]["peers"]
    assert (peer["src"], peer["src_tile"], peer["dst_tile"]) == (BDFS[1], 0, 1)
    answer, devices = make_max(ZE_FLAT_DEVICE_HIERARCHY="COMPOSITE")
    composite = level_zero.join_answer(answer, devices)
    assert [device.affinity_mask for device in composite["devices"]] == ["0", "1"]


@pytest.mark.parametrize(("count", "expected"), [(4, [0, 2]), (2, [0, 1])])
def test_sycl_lists_cards_or_tiles(count: int, expected: list[int]) -> None:
    answer, devices = make_max()
    joined = level_zero.join_answer(answer, devices)
    placed = join.assign_indices(
        joined["devices"], tuple(see_sycl(number) for number in range(count)), joined["level_zero"]
    )
    assert [device.sycl_index for device in placed] == expected


def test_every_device_gets_all_its_numbers() -> None:
    devices, sightings, table = see_all()
    placed = join.assign_indices(devices, sightings, table)
    assert [device.level_zero_index for device in placed] == [1, 3, 0, 2]
    assert [device.sycl_index for device in placed] == [1, 3, 0, 2]  # SYCL keeps Level Zero's order
    assert [device.xpu_smi_index for device in placed] == [3, 2, 1, 0]
    assert placed[0].sources["sycl_index"] == "sycl-ls (Level Zero's order)"
    assert list(join.find_disagreements(placed, sightings, ASKED_ALL)) == []


def test_sycl_uuids_win_over_the_order() -> None:
    devices, _, table = see_all()
    seen = tuple(see_sycl(number, uuid=make_uuid(BDFS[number])) for number in range(4))
    assert [device.sycl_index for device in join.assign_indices(devices, seen, table)] == [0, 1, 2, 3]


def test_a_filtered_or_partial_sycl_list_is_not_guessed_at() -> None:
    devices, _, table = see_all()
    three = tuple(see_sycl(number) for number in range(3))
    assert [device.sycl_index for device in join.assign_indices(devices, three, table)] == [None] * 4


@pytest.mark.parametrize(
    ("status", "detail", "remedy"),
    [
        ("no-loader", "libze_loader.so.1: cannot open shared object file", "Install the Level Zero loader"),
        ("no-driver", "zeInit: 0x78000001", "Install the GPU's Level Zero driver"),
        ("denied", "no device: /dev/dri/renderD128 may not be opened", "usermod -aG render"),
        ("crashed", "killed by SIGSEGV in zeInit", "dmesg"),
        ("timeout", "no answer within 6.0 s in zeInit", "reset"),
        ("init-failed", "zeInit: 0x70020000", "dmesg"),
        ("unrecorded", "not in this recording", "record again"),
    ],
)
def test_each_failure_is_said_with_its_remedy(status: str, detail: str, remedy: str) -> None:
    answer = LevelZeroAnswer(status=status, detail=detail, remedy=remedy)  # type: ignore[arg-type]
    joined = level_zero.join_answer(answer, make_devices())
    (row,) = joined["unread"]
    assert status in row.why
    assert detail in row.why
    assert row.remedy == remedy
    assert joined["asked"] == {"level-zero": status}
    assert joined["devices"] == make_devices()
    assert all(item.note for item in joined["software"])
    # A source that did not answer is not compared.
    assert list(join.find_disagreements(joined["devices"], (), joined["asked"])) == []


def test_sysman_alone_gives_uuid_and_sensors_but_no_index() -> None:
    sysman = snapshot.Sysman(
        temperatures=(snapshot.Temperature(sensor="gpu", celsius=41.0),),
        frequencies=(snapshot.FrequencyDomain(domain="gpu", actual_mhz=2400.0),),
        firmwares=(snapshot.Firmware(name="GFX", version="BMG__21.1156"), snapshot.Firmware(name="PSC", version="")),
        memories=(snapshot.MemoryModule(kind="gddr6", location="device", free_bytes=7),),
    )
    seen = make_level_zero_device(BDFS[0], None, sysman=sysman, memory_bytes=None)
    answer = make_answer(status="init-failed", detail="zeInit: 0x70020000; sysman works", devices=(seen,), peers=())
    joined = level_zero.join_answer(answer, make_devices())
    first = joined["devices"][0]
    assert first.level_zero_index is None
    assert first.affinity_mask == ""
    assert first.uuid.endswith("e2118086")
    assert [(sensor.name, sensor.value, sensor.unit) for sensor in first.sensors] == [
        ("temperature gpu", 41.0, "C"),
        ("clock gpu", 2400.0, "MHz"),
        ("memory free", 7.0, "bytes"),
    ]
    assert [(firmware.name, firmware.source) for firmware in first.firmware] == [("GFX", "level-zero sysman")]
    assert joined["asked"] == {"level-zero": "init-failed"}


def test_other_kinds_of_devices_do_not_shift_numbers() -> None:
    npu = make_level_zero_device("0000:00:0b.0", 0, type="npu", name="Intel(R) AI Boost", driver_index=1)
    answer = make_answer(devices=(npu, *make_answer().devices))
    joined = level_zero.join_answer(answer, make_devices())
    assert [device.level_zero_index for device in joined["devices"]] == [1, 3, 0, 2]
    assert len(joined["sightings"]) == 4


def find_all(
    devices: tuple[Device, ...], sightings: tuple[Sighting, ...], asked: dict[str, str] | None = None
) -> list[Finding]:
    return list(join.find_disagreements(devices, sightings, asked or ASKED_ALL))


def test_a_device_that_one_source_misses() -> None:
    devices, sightings, _ = see_all()
    without = tuple(seen for seen in sightings if not (seen.source == "xpu-smi" and seen.bdf == BDFS[2]))
    (finding,) = find_all(devices, without)
    assert finding.id == "XPK-PROBE-NOT-IN-XPU-SMI"
    assert finding.subject == BDFS[2]
    assert finding.remedy
    without = tuple(seen for seen in sightings if seen.source == "xpu-smi" or seen.bdf != BDFS[0])
    without = tuple(seen for seen in without if seen.label != "level_zero:3")
    assert identify(find_all(devices, without)) == ["XPK-PROBE-NOT-IN-LEVEL-ZERO"]
    unbound = tuple(msgspec.structs.replace(device, driver="vfio-pci") for device in devices)
    assert find_all(unbound, ()) == []


def test_a_device_that_only_a_tool_lists() -> None:
    devices, sightings, _ = see_all()
    (finding,) = find_all(devices[:3], tuple(seen for seen in sightings if seen.source == "xpu-smi"), {"xpu-smi": "ok"})
    assert (finding.id, finding.subject) == ("XPK-PROBE-NOT-ON-PCI", BDFS[3])
    assert "xpu-smi lists" in finding.summary
    (both,) = find_all(devices[:3], tuple(seen for seen in sightings if seen.source != "sycl-ls"), {"xpu-smi": "ok"})
    assert "level-zero and xpu-smi list " in both.summary
    assert len(both.evidence) == 2


@pytest.mark.parametrize(
    ("change", "identifier", "severity"),
    [
        ({"memory_bytes": MEMORY_BYTES // 2}, "XPK-PROBE-MEMORY-DIFFERS", "warning"),
        ({"device_id": "e210"}, "XPK-PROBE-ID-DIFFERS", "warning"),
        ({"name": "Intel(R) Arc(TM) Pro B50 Graphics"}, "XPK-PROBE-NAME-DIFFERS", "info"),
        ({"tiles": 2}, "XPK-PROBE-TILES-DIFFER", "warning"),
    ],
)
def test_what_sources_say_differently(change: dict[str, object], identifier: str, severity: str) -> None:
    devices, sightings, _ = see_all()
    odd = tuple(
        see_xpu_smi(BDFS[1], 2, **change) if seen.source == "xpu-smi" and seen.bdf == BDFS[1] else seen
        for seen in sightings
    )
    (finding,) = find_all(devices, odd)
    assert (finding.id, finding.severity, finding.subject) == (identifier, severity, BDFS[1])
    assert len(finding.evidence) >= 2
    assert finding.remedy


def test_small_differences_and_nameless_names_are_none() -> None:
    devices, sightings, _ = see_all()
    close = tuple(
        msgspec.structs.replace(seen, memory_bytes=int(MEMORY_BYTES * 0.96), name="Intel(R) Graphics [0xe211]")
        if seen.source == "xpu-smi"
        else seen
        for seen in sightings
    )
    assert find_all(devices, close) == []


def test_integrated_memory_is_not_compared() -> None:
    devices, sightings, _ = see_all()
    shared = tuple(msgspec.structs.replace(device, discrete=False) for device in devices)
    odd = tuple(
        msgspec.structs.replace(seen, memory_bytes=1 << 30) if seen.source == "xpu-smi" else seen for seen in sightings
    )
    assert find_all(shared, odd) == []


def test_two_installed_drivers_are_found() -> None:
    devices, sightings, _ = see_all()
    other = tuple(
        msgspec.structs.replace(seen, driver_version="1.6.33578+15") if seen.source == "sycl-ls" else seen
        for seen in sightings
    )
    (finding,) = find_all(devices, other)
    assert finding.id == "XPK-PROBE-DRIVER-DIFFERS"
    assert "33578" in finding.summary
    assert "38646" in finding.summary
    assert level_zero.decode_driver_version(DRIVER_VERSION) == "1.3.38646"


def test_sycl_without_its_level_zero_backend() -> None:
    devices, sightings, _ = see_all()
    only_opencl = tuple(seen for seen in sightings if seen.source != "sycl-ls")
    (finding,) = find_all(devices, only_opencl)
    assert finding.id == "XPK-PROBE-SYCL-DIFFERS"
    assert "sycl-ls none" in finding.summary


def test_the_question_reads_what_the_others_left() -> None:
    devices, sightings, table = see_all()
    answer = join.read_machine(
        DictHost(), devices, {"sightings": sightings, "asked": ASKED_ALL, "level_zero": table, "findings": ()}
    )
    assert [device.xpu_smi_index for device in answer["devices"]] == [3, 2, 1, 0]
    assert answer["findings"] == ()
    assert join.read_machine(DictHost(), (), {}) == {"devices": (), "findings": ()}


@given(st.text(max_size=60))
def test_any_text_may_stand_where_a_uuid_should(text: str) -> None:
    uuid = read_uuid(text)
    if uuid is not None:
        assert read_uuid(format_uuid(uuid)) is not None
    find_device(make_devices(), uuid=text)


SIGHTINGS = st.builds(
    Sighting,
    source=st.sampled_from(["level-zero", "xpu-smi", "sycl-ls", "dpctl"]),
    evidence=st.just("test"),
    index=st.none() | st.integers(0, 9),
    label=st.sampled_from(["", "0", "level_zero:0", "level_zero:3", "opencl:0"]),
    bdf=st.sampled_from(["", *BDFS, "ffff:ff:1f.7"]),
    uuid=st.sampled_from(["", make_uuid(BDFS[0]), "x", "0" * 32]),
    name=st.text(max_size=20),
    device_id=st.sampled_from(["", "e211", "zzzz"]),
    memory_bytes=st.none() | st.integers(0, 1 << 50),
    tiles=st.none() | st.integers(0, 9),
    driver_version=st.sampled_from(["", "17012470", "1.3.26918", "9" * 30, "x.y"]) | st.text(max_size=12),
)


@given(st.lists(SIGHTINGS, max_size=12), st.integers(0, 4))
def test_any_sightings_join_without_an_exception(sightings: list[Sighting], count: int) -> None:
    devices = make_devices(count)
    table = level_zero.describe_answer(make_answer())
    placed = join.assign_indices(devices, sightings, table)
    assert [device.bdf for device in placed] == [device.bdf for device in devices]
    for finding in join.find_disagreements(placed, sightings, ASKED_ALL):
        assert finding.evidence
        assert finding.remedy
