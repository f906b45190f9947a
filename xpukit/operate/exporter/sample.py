"""One value of one metric, and a place that collects them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """A value of a metric of data/exporter/metrics.toml; labels sorted by name."""

    name: str
    labels: Labels
    value: float


def make_labels(**labels: str) -> Labels:
    """Sorted pairs."""
    return tuple(sorted(labels.items()))


def gpu_labels(bdf: str, **more: str) -> Labels:
    """The labels of everything that belongs to the GPU itself."""
    return make_labels(hw_id=bdf, hw_type="gpu", **more)


class SampleSet:
    """Samples by metric and labels: the first value of a series stays, so that better sources are asked first."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, Labels], float] = {}
        self._known: set[tuple[str, str]] = set()

    def add(self, name: str, labels: Labels, value: float) -> bool:
        """Whether the series was not there before."""
        if (name, labels) in self._values:
            return False
        self._values[(name, labels)] = value
        self._known.update((name, told) for label, told in labels if label in ("hw_id", "hw_parent"))
        return True

    def extend(self, samples: list[Sample]) -> None:
        for sample in samples:
            self.add(*sample)

    def has(self, name: str, bdf: str) -> bool:
        """Whether any series of the metric is about this GPU."""
        return (name, bdf) in self._known

    def __iter__(self) -> Iterator[Sample]:
        return (Sample(name, labels, value) for (name, labels), value in self._values.items())
