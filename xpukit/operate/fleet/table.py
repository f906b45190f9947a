"""All hosts' rows in one Parquet file, where pyarrow is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.operate.fleet.directory import FleetDirectory
from xpukit.operate.fleet.hosts import FleetHost

NAME = "index.parquet"
# Hosts whose rows are in memory at a time.
_GROUP = 100


class _Row(msgspec.Struct, frozen=True, gc=False):
    benchmark: str
    metric: str
    devices: tuple[str, ...]
    params: msgspec.Raw
    value: float | None
    unit: str
    verdict: str = ""
    engine: str = ""
    n: int = 0
    mad: float | None = None
    verified: bool | None = None
    reason: str = ""


class _Document(msgspec.Struct, frozen=True):
    results: tuple[_Row, ...] = ()


def write_table(directory: FleetDirectory, hosts: tuple[FleetHost, ...]) -> Path | None:
    """Write it; None without pyarrow, or where no host has results."""
    if importlib.util.find_spec("pyarrow") is None:
        return None
    import pyarrow as arrow
    from pyarrow import parquet

    text, number = arrow.string(), arrow.float64()
    types = {
        "host": text, "benchmark": text, "metric": text, "devices": text, "params": text, "value": number,
        "unit": text, "verdict": text, "engine": text, "n": arrow.int64(), "mad": number, "verified": arrow.bool_(),
        "reason": text,
    }  # fmt: skip
    schema = arrow.schema(list(types.items()))
    decoder = msgspec.json.Decoder(_Document)
    path = directory.path / NAME
    found = False
    with parquet.ParquetWriter(path.with_suffix(".part"), schema, compression="zstd") as writer:
        for start in range(0, len(hosts), _GROUP):
            columns: dict[str, list[object]] = {name: [] for name in types}
            for host in hosts[start : start + _GROUP]:
                try:
                    document = decoder.decode((directory.path / "hosts" / host.folder / "results.json").read_bytes())
                except (OSError, *BAD_JSON):
                    continue
                for row in document.results:
                    found = True
                    columns["host"].append(host.name)
                    columns["devices"].append(" ".join(row.devices))
                    columns["params"].append(bytes(row.params).decode("utf-8", errors="replace"))
                    for name in types:
                        if name not in ("host", "devices", "params"):
                            columns[name].append(getattr(row, name))
            writer.write_table(arrow.table(columns, schema=schema))
    if not found:
        path.with_suffix(".part").unlink()
        return None
    return path.with_suffix(".part").replace(path)
