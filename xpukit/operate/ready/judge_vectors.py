"""Whether embeddings are vectors that tell texts apart."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Sequence

from xpukit.facts.readiness import find_limit
from xpukit.operate.ready.read_reply import get
from xpukit.operate.ready.result import PASSED, Judged


def judge_embeddings(reply: object, texts: Sequence[str], *, size: int | None = None) -> Judged:
    """One vector a text, all of one length (`size` where it is known), finite, not constant; equal texts have equal
    vectors and others have not. Never raises."""
    vectors = list_vectors(reply)
    if len(vectors) != len(texts):
        return Judged(verdict="fail", why=f"{len(vectors)} embeddings for {len(texts)} texts")
    plain: list[list[float]] = []
    for place, vector in enumerate(vectors):
        if not isinstance(vector, list) or not vector:
            return Judged(verdict="fail", why=f"embedding {place} is no vector")
        if (fault := _find_fault(vector)) is not None:
            return Judged(verdict="fail", why=f"embedding {place}: {fault}")
        plain.append([float(value) for value in vector])
    lengths = sorted({len(vector) for vector in plain})
    if len(lengths) > 1:
        return Judged(verdict="fail", why=f"embeddings of different dimensions: {', '.join(map(str, lengths))}")
    if size is not None and lengths != [size]:
        return Judged(verdict="fail", why=f"dimension {lengths[0]} instead of {size}")
    return _judge_pairs(plain, texts)


def _judge_pairs(vectors: Sequence[Sequence[float]], texts: Sequence[str]) -> Judged:
    for left in range(len(vectors)):
        for right in range(left + 1, len(vectors)):
            near = compute_cosine(vectors[left], vectors[right])
            if texts[left] == texts[right] and near < find_limit("same_text_cosine"):
                return Judged(verdict="fail", why=f"the same text has two embeddings: cosine {near:.3f}")
            if texts[left] != texts[right] and near > find_limit("other_text_cosine"):
                return Judged(verdict="fail", why=f"texts {left} and {right} differ and have one embedding")
    return PASSED


def _find_fault(vector: Sequence[object]) -> str | None:
    for value in vector:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{value!r:.40} is no number"
        # Too large for a double: no embedding either.
        if isinstance(value, int) and abs(value) > 10**30:
            return "a number beyond all measure"
        if not math.isfinite(value):
            return f"{value} among the numbers"
    if len(set(vector)) == 1 and len(vector) > 1:
        return f"all {len(vector)} numbers are {vector[0]}"
    return None


def compute_cosine(left: Sequence[float], right: Sequence[float]) -> float:
    """Of two vectors of one length; 0 where one has no length."""
    sizes = math.hypot(*left) * math.hypot(*right)
    if not sizes or not math.isfinite(sizes):
        return 0.0
    return math.fsum(a * b for a, b in zip(left, right, strict=True)) / sizes


def list_vectors(reply: object) -> list[object]:
    """The vectors in the order of the texts: rows may come in any order, with an index."""
    rows = get(reply, "data")
    if not isinstance(rows, list):
        return []
    indices = [get(row, "index") for row in rows]
    if sorted(i for i in indices if type(i) is int) == list(range(len(rows))):
        rows = [row for _, row in sorted(zip(indices, rows, strict=True), key=lambda pair: pair[0])]
    return [_read_vector(get(row, "embedding")) for row in rows]


def _read_vector(value: object) -> object:
    """Numbers as they are; base64 of 32-bit little-endian floats, which is OpenAI's other encoding, as numbers."""
    if not isinstance(value, str):
        return value
    try:
        data = base64.b64decode(value, validate=True)
    except ValueError:
        return value
    return value if len(data) % 4 else list(struct.unpack(f"<{len(data) // 4}f", data))
