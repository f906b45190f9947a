from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.evaluate.parsers.damaged_text import (
    FOREIGN,
    check_every_prefix,
    check_prefix,
    check_sound,
    damage,
    read_samples,
)
from xpukit.evaluate.parsers.ze_peak import PeakDevice, PeakOutput, PeakReading, parse_ze_peak

TEXTS = read_samples("ze_peak")


def parse(samples: Path, name: str) -> PeakOutput:
    err = samples / "ze_peak" / f"{name}.err"
    text = (samples / "ze_peak" / f"{name}.txt").read_text(encoding="utf-8")
    return parse_ze_peak(text, err.read_text(encoding="utf-8") if err.exists() else "")


def values(output: PeakOutput, test: str) -> dict[str, float]:
    return {r.name: r.value for r in output.readings if r.test == test}


def test_all_tests_of_one_run(samples: Path) -> None:
    output = parse(samples, "all")
    assert len(output.readings) == 34
    assert output.readings[4] == PeakReading(
        test="global_bw", name="float16", value=401.5, unit="GB/s", line=16, width=16, device=0
    )
    assert values(output, "hp_compute")["half"] == 20358.7
    assert values(output, "sp_compute")["float2"] == 12287
    assert values(output, "dp_compute")["double8"] == 767
    assert values(output, "int_compute") == {
        "int": 4096.5, "int2": 4097, "int4": 4098, "int8": 4099, "int16": 2001800.0,
    }  # fmt: skip
    assert values(output, "transfer_bw")["GPU Copy Host to Shared Memory"] == 26.1
    assert values(output, "kernel_lat") == {
        "Kernel launch latency": 1.84,
        "Kernel launch latency with Immediate Command List": 1.9,
        "Kernel duration": 34.25,
    }
    assert {r.test: r.unit for r in output.readings} == {
        "global_bw": "GB/s", "hp_compute": "GFLOPS", "sp_compute": "GFLOPS", "dp_compute": "GFLOPS",
        "int_compute": "GFLOPS", "transfer_bw": "GB/s", "kernel_lat": "us",
    }  # fmt: skip
    assert output.notes == output.problems == ()


def test_device_block(samples: Path) -> None:
    assert parse(samples, "all").devices == (
        PeakDevice(
            name="Intel(R) Arc(TM) Pro B60 Graphics", vendor_id="8086", device_id="e211", subdevice_id="0",
            is_subdevice=False, uuid="00000000-0000-0000-0300-0000e2118086", core_clock_rate="2400",
            max_mem_alloc_bytes=25669140480,
        ),
    )  # fmt: skip


def test_old_units_and_names_mean_the_same(samples: Path) -> None:
    """2021: transfers in 'GFLOPS', int8 as 'double8', (uS)."""
    old, new = parse(samples, "2021-all"), parse(samples, "all")
    assert len(old.readings) == 33  # no immediate command list yet
    lacks = "Kernel launch latency with Immediate Command List"
    assert [(r.test, r.name, r.value, r.unit, r.width) for r in old.readings] == [
        (r.test, r.name, r.value, r.unit, r.width) for r in new.readings if r.name != lacks
    ]
    assert old.notes == ()
    assert old.devices[0].core_clock_rate == "960"  # 2400 in hexadecimal: left as printed
    transfers = values(parse(samples, "2023-transfer"), "transfer_bw")
    assert transfers == values(new, "transfer_bw")


def test_shared_system_memory_lines(samples: Path) -> None:
    transfers = values(parse(samples, "transfer-system-usm"), "transfer_bw")
    assert len(transfers) == 10
    assert transfers["GPU Copy Shared System Memory from Shared Memory with Memory Advice"] == 6.875
    assert transfers["GPU Copy Host to Shared Memory"] == 9.5


def test_verbose_values_stand_below_their_names(samples: Path) -> None:
    output = parse(samples, "verbose")
    assert [(r.name, r.value, r.line) for r in output.readings] == [("float", 317.467, 17), ("float2", 318.25, 20)]
    assert output.notes == ()


