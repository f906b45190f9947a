from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.evaluate.parsers.damaged_text import (
    DATA,
    FOREIGN,
    check_every_prefix,
    check_prefix,
    check_sound,
    damage,
)
from xpukit.evaluate.parsers.xpu_smi_dump import DumpOutput, DumpSample, parse_dump

TEXTS = [path.read_text(encoding="utf-8") for path in sorted((DATA / "xpu-smi").glob("*-dump*.txt"))]
assert len(TEXTS) >= 8


def parse(samples: Path, name: str) -> DumpOutput:
    return parse_dump((samples / "xpu-smi" / f"{name}.txt").read_text(encoding="utf-8"))


def values(sample: DumpSample) -> dict[str, float | None]:
    return {cell.column.metric: cell.value for cell in sample.cells}


def test_the_first_release(samples: Path) -> None:
    output = parse(samples, "1.0-dump")
    assert output.notes == output.problems == output.missing == ()
    last = output.readings[-1]
    assert (last.line, last.timestamp, last.device, last.tile) == (3, "2022-08-01T10:00:01.000Z", 0, None)
    assert values(last) == {"gpu_utilization": 99.12, "power": 131.5, "frequency": 1900.0}
    assert [column.unit for column in output.columns] == ["%", "W", "MHz"]


def test_tiles(samples: Path) -> None:
    output = parse(samples, "1.2-2xMax1550-dump-tiles")
    assert [(s.device, s.tile, s.get("core_temperature"), s.get("memory_utilization")) for s in output.readings] == [
        (0, 0, 36.5, None), (0, 1, 35.0, 12.25), (1, 0, 37.0, None),
    ]  # fmt: skip
    assert output.missing == ()


def test_not_available_is_no_zero(samples: Path) -> None:
    output = parse(samples, "1.3.7-2xB60-dump")
    assert [s.get("gpu_utilization") for s in output.readings] == [97.31, None, 98.02, None]
    assert output.missing == ("GPU Memory Temperature",)
    assert output.columns[0].unit == "%"  # 1.3.7 does not print it
    throttled = output.readings[1].cells[-1]
    assert (throttled.column.metric, throttled.value, throttled.text) == (
        "throttle_reason",
        None,
        "Average Power Excursion",
    )
    assert output.notes == ()


def test_both_generations_agree_on_names(samples: Path) -> None:
    new = parse(samples, "2.0-2xB60-dump")
    assert new.readings[0].timestamp == "2026/03/14 09:26:53.589"
    assert values(new.readings[0]) == {
        "gpu_utilization": 91.4, "power": 119.8, "frequency": 2400.0, "core_temperature": 58.0, "resets": 0.0,
    }  # fmt: skip
    aligned = parse(samples, "2.0-2xB60-dump-aligned")
    assert values(aligned.readings[1]) == {"gpu_utilization": None, "power": 22.15, "pcie_read": 12.0}
    bare = parse(samples, "2.0-2xB60-dump-nounits")
    assert [(c.metric, c.unit) for c in bare.columns] == [
        ("gpu_utilization", "%"), ("memory_used", "MiB"), ("media_frequency", "MHz"),
    ]  # fmt: skip


def test_json_lines(samples: Path) -> None:
    output = parse(samples, "2.0-2xB60-dump-j")
    assert [(s.line, s.device, s.get("power")) for s in output.readings] == [(2, 0, 119.8), (3, 1, 22.15)]
    assert output.missing == ("temperature.memory",)
    assert [p.kind for p in output.problems] == ["unsupported"]


def test_options_of_the_other_generation(samples: Path) -> None:
    output = parse(samples, "2.0-dump-short-option")
    assert output.readings == ()
    assert {p.kind for p in output.problems} == {"usage"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("06:14:46.000,    0, 0.00, 14.61", "4 values under 5 columns"),
        ("06:14:46.000,    0, 0,00, 14,61, 0", "7 values under 5 columns"),
        ("06:14:46.000,    x, 0.00, 14.61, 0", "no time of day or no device number"),
        ("06:14:46.000,    0, 0.00, 14.61W, 0", "GPU Power: not a number: 14.61W"),
        ("06:14:46.000,    0, nan, 14.61, 0", "GPU Utilization: not a number or infinite"),
    ],
)
def test_rows_that_are_not_guessed_at(row: str, reason: str) -> None:
    head = "Timestamp, DeviceId, GPU Utilization (%), GPU Power (W), GPU Frequency (MHz)\n"
    output = parse_dump(f"{head}{row}\n")
    assert any(note.text.startswith(reason) for note in output.notes), output.notes
    assert all(None in values(sample).values() for sample in output.readings)


