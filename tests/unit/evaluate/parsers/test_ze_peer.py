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
from xpukit.evaluate.parsers.ze_peer import PeerOutput, PeerReading, parse_ze_peer

TEXTS = read_samples("ze_peer")
MIB = 1 << 20


def parse(samples: Path, name: str) -> PeerOutput:
    err = samples / "ze_peer" / f"{name}.err"
    return parse_ze_peer(
        (samples / "ze_peer" / f"{name}.txt").read_text(encoding="utf-8"),
        err.read_text(encoding="utf-8") if err.exists() else "",
    )


def find(output: PeerOutput, **wanted: object) -> PeerReading:
    (reading,) = [r for r in output.readings if all(getattr(r, name) == value for name, value in wanted.items())]
    return reading


def kinds(output: PeerOutput) -> list[str]:
    return [problem.kind for problem in output.problems]


def test_a_pair_in_four_tests(samples: Path) -> None:
    output = parse(samples, "uni-2dev")
    assert len(output.readings) == 20
    assert find(output, kind="bandwidth", operation="write", bytes=256 * MIB) == PeerReading(
        kind="bandwidth", operation="write", direction="unidirectional", src=(0,), dst=(1,), scope="one",
        bytes=268435456, value=26.11, unit="GB/s", line=10,
    )  # fmt: skip
    assert find(output, kind="bandwidth", operation="read", bytes=128 * MIB).value == 24.6
    assert find(output, kind="latency", operation="write", bytes=8).value == 4.07
    wide = find(output, kind="latency", operation="read", bytes=256 * MIB)
    assert (wide.value, wide.unit) == (100858.21, "us")  # fills its column
    assert output.notes == output.problems == ()


def test_every_ordered_pair_both_ways(samples: Path) -> None:
    output = parse(samples, "bidir-all-pairs-3dev")
    assert {(r.src, r.dst): r.value for r in output.readings} == {
        ((0,), (1,)): 30.6, ((0,), (2,)): 30.7, ((1,), (0,)): 31.5, ((1,), (2,)): 31.7, ((2,), (0,)): 32.5,
        ((2,), (1,)): 32.6,
    }  # fmt: skip
    assert {r.direction for r in output.readings} == {"bidirectional"}


def test_parallel_pairs_and_their_sum(samples: Path) -> None:
    output = parse(samples, "pair-targets-6dev")
    assert len(output.readings) == 16
    member = find(output, scope="member", src=(4,), bytes=256 * MIB, operation="write")
    assert (member.dst, member.queue, member.value) == ((5,), 0, 18.2)
    total = find(output, scope="total", bytes=768 * MIB, operation="write")
    assert (total.pairs, total.value, total.queue) == (((0, 1), (2, 3), (4, 5)), 54.6, None)
    assert find(output, scope="member", src=(2,), operation="read").queue is None


def test_a_rounded_total_is_counted_from_its_members(samples: Path) -> None:
    """3 x 512 KB is printed as 1 MB, 3 x 512 B as 1 KB."""
    totals = [r.bytes for r in parse(samples, "pair-targets-6dev").readings if r.scope == "total"]
    assert totals == [1536, 3 * (512 << 10), 768 * MIB, 768 * MIB]


def test_several_sources_and_targets(samples: Path) -> None:
    output = parse(samples, "multiple-targets-4dev")
    assert [(r.src, r.dst, r.queue, r.value) for r in output.readings if r.scope == "member"] == [
        ((0,), (2,), 0, 766.25), ((0,), (3,), 1, 767.25), ((1,), (2,), 0, 767.25), ((1,), (3,), 1, 768.25),
    ]  # fmt: skip
    total = find(output, scope="total")
    assert (total.kind, total.src, total.dst, total.bytes) == ("latency", (0, 1), (2, 3), 64 * MIB)


def test_rows_and_arrows_of_2022(samples: Path) -> None:
    output = parse(samples, "2022-03-uni")
    assert len(output.readings) == 10
    assert find(output, kind="bandwidth", bytes=128 * MIB).value == 21.9802
    read = find(output, kind="latency", bytes=1 * MIB)
    assert (read.operation, read.direction, read.value) == ("read", "unidirectional", 51.9)
    assert {r.direction for r in parse(samples, "2022-03-bidir").readings} == {"bidirectional"}


def test_long_arrow_with_labelled_rows_of_2023(samples: Path) -> None:
    output = parse(samples, "2023-08-bidir")
    assert len(output.readings) == 5
    assert find(output, bytes=256 * MIB).value == 43.98


def test_the_header_and_rows_that_upstreams_report_expects() -> None:
    """Its patterns want today's header above rows without a label; nothing forbids the mixture."""
    output = parse_ze_peer("Bandwidth Write : Device( 0 )->Device( 1 )\n 128 MB:  25.91\n 256 MB:  25.97\n")
    assert [(r.bytes, r.value) for r in output.readings] == [(128 * MIB, 25.91), (256 * MIB, 25.97)]


