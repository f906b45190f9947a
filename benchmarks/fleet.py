#!/usr/bin/env python3
"""What a fleet costs the machine that drives it, on made-up hosts: index, reopening, the table, compare.

Run with the environment that has xpukit: python benchmarks/fleet.py [hosts ...] [--metrics 100] [--keep DIR]
Each host's answer is what compare_fleet.py makes (indented JSON, every field). It arrives as the driver leaves it and is
taken as `fleet run` takes it: read, checked, moved, a line in the index. No Ray and no network: docs/scale.md adds those.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.compare_fleet import _CHILD, make_run  # noqa: E402
from xpukit.core.json_document import build_document, encode_json  # noqa: E402
from xpukit.operate.fleet.command import read_command  # noqa: E402
from xpukit.operate.fleet.directory import FleetDirectory, FleetOptions  # noqa: E402
from xpukit.operate.fleet.hosts import make_hosts  # noqa: E402
from xpukit.operate.fleet.result import HostRecord, decide_exit  # noqa: E402
from xpukit.operate.fleet.table import write_table  # noqa: E402


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(folder: Path, count: int, metrics: int) -> dict[str, float]:
    hosts = make_hosts([f"node{index:05d}" for index in range(count)])
    options = FleetOptions(
        xpukit_version="0", created="2026-11-21T00:00:00Z", command=read_command("evaluate --suite quick"), hosts=hosts
    )
    directory = FleetDirectory.create(folder / "run", options)
    draw = random.Random(1)
    taken_s = 0.0
    total = 0
    for index, host in enumerate(hosts):
        arrived = folder / "arriving" / host.folder
        arrived.mkdir(parents=True)
        document = build_document("xpukit.evaluate/1", host.name, make_run(index, metrics, draw))
        content = encode_json(document).encode()
        total += len(content)
        (arrived / ".out").write_bytes(content)
        (arrived / ".err").write_bytes(b"[1/9] 001-gemm\n" * 20)
        started = time.perf_counter()
        record = HostRecord(host=host.name, status="done", rc=0, seconds=100.0, address="10.0.0.1")
        directory.add(directory.take(host, options.command, arrived, record))
        taken_s += time.perf_counter() - started
    started = time.perf_counter()
    again, same = FleetDirectory.reopen(directory.path)
    records = again.list_records(same.hosts)
    decide_exit(records)
    assert all(record.status == "done" for record in records)
    reopened_s = time.perf_counter() - started
    driver_mib = peak_mib()
    started = time.perf_counter()
    table = write_table(directory, hosts)
    table_s = time.perf_counter() - started
    started = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-c", _CHILD, "compare", "--fleet", "--json", str(directory.path)],
        capture_output=True,
        cwd=ROOT,
        check=False,
    )
    compare_s = time.perf_counter() - started
    assert ran.returncode in (0, 1, 3), ran.stderr
    assert len(json.loads(ran.stdout)["runs"]) == count
    return {
        "hosts": count,
        "results_mib": round(total / 2**20, 1),
        "index_kib": round((directory.path / "index.jsonl").stat().st_size / 1024, 1),
        "take_ms_per_host": round(taken_s / count * 1e3, 2),
        "take_s": round(taken_s, 2),
        "reopen_s": round(reopened_s, 3),
        "driver_mib": round(driver_mib),
        "table_s": round(table_s, 2) if table else -1,
        "table_mib": round(table.stat().st_size / 2**20, 2) if table else -1,
        "compare_s": round(compare_s, 1),
        "compare_mib": round(int(ran.stderr.split()[-1]) / 1024),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("hosts", type=int, nargs="*", default=[10, 1000, 10000])
    parser.add_argument("--metrics", type=int, default=100)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    for count in given.hosts:
        with tempfile.TemporaryDirectory(prefix="xpukit-fleet-") as folder:
            print(
                json.dumps(measure(given.keep / str(count) if given.keep else Path(folder), count, given.metrics)),
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
