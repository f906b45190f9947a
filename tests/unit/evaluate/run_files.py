"""Run directories as evaluate writes them, made small, for comparisons and baselines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from xpukit.core.json_document import build_document, encode_json
from xpukit.core.machine import CpuLayout, Device, Firmware, Link, Machine, SoftwareItem
from xpukit.core.measurement import Param
from xpukit.evaluate.result import DeviceSummary, Evaluation, Result

BDF = "0000:03:00.0"


def gpu(bdf: str = BDF, device_id: str = "e211") -> DeviceSummary:
    return DeviceSummary(label=bdf, kind="gpu", name="Arc Pro B60", bdf=bdf, device_id=device_id)


def row(
    value: float | None,
    *,
    benchmark: str = "memory",
    metric: str = "peak_bandwidth",
    devices: tuple[str, ...] = (BDF,),
    unit: str = "GB/s",
    mad: float | None = None,
    n: int = 20,
    params: dict[str, Param] | None = None,
    **more: Any,
) -> Result:
    """A row; MAD is half a per cent where nothing else is said."""
    base = Result(
        benchmark=benchmark, metric=metric, devices=devices, params={"op": "read"} if params is None else params,
        value=value, unit=unit, engine="embedded", n=0 if value is None else n, median=value,
        mad=None if value is None else abs(value) * 0.005 if mad is None else mad, verified=value is not None,
        verdict="unknown" if value is None else "no-baseline",
    )  # fmt: skip
    return msgspec.structs.replace(base, **more)


def write_run(
    folder: Path,
    rows: Sequence[Result],
    *,
    devices: Sequence[DeviceSummary] = (gpu(),),
    host: str = "srv1",
    created: str = "2026-01-02T03:04:05Z",
    version: str | None = None,
    machine: Machine | None = None,
    **more: Any,
) -> Path:
    """Write results.json (and probe.json) into a new directory; the directory."""
    folder.mkdir(parents=True)
    fields: dict[str, Any] = {"engine": "embedded", "suite": "standard", "verdict": "pass", "complete": True} | more
    body = Evaluation(devices=tuple(devices), results=tuple(rows), started=created, **fields)
    document = build_document("xpukit.evaluate/1", host, body, created=created)
    if version is not None:
        document["xpukit_version"] = version
    (folder / "results.json").write_text(encode_json(document))
    if machine is not None:
        text = encode_json(build_document("xpukit.probe/1", host, machine, created=created))
        (folder / "probe.json").write_text(text)
    return folder


def make_machine(bdfs: Sequence[str] = (BDF,)) -> Machine:
    """A host with B60 cards, all that provenance asks for."""
    return Machine(
        devices=tuple(
            Device(
                index=index, bdf=bdf, vendor_id="0x8086", device_id="0xe211", name="Intel Arc Pro B60", known=True,
                driver="xe", driver_version="6.17.0", firmware=(Firmware(name="GuC", version="70.49.4", source="x"),),
                link=Link(
                    read_at=bdf, current_speed_gts=32.0, current_width=8, max_speed_gts=32.0, max_width=8, limit_gbps=31.5
                ),
            )
            for index, bdf in enumerate(bdfs)
        ),
        cpu=CpuLayout(model="Intel Xeon 6530P", sockets=2),
        software=(
            SoftwareItem(name="kernel", version="6.17.0-20"),
            SoftwareItem(name="Level Zero GPU driver", version="25.40.1"),
        ),
    )  # fmt: skip
