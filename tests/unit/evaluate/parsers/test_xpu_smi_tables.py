from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.evaluate.parsers.damaged_text import (
    DATA,
    FOREIGN,
    check_every_prefix,
    check_sound,
    damage,
)
from xpukit.evaluate.parsers.xpu_smi_tables import (
    DiagTable,
    HealthTable,
    StatsTable,
    parse_diag,
    parse_health,
    parse_stats,
)
from xpukit.evaluate.parsers.xpu_smi_topology import TopologyMatrix, parse_topology

Parse = Callable[..., Any]
PARSERS: dict[str, Parse] = {
    "stats": parse_stats,
    "health": parse_health,
    "diag": parse_diag,
    "topology": parse_topology,
}
TEXTS = [
    path.read_text(encoding="utf-8") for part in PARSERS for path in sorted((DATA / "xpu-smi").glob(f"*-{part}*.txt"))
]
assert len(TEXTS) >= 13


def read(samples: Path, name: str) -> str:
    return (samples / "xpu-smi" / f"{name}.txt").read_text(encoding="utf-8")


def figures(table: StatsTable) -> list[tuple[str, str, str, float | None]]:
    return [(v.metric.metric, v.scope, v.statistic, v.value) for v in table.readings]


def test_stats_with_a_wrapped_name_and_engines(samples: Path) -> None:
    table = parse_stats(read(samples, "1.3.7-stats-d1"))
    assert table.notes == table.problems == ()
    assert {value.device for value in table.readings} == {1}
    first = table.readings[0]
    assert (first.line, first.metric.label, first.value) == (4, "Average % utilization of all GPU Engines", 87.0)
    assert figures(table)[3:9] == [
        ("compute_engines", "", "", 87.0), ("compute_engines", "engine 0", "", 87.0),
        ("compute_engines", "engine 1", "", 3.0), ("media_utilization", "", "", 0.0),
        ("decoder_engines", "engine 0", "", 0.0), ("decoder_engines", "engine 1", "", None),
    ]  # fmt: skip
    wanted = {
        "gpu_utilization": 87.0, "power": 118.0, "frequency": 2350.0, "core_temperature": 61.0,
        "memory_temperature": None, "memory_used": 20480.0, "memory_errors_uncorrectable": 2.0, "xe_link": None,
    }  # fmt: skip
    assert {metric: table.get(metric) for metric in wanted} == wanted
    assert table.get("power", device=0) is None


def test_stats_of_tiles(samples: Path) -> None:
    table = parse_stats(read(samples, "1.2-Max1550-stats-d0"))
    assert figures(table)[2:] == [
        ("elapsed", "", "", 60.0), ("energy", "tile 0", "", 8437.5), ("energy", "tile 1", "", 8391.25),
        ("gpu_utilization", "tile 0", "avg", 55.0), ("gpu_utilization", "tile 0", "min", 10.0),
        ("gpu_utilization", "tile 0", "max", 99.0), ("gpu_utilization", "tile 0", "current", 80.0),
        ("gpu_utilization", "tile 1", "", None),
        ("driver_errors", "tile 0", "", 1.0), ("driver_errors", "", "total", 3.0),
    ]  # fmt: skip
    assert (table.readings[0].text, table.readings[0].value) == ("2024-02-03T04:05:06.700", None)
    assert table.notes == ()


def test_stats_without_borders(samples: Path) -> None:
    table = parse_stats(read(samples, "2.0-stats-d0"))
    assert table.notes == table.problems == ()
    assert table.get("gpu_utilization", scope="tile 1") == 91.0
    assert table.get("core_temperature", scope="tile 0") == 42.0
    assert [v.metric.unit for v in table.readings if v.metric.metric == "core_temperature"] == ["C"] * 4
    assert [(v.scope, v.value) for v in table.readings if v.metric.metric == "fan_speed"] == [
        ("fan 0", 35.0), ("fan 1", 37.0),
    ]  # fmt: skip
    assert table.get("pcie_read") == 25.0
    assert table.get("energy") == 6.61
    assert (table.get("memory_temperature"), table.readings[-1].value) == (None, 0.0)


