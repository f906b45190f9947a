"""Data that is written before a measurement and checked after it, word for word.

Word i of a pattern is i * STEP + seed (mod 2^32): every word within 16 GiB is different, so data that is stale,
shifted or taken from elsewhere is noticed. Kernels compute the same (host/native/kernels/memory.cl).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

STEP = 2654435761  # odd, hence a bijection of the 32-bit words
CHUNK_WORDS = 1 << 20
_MASK = (1 << 32) - 1


def make_seed(seed: int, purpose: int) -> int:
    """A different 32-bit seed for each purpose (array, direction, poison)."""
    return (seed * 0x9E3779B1 + purpose * 0x85EBCA6B + 0x7F4A7C15) & _MASK


def make_chunks(words: int, seed: int) -> Iterator[tuple[int, Any]]:
    """(first word, uint32 array) for each piece of a pattern; the array is reused for the next piece."""
    import numpy as np

    piece = np.arange(min(words, CHUNK_WORDS), dtype=np.uint32) * np.uint32(STEP) + np.uint32(seed)
    advance = np.uint32(CHUNK_WORDS * STEP & _MASK)
    for first in range(0, words, CHUNK_WORDS):
        if first:
            piece += advance
        yield first, piece[: words - first]


def fill_pattern(words: Any, seed: int) -> None:
    """Write the pattern into a uint32 array (this also touches every page)."""
    for first, piece in make_chunks(len(words), seed):
        words[first : first + len(piece)] = piece


def make_triad_chunks(words: int, seed_a: int, seed_b: int, scale: int) -> Iterator[tuple[int, Any]]:
    """What a + scale * b must be, bit for bit, for the floats that the kernel fill_floats makes."""
    import numpy as np

    for (first, a), (_, b) in zip(make_chunks(words, seed_a), make_chunks(words, seed_b), strict=True):
        floats = (a >> np.uint32(20)) + np.uint32(scale) * (b >> np.uint32(20))  # below 2^24: exact in a float
        yield first, floats.astype(np.float32).view(np.uint32)


def find_difference(
    expected: Iterator[tuple[int, Any]], read_words: Callable[[int, int], Any], *, kind: str = "word"
) -> str:
    """Compare what `read_words(first, count)` gives with what is expected: "" when equal, else what differs, where."""
    import numpy as np

    differing = total = 0
    detail = ""
    for first, piece in expected:
        found = read_words(first, len(piece))
        total += len(piece)
        if np.array_equal(found, piece):
            continue
        places = np.flatnonzero(found != piece)
        differing += len(places)
        if not detail:
            at = int(places[0])
            detail = (
                f"{kind} {first + at} (byte {4 * (first + at)}) is 0x{int(found[at]):08x}, not 0x{int(piece[at]):08x}"
            )
    return f"{detail}; {differing} of {total} {kind}s differ" if differing else ""


def sum_of_words(first_words: Any, counts: Any, seed: int) -> Any:
    """Sums (mod 2^32) of runs of consecutive words: uint64 arrays of first word and count in, uint32 array out."""
    import numpy as np

    first = np.asarray(first_words, dtype=np.uint64)
    count = np.asarray(counts, dtype=np.uint64)
    # count * (first + last) is even or count is: halve before the product can wrap.
    doubled = first * np.uint64(2) + count - np.minimum(count, np.uint64(1))
    halves = np.where(count % 2 == 0, (count // 2) * doubled, count * (doubled // 2))
    return ((halves * np.uint64(STEP) + count * np.uint64(seed)) & np.uint64(_MASK)).astype(np.uint32)
