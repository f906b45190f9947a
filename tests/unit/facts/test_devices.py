from __future__ import annotations

import pytest

from xpukit.facts.devices import find_card_bridge, list_devices, load_table, lookup_device, name_unknown


def test_a_b60_has_its_name_and_limits() -> None:
    b60 = lookup_device("8086", "e211")
    assert b60 is not None
    assert b60.name == "Intel Arc Pro B60 Graphics"
    assert (b60.codename, b60.discrete, b60.on_card_switch) == ("Battlemage G21", True, True)
    assert b60.memory_bandwidth_gbps == 456
    assert b60.memory_bytes == 24 << 30
    assert (b60.fp16_tflops, b60.int8_tops) == (98.3, 197)
    assert (b60.pcie_speed_gts, b60.pcie_width) == (32, 8)


def test_ids_are_found_however_they_are_written() -> None:
    assert lookup_device("0x8086", "0xE211") == lookup_device("8086", "e211")


@pytest.mark.parametrize(("vendor", "device"), [("10de", "e211"), ("8086", "ffff"), ("", ""), ("8086", "")])
def test_what_is_not_in_the_table_is_none(vendor: str, device: str) -> None:
    assert lookup_device(vendor, device) is None


def test_max_cards_have_tiles_and_no_switch() -> None:
    max_1550 = lookup_device("8086", "0bd5")
    assert max_1550 is not None
    assert (max_1550.tiles, max_1550.on_card_switch) == (2, False)


def test_an_id_used_twice_says_so() -> None:
    shared = lookup_device("8086", "0be5")
    assert shared is not None
    assert shared.discrete is None
    assert "Atom" in shared.note


def test_names_are_never_empty_and_carry_no_marks() -> None:
    for facts in list_devices():
        assert facts.name.startswith("Intel "), facts
        assert "(R)" not in facts.name
        assert "(TM)" not in facts.name
        assert facts.platform, facts
        assert facts.listed_in, facts


def test_ids_are_unique_and_every_limit_belongs_to_one() -> None:
    table = load_table()
    ids = [facts.id for facts in table.devices]
    assert len(ids) == len(set(ids))
    assert {device_id for limit in table.limits for device_id in limit.ids} <= set(ids)
    for limit in table.limits:
        assert limit.source
        assert limit.unit in {"GB/s", "TFLOPS", "TOPS", "GiB", "GT/s", "lanes"}


def test_every_source_names_its_date() -> None:
    assert {source.name for source in load_table().sources} == {"linux", "neo", "pci.ids"}
    assert all(source.date for source in load_table().sources)


def test_card_bridges() -> None:
    assert find_card_bridge("8086", "4fa0") == "upstream"
    assert find_card_bridge("8086", "0xE2F0") == "downstream"
    assert find_card_bridge("1000", "4fa0") == ""


def test_unknown_name() -> None:
    assert name_unknown("f0a1") == "Intel GPU (unknown SKU 0xF0A1)"
