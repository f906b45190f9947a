"""Is a matrix product right? Every element is covered, at the cost of a few matrix-vector products.

1. Sums: each row of the result is cut into blocks of 64 columns, each summed with random signs, and compared with
   activations x (weights' columns summed the same way), in float64. This is Freivalds' check (R. Freivalds,
   "Probabilistic machines can use less running time", IFIP 1977) block by block: one wrong element changes one sum.
2. Elements: whole rows and columns, drawn at random, are compared one by one with a float64 product.

Tolerances. With u the unit roundoff of the arithmetic (2**-24 for fp32 accumulation) and independent inputs of mean
zero, the error of a sum of k products stays within a small multiple of u * sum|a||b|, independent of k (Higham & Mary,
"Sharper probabilistic backward error analysis for basic linear algebra kernels with random data", SIAM J. Sci. Comput.
2020; the bound that always holds is k times that, Higham 2002, section 3.5). Storing the result rounds it by its own
unit roundoff; arithmetic that converts inputs first (tf32; 4-bit weights decoded to 16 bits) adds independent errors
of u_in/sqrt(3) relative to each product. `_SIGMAS` such deviations are allowed: with 10**8 elements, none is expected.
Integers must be exact.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from xpukit.evaluate.embedded.gemm_problem import Problem
from xpukit.evaluate.embedded.number_formats import FLOATS, TF32_PRECISION, decode_floats, encode_float

BLOCK = 64
_SAMPLED = 8
_SIGMAS = 8.0
_COLUMNS_AT_ONCE = 1024
_ELEMENTS_AT_ONCE = 1 << 23


class Tolerance(msgspec.Struct, frozen=True, kw_only=True):
    """`relative` applies to the element, `absolute` to all; `of_block_sum` to a signed sum of 64 elements."""

    relative: float
    absolute: float
    of_block_sum: float

    def describe(self, rms: float) -> str:
        if self.absolute == 0 and self.relative == 0:
            return "exact"
        return (
            f"|error| <= {self.relative:.2g} |c| + {self.absolute / rms:.2g} rms(c), "
            f"sums of {BLOCK} within {self.of_block_sum / rms:.2g} rms(c)"
        )


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """`worst`: the largest error as a share of its tolerance. `relative_error`: rms error / rms(c) of the samples."""

    ok: bool
    worst: float
    relative_error: float
    detail: str


def find_tolerance(problem: Problem) -> Tolerance:
    """The tolerance for a problem, by the reasoning at the top of this file."""
    if problem.is_integer:
        return Tolerance(relative=0.0, absolute=0.0, of_block_sum=0.0)
    kind = problem.type
    accumulate = 2.0**-53 if kind.dst == "f64" else 2.0**-24
    store = 2.0 ** -FLOATS[kind.dst].precision
    convert = 0.0
    if kind.fpmath == "tf32":
        convert = 2.0**0.5 * 2.0**-TF32_PRECISION  # both inputs
    elif kind.scale:
        convert = 2.0**0.5 * 2.0 ** -FLOATS[kind.scale].precision  # number times scale, and the scale's own use
    summing = accumulate * problem.expected_abs_sum
    converting = convert / 3**0.5 * problem.expected_rms
    storing = store / 3**0.5 * problem.expected_rms
    deviation = (summing**2 + converting**2 + storing**2) ** 0.5
    return Tolerance(
        relative=1.01 * store if kind.dst != "f32" else store,
        absolute=_SIGMAS * (summing**2 + converting**2) ** 0.5,
        of_block_sum=_SIGMAS * BLOCK**0.5 * deviation,
    )


class Reference:
    """What a problem's result must be: computed once, then used for every number of rows up to the problem's."""

    def __init__(self, problem: Problem, *, seed: int, rows: tuple[int, ...] = ()) -> None:
        """`rows`: numbers of rows (m) that will be checked; each gets its own sampled rows."""
        import numpy as np

        self.problem = problem
        self.tolerance = find_tolerance(problem)
        random = np.random.default_rng(seed)
        wanted: set[int] = set()
        for m in rows or (problem.m,):
            wanted |= {0, m - 1, *(int(row) for row in random.integers(0, m, _SAMPLED))}
        self.sampled_rows = np.array(sorted(wanted))
        self.sampled_columns = np.unique(np.append(random.integers(0, problem.n, _SAMPLED), [0, problem.n - 1]))
        self.signs = random.choice(np.array([-1.0, 1.0]), problem.n)
        self._row_values, self._sums, self._columns = self._compute()

    def _compute(self) -> tuple[Any, Any, Any]:
        import numpy as np

        problem = self.problem
        # float64 results need a wider reference: x87's 64-bit significand (11 bits more), so fewer rows of it.
        wide: Any = np.longdouble if problem.type.dst == "f64" else np.float64
        if wide is np.longdouble:
            self.sampled_rows = self.sampled_rows[:2]
        source = problem.source_rows(self.sampled_rows).astype(wide)
        row_values = np.empty((len(self.sampled_rows), problem.n), wide)
        sums = np.empty((problem.k, -(-problem.n // BLOCK)))
        columns = np.empty((problem.k, len(self.sampled_columns)))
        for first in range(0, problem.n, _COLUMNS_AT_ONCE):
            last = min(first + _COLUMNS_AT_ONCE, problem.n)
            weights = problem.weight_columns(first, last)
            row_values[:, first:last] = source @ weights.astype(wide, copy=False)
            here = (self.sampled_columns >= first) & (self.sampled_columns < last)
            columns[:, here] = weights[:, self.sampled_columns[here] - first]
            sums[:, first // BLOCK : -(-last // BLOCK)] = _sum_blocks(weights, self.signs[first:last])
        return row_values, sums, columns

    def check(self, raw: bytes, m: int) -> CheckResult:
        """Check a result of `m` rows, as the device stored it (row-major)."""
        import numpy as np

        problem, tolerance = self.problem, self.tolerance
        n = problem.n
        stored = _read_result(raw, problem).reshape(m, n)
        rows = self.sampled_rows[self.sampled_rows < m]
        expected = self._row_values[: len(rows)]
        wrong, worst = _compare(_decode_result(stored[rows], problem), expected, tolerance)
        difference = _decode_result(stored[rows], problem) - expected
        error = float(np.sqrt(np.mean(np.square(difference, dtype=np.float64)))) / problem.expected_rms

        bad_sums = 0
        step = max(1, _ELEMENTS_AT_ONCE // max(problem.k, n))
        for first in range(0, m, step):
            last = min(first + step, m)
            values = _decode_result(stored[first:last], problem)
            source = problem.source_rows(slice(first, last))
            bad, share = _compare(values[:, self.sampled_columns], source @ self._columns, tolerance)
            wrong, worst = wrong + bad, max(worst, share)
            gap = np.abs(_sum_blocks(values, self.signs) - source @ self._sums)
            bad_sums += int(np.count_nonzero(~(gap <= tolerance.of_block_sum)))
            worst = max(worst, _share(gap, tolerance.of_block_sum))
        ok = wrong == 0 and bad_sums == 0
        compared = len(rows) * n + m * len(self.sampled_columns)
        allowed = tolerance.describe(problem.expected_rms)
        if ok:
            detail = f"{allowed}; {compared} elements compared, all in sums of {BLOCK}; "
            detail += f"largest error {worst:.2g} of the tolerance"
        else:
            detail = f"{wrong} of {compared} compared elements and {bad_sums} sums of {BLOCK} are wrong ({allowed})"
        return CheckResult(ok=ok, worst=worst, relative_error=error, detail=detail)


def _sum_blocks(values: Any, signs: Any) -> Any:
    """Signed sums over blocks of 64 columns (the last block may be shorter)."""
    import numpy as np

    edges = np.arange(0, values.shape[1], BLOCK)
    if values.shape[1] % BLOCK == 0:
        blocks = values.reshape(values.shape[0], -1, BLOCK)
        return np.einsum("rbc,bc->rb", blocks, signs.reshape(-1, BLOCK))
    return np.add.reduceat(values * signs, edges, axis=1)


def _compare(values: Any, expected: Any, tolerance: Tolerance) -> tuple[int, float]:
    """How many elements are outside the tolerance, and the largest error as a share of it. NaN is outside."""
    import numpy as np

    limit = tolerance.absolute + tolerance.relative * np.abs(expected)
    gap = np.abs(values - expected)
    return int(np.count_nonzero(~(gap <= limit))), _share(gap, limit)


def _share(gap: Any, limit: Any) -> float:
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(gap == 0, 0.0, gap / limit)
    worst = float(np.max(shares)) if shares.size else 0.0
    return float("inf") if math.isnan(worst) else worst


def _read_result(raw: bytes, problem: Problem) -> Any:
    import numpy as np

    kind = problem.type.dst
    return np.frombuffer(raw, np.int32 if kind == "s32" else f"u{FLOATS[kind].bits // 8}")


def _decode_result(stored: Any, problem: Problem) -> Any:
    import numpy as np

    if problem.is_integer:
        return stored.astype(np.float64)
    return decode_floats(np.ascontiguousarray(stored), problem.type.dst)


def plant_error(raw: bytes, problem: Problem, index: int) -> bytes:
    """The result with one element wrong: an integer by 1, a float by the result's root mean square."""
    import numpy as np

    stored = _read_result(raw, problem).copy()
    if problem.is_integer:
        stored[index] += 1
    else:
        value = float(_decode_result(stored[index : index + 1], problem)[0])
        stored[index] = encode_float(value + problem.expected_rms, problem.type.dst)[0]
    data: bytes = stored.astype(stored.dtype, copy=False).tobytes()
    return data if np.any(stored != _read_result(raw, problem)) else raw
