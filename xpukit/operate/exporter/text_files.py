"""Metrics that other programs leave in files (*.prom), passed on: a rotation's outcome, for one."""

from __future__ import annotations

from collections.abc import Callable

from xpukit.facts.exporter_metrics import load_exporter_metrics
from xpukit.host.door import Host
from xpukit.operate.exporter.sample import Sample

_LIMIT_BYTES = 256 << 10
# What the table says of metrics that may come from such files: no other program speaks for the GPUs.
ORIGIN = "text file"


def read_text_files(host: Host, directory: str, count_error: Callable[[str, str, str], None]) -> list[Sample]:
    """The samples of all *.prom files of a directory. Only what our table says comes from them is taken."""
    from prometheus_client.parser import text_string_to_metric_families

    known = {name: metric for name, metric in load_exporter_metrics().items() if metric.origin == ORIGIN}
    samples: list[Sample] = []
    listing = host.list(directory)
    if listing.error and listing.error != "ENOENT":  # no rotation has written there yet
        count_error("", "text-files", listing.error)
    for name in listing.names:
        if not name.endswith(".prom"):
            continue
        answer = host.read(f"{directory}/{name}", limit_bytes=_LIMIT_BYTES)
        if not answer.ok:
            count_error("", "text-files", answer.error)
            continue
        try:
            families = list(text_string_to_metric_families(answer.text + "\n"))
        except ValueError:
            count_error("", "text-files", "EINVAL")
            continue
        for sample in (sample for family in families for sample in family.samples):
            metric = known.get(sample.name)
            if metric is not None and set(sample.labels) <= set(metric.labels):
                samples.append(Sample(sample.name, tuple(sorted(sample.labels.items())), sample.value))
    return samples
