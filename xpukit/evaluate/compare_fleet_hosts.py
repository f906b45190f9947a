"""The hosts of a fleet, worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from xpukit.evaluate.compare_result import FleetMetric, HostRank, MissingRow, Outlier, RunInput
from xpukit.evaluate.report_csv import format_params


class Tally:
    """What is found, run by run."""

    def __init__(self, runs: int) -> None:
        self.judged = [0] * runs
        self.outliers: list[Outlier] = []
        self.missing: list[MissingRow] = []

    def add_judged(self, runs: Iterable[int]) -> None:
        """Count a value for each of these runs."""
        for run in runs:
            self.judged[run] += 1


def rank_hosts(inputs: Sequence[RunInput], tally: Tally, name_run: Callable[[int], str]) -> tuple[HostRank, ...]:
    """Every readable run: wrong data first, then by number of outliers on the bad side, their distance, and rows
    missing."""
    outliers: dict[int, list[Outlier]] = {}
    for item in tally.outliers:
        if item.worse:
            outliers.setdefault(item.run, []).append(item)
    missing = Counter(row.run for row in tally.missing)
    hosts = []
    for run, given in enumerate(inputs):
        if given.problem:
            continue
        own = outliers.get(run, [])
        worst = max(own, key=lambda item: (item.kind == "wrong-data", abs(item.sigmas or 0)), default=None)
        distances = [abs(item.sigmas) for item in own if item.sigmas is not None]
        hosts.append(
            HostRank(
                rank=0,
                run=run,
                host=name_run(run),
                devices=given.devices,
                outliers=len(own),
                wrong_data=sum(1 for item in own if item.kind == "wrong-data"),
                missing=missing[run],
                judged=tally.judged[run],
                worst_sigmas=max(distances, default=None),
                worst=_describe_worst(worst) if worst else "",
            )
        )
    hosts.sort(key=lambda host: (-host.wrong_data, -host.outliers, -(host.worst_sigmas or 0), -host.missing, host.run))
    return tuple(msgspec.structs.replace(host, rank=place) for place, host in enumerate(hosts, 1))


def _describe_worst(item: Outlier) -> str:
    params = format_params(item.params)
    what = f"{item.benchmark} {item.metric}" + (f" {params}" if params else "")
    if item.change_percent is not None:
        return f"{what}: {item.change_percent:+.0f} %"
    return f"{what}: {item.reason}"


def count_findings(
    inputs: Sequence[RunInput], metrics: Sequence[FleetMetric], tally: Tally, hosts: Sequence[HostRank]
) -> dict[str, int]:
    """The figures of the report's head."""
    return {
        "runs": len(inputs),
        "unreadable": sum(1 for item in inputs if item.problem),
        "metrics": len(metrics),
        "values": sum(metric.n for metric in metrics),
        "outliers": sum(1 for item in tally.outliers if item.worse),
        "better": sum(1 for item in tally.outliers if not item.worse),
        "missing": len(tally.missing),
        "hosts with outliers": sum(1 for host in hosts if host.outliers),
    }
