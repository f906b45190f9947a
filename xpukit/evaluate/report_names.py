"""Short names for devices and words for parameters, as the page and its plots use them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from xpukit.core.machine import Machine
from xpukit.core.measurement import Param
from xpukit.core.units import format_bytes
from xpukit.evaluate.result import Evaluation, Result

# Characters that neither HTML nor SVG can hold, and those that turn the direction of text around.
_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_FIRST = ("collective", "op", "direction", "memory", "dtype", "mode", "path", "shape")
_METRICS = {"busbw": "bus bandwidth", "algbw": "algorithm bandwidth"}


def clean_text(text: str) -> str:
    """The text without what a page cannot show; each such character becomes a replacement mark."""
    return _UNSHOWABLE.sub("\ufffd", text)


class DeviceNames:
    """`GPU0` for a BDF, `GPU0.1` for its tile 1, `CPU` for the host: the probe's numbers where it knows the device."""

    def __init__(self, evaluation: Evaluation, machine: Machine) -> None:
        by_bdf = {device.bdf: device.index for device in machine.devices}
        free = max([*by_bdf.values(), -1]) + 1
        self._names: dict[str, str] = {}
        for device in evaluation.devices:
            if device.kind != "gpu":
                self._names[device.label] = "CPU" if device.label == "cpu" else clean_text(device.label)
                continue
            bdf, _, tile = device.label.partition("/")
            bdf = device.bdf or bdf
            if bdf not in by_bdf:
                by_bdf[bdf], free = free, free + 1
            self._names[device.label] = f"GPU{by_bdf[bdf]}" + (f".{tile.removeprefix('tile')}" if tile else "")
        self._order = {label: position for position, label in enumerate(self._names)}

    def name(self, label: str) -> str:
        """The short name; a label that the run's devices do not list stays as it is."""
        return self._names.get(label, clean_text(label))

    def order(self, labels: Iterable[str]) -> list[str]:
        """Labels in the order of the run's devices, unknown ones last."""
        return sorted(set(labels), key=lambda label: (self._order.get(label, len(self._order)), label))

    def join(self, labels: Sequence[str], *, directed: bool = False) -> str:
        """'GPU0', 'GPU0 → GPU1' for a directed pair, 'GPU0–GPU7' for a run of devices, else with commas."""
        names = [self.name(label) for label in labels]
        if directed and len(names) == 2:
            return f"{names[0]} → {names[1]}"
        places = [self._order.get(label, -1) for label in labels]
        if len(names) > 2 and places[0] >= 0 and places == list(range(places[0], places[0] + len(places))):
            return f"{names[0]}–{names[-1]}"
        return ", ".join(names)


def is_directed(row: Result) -> bool:
    """Whether the two devices of a row are a source and a destination."""
    return len(row.devices) == 2 and "ranks" not in row.params


def sort_params(values: Iterable[Param]) -> list[Param]:
    """Distinct values in order, numbers before text."""
    distinct = set(values)
    numbers = sorted(value for value in distinct if isinstance(value, int | float))
    return [*numbers, *sorted(value for value in distinct if isinstance(value, str))]


def format_param(name: str, value: Param) -> str:
    """A parameter in words: '256 MiB', 'fp16', 'ranks=8'."""
    if name == "bytes" and isinstance(value, int | float):
        return format_bytes(value)
    return clean_text(value) if isinstance(value, str) else f"{clean_text(name)}={value}"


def format_product(row: Result) -> str:
    """The size of a matrix product: '4096³' or '16×28672×4096'; '' for other rows."""
    sizes = [row.params.get(name) for name in ("m", "n", "k")]
    if None in sizes:
        return ""
    return f"{sizes[0]}³" if len(set(sizes)) == 1 else "×".join(map(str, sizes))


def describe_params(rows: Sequence[Result], *, leave_out: tuple[str, ...] = ()) -> str:
    """The parameters of one row, or of several together: what they share, ranges of sizes, lists of the rest."""
    parts = []
    products = {format_product(row) for row in rows}
    tail = ""
    if "m" not in leave_out and products != {""}:
        leave_out = (*leave_out, "m", "n", "k")
        tail = products.copy().pop() if len(products) == 1 else f"{len(products)} sizes"
    given = {name for row in rows for name in row.params} - set(leave_out)
    for name in sorted(given, key=_place_param):
        values = sort_params(row.params[name] for row in rows if name in row.params)
        if len(values) == 1:
            parts.append(format_param(name, values[0]))
        elif name == "bytes":
            parts.append(f"{format_param(name, values[0])}–{format_param(name, values[-1])}")
        elif len(values) <= 4 and name != "shape":
            listed = "/".join(clean_text(str(value)) for value in values)
            parts.append(listed if all(isinstance(value, str) for value in values) else f"{clean_text(name)}={listed}")
        else:
            parts.append(f"{len(values)} {_pluralize(clean_text(name))}")
    return " ".join([*parts, tail] if tail else parts)


def _pluralize(name: str) -> str:
    if name.endswith("y"):
        return name[:-1] + "ies"
    return name if name.endswith("s") else name + "s"


def _place_param(name: str) -> tuple[int, str]:
    # What a reader names first: the operation, then its type, then how; sizes last.
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST) + (name == "bytes"), name)


def show_unit(unit: str) -> str:
    """The unit as it is printed."""
    return "µs" if unit == "us" else clean_text(unit)


def show_metric(metric: str) -> str:
    """The metric in words."""
    return _METRICS.get(metric) or clean_text(metric).replace("_", " ")
