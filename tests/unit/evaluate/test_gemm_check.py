"""The verification of matrix products: right results pass, any single wrong element is caught."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from xpukit.evaluate.embedded.gemm_cases import DATA_TYPES
from xpukit.evaluate.embedded.gemm_check import BLOCK, Reference, find_tolerance, plant_error
from xpukit.evaluate.embedded.gemm_problem import Problem
from xpukit.evaluate.embedded.number_formats import (
    FLOAT_MEAN_ABS,
    FLOAT_MEAN_SQUARE,
    FLOATS,
    decode_floats,
    encode_float,
    random_floats,
    unpack_int4,
)

M, N, K = 96, 192, 256


def round_to(values: np.ndarray, name: str) -> bytes:
    """Float64 values stored in a format, to nearest."""
    if name == "s32":
        return values.astype(np.int32).tobytes()
    if name == "bf16":
        bits = values.astype(np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).tobytes()
    return values.astype({"f64": np.float64, "f32": np.float32, "f16": np.float16}[name]).tobytes()


def multiply(problem: Problem) -> bytes:
    """What a perfect device would store."""
    exact = problem.source_rows(slice(None)) @ problem.weight_columns(0, problem.n)
    return round_to(exact, problem.type.dst)


@pytest.mark.parametrize("dtype", DATA_TYPES)
def test_right_result_passes(dtype: str) -> None:
    problem = Problem(dtype, m=M, n=N, k=K, seed=3)
    result = Reference(problem, seed=3).check(multiply(problem), M)
    assert result.ok, result.detail
    assert result.worst <= 1


@pytest.mark.parametrize("dtype", DATA_TYPES)
def test_every_planted_element_is_caught(dtype: str) -> None:
    problem = Problem(dtype, m=M, n=N, k=K, seed=5)
    reference = Reference(problem, seed=5)
    right = multiply(problem)
    # Corners, both sides of a block's edge, and elements all over the matrix.
    places = {0, N - 1, BLOCK - 1, BLOCK, N * BLOCK, M * N - 1, *range(7, M * N, 997)}
    missed = [place for place in places if reference.check(plant_error(right, problem, place), M).ok]
    assert missed == []


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", "int8", "fp64", "int4_fp16"])
def test_element_that_was_never_written_is_caught(dtype: str) -> None:
    problem = Problem(dtype, m=M, n=N, k=K, seed=5)
    reference = Reference(problem, seed=5)
    size = {"s32": 4}.get(problem.type.dst) or FLOATS[problem.type.dst].bits // 8
    raw = bytearray(multiply(problem))
    place = 4321 * size
    raw[place : place + size] = b"\xff" * size  # NaN in every float type, -1 as an integer
    assert not reference.check(bytes(raw), M).ok


def test_fp32_by_bf16_arithmetic_is_caught() -> None:
    problem = Problem("fp32", m=M, n=N, k=K, seed=7)
    cut = [
        (raw & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64) for raw in (problem.source, problem.weights)
    ]
    assert not Reference(problem, seed=7).check(round_to(cut[0] @ cut[1], "f32"), M).ok


def test_fp32_by_tf32_arithmetic_is_caught_and_passes_as_tf32() -> None:
    exact = Problem("fp32", m=M, n=N, k=K, seed=7)
    relaxed = Problem("tf32", m=M, n=N, k=K, seed=7)
    relaxed.source, relaxed.weights = exact.source, exact.weights
    mask = np.uint32(0xFFFFE000)  # 10 stored mantissa bits
    half = np.uint32(0x1000)
    cut = [((raw + half) & mask).view(np.float32).astype(np.float64) for raw in (exact.source, exact.weights)]
    raw = round_to(cut[0] @ cut[1], "f32")
    assert not Reference(exact, seed=7).check(raw, M).ok
    as_tf32 = Reference(relaxed, seed=7).check(raw, M)
    assert as_tf32.ok, as_tf32.detail
    assert as_tf32.relative_error > 2.0**-16


def test_fp16_accumulation_is_caught() -> None:
    problem = Problem("fp16", m=32, n=64, k=1024, seed=1)
    a = problem.source_rows(slice(None)).astype(np.float16)
    b = problem.weight_columns(0, 64).astype(np.float16)
    total = np.zeros((32, 64), np.float16)
    for k in range(1024):
        total += a[:, k : k + 1] * b[k : k + 1]
    assert not Reference(problem, seed=1).check(total.tobytes(), 32).ok


def test_fewer_rows_share_one_reference() -> None:
    problem = Problem("bf16", m=M, n=N, k=K, seed=2)
    reference = Reference(problem, seed=2, rows=(1, 4, M))
    right = np.frombuffer(multiply(problem), np.uint16).reshape(M, N)
    for m in (1, 4, M):
        raw = right[:m].tobytes()
        assert reference.check(raw, m).ok
        assert not reference.check(plant_error(raw, problem, m * N - 2), m).ok


def test_swapped_rows_are_caught() -> None:
    problem = Problem("int8", m=M, n=N, k=K, seed=2)
    right = np.frombuffer(multiply(problem), np.int32).reshape(M, N).copy()
    right[[40, 41]] = right[[41, 40]]
    assert not Reference(problem, seed=2).check(right.tobytes(), M).ok


def test_tolerances_are_tight() -> None:
    """A tolerance is worth something only while it is far below the result's size."""
    for dtype in DATA_TYPES:
        problem = Problem(dtype, m=2, n=128, k=4096, seed=1)
        tolerance = find_tolerance(problem)
        assert tolerance.of_block_sum <= 0.3 * problem.expected_rms, dtype
        if dtype == "fp32":
            assert tolerance.absolute < 1e-4 * problem.expected_rms