@pytest.mark.parametrize("cell", ["15,5", "15.5 W", "-3", "nan", "many", "1; 2"])
def test_stats_that_are_none(cell: str) -> None:
    rule = f"+{'-' * 14}+{'-' * 20}+\n"
    table = parse_stats(f"{rule}| Device ID    | 0                  |\n{rule}| GPU Power (W) | {cell}  |\n{rule}")
    assert [(v.value, v.text) for v in table.readings] == [(None, cell)]
    assert table.notes[0].line == 4


def test_health_with_borders(samples: Path) -> None:
    table = parse_health(read(samples, "1.3.7-health-l"))
    assert [(i.line, i.device, i.component, i.status) for i in table.readings] == [
        (4, 0, "core_temperature", "ok"), (9, 0, "power", "warning"), (14, 0, "xe_link", "unknown"),
        (17, 0, "frequency", "ok"), (22, 1, "memory", "critical"),
    ]  # fmt: skip
    assert (table.readings[0].throttle_threshold, table.readings[0].shutdown_threshold) == (100.0, 125.0)
    assert table.readings[1].description == "Unhealthy power domain value, which is above the threshold of the device."
    assert table.readings[1].throttle_threshold == 200.0
    assert [p.line for p in table.problems] == [9, 22]
    assert table.notes == ()


def test_health_without_borders(samples: Path) -> None:
    table = parse_health(read(samples, "2.0-health-l"))
    assert [(i.device, i.component, i.status) for i in table.readings] == [
        (0, "core_temperature", "ok"), (0, "memory", "warning"), (1, "frequency", "ok"),
    ]  # fmt: skip
    assert (table.readings[0].throttle_threshold, table.readings[0].shutdown_threshold) == (100.0, 115.0)
    assert len(table.problems) == 1
    early = parse_health(read(samples, "2.0-early-health-l"))
    assert [(i.device, i.component, i.status) for i in early.readings] == [
        (0, "core_temperature", "ok"), (0, "memory", "unknown"),
    ]  # fmt: skip
    assert table.notes == early.notes == early.problems == ()


def test_diag_levels(samples: Path) -> None:
    table = parse_diag(read(samples, "1.3.7-diag-l1"))
    assert (table.level, table.result) == (1, "fail")
    assert [(i.line, i.device, i.name, i.result) for i in table.readings] == [
        (9, 2, "Software Library", "pass"), (12, 2, "Software Permission", "pass"),
        (15, 2, "Software Exclusive", "fail"),
    ]  # fmt: skip
    assert table.readings[2].message.endswith("are using the device. PID: 4711, Command: ./vllm")
    assert [p.line for p in table.problems] == [15]


def test_diag_figures(samples: Path) -> None:
    table = parse_diag(read(samples, "1.3.7-diag-singletest-1-5"))
    assert [i.figures for i in table.readings] == [
        (("single-precision GFLOPS", 12034.5, ""),),
        (("bandwidth", 6.125, "GBPS"),),
        (("1080p H.265", 480.0, "FPS"), ("4K H.265", 140.0, "FPS")),
    ]
    assert [p.text.split(":")[0] for p in table.problems] == ["Integration PCIe "]


def test_diag_precheck(samples: Path) -> None:
    table = parse_diag(read(samples, "1.3.7-diag-precheck"))
    assert [(i.name, i.subject, i.result) for i in table.readings] == [
        ("Driver", "", "pass"), ("CPU", "CPU 0", "pass"), ("GPU", "0000:0e:00.0", "pass"),
        ("GPU", "0000:4e:00.0", "critical"),
    ]  # fmt: skip
    old = parse_diag(read(samples, "1.2-diag-precheck"))
    assert [(i.name, i.result, i.message) for i in old.readings] == [
        ("GPU", "listed", "4 (0xe211)"), ("Driver", "pass", ""), ("GPU Status", "fail", ""),
    ]  # fmt: skip
    assert [len(table.problems), len(old.problems)] == [1, 1]


def test_no_diag_in_the_rewrite(samples: Path) -> None:
    table = parse_diag(read(samples, "2.0-no-diag"))
    assert table.readings == ()
    assert {p.kind for p in table.problems} == {"usage"}


