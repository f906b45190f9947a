from __future__ import annotations

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
from xpukit.evaluate.parsers.matrix_mul import MatrixDevice, MatrixOutput, MatrixReading, parse_matrix_mul

TEXTS = read_samples("matrix_mul")


def parse(samples: Path, name: str) -> MatrixOutput:
    return parse_matrix_mul((samples / "matrix_mul" / f"{name}.txt").read_text(encoding="utf-8"))


def test_the_public_sample(samples: Path) -> None:
    output = parse(samples, "2023-single")
    assert output.readings == (
        MatrixReading(
            precision="fp32", m=4096, n=4096, k=4096, flops=812.5e9, value=812.5, unit="GF", line=13, verified=True,
            device=0,
        ),
    )  # fmt: skip
    assert output.devices == (
        MatrixDevice(name="Intel(R) Iris(R) Pro Graphics 580", core_count=160, max_clock_mhz=2400),
    )  # fmt: skip
    assert output.notes == output.problems == ()


def test_several_types_and_shapes_that_are_not_square(samples: Path) -> None:
    output = parse(samples, "2025-all")
    assert [(r.precision, r.m, r.n, r.k, r.flops, r.verified) for r in output.readings] == [
        ("fp16", 4096, 8192, 2048, 88.1234e12, True),
        ("fp32", 4096, 8192, 2048, 11.9e12, True),
        ("fp64", 4096, 8192, 2048, 766.5e9, True),
    ]
    (device,) = output.devices
    assert (device.platform, device.driver_version, device.has_fp64) == (
        "Intel(R) oneAPI Unified Runtime over Level-Zero", "1.6.33578+38", True,
    )  # fmt: skip


def test_without_verification_nothing_is_claimed(samples: Path) -> None:
    (reading,) = parse(samples, "2022-without-verification").readings
    assert (reading.m, reading.n, reading.k) == (600, 2400, 1200)
    assert (reading.precision, reading.verified) == ("fp64", None)


def test_the_installers_build_and_a_petaflop(samples: Path) -> None:
    """Upstream's report looks for the letter T and misses '1.02PF'."""
    output = parse(samples, "installer-int8")
    assert [(r.precision, r.flops, r.value, r.unit) for r in output.readings] == [
        ("int8", 1.02e15, 1.02, "PF"), ("bf16", 96.5e12, 96.5, "TF"),
    ]  # fmt: skip
    assert output.notes == ()


def test_a_comparison_of_two_runs(samples: Path) -> None:
    output = parse(samples, "installer-two-runs")
    assert [(r.run, r.value, r.line) for r in output.readings] == [("first", 170.25, 18), ("second", 171.0, 21)]
    assert output.notes == output.problems == ()


def test_failed_verification_without_a_value(samples: Path) -> None:
    output = parse(samples, "sample-fails")
    assert output.readings == ()
    assert [p.kind for p in output.problems] == ["bad-data", "unmeasured"]


def test_failed_verification_before_a_value(samples: Path) -> None:
    """The patched sample: 'passes' of the first look does not outweigh what a later one found."""
    output = parse(samples, "patched-fails")
    assert [(r.precision, r.verified, r.value) for r in output.readings] == [
        ("fp16", False, 95.5),
        ("fp32", True, 11.25),
    ]
    assert [p.kind for p in output.problems] == ["bad-data"]
    assert "3 times" in output.problems[0].text


def test_a_later_pass_does_not_outweigh_a_failure() -> None:
    head = "Benchmarking (4 x 4) x (4 x 4) matrix multiplication, half precision\n"
    looks = " -> Verification...gemm  FAILS! for type: half precision\ngemm Passes for type: half precision!\n"
    (reading,) = parse_matrix_mul(f"{head}{looks}Average performance: 2TF\n").readings
    assert reading.verified is False


def test_what_is_no_number_is_a_note(samples: Path) -> None:
    output = parse(samples, "strange-numbers")
    assert [(r.precision, r.flops) for r in output.readings] == [("bf16", 1.02e12), ("tf32", 500.0)]
    assert [note.line for note in output.notes] == [17, 25, 33, 43, 53, 55]
    reasons = " ".join(note.text for note in output.notes)
    assert all(word in reasons for word in ("infinite", "local form", "second value", "fit together", "above it"))
    assert [p.text for p in output.problems if p.kind == "unmeasured"] == [
        f"{name}: no performance follows" for name in ("fp16 1x1x1", "fp32 2x2x2", "int8 3x3x3")
    ]


