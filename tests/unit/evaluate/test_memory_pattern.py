"""The data that results are checked against, and that a difference is found where it is."""

from __future__ import annotations

import numpy as np
import pytest

from xpukit.evaluate.embedded import pattern
from xpukit.evaluate.embedded.kinds.memory import Shape, expected_sums

WORDS = 2 * pattern.CHUNK_WORDS + 77


def make_words(count: int, seed: int) -> np.ndarray:
    return (np.arange(count, dtype=np.uint64) * pattern.STEP + seed).astype(np.uint32)


def test_pieces_join_to_one_pattern() -> None:
    words = np.zeros(WORDS, dtype=np.uint32)
    pattern.fill_pattern(words, 12345)
    assert np.array_equal(words, make_words(WORDS, 12345))


@pytest.mark.parametrize("place", [0, pattern.CHUNK_WORDS - 1, pattern.CHUNK_WORDS, WORDS - 1])
def test_one_changed_bit_is_found_and_named(place: int) -> None:
    words = make_words(WORDS, 7)
    words[place] ^= 1
    detail = pattern.find_difference(pattern.make_chunks(WORDS, 7), lambda first, count: words[first : first + count])
    assert f"word {place} (byte {4 * place})" in detail
    assert f"1 of {WORDS} words differ" in detail


def test_shifted_data_is_noticed() -> None:
    words = make_words(WORDS + pattern.CHUNK_WORDS, 7)[pattern.CHUNK_WORDS :]
    detail = pattern.find_difference(pattern.make_chunks(WORDS, 7), lambda first, count: words[first : first + count])
    assert f"{WORDS} of {WORDS} words differ" in detail


def test_equal_data_gives_nothing() -> None:
    words = make_words(WORDS, 9)
    assert not pattern.find_difference(pattern.make_chunks(WORDS, 9), lambda f, n: words[f : f + n])


def test_triad_is_exact_in_floats() -> None:
    a, b = (make_words(1000, seed) >> 20 for seed in (1, 2))
    (_, expected), *rest = pattern.make_triad_chunks(1000, 1, 2, 3)
    assert not rest
    floats = a.astype(np.float32) + np.float32(3) * b.astype(np.float32)
    assert np.array_equal(floats.view(np.uint32), expected)


@pytest.mark.parametrize("layout", ["blocked", "strided"])
@pytest.mark.parametrize("width", [4, 16])
@pytest.mark.parametrize(("vectors", "items"), [(1, 1), (5, 8), (64, 8), (1000, 7), (1001, 256), (3, 256)])
def test_sums_of_work_items_agree_with_adding_up(layout: str, width: int, vectors: int, items: int) -> None:
    seed = 0xDEADBEEF
    rows = make_words(vectors * width, seed).reshape(vectors, width)
    share = -(-vectors // items)
    wanted = []
    for item in range(items):
        mine = rows[item * share : (item + 1) * share] if layout == "blocked" else rows[item::items]
        wanted.append(int(mine.sum(dtype=np.uint64)) & 0xFFFFFFFF)
    found = expected_sums(vectors, Shape(layout=layout, width=width), items, seed)
    assert found.tolist() == wanted


def test_seeds_differ_by_purpose() -> None:
    assert len({pattern.make_seed(1, purpose) for purpose in range(100)}) == 100
