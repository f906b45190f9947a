"""Time rivals in one run, turn about, so that whatever else the machine does falls on all of them alike."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Rival(NamedTuple):
    """Best and median of a rival's figures."""

    best: float
    median: float
    n: int


def take_turns(rivals: Mapping[str, Callable[[], T]], *, rounds: int, seed: int = 1) -> dict[str, list[T]]:
    """Call each rival once a round, the order shuffled anew; what they returned, in order of rounds."""
    order = list(rivals)
    returned: dict[str, list[T]] = {name: [] for name in order}
    shuffle = random.Random(seed)
    for _ in range(rounds):
        shuffle.shuffle(order)
        for name in order:
            returned[name].append(rivals[name]())
    return {name: returned[name] for name in rivals}


def summarize(figures: Sequence[float], *, higher_is_better: bool = False) -> Rival:
    """Best (smallest, unless higher is better) and median."""
    best = max(figures) if higher_is_better else min(figures)
    return Rival(best=best, median=statistics.median(figures), n=len(figures))


def alternate(rivals: Mapping[str, Callable[[], float]], *, rounds: int, seed: int = 1) -> dict[str, Rival]:
    """Call each rival once a round in shuffled order; each returns its figure, where less is better (seconds ...)."""
    return {name: summarize(figures) for name, figures in take_turns(rivals, rounds=rounds, seed=seed).items()}


def print_ratio(label: str, ours: float, theirs: float, target: str) -> None:
    """'label: ours 12.3, peer 11.9, ratio 1.03 (target ...)'."""
    print(f"{label}: ours {ours:.4g}, peer {theirs:.4g}, ratio {ours / theirs:.2f} (target {target})", flush=True)