def test_topology_of_each_generation(samples: Path) -> None:
    bars = parse_topology(read(samples, "1.0-topology-m"))
    spaces = parse_topology(read(samples, "1.3.7-topology-m"))
    nics = parse_topology(read(samples, "2.0-topology-m"))
    assert [len(matrix.readings) for matrix in (bars, spaces, nics)] == [16, 9, 9]
    assert {(link.a, link.b): link.kind for link in bars.readings}["gpu0/1", "gpu1/0"] == "XL*"
    assert {(link.a, link.b): link.kind for link in spaces.readings}["gpu10/0", "gpu1/0"] == "SYS"
    assert dict(spaces.cpus) == {"gpu0/0": "0-31", "gpu1/0": "0-31", "gpu10/0": "32-63"}
    assert {(link.a, link.b): link.kind for link in nics.readings}["nic0", "gpu0/0"] == "PHB"
    assert dict(nics.cpus) == {"gpu0/0": "0-15", "gpu1/0": "0-15"}
    assert bars.notes == spaces.notes == nics.notes == nics.problems == ()


def test_a_matrix_with_a_word_we_do_not_know_is_not_read() -> None:
    text = "         GPU 0/0  GPU 1/0  CPU Affinity\nGPU 0/0  S        HYPER    0-31\nGPU 1/0  NODE     S        0-31\n"
    matrix = parse_topology(text)
    assert [(link.a, link.b) for link in matrix.readings] == [("gpu1/0", "gpu0/0"), ("gpu1/0", "gpu1/0")]
    assert matrix.notes[0].line == 2


def check_numbers(table: Any) -> None:
    for reading in table.readings:
        for number in msgspec.structs.astuple(reading):
            assert not isinstance(number, float) or (math.isfinite(number) and number >= 0)


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(tuple(PARSERS.values())), damage(TEXTS))
@example(parse_stats, "".join(FOREIGN))
@example(parse_topology, "".join(FOREIGN))
def test_damaged_tables(parse: Parse, text: str) -> None:
    """600 samples of any table, after one to four accidents, through any of the four parsers."""
    if parse is not parse_stats:  # check_sound reads `value`, which may be None in stats
        check_sound(parse, text)
    table = parse(text, text)
    check_numbers(table)
    assert msgspec.json.encode(table)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=400), st.binary(max_size=400))
def test_any_text(text: str, data: bytes) -> None:
    """300 texts and as many byte strings, decoded as the program's output is, through each of the four parsers."""
    for given_text in (text, data.decode("utf-8", errors="replace"), f"| {text} | {text} |\n"):
        for parse in PARSERS.values():
            assert msgspec.json.encode(parse(given_text, given_text))


@pytest.mark.parametrize("name", ["1.3.7-stats-d1", "1.2-Max1550-stats-d0", "2.0-stats-d0", "1.3.7-health-l"])
def test_every_prefix_gives_a_subset(samples: Path, name: str) -> None:
    check_every_prefix(parse_stats if "stats" in name else parse_health, read(samples, name))


@pytest.mark.parametrize(
    "name",
    ["1.3.7-diag-l1", "1.3.7-diag-singletest-1-5", "1.3.7-diag-precheck", "1.2-diag-precheck"],
)
def test_every_prefix_of_diag_gives_a_subset(samples: Path, name: str) -> None:
    check_every_prefix(parse_diag, read(samples, name))


@pytest.mark.parametrize("name", ["1.0-topology-m", "1.3.7-topology-m", "2.0-topology-m"])
def test_every_prefix_of_topology_gives_a_subset(samples: Path, name: str) -> None:
    check_every_prefix(parse_topology, read(samples, name))


@pytest.mark.parametrize("name", ["2.0-health-l", "2.0-early-health-l"])
def test_a_table_without_borders_shows_no_end(samples: Path, name: str) -> None:
    """The last component may lack what came after the cut, but its state is never another."""
    text = read(samples, name)
    whole = {(i.line, i.device, i.component, i.status) for i in parse_health(text).readings}
    for end in range(len(text)):
        cut = parse_health(text[:end]).readings
        assert {(i.line, i.device, i.component, i.status) for i in cut} <= whole
        assert set(cut[:-1]) <= set(parse_health(text).readings)