def test_int8_tolerance_is_zero() -> None:
    tolerance = find_tolerance(Problem("int8", m=2, n=128, k=256, seed=1))
    assert (tolerance.relative, tolerance.absolute, tolerance.of_block_sum) == (0, 0, 0)


@pytest.mark.parametrize("dtype", DATA_TYPES)
def test_expected_size_of_results_is_right(dtype: str) -> None:
    problem = Problem(dtype, m=64, n=256, k=1024, seed=9)
    exact = problem.source_rows(slice(None)) @ problem.weight_columns(0, 256)
    # fp8's few values per binade lie on average half a step below the continuous moments; that only loosens.
    slack = 0.2 if dtype.startswith("fp8") else 0.05
    assert math.isclose(float(np.sqrt(np.mean(exact**2))), problem.expected_rms, rel_tol=slack)


@pytest.mark.parametrize("name", FLOATS)
def test_random_floats_have_the_moments_that_tolerances_use(name: str) -> None:
    values = decode_floats(random_floats(4, (1 << 16,), name), name)
    assert np.all((np.abs(values) >= 0.5) & (np.abs(values) < 2))
    assert abs(values.mean()) < 0.02
    # Coarse formats have their steps: fp8 e5m2 has four values in a binade, whose mean lies half a step lower.
    slack = 2.0 ** -FLOATS[name].precision + 0.01
    assert math.isclose(np.abs(values).mean(), FLOAT_MEAN_ABS, rel_tol=slack)
    assert math.isclose(np.square(values).mean(), FLOAT_MEAN_SQUARE, rel_tol=2 * slack)


def test_fp8_values_match_the_ocp_table() -> None:
    codes = np.array([0x00, 0x01, 0x08, 0x38, 0x7E, 0x7F, 0xB8], np.uint8)
    decoded = decode_floats(codes, "f8_e4m3")
    assert decoded[:5].tolist() == [0.0, 2.0**-9, 2.0**-6, 1.0, 448.0]
    assert math.isnan(decoded[5])
    assert decoded[6] == -1.0
    codes = np.array([0x01, 0x3C, 0x7B, 0x7C, 0x7F], np.uint8)
    decoded = decode_floats(codes, "f8_e5m2")
    assert decoded[:3].tolist() == [2.0**-16, 1.0, 57344.0]
    assert math.isinf(decoded[3])
    assert math.isnan(decoded[4])


def test_int4_low_nibble_first() -> None:
    assert unpack_int4(np.array([[0x1F, 0x87]], np.uint8)).tolist() == [[-1, 1, 7, -8]]


@pytest.mark.parametrize("name", ["f64", "f32", "f16", "bf16"])
def test_encode_is_the_inverse_of_decode(name: str) -> None:
    raw = random_floats(1, (64,), name)
    again = np.concatenate([encode_float(float(value), name) for value in decode_floats(raw, name)])
    assert np.array_equal(again, raw)


def test_seeds_repeat_and_differ() -> None:
    one, same, other = (Problem("bf16", m=4, n=64, k=128, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.weights, same.weights)
    assert not np.array_equal(one.weights, other.weights)


def test_int4_needs_whole_groups() -> None:
    with pytest.raises(ValueError, match="128"):
        Problem("int4_fp16", m=4, n=64, k=100, seed=1)


def test_tolerance_describes_itself() -> None:
    problem = Problem("fp16", m=2, n=128, k=256, seed=1)
    assert "rms(c)" in find_tolerance(problem).describe(problem.expected_rms)
    assert msgspec.to_builtins(find_tolerance(problem))["relative"] > 0