def test_two_devices_in_one_text(samples: Path) -> None:
    output = parse(samples, "explicit-two-tiles")
    assert [(r.device, r.value) for r in output.readings if r.width == 8] == [(0, 2000), (1, 303)]
    assert [device.is_subdevice for device in output.devices] == [False, True]
    assert output.explicit_scaling
    assert [(g.queues, g.compute) for g in output.queue_groups] == [(4, True)]


def test_another_device_than_asked_for(samples: Path) -> None:
    output = parse(samples, "wrong-device")
    assert [(p.kind, p.line) for p in output.problems] == [("not-as-asked", 1)]
    assert len(output.readings) == 3


def test_a_missing_kernel_file(samples: Path) -> None:
    output = parse(samples, "no-spv")
    assert output.readings == ()
    assert [p.kind for p in output.problems] == ["missing-file", "aborted", "api-error", "unmeasured"]
    assert "ze_sp_compute.spv" in output.problems[0].text


def test_a_test_left_out_and_a_wrapped_timer(samples: Path) -> None:
    output = parse(samples, "no-fp64")
    assert [(p.kind, p.line) for p in output.problems] == [("unsupported", 11)]
    assert values(output, "kernel_lat")["Kernel launch latency"] == 1.71799e08
    assert ["wrapped" in note.text for note in output.notes] == [True]


def test_what_is_no_number_or_unit_is_a_note(samples: Path) -> None:
    output = parse(samples, "strange-numbers")
    assert [(r.name, r.value) for r in output.readings] == [("enqueueWriteBuffer", 25.9703)]
    assert [note.line for note in output.notes] == [12, 13, 14, 15, 16, 17, 21]
    assert [p.text for p in output.problems] == ["global_bw: no value follows"]


def test_prefixes_are_converted_and_nothing_else() -> None:
    title = "Half Precision Compute (GFLOPS)\n"
    assert values(parse_ze_peak(f"{title}half : 20.5 TFLOPS\n"), "hp_compute") == {"half": 20500}
    for line in ("half : 20.5 GB/s", "half : 20.5 GIPS", "half : 20.5", "float : 20.5 GFLOPS", "half3 : 1 GFLOPS"):
        output = parse_ze_peak(f"{title}{line}\n")
        assert output.readings == (), line
        assert output.notes, line


def test_lost_titles() -> None:
    """Name and unit tell the test, except for 'double8', which was an integer test once."""
    text = "float8 : 402 GB/s\nhalf : 1 GFLOPS\nint2 : 2 GFLOPS\nenqueueReadBuffer : 25.5 GB/s\ndouble8 : 3 GFLOPS\n"
    output = parse_ze_peak(text)
    assert [r.test for r in output.readings] == ["global_bw", "hp_compute", "int_compute", "transfer_bw"]
    assert [note.line for note in output.notes] == [5]


@pytest.mark.parametrize("end", ["<" * 28, "Device : "])
def test_a_title_ends_with_its_test(end: str) -> None:
    """What follows is judged by its own name, and a value that -v announced does not come any more."""
    text = f"Transfer Bandwidth (GB/s)\nenqueueWriteBuffer : Command list closed\n{end}\n7 GB/s\nfloat8 : 402 GB/s\n"
    output = parse_ze_peak(text)
    assert [(r.test, r.value) for r in output.readings] == [("global_bw", 402)]
    assert [note.line for note in output.notes] == [3]


def test_a_last_line_without_newline_counts_when_its_unit_is_whole() -> None:
    assert values(parse_ze_peak("enqueueReadBuffer : 25.5 GB/s"), "transfer_bw") == {"enqueueReadBuffer": 25.5}
    assert parse_ze_peak("enqueueReadBuffer : 25.5 GB/").readings == ()


