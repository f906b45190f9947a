#!/usr/bin/env python3
"""`xpukit compare --fleet` over a made-up fleet: wall time and peak memory of the whole command.

Run with the environment that has xpukit: python benchmarks/compare_fleet.py [hosts ...] [--metrics 100] [--keep DIR]
Each host has one results.json as evaluate writes it (indented, every field), with noise of 1 % and two planted faults:
host 17 is 20 % slow in ten metrics, host 23 lacks five rows. The report must name exactly these.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from xpukit.core.json_document import build_document, encode_json  # noqa: E402
from xpukit.evaluate.result import DeviceSummary, Evaluation, Result  # noqa: E402

SLOW_HOST, LACKING_HOST = 17, 23
LIMITS = {1000: (2.0, 1.0), 10000: (20.0, 10.0)}
# The child reports its own peak: the resident set in KiB.
_CHILD = (
    "import resource, sys; from xpukit.cli.app import run; code = run(sys.argv[1:]);"
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
)


def make_run(host: int, metrics: int, draw: random.Random) -> Evaluation:
    """One host's results."""
    device = "0000:03:00.0"
    rows = []
    for index in range(metrics):
        if host == LACKING_HOST and index < 5:
            continue
        value = (10 + index) * draw.gauss(1, 0.01) * (0.8 if host == SLOW_HOST and index % 10 == 0 else 1)
        rows.append(
            Result(
                benchmark="memory", metric="bandwidth", devices=(device,), params={"bytes": 4096 << (index % 20), "op": f"op{index // 20}"},
                value=value, unit="GB/s", engine="embedded", n=20, median=value, mad=value / 200, min=value * 0.97, max=value * 1.02,
                verified=True, verify_detail="4194304 elements, bit for bit", verdict="no-baseline",
                reason="no reference for this device and metric", note="one queue, immediate command lists",
            )
        )  # fmt: skip
    summary = DeviceSummary(label=device, kind="gpu", name="Arc Pro B60", bdf=device, device_id="e211", numa_node=0)
    return Evaluation(
        engine="embedded", suite="standard", devices=(summary,), results=tuple(rows), verdict="no-baseline", complete=True
    )  # fmt: skip


def make_fleet(folder: Path, hosts: int, metrics: int) -> int:
    """Write the fleet; the number of bytes."""
    draw = random.Random(1)
    total = 0
    for host in range(hosts):
        run = folder / f"host{host:05d}"
        run.mkdir(parents=True)
        body = make_run(host, metrics, draw)
        text = encode_json(build_document("xpukit.evaluate/1", run.name, body, created="2026-01-02T03:04:05Z"))
        (run / "results.json").write_text(text)
        total += len(text)
    return total


def measure(folder: Path, *options: str) -> tuple[float, float, dict[str, object]]:
    """Seconds, peak GiB, and the JSON document of one comparison in a fresh process."""
    begun = time.perf_counter()
    argv = [sys.executable, "-c", _CHILD, "compare", str(folder), "--json", *options]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    seconds = time.perf_counter() - begun
    if ran.returncode not in (0, 1, 3):
        raise SystemExit(ran.stderr)
    return seconds, int(ran.stderr.split()[-1]) / 1024**2, json.loads(ran.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("hosts", nargs="*", type=int, default=[1000, 10000])
    parser.add_argument("--metrics", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    good = True
    for hosts in options.hosts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            size = make_fleet(folder / "fleet", hosts, options.metrics)
            print(f"{hosts} hosts x {options.metrics} metrics, {size / 1e6:.0f} MB of results")
            for extra in ([], ["--csv", f"{name}/o.csv", "--html", f"{name}/o.html"]):
                runs = [measure(folder / "fleet", *extra) for _ in range(options.rounds)]
                seconds, memory = min(run[0] for run in runs), max(run[1] for run in runs)
                found = runs[0][2]
                outliers = {item["host"] for item in found["outliers"]}  # type: ignore[attr-defined]
                missing = {item["host"] for item in found["missing"]}  # type: ignore[attr-defined]
                exact = outliers == {f"host{SLOW_HOST:05d}"} and missing == {f"host{LACKING_HOST:05d}"}
                most_seconds, most_memory = LIMITS.get(hosts, (float("inf"), float("inf")))
                fits = seconds <= most_seconds and memory <= most_memory
                good = good and exact and fits
                print(
                    f"  {'JSON, CSV and HTML' if extra else 'JSON':<20} {seconds:6.2f} s  {memory:5.2f} GiB peak"
                    f"  (best of {options.rounds})  planted faults {'named exactly' if exact else 'MISSED: ' + str(sorted(outliers)[:9])}"
                    f"  {'' if fits else 'OVER THE LIMIT'}"
                )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
