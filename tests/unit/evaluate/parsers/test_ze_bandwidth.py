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
from xpukit.evaluate.parsers.ze_bandwidth import TransferOutput, TransferReading, parse_ze_bandwidth

TEXTS = read_samples("ze_bandwidth")
MIB = 1 << 20


def parse(samples: Path, name: str) -> TransferOutput:
    err = samples / "ze_bandwidth" / f"{name}.err"
    text = (samples / "ze_bandwidth" / f"{name}.txt").read_text(encoding="utf-8")
    return parse_ze_bandwidth(text, err.read_text(encoding="utf-8") if err.exists() else "")


def brief(output: TransferOutput) -> list[tuple[str, int | None, bool, int, float, float]]:
    return [(r.direction, r.device, r.is_total, r.bytes, r.gbps, r.latency_us) for r in output.readings]


def test_devices_and_their_total(samples: Path) -> None:
    output = parse(samples, "table-2dev")
    assert brief(output)[3:9] == [
        ("h2d", 0, False, 256 * MIB, 25.8, 10403.2),
        ("h2d", 3, False, 256 * MIB, 25.5, 10403.2),
        ("h2d", None, True, 512 * MIB, 51.084, 10403.3),
        ("d2h", 0, False, MIB, 23.5, 44.5),
        ("d2h", 3, False, MIB, 23.2, 44.5),
        ("d2h", None, True, 2 * MIB, 46.53, 44.6),
    ]
    assert output.iterations == 500
    assert [(g.device, g.group) for g in output.queue_groups] == [(0, 0), (0, 1), (3, 0), (3, 1)]
    assert output.notes == output.problems == ()


def test_one_line_in_full(samples: Path) -> None:
    assert parse(samples, "table-1dev-verified").readings[0] == TransferReading(
        direction="h2d", is_total=False, device=0, bytes=1, gbps=0.000247, latency_us=4.04, form="table", line=12,
        verified=True, devices=1,
    )  # fmt: skip


def test_verification_is_kept_per_size(samples: Path) -> None:
    output = parse(samples, "table-1dev-verified")
    assert [r.verified for r in output.readings] == [True] * 12
    once = parse_ze_bandwidth((samples / "ze_bandwidth" / "table-1dev-verified.txt").read_text(encoding="utf-8").replace(
        "Verification successful\n", "", 1))  # fmt: skip
    assert [r.verified for r in once.readings] == [None, None] + [True] * 10


def test_wide_numbers_in_both_directions_at_once(samples: Path) -> None:
    assert brief(parse(samples, "bidir-1dev")) == [
        ("bidirectional", 0, False, 256 * MIB, 1495.48, 123456.78),
        ("bidirectional", None, True, 256 * MIB, 1480.5252, 123456.88),
    ]


def test_csv_rows_are_told_apart_by_the_devices_named_before(samples: Path) -> None:
    assert brief(parse(samples, "csv-2dev")) == [
        ("h2d", 0, False, MIB, 23.5, 44.0), ("h2d", 3, False, MIB, 23.2, 44.0),
        ("h2d", None, True, 2 * MIB, 46.53, 44.0),
        ("h2d", 0, False, 256 * MIB, 25.8, 10000.0), ("h2d", 3, False, 256 * MIB, 25.5, 10000.0),
        ("h2d", None, True, 512 * MIB, 51.084, 10000.0),
        ("d2h", 0, False, 1 << 30, 25.5, 130000.0), ("d2h", 3, False, 1 << 30, 25.2, 130000.0),
        ("d2h", None, True, 2 << 30, 50.49, 130000.0),
    ]  # fmt: skip


def test_csv_whose_devices_are_not_named_is_told_apart_by_its_sums(samples: Path) -> None:
    output = parse(samples, "csv-without-preamble")
    assert [(r.is_total, r.device) for r in output.readings] == [
        *((False, None), (False, None), (True, None)) * 2, *((False, None), (True, None)) * 3
    ]  # fmt: skip


