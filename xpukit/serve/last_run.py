"""The newest evaluation of this host: what `xpukit evaluate` left in xpukit-runs/ here or in the home folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.host.door import Host
from xpukit.serve.device_speed import HostMeasurements

_PARENTS = ("PWD", "HOME")
_FOLDER = "xpukit-runs"
_FILE = "results.json"
# Newest first; older ones than these are not what the machine is now.
_LOOK_AT = 5
_LIMIT_BYTES = 64 << 20
# What decoding does is reading; the others stand in for it, in this order.
_READS = ("read", "triad", "copy")


class LastRun(msgspec.Struct, frozen=True, kw_only=True):
    """A results document and where it lies."""

    path: str
    document: Mapping[str, Any]


def find_last_run(host: Host) -> LastRun | None:
    """The newest run with results, None where there is none or none can be read. Never raises for what it holds."""
    found: list[tuple[str, str]] = []
    for parent in _list_parents(host):
        root = f"{parent.rstrip('/')}/{_FOLDER}"
        found.extend((name, root) for name in host.list(root).names[-_LOOK_AT:])
    # Names begin with the time.
    for name, root in sorted(found, reverse=True)[:_LOOK_AT]:
        path = f"{root}/{name}/{_FILE}"
        document = read_run(host, path)
        if document is not None:
            return LastRun(path=path, document=document)
    return None


def _list_parents(host: Host) -> Iterable[str]:
    values = (host.env(name).value for name in _PARENTS if name in host.env_names(name).names)
    return dict.fromkeys(value for value in values if value and value.startswith("/"))


def read_run(host: Host, path: str) -> Mapping[str, Any] | None:
    """A results document; None when it is not there, cut short or of another kind."""
    answer = host.read(path, limit_bytes=_LIMIT_BYTES)
    if answer.error or answer.truncated:
        return None
    try:
        document = msgspec.json.decode(answer.data)
    except BAD_JSON:
        return None
    if not isinstance(document, dict) or not str(document.get("schema", "")).startswith("xpukit.evaluate/"):
        return None
    return document


def read_measurements(run: LastRun) -> HostMeasurements | None:
    """Bandwidth and GEMM rates of the run, for the prediction; None where it has neither.

    The slowest GPU's bandwidth is taken, because it sets the pace. Rows that failed their data check are left out.
    """
    rows = [row for row in run.document.get("results", ()) if isinstance(row, dict) and _is_usable(row)]
    streams = {op: [float(row["value"]) for row in rows if _is_stream(row, op)] for op in _READS}
    bandwidth = next((values for values in streams.values() if values), [])
    gemm = [
        (str(params.get("dtype", "")), int(params["m"]), int(params["n"]), int(params["k"]), float(row["value"]))
        for row in rows
        if row.get("benchmark") == "gemm" and row.get("unit") == "TFLOPS" and _has_shape(params := row["params"])
    ]
    collective = [
        float(row["value"])
        for row in rows
        if row.get("metric") == "busbw" and row["params"].get("collective") == "allreduce"
    ]
    if not bandwidth and not gemm:
        return None
    return HostMeasurements(
        memory_gbps=min(bandwidth) if bandwidth else None,
        gemm=tuple(gemm),
        collective_gbps=max(collective) if collective else None,
        source=run.path,
    )


def _is_usable(row: Mapping[str, Any]) -> bool:
    """A number of a GPU that can be believed: checked data, no verdict that doubts it."""
    value = row.get("value")
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    sane = row.get("verified") is not False and row.get("verdict") != "unknown"
    return number and sane and isinstance(row.get("params"), dict) and row.get("devices") != ["cpu"]


def _is_stream(row: Mapping[str, Any], op: str) -> bool:
    return row.get("benchmark") == "memory" and row.get("metric") == "peak_bandwidth" and row["params"].get("op") == op


def _has_shape(params: Mapping[str, Any]) -> bool:
    return all(isinstance(params.get(name), int) for name in ("m", "n", "k"))