def real(corpus_dir: Path, name: str) -> str:
    return (corpus_dir / "xpu-smi" / f"{name}.txt").read_bytes().decode(errors="replace")


def test_real_stats(corpus_dir: Path) -> None:
    """Expected values read from the files."""
    new: StatsTable = parse_stats(real(corpus_dir, "v1.3.7_stats_-d_0"))
    assert [new.get(m) for m in ("gpu_utilization", "power", "frequency", "media_frequency", "core_temperature")] == [
        0.0, 15.0, 2050.0, 1025.0, 41.0,
    ]  # fmt: skip
    assert (new.get("memory_used"), new.get("memory_temperature"), len(new.readings)) == (24.0, None, 36)
    assert parse_stats(real(corpus_dir, "v1.0.0_smi_stats_-d_0")).get("power") == 15.0
    b580 = parse_stats(real(corpus_dir, "stats_B580_partial"))
    assert [(v.metric.metric, v.value) for v in b580.readings][:2] == [("gpu_utilization", 0.0), ("eu_active", None)]
    assert len(b580.readings) == 8  # the row that was cut off, and the one above it, are left out
    b60 = parse_stats(real(corpus_dir, "xpumcli_stats_B60_partial"))
    assert (b60.get("elapsed"), b60.get("energy", scope="tile 0")) == (442.0, 1049.75)
    assert {v.value for v in parse_stats(real(corpus_dir, "stats_nonroot_NA_partial")).readings} == {None}


def test_real_health_and_diag(corpus_dir: Path) -> None:
    """Expected values read from the files."""
    health: HealthTable = parse_health(real(corpus_dir, "v1.3.7_health_-l"))
    assert [(i.component, i.status, i.throttle_threshold, i.shutdown_threshold) for i in health.readings] == [
        ("core_temperature", "ok", 105.0, 130.0), ("memory_temperature", "ok", 85.0, 100.0),
        ("power", "ok", 150.0, None),
        ("memory", "ok", None, None), ("xe_link", "ok", None, None), ("frequency", "ok", None, None),
    ]  # fmt: skip
    first: DiagTable = parse_diag(real(corpus_dir, "v1.0.0_smi_diag_-d_0_-l_1"))
    assert (first.level, first.result, [i.result for i in first.readings]) == (
        1,
        "fail",
        ["pass", "pass", "pass", "fail"],
    )
    single = parse_diag(real(corpus_dir, "v1.3.7_diag_-d_0_--singletest_1_4"))
    assert single.readings[0].figures == (("single-precision GFLOPS", 11120.225, ""),)
    assert single.readings[1].figures[0] == ("1080p H.265", 474.0, "FPS")
    checked = parse_diag(real(corpus_dir, "v1.3.7_diag_--precheck"))
    assert [(i.name, i.subject, i.result) for i in checked.readings][-1] == ("GPU", "0000:3a:00.0", "pass")
    assert parse_diag(real(corpus_dir, "v1.2.x_2023-06_diag_--precheck")).readings[0].message == "2 (0x56c1)"


def test_real_topology(corpus_dir: Path) -> None:
    matrix: TopologyMatrix = parse_topology(real(corpus_dir, "v1.0.0_smi_topology_-m"))
    assert [link.kind for link in matrix.readings][:8] == ["S", "MDF", "XL*", "XL16", "MDF", "S", "XL16", "XL*"]
    assert dict(matrix.cpus)["gpu1/1"] == "24-47,72-95"


def test_every_file_of_the_corpus_parses(corpus_dir: Path) -> None:
    """No parser raises on what another command printed; help in place of a table is a problem, not a reading."""
    for path in sorted((corpus_dir / "xpu-smi").glob("*.txt")):
        for part, parse in PARSERS.items():
            table = parse(path.read_bytes().decode(errors="replace"))
            if "Usage:" in path.read_text(errors="replace"):
                assert table.readings == (), (path, part)
                assert "usage" in {p.kind for p in table.problems}, (path, part)