@pytest.mark.parametrize(
    ("printed", "flops"),
    [
        ("88.1234TF", 88.1234e12), ("12F", 12.0), ("3kF", 3e3), ("4.5MF", 4.5e6), ("1.2EF", 1.2e18),
        ("170.5 TFLOPS", 170.5e12), ("170.5TOPS", 170.5e12), ("1.02e+03GF", 1.02e12), ("2 TFLOP/s", 2e12),
    ],
)  # fmt: skip
def test_prefixes(printed: str, flops: float) -> None:
    text = f"Benchmarking (4 x 4) x (4 x 4) matrix multiplication, half precision\nAverage performance: {printed}\n"
    (reading,) = parse_matrix_mul(text).readings
    assert reading.flops == flops


@pytest.mark.parametrize("printed", ["88.1T", "88.1", "TF", "88.1XF", "88.1TB/s", "8 8.1TF", ""])
def test_what_is_no_performance(printed: str) -> None:
    text = f"Benchmarking (4 x 4) x (4 x 4) matrix multiplication, half precision\nAverage performance: {printed}\n"
    output = parse_matrix_mul(text)
    assert output.readings == ()
    assert [note.line for note in output.notes] == [2]


def test_a_value_is_never_given_to_another_multiplication() -> None:
    half = "Benchmarking (4 x 4) x (4 x 4) matrix multiplication, half precision\n"
    broken = "Benchmarking (8 x 8) x (8 x matrix multiplication, int8 precision\n"
    output = parse_matrix_mul(f"{half}{broken}Average performance: 2TF\n")
    assert output.readings == ()
    assert [note.line for note in output.notes] == [2, 3]
    restarted = parse_matrix_mul(f"{half}oneMKL DPC++ GEMM benchmark\nAverage performance: 2TF\n")
    assert restarted.readings == ()


def test_an_exception_of_sycl() -> None:
    err = "SYCL exception: Native API failed. Native API returns: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)\n"
    output = parse_matrix_mul("Benchmarking (4 x 4) x (4 x 4) matrix multiplication, half precision\n", err)
    assert [p.kind for p in output.problems] == ["error", "unmeasured"]


def test_a_last_line_without_newline_counts_when_its_unit_is_whole() -> None:
    """Pasted output often ends with the performance line itself."""
    text = "Benchmarking (4 x 4) x (4 x 4) matrix multiplication, half precision\nAverage performance: 88.1234TF"
    assert [r.value for r in parse_matrix_mul(text).readings] == [88.1234]
    assert parse_matrix_mul(text[:-1]).readings == ()


def test_terminal_decoration_changes_nothing() -> None:
    for text in TEXTS:
        coloured = "".join(f"\x1b[32m{line}\x1b[0m\r\n" for line in text.splitlines())
        assert parse_matrix_mul(coloured) == parse_matrix_mul(text)


def test_other_output_between_the_lines_loses_nothing(samples: Path) -> None:
    lines = (samples / "matrix_mul" / "2025-all.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    rows = [(r.precision, r.m, r.value) for r in parse_matrix_mul("".join(lines)).readings]
    for foreign in FOREIGN:
        assert [(r.precision, r.m, r.value) for r in parse_matrix_mul(foreign.join(lines)).readings] == rows


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_random_text(text: str) -> None:
    """300 random texts never raise."""
    check_sound(parse_matrix_mul, text)


@settings(max_examples=500, deadline=None)
@given(damage(TEXTS))
def test_damaged_output(text: str) -> None:
    """500 samples, each cut, mixed, shuffled or coloured one to four times, never raise."""
    check_sound(parse_matrix_mul, text)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_truncated_output_gives_a_subset(data: st.DataObject) -> None:
    """300 cuts anywhere in the samples."""
    text = data.draw(st.sampled_from(TEXTS))
    check_prefix(parse_matrix_mul, text, data.draw(st.integers(0, len(text))))


@pytest.mark.parametrize("name", ["2025-all", "patched-fails", "installer-two-runs", "strange-numbers"])
def test_every_cut(samples: Path, name: str) -> None:
    check_every_prefix(parse_matrix_mul, (samples / "matrix_mul" / f"{name}.txt").read_text(encoding="utf-8"))


def test_logs_without_measurements(corpus_dir: Path) -> None:
    for path in sorted((corpus_dir / "eval_log").glob("*.txt")):
        output = parse_matrix_mul(path.read_text(encoding="utf-8"))
        assert output.readings == ()
        assert output.notes == ()