def test_terminal_decoration_changes_nothing() -> None:
    for text in TEXTS:
        coloured = "".join(f"\x1b[32m{line}\x1b[0m\r\n" for line in text.splitlines())
        assert parse_ze_peak(coloured) == parse_ze_peak(text)


def test_other_output_between_the_lines_loses_nothing(samples: Path) -> None:
    lines = (samples / "ze_peak" / "all.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    rows = [(r.test, r.name, r.value) for r in parse_ze_peak("".join(lines)).readings]
    for foreign in FOREIGN:
        assert [(r.test, r.name, r.value) for r in parse_ze_peak(foreign.join(lines)).readings] == rows


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_random_text(text: str) -> None:
    """300 random texts never raise."""
    check_sound(parse_ze_peak, text)


@settings(max_examples=500, deadline=None)
@given(damage(TEXTS))
def test_damaged_output(text: str) -> None:
    """500 samples, each cut, mixed, shuffled or coloured one to four times, never raise."""
    check_sound(parse_ze_peak, text)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_truncated_output_gives_a_subset(data: st.DataObject) -> None:
    """300 cuts anywhere in the samples."""
    text = data.draw(st.sampled_from(TEXTS))
    check_prefix(parse_ze_peak, text, data.draw(st.integers(0, len(text))))


@pytest.mark.parametrize("name", ["2021-all", "verbose", "strange-numbers"])
def test_every_cut(samples: Path, name: str) -> None:
    check_every_prefix(parse_ze_peak, (samples / "ze_peak" / f"{name}.txt").read_text(encoding="utf-8"))


# Counted by reading the files.
CAPTURED: dict[str, tuple[int, list[str]]] = {
    "all_default_lat_wrap": (34, []),
    "d1_transfer_bw": (6, []),
    "d4_d9_invalid": (3, ["not-as-asked"]),
    "err_d0": (0, ["aborted", "no-device"]),
    "err_device_lost": (0, ["api-error", "aborted", "unmeasured"]),
    "err_no_driver": (0, ["aborted", "api-error"]),
    "err_no_spv": (0, ["missing-file", "aborted", "api-error", "unmeasured"]),
    "err_no_spv_transfer_bw": (6, []),
    "help": (0, ["usage"]),
    "int_compute_sci": (5, []),
    "old_30d298c1_all_i2": (33, []),
    "old_8fc0dede_all_i2": (33, []),
    "old_94b14b1f_all_i2": (34, []),
    "part_device_lost": (0, ["aborted", "api-error", "unmeasured"]),
    "pvc_d2_2tiles_x": (34, []),
    "q_pvc": (0, []),
    "transfer_bw_sysusm": (10, []),
}


def test_captured_outputs(corpus_dir: Path) -> None:
    seen = 0
    for path in sorted((corpus_dir / "captured" / "ze_peak").glob("*.txt")):
        seen += 1
        text = path.read_text(encoding="utf-8")
        output = parse_ze_peak(text, path.with_suffix(".err").read_text(encoding="utf-8"))
        rows = len(re.findall(r" (?:GB/s|GBPS|GFLOPS|\(u[sS]\))$", text, re.MULTILINE))
        assert len(output.readings) == rows, path.stem
        assert [note for note in output.notes if "wrapped" not in note.text] == [], path.stem
        if path.stem in CAPTURED:
            assert (rows, [p.kind for p in output.problems]) == CAPTURED[path.stem], path.stem
        exit_code = re.search(r"^exit_code: (\d+)$", path.with_suffix(".cmd").read_text(encoding="utf-8"), re.MULTILINE)
        assert exit_code
        misleading = ("d4_d9_invalid", "err_r5_invalid", "help")
        assert bool(output.problems) == (exit_code[1] != "0" or path.stem in misleading), path.stem
        assert {(r.test == "transfer_bw", r.unit) for r in output.readings if "Buffer" in r.name} <= {(True, "GB/s")}
    assert seen >= 36