def test_the_format_before_sizes_were_printed(samples: Path) -> None:
    output = parse(samples, "2020-two-of-three")
    assert [(r.kind, r.operation, r.direction, r.src, r.dst, r.bytes, r.value) for r in output.readings] == [
        ("bandwidth", "write", "unidirectional", (0,), (0,), None, 301.44821),
        ("bandwidth", "write", "unidirectional", (0,), (1,), None, 21.934017721),
        ("bandwidth", "read", "unidirectional", (0,), (1,), None, 19.5),
        ("bandwidth", "write", "bidirectional", (0,), (1,), None, 40.25),
        ("latency", "write", "unidirectional", (0,), (1,), None, 9.75),
    ]


def test_a_posted_program_prints_the_way_of_the_data(samples: Path) -> None:
    output = parse(samples, "posted-4-tiles")
    assert [(r.operation, r.src, r.dst, r.value) for r in output.readings] == [
        ("write", (0,), (1,), 151.2), ("write", (0,), (2,), 18.25), ("read", (0,), (2,), 15.5),
    ]  # fmt: skip


def test_ipc_prints_its_headers_once_per_process(samples: Path) -> None:
    output = parse(samples, "ipc-doubled-headers")
    assert [(r.operation, r.value, r.ipc) for r in output.readings] == [("write", 15.4, True), ("read", 14.25, True)]
    assert output.problems == ()


def test_touching_blocks_and_any_device_numbers(samples: Path) -> None:
    output = parse(samples, "touching-blocks")
    assert [(r.kind, r.operation, r.src, r.dst, r.value) for r in output.readings] == [
        ("bandwidth", "write", (2,), (3,), 25.91), ("bandwidth", "write", (2,), (3,), 25.97),
        ("bandwidth", "read", (2,), (3,), 23.4), ("bandwidth", "read", (2,), (3,), 23.52),
        ("latency", "write", (2,), (3,), 4.4),
    ]  # fmt: skip


def test_what_is_no_number_is_a_note_with_its_line(samples: Path) -> None:
    output = parse(samples, "no-iterations")
    assert [(r.bytes, r.value) for r in output.readings] == [(16 * MIB, 150.0)]
    assert [note.line for note in output.notes] == [6, 7, 8, 9, 10, 11]
    reasons = " ".join(note.text for note in output.notes)
    assert all(word in reasons for word in ("below zero", "infinite", "not available", "local form"))


def test_wrong_data_is_a_problem_although_a_bandwidth_follows(samples: Path) -> None:
    output = parse(samples, "wrong-data")
    assert kinds(output) == ["bad-data"]
    assert find(output, bytes=MIB).value == 10.9


def test_a_run_stops_at_the_first_pair_without_p2p(samples: Path) -> None:
    output = parse(samples, "no-p2p")
    assert [(r.src, r.dst) for r in output.readings] == [((0,), (1,))]
    assert [(p.kind, p.stream, p.devices) for p in output.problems] == [
        ("no-p2p", "err", (0, 2)), ("aborted", "err", ()), ("unmeasured", "out", ()),
    ]  # fmt: skip
    assert "0->2" in output.problems[-1].text


def test_the_banner_alone_measured_nothing() -> None:
    """-s 0 -d 0 ends like this, with exit code 0."""
    output = parse_ze_peer("=" * 80 + "\nSingle Process Unidirectional tests\n" + "=" * 80 + "\n")
    assert kinds(output) == ["unmeasured"]
    assert kinds(parse_ze_peer("")) == ["silent"]


def test_engine_tables(samples: Path) -> None:
    groups = parse(samples, "queues").queue_groups
    assert [(g.device, g.group, g.queues, g.compute, g.copy, g.indices) for g in groups] == [
        (0, 0, 1, True, True, (0,)), (0, 1, 2, False, True, (1, 2)),
        (1, 0, 1, True, True, (0,)), (1, 1, 2, False, True, (1, 2)),
    ]  # fmt: skip
    assert [(g.device, g.group, g.queues, g.copy) for g in parse(samples, "2022-queues").queue_groups] == [
        (0, 0, 1, False), (0, 1, 2, True), (1, 0, 1, False),
    ]  # fmt: skip


def test_a_row_belongs_to_no_header_but_its_own() -> None:
    rule = "-" * 80 + "\n"
    broken = "Bandwidth Write : Device( 0 )->Device( 1 )\nBW [GBPS]:    1 MB:    20.00\n\n" + rule + rule
    lost = parse_ze_peer(broken + "BW [GBPS]:    1 MB:    30.00\n")  # its header got lost
    assert [r.value for r in lost.readings] == [20.0]
    assert [note.line for note in lost.notes] == [6]
    for header in (
        "Bandwidth Write : Device( 0 )->Dev",
        "Bandwidth Write : Device( 0 )<-Device( 1 )",
        "Bandwidth Write : (0)->(1) (2)<-(3)",
        "Bandwidth Write : (0)->(1) (2)->(",
        "Bandwidth Write : Device( 99999999999999999999 )->Device( 1 )",
        "Latency Write : Device( 0 )->Device( 1 )",
    ):
        output = parse_ze_peer(f"{header}\nBW [GBPS]:    1 MB:    30.00\n")
        assert output.readings == (), header
        assert output.notes


