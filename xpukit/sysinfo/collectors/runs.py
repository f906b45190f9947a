"""Earlier runs of xpukit evaluate: the list, and results of the last ones."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector

_NAME = "runs"
_LAST = 5


def collect(asker: Asker) -> None:
    inquiry = load_inquiry(_NAME)
    variables = {name: value for prefix in inquiry.words("parents") for name, value in asker.env(prefix).items()}
    parents = [value for name, value in variables.items() if name in inquiry.words("parents") and value.startswith("/")]
    found = 0
    for parent in dict.fromkeys(parents):
        root = f"{parent.rstrip('/')}/xpukit-runs"
        names = asker.list(root).names
        found += len(names)
        # Names begin with the time, so that the last ones are the newest.
        for name in names[-_LAST:]:
            entries = asker.list(f"{root}/{name}").names
            for wanted in inquiry.words("files"):
                if wanted in entries:
                    asker.read(f"{root}/{name}/{wanted}")
    if not found:
        asker.note("no earlier run of xpukit evaluate in xpukit-runs/ here or in the home folder")


COLLECTOR = Collector(
    name=_NAME,
    summary=f"earlier runs of xpukit evaluate, with the results of the last {_LAST}",
    preset="default",
    collect=collect,
    timeout_s=15,
    order=490,
)
