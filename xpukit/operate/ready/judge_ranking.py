"""Whether a reranker puts the document that answers before those that do not."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xpukit.operate.ready.read_reply import get
from xpukit.operate.ready.result import PASSED, Judged


def judge_ranking(reply: object, *, documents: int, best: int, in_order: bool) -> Judged:
    """Each document once, with a finite score, the one with index `best` in front. `in_order`: rows must come sorted.

    Takes the shapes of Jina and Cohere (`results`), of vLLM's score API (`data`) and SGLang's plain list. Never raises.
    """
    rows = list_scores(reply)
    if sorted(index for index, _ in rows) != list(range(documents)):
        return Judged(verdict="fail", why=f"{len(rows)} scores for {documents} documents, or not each once")
    values: dict[int, float] = {}
    for index, value in rows:
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            return Judged(verdict="fail", why=f"the score of document {index} is {value!r:.40}")
        values[index] = float(value)
    if len(set(values.values())) == 1:
        return Judged(verdict="fail", why=f"all documents have the score {values[0]}")
    front = max(values, key=lambda index: values[index])
    if front != best:
        why = f"wrong order: document {front} ({values[front]:.4g}) before {best} ({values[best]:.4g}), which answers"
        return Judged(verdict="fail", why=why)
    came = [values[index] for index, _ in rows]
    if in_order and came != sorted(came, reverse=True):
        return Judged(verdict="fail", why="wrong order: the rows are not sorted by their scores")
    return PASSED


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def list_scores(reply: object) -> list[tuple[int, object]]:
    """(index, score) as they came; rows without an index have their place."""
    rows: object = reply
    for name in ("results", "data"):
        if isinstance(get(reply, name), list):
            rows = get(reply, name)
            break
    found: list[tuple[int, object]] = []
    for place, row in enumerate(rows if isinstance(rows, Sequence) and not isinstance(rows, str | bytes) else ()):
        index = get(row, "index")
        score = get(row, "relevance_score")
        found.append((index if type(index) is int else place, score if score is not None else get(row, "score")))
    return found
