"""What xpu-smi's topology matrix says of each pair of GPUs, as rows and as evidence beside the copies between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from xpukit.core.finding import Evidence
from xpukit.core.measurement import Measurement, MetricKey, make_key
from xpukit.evaluate.parsers.xpu_smi_topology import TopologyMatrix
from xpukit.evaluate.result import Result
from xpukit.facts.p2p import load_wiring

METRIC, UNIT = "wiring", "rank"
SOURCE = "xpu-smi topology -m"

Pair = frozenset[str]


def make_wiring_key(one: str, other: str) -> MetricKey:
    """A pair has one row, in the order of the labels."""
    return make_key("p2p", METRIC, tuple(sorted((one, other))))


def convert_topology(
    parsed: TopologyMatrix, labels: Mapping[tuple[int, int], str], major: int | None = None
) -> tuple[Measurement, ...]:
    """A row for each pair of `labels` ((device number, tile) -> label) whose word is known.

    The value only orders the words; the note says the word itself. Two halves of the matrix that contradict each other
    give no row.
    """
    words: dict[MetricKey, set[str]] = {}
    for link in parsed.readings:
        one, other = (labels.get(place) if (place := _read_place(name)) else None for name in (link.a, link.b))
        if one and other and one != other:
            words.setdefault(make_wiring_key(one, other), set()).add(link.kind)
    rows = []
    for key, said in words.items():
        kind = load_wiring().find(next(iter(said))) if len(said) == 1 else None
        if kind is not None:
            (word,) = said
            blind = load_wiring().explain_blind(word, major)
            note = f"{word}: {kind.summary}" + (f" ({blind})" if blind else "")
            rows.append(Measurement(key=key, unit=UNIT, samples=(float(kind.rank),), higher_is_better=False, note=note))
    return tuple(rows)


def _read_place(name: str) -> tuple[int, int] | None:
    """'gpu1/0' -> (1, 0); None for a NIC."""
    device, slash, tile = name.removeprefix("gpu").partition("/")
    return (int(device), int(tile)) if name.startswith("gpu") and slash else None


def list_fabric_pairs(measurements: Iterable[tuple[MetricKey, float]]) -> dict[Pair, str]:
    """Pairs whose copies do not go over PCIe, and what they go over instead."""
    kinds = {float(kind.rank): kind for kind in load_wiring().kind}
    found: dict[Pair, str] = {}
    for key, value in measurements:
        kind = kinds.get(value) if (key.benchmark, key.metric) == ("p2p", METRIC) else None
        if kind is not None and kind.fabric:
            found[frozenset(key.devices)] = f"{kind.summary} ({SOURCE}: {kind.name})"
    return found


def show_wiring(rows: Iterable[Result]) -> dict[Pair, Evidence]:
    """What there is to say about each pair."""
    return {
        frozenset(row.devices): Evidence(source=SOURCE, value=row.note)
        for row in rows
        if (row.benchmark, row.metric) == ("p2p", METRIC) and row.value is not None and row.note
    }