def test_csv_with_a_lost_row_gives_no_wrong_device(samples: Path) -> None:
    lines = (samples / "ze_bandwidth" / "csv-2dev.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    whole = {(r.device, r.is_total, r.bytes, r.gbps) for r in parse_ze_bandwidth("".join(lines)).readings}
    rows = [place for place, line in enumerate(lines) if re.match(r"\d+,", line)]
    for place in rows:
        output = parse_ze_bandwidth("".join(lines[:place] + lines[place + 1 :]))
        wrong = {(r.device, r.is_total, r.bytes, r.gbps) for r in output.readings} - whole
        # Losing the first of two rows of equal size cannot be seen before the sum arrives.
        assert all(device == 0 and not is_total for device, is_total, _, _ in wrong)
        assert place == rows[-1] or place in rows[2::3] or output.notes


def test_csv_whose_total_is_no_sum_is_not_believed(samples: Path) -> None:
    text = (samples / "ze_bandwidth" / "csv-2dev.txt").read_text(encoding="utf-8").replace("2097152,", "2097153,")
    output = parse_ze_bandwidth(text)
    assert [r.is_total for r in output.readings] == [False, False, False, False, True, False, False, True]
    assert [note.line for note in output.notes] == [18]


def test_csv_ends_with_its_section(samples: Path) -> None:
    text = (samples / "ze_bandwidth" / "2023-csv.txt").read_text(encoding="utf-8")
    output = parse_ze_bandwidth(f"{text}\n1024,2,3\n12,allreduce,sum,float16\n")
    assert output == parse_ze_bandwidth(text)


def test_old_generations(samples: Path) -> None:
    assert brief(parse(samples, "2022-table")) == [
        ("h2d", None, False, 1, 0.00011, 9.05), ("h2d", None, False, MIB, 23.551, 44.5),
        ("d2h", None, False, MIB, 22.625622, 46.35),
    ]  # fmt: skip
    assert brief(parse(samples, "2023-table")) == [
        ("h2d", None, False, MIB, 22.663, 46.2), ("d2h", None, False, MIB, 23.627, 44.3),
        ("bidirectional", None, False, MIB, 40.1, 52.3),
    ]  # fmt: skip
    assert brief(parse(samples, "2023-csv")) == [
        ("h2d", None, False, 1, 0.000111, 9.0), ("h2d", None, False, MIB, 23.6285, 44.0),
        ("d2h", None, False, 256 * MIB, 25.1, 11000.0),
    ]  # fmt: skip


def test_wrong_data_ends_the_program(samples: Path) -> None:
    output = parse(samples, "wrong-data")
    assert [(p.kind, p.stream) for p in output.problems] == [
        ("aborted", "err"), ("bad-data", "err"), ("unmeasured", "out"),
    ]  # fmt: skip


def test_numbers_that_are_none_are_notes() -> None:
    title = "HOST-TO-DEVICE BANDWIDTH AND LATENCY\nHost->Device\n"
    for bandwidth in ("-nan", "inf", "23,551", "N/A", "-1.5"):
        output = parse_ze_bandwidth(f"{title}\t[Device 0       4096]:  BW = {bandwidth} GBPS  Latency = 4.00 usec\n")
        assert output.readings == ()
        assert [note.line for note in output.notes] == [3]
    title = "HOST-TO-DEVICE BANDWIDTH AND LATENCY\nTransfer_size,Bandwidth_(GBPS),Latency_(usec)\n"
    csv = parse_ze_bandwidth(f"{title}1,nan,4\n4096;1,5;4,2\n8,1.5,4\n")
    assert [(r.bytes, r.gbps) for r in csv.readings] == [(8, 1.5)]
    assert [note.line for note in csv.notes] == [3, 4]


def test_a_row_without_title_is_not_guessed_at() -> None:
    output = parse_ze_bandwidth("\t[Device 0       4096]:  BW =  1.000000 GBPS  Latency = 4.00 usec\n")
    assert output.readings == ()
    assert "title" in output.notes[0].text


def test_terminal_decoration_changes_nothing(samples: Path) -> None:
    for text in TEXTS:
        coloured = "".join(f"\x1b[32m{line}\x1b[0m\r\n" for line in text.splitlines())
        assert parse_ze_bandwidth(coloured) == parse_ze_bandwidth(text)


def test_other_output_between_the_lines_loses_nothing(samples: Path) -> None:
    lines = (samples / "ze_bandwidth" / "table-2dev.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    rows = brief(parse_ze_bandwidth("".join(lines)))
    for foreign in FOREIGN:
        assert brief(parse_ze_bandwidth(foreign.join(lines))) == rows


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_random_text(text: str) -> None:
    """300 random texts never raise."""
    check_sound(parse_ze_bandwidth, text)


@settings(max_examples=500, deadline=None)
@given(damage(TEXTS))
def test_damaged_output(text: str) -> None:
    """500 samples, each cut, mixed, shuffled or coloured one to four times, never raise."""
    check_sound(parse_ze_bandwidth, text)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_truncated_output_gives_a_subset(data: st.DataObject) -> None:
    """300 cuts anywhere in the samples."""
    text = data.draw(st.sampled_from(TEXTS))
    check_prefix(parse_ze_bandwidth, text, data.draw(st.integers(0, len(text))))


@pytest.mark.parametrize("name", ["csv-2dev", "csv-without-preamble", "table-2dev", "2023-csv", "2022-table"])
def test_every_cut(samples: Path, name: str) -> None:
    check_every_prefix(parse_ze_bandwidth, (samples / "ze_bandwidth" / f"{name}.txt").read_text(encoding="utf-8"))


# Counted by reading the files: readings, totals among them, problems.
CAPTURED: dict[str, tuple[int, int, list[str]]] = {
    "d1_default_i20": (116, 58, []),
    "d4_csv": (116, 58, []),
    "d4_d0123": (50, 10, []),
    "d4_d0123_bidir": (25, 5, []),
    "d4_d0123_csv": (50, 10, []),
    "d4_g9_invalid": (4, 2, ["not-as-asked"] * 4),
    "d4_verify": (4, 2, []),
    "d4_verify_fail": (0, 0, ["aborted", "bad-data", "unmeasured"]),
    "err_copy_oom": (0, 0, ["api-error", "aborted", "unmeasured"]),
    "fast": (116, 58, []),
    "old_30d298c1_s1MB": (2, 0, []),
    "old_94b14b1f_csv_s1MB": (2, 0, []),
    "old_94b14b1f_s1MB": (2, 0, []),
    "part_device_lost": (10, 5, ["api-error", "aborted"]),
    "pvc_d2_2tiles": (20, 10, []),
}


def test_captured_outputs(corpus_dir: Path) -> None:
    seen = 0
    for path in sorted((corpus_dir / "captured" / "ze_bandwidth").glob("*.txt")):
        seen += 1
        text = path.read_text(encoding="utf-8")
        output = parse_ze_bandwidth(text, path.with_suffix(".err").read_text(encoding="utf-8"))
        rows = len(re.findall(r"usec$|^\d+,", text, re.MULTILINE))
        assert len(output.readings) == rows, path.stem
        assert output.notes == (), path.stem
        if path.stem in CAPTURED:
            totals = sum(r.is_total for r in output.readings)
            assert (rows, totals, [p.kind for p in output.problems]) == CAPTURED[path.stem], path.stem
        exit_code = re.search(r"^exit_code: (\d+)$", path.with_suffix(".cmd").read_text(encoding="utf-8"), re.MULTILINE)
        assert exit_code
        assert bool(output.problems) == (exit_code[1] != "0" or path.stem == "d4_g9_invalid"), path.stem
    assert seen >= 23


def test_table_and_csv_of_the_same_run_agree(corpus_dir: Path) -> None:
    directory = corpus_dir / "captured" / "ze_bandwidth"
    names = ("d4_d0123", "d4_d0123_csv")
    table, csv = (
        parse_ze_bandwidth((directory / f"{name}.txt").read_text(encoding="utf-8")).readings for name in names
    )
    keys = [[(r.direction, r.device, r.is_total, r.bytes) for r in readings] for readings in (table, csv)]
    assert keys[0] == keys[1]


def test_a_run_that_ended_before_it_measured_adds_no_device(samples: Path) -> None:
    """Ctrl-C after its first lines, and the next run of the same program below."""
    text = (samples / "ze_bandwidth" / "table-1dev-verified.txt").read_text(encoding="utf-8")
    stopped = (samples / "ze_bandwidth" / "table-2dev.txt").read_text(encoding="utf-8").partition("Iterations")[0]
    assert [row.devices for row in parse_ze_bandwidth(stopped + text).readings] == [1] * 12