def test_a_row_without_its_newline_may_have_lost_digits() -> None:
    text = "Timestamp, DeviceId, GPU Power (W)\n06:14:46.000,    0, 114.61\n06:14:47.000,    0, 11"
    assert [sample.get("power") for sample in parse_dump(text).readings] == [114.61]


@settings(max_examples=500, deadline=None)
@given(damage(TEXTS))
@example("".join(FOREIGN))
def test_damaged_output(text: str) -> None:
    """500 samples after one to four accidents: cut, spliced, interleaved, shuffled, coloured."""
    check_sound(parse_dump, text)
    parse_dump("", text)


json_keys = st.sampled_from(("device", "metrics", "timestamp", "x"))
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(json_keys, inner),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=400), st.binary(max_size=400), json_values)
def test_any_text(text: str, data: bytes, value: object) -> None:
    """300 texts, as many byte strings decoded as the program's output is, and as many JSON lines."""
    for given_text in (text, data.decode("utf-8", errors="replace"), json.dumps(value) + "\n", "{" * 3000):
        assert msgspec.json.encode(parse_dump(given_text, given_text))


@pytest.mark.parametrize("text", TEXTS)
def test_a_cut_output_gives_a_subset(text: str) -> None:
    """Every prefix of every sample."""
    check_every_prefix(parse_dump, text)
    check_prefix(parse_dump, text.replace("\n", "\r\n"), len(text) // 2)


def captured(corpus_dir: Path, name: str) -> DumpOutput:
    return parse_dump((corpus_dir / "xpu-smi" / f"{name}.txt").read_bytes().decode(errors="replace"))


@pytest.mark.parametrize(
    ("name", "rows", "place", "device", "wanted"),
    [
        # Read from the files.
        ("aurora_6xMax1550_dump_-d_0_1_2_3_4_5_-m_0_1_2_5", 66, 7, 1,
         {"gpu_utilization": None, "power": 287.57, "frequency": 1600.0, "memory_utilization": 11.53}),
        ("dump_1.2.39_6xMax1550_m0-5", 13, -1, 0,
         {"gpu_utilization": None, "power": 409.54, "frequency": 1600.0, "core_temperature": 40.5,
          "memory_temperature": 34.5, "memory_utilization": 20.41}),
        ("dump_A310_m1_2_5_18", 4, 0, 0,
         {"power": 15.97, "frequency": 2450.0, "memory_utilization": 2.03, "memory_used": 82.44}),
        ("v1.0.0_smi_dump_-d_0_-m_0_1_2_-i_1_-n_5", 5, 1, 0,
         {"gpu_utilization": 0.0, "power": 14.59, "frequency": 0.0}),
        ("v1.3.7_dump_-d_0_-m_0_1_2_-i_1_-n_5", 5, 0, 0, {"gpu_utilization": 0.0, "power": 14.61, "frequency": 0.0}),
    ],
)  # fmt: skip
def test_real_figures(
    corpus_dir: Path, name: str, rows: int, place: int, device: int, wanted: dict[str, float | None]
) -> None:
    output = captured(corpus_dir, name)
    assert len(output.readings) == rows
    assert output.readings[place].device == device
    assert values(output.readings[place]) == wanted
    assert output.notes == output.problems == ()


def test_every_file_of_the_corpus_parses(corpus_dir: Path) -> None:
    paths = sorted((corpus_dir / "xpu-smi").glob("*.txt"))
    assert len(paths) > 30
    for path in paths:
        output = captured(corpus_dir, path.stem)
        assert bool(output.readings) == (
            ("_m" in path.stem or "-m" in path.stem) and "dump" in path.stem and "file" not in path.stem
        ), path