def test_a_member_that_the_header_does_not_name_is_refused() -> None:
    output = parse_ze_peer(
        "Bandwidth Write :  (0)->(1) (2)->(3)\n\tDevice 0 - Device 3 using queue 0: BW [GBPS]:    1 MB:    9.00\n"
    )
    assert output.readings == ()
    assert "does not name" in output.notes[0].text


def test_terminal_decoration_changes_nothing(samples: Path) -> None:
    text = (samples / "ze_peer" / "uni-2dev.txt").read_text(encoding="utf-8")
    plain = parse_ze_peer(text)
    coloured = "".join(f"\x1b[32m{line}\x1b[0m\r\n" for line in text.splitlines())
    assert parse_ze_peer(coloured) == plain


def test_other_output_between_the_lines_loses_nothing(samples: Path) -> None:
    lines = (samples / "ze_peer" / "uni-2dev.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    values = [r.value for r in parse_ze_peer("".join(lines)).readings]
    for foreign in FOREIGN:
        mixed = parse_ze_peer(foreign.join(lines))
        assert [r.value for r in mixed.readings] == values


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_random_text(text: str) -> None:
    """300 random texts never raise."""
    check_sound(parse_ze_peer, text)


@settings(max_examples=500, deadline=None)
@given(damage(TEXTS))
def test_damaged_output(text: str) -> None:
    """500 samples, each cut, mixed, shuffled or coloured one to four times, never raise."""
    check_sound(parse_ze_peer, text)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_truncated_output_gives_a_subset(data: st.DataObject) -> None:
    """300 cuts anywhere in the samples."""
    text = data.draw(st.sampled_from(TEXTS))
    check_prefix(parse_ze_peer, text, data.draw(st.integers(0, len(text))))


@pytest.mark.parametrize("name", ["pair-targets-6dev", "2022-03-bidir", "2020-two-of-three"])
def test_every_cut(samples: Path, name: str) -> None:
    check_every_prefix(parse_ze_peer, (samples / "ze_peer" / f"{name}.txt").read_text(encoding="utf-8"))


# Counted by reading the files.
CAPTURED = {
    "d2_default_i3": (208, []),
    "d2_ipc_64k": (2, []),
    "d2_ipc_b": (0, ["error", "error", "unmeasured"]),
    "d2_ipc_tty": (104, []),
    "d4_allpairs_bw_b_i2": (624, []),
    "d4_multi_src_multiple_targets": (10, []),
    "d4_pair_targets_01_23_b": (312, []),
    "d8_allpairs_256MB": (56, []),
    "d12_s0_d11": (2, []),
    "err_dst_out_of_range": (0, ["error", "aborted", "unmeasured"]),
    "err_no_p2p_allpairs_d4": (0, ["no-p2p", "aborted", "unmeasured"]),
    "err_bad_option": (0, ["usage"]),
    "err_u_out_of_range": (0, ["silent"]),
    "fast_100TBs": (1, []),
    "old_30d298c1_s0_d1": (104, []),
    "old_30d298c1_err_d1": (0, ["aborted", "unmeasured"]),
    "old_94b14b1f_write_bw_b": (26, []),
    "part_oom_128MB": (24, ["api-error", "aborted"]),
    "q_d2_pvc_2tiles": (0, []),
    "pvc_flat_d4_2tiles_allpairs": (12, []),
}


def test_captured_outputs(corpus_dir: Path) -> None:
    seen = 0
    for path in sorted((corpus_dir / "captured" / "ze_peer").glob("*.txt")):
        seen += 1
        text, err = path.read_bytes().decode(), path.with_suffix(".err").read_text(encoding="utf-8")
        output = parse_ze_peer(text, err)
        rows = len(re.findall(r"^.*(?:GBPS\]|us\])?.*\d +[KM]?B: +[\d.]+\r?$", text, re.MULTILINE))
        assert len(output.readings) == rows, path.stem
        assert output.notes == (), path.stem
        if path.stem in CAPTURED:
            assert (rows, kinds(output)) == CAPTURED[path.stem], path.stem
        exit_code = re.search(r"^exit_code: (\d+)$", path.with_suffix(".cmd").read_text(encoding="utf-8"), re.MULTILINE)
        assert exit_code
        # The one that misleads: IPC and -b end with 0 and measured nothing.
        assert bool(output.problems) == (exit_code[1] != "0" or path.stem == "d2_ipc_b"), path.stem
    assert seen >= 48


def test_posted_output_of_a_twelve_tile_node(corpus_dir: Path) -> None:
    output = parse_ze_peer((corpus_dir / "ze_peer" / "aurora_12tile_custom_p2p.txt").read_text(encoding="utf-8"))
    assert len(output.readings) == 22
    assert find(output, operation="read", dst=(11,)).value == 15.7961


def test_logs_without_measurements(corpus_dir: Path) -> None:
    for path in sorted((corpus_dir / "eval_log").glob("*.txt")):
        assert parse_ze_peer(path.read_text(encoding="utf-8")).readings == ()
