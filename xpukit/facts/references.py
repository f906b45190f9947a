"""Reference values per device: `reference_perf/<device>.csv`, tidy rows with unit, source and date.

Columns: device (vendor:device PCI id), benchmark, metric, params ("dtype=bf16;m=4096"), value, unit,
direction (higher|lower), kind (measured|published|spec), tolerance (fraction), source, date.

Among the params, `link=gen5x8` is no parameter of the metric: it is the PCIe link under which the value was had, by
which it is scaled to the link of the device at hand.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.core.measurement import Param
from xpukit.facts.paths import shipped_dir
from xpukit.facts.pcie import PcieLink, parse_link
from xpukit.facts.reference_files import iterate_rows, read_reference_text

COLUMNS = (
    "device",
    "benchmark",
    "metric",
    "params",
    "value",
    "unit",
    "direction",
    "kind",
    "tolerance",
    "source",
    "date",
)
KINDS = ("measured", "published", "spec")
LINK_PARAM = "link"


class ReferenceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One reference value. `params` must all be among a result's parameters for the row to apply to it.

    `layer`: 0 for what we ship, 1 and up for the user's files in the order given; the highest layer wins.
    `link`: the PCIe link under which the value was had; None when nobody says.
    """

    device: str
    benchmark: str
    metric: str
    params: tuple[tuple[str, Param], ...]
    value: float
    unit: str
    higher_is_better: bool
    kind: str
    tolerance: float
    source: str
    date: str
    origin: str
    layer: int = 0
    link: PcieLink | None = None

    @property
    def written_params(self) -> dict[str, Param]:
        """The params as the file holds them: with the link."""
        told: dict[str, Param] = {LINK_PARAM: str(self.link)} if self.link is not None else {}
        return {**dict(self.params), **told}


def parse_param(text: str) -> Param:
    """An integer where it is one, else a float, else text."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def parse_reference_csv(text: str, *, origin: str) -> tuple[ReferenceRow, ...]:
    """Rows of a reference file. Raises BadFactsError naming the line that breaks the schema."""
    return tuple(parse_reference_row(raw, where) for raw, where in iterate_rows(text, COLUMNS, origin=origin))


def parse_reference_row(raw: dict[str, str | None], where: str) -> ReferenceRow:
    """One line, by column. Raises BadFactsError with all that breaks the schema, joined by '; '."""
    fields = {column: (raw.get(column) or "").strip() for column in COLUMNS}
    try:
        value, tolerance = float(fields["value"]), float(fields["tolerance"])
    except ValueError as err:
        raise BadFactsError(f"{where}: value and tolerance are numbers: {err}") from err
    problems = [
        problem
        for problem, wrong in (
            ("value must be finite and positive", not (math.isfinite(value) and value > 0)),
            ("tolerance must lie in [0, 1)", not 0 <= tolerance < 1),
            (f"kind is one of {', '.join(KINDS)}", fields["kind"] not in KINDS),
            ("direction is higher or lower", fields["direction"] not in ("higher", "lower")),
            ("device is a PCI id such as 8086:e211", not re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{4}", fields["device"])),
            (
                "benchmark, metric, unit, source and date are needed",
                not all(fields[name] for name in ("benchmark", "metric", "unit", "source", "date")),
            ),
        )
        if wrong
    ]
    if problems:
        raise BadFactsError(f"{where}: {'; '.join(problems)}", hint="correct the row or take it out")
    pairs = [(name.strip(), text.strip()) for name, text in _split_params(fields["params"], where)]
    params = tuple(sorted((name, parse_param(text)) for name, text in pairs if name != LINK_PARAM))
    told = [text for name, text in pairs if name == LINK_PARAM]
    link = parse_link(told[0]) if told else None
    if told and (link is None or len(told) > 1):
        raise BadFactsError(f"{where}: link is {', '.join(told)}", hint="write it once, as link=gen5x8")
    return ReferenceRow(
        device=fields["device"],
        benchmark=fields["benchmark"],
        metric=fields["metric"],
        params=params,
        value=value,
        unit=fields["unit"],
        higher_is_better=fields["direction"] == "higher",
        kind=fields["kind"],
        tolerance=tolerance,
        source=fields["source"],
        date=fields["date"],
        origin=where,
        link=link,
    )


def _split_params(text: str, where: str) -> list[tuple[str, str]]:
    pairs = []
    for part in filter(None, text.split(";")):
        name, equals, value = part.partition("=")
        if not equals:
            raise BadFactsError(f"{where}: params are name=value pairs joined by ';', not {part!r}")
        pairs.append((name, value))
    return pairs


def load_references(directory: Path | None = None) -> tuple[ReferenceRow, ...]:
    """All shipped reference rows (or those of `directory`)."""
    folder = directory or shipped_dir("reference_perf")
    rows: list[ReferenceRow] = []
    for path in sorted(folder.glob("*.csv")):
        rows.extend(parse_reference_csv(read_reference_text(path), origin=path.name))
    return tuple(rows)
