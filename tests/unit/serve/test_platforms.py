"""Named platforms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.core.errors import UsageError
from xpukit.facts.devices import lookup_device
from xpukit.facts.platforms import find_by_pci_id, list_gpus
from xpukit.serve.device_speed import find_speed
from xpukit.serve.devices import find_units
from xpukit.serve.platforms import parse_platform

GIB = 1 << 30


@pytest.mark.parametrize(
    ("text", "nodes", "gpus", "name", "units"),
    [
        ("2x8xH200", 2, 8, "2x8xH200", 8),
        ("1x2xA100-80G", 1, 2, "2xA100-80G", 2),
        ("8xB60", 1, 8, "8xB60", 8),
        ("4xb60", 1, 4, "4xB60", 4),
        ("8xMax1550", 1, 8, "8xMax1550", 16),
        ("8 x Max 1550", 1, 8, "8xMax1550", 16),
        ("2×a100_40gb", 1, 2, "2xA100-40G", 2),
        ("B580", 1, 1, "1xB580", 1),
    ],
)
def test_names(text: str, nodes: int, gpus: int, name: str, units: int) -> None:
    platform = parse_platform(text)
    assert (platform.nodes, platform.gpus_per_node, platform.name) == (nodes, gpus, name)
    assert len(platform.machine.devices) == gpus
    assert len(find_units(platform.machine).units) == units
    assert any("guess" in line for line in platform.assumptions)
    assert len({device.bdf for device in platform.machine.devices}) == gpus


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("8xB61", "did you mean B60"),
        ("", "for example"),
        ("x", "known:"),
        ("0xB60", "1 to"),
        ("8x", "known:"),
        ("17xB60", "1 to 16"),
        ("2x8x4xB60", "known:"),
        ("999x8xB60", "1 to 128"),
    ],
)
def test_what_is_no_platform(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_platform(text)
    assert words in caught.value.hint


@given(st.text(max_size=30))
def test_any_text_is_a_platform_or_a_usage_error(text: str) -> None:
    try:
        platform = parse_platform(text)
    except UsageError:
        return
    assert parse_platform(platform.name) == platform


def test_memory_is_what_drivers_report() -> None:
    memory = {text: parse_platform(text).machine.devices[0].memory_bytes for text in ("H200", "B60", "Max1550")}
    assert memory == {"H200": 143771 << 20, "B60": 24 * GIB, "Max1550": 128 * GIB}
    assert find_units(parse_platform("Max1550").machine).units[0].memory_bytes == 64 * GIB


@pytest.mark.parametrize("gpu", list_gpus(), ids=lambda gpu: gpu.name)
def test_facts_name_a_source_and_agree_with_the_device_table(gpu: object) -> None:
    [row] = [one for one in list_gpus() if one is gpu]
    assert row.source
    assert row.memory_mib > 0
    assert find_by_pci_id(f"0x{row.pci_id.upper()}") is row
    assert find_speed(row.pci_id).kind in (("spec",) if row.vendor == "nvidia" else ("published", "spec", "guess"))
    if row.vendor == "nvidia":
        assert lookup_device("8086", row.pci_id) is None  # planned for by its id: no id may be of both
    else:
        facts = lookup_device("8086", row.pci_id)
        assert facts is not None
        assert facts.name == row.full_name
        assert (facts.tiles or 1) == row.tiles
        for said, known in (
            (row.memory_bytes, facts.memory_bytes),
            (row.memory_bandwidth_gbps, facts.memory_bandwidth_gbps),
            (row.pcie_width, facts.pcie_width),
        ):
            assert known is None or said == known


def test_names_and_aliases_are_each_of_one_gpu() -> None:
    seen: dict[str, str] = {}
    for gpu in list_gpus():
        for name in (gpu.name, gpu.full_name, *gpu.aliases):
            folded = name.lower().replace("-", "").replace(" ", "").replace("_", "")
            assert seen.setdefault(folded, gpu.name) == gpu.name


def test_the_first_socket_has_half_of_eight() -> None:
    machine = parse_platform("8xB60").machine
    assert [device.numa_node for device in machine.devices] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert {device.numa_node for device in parse_platform("4xB60").machine.devices} == {0}
