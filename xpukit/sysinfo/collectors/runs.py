"""Earlier runs of xpukit evaluate: the list, and results of the last ones; what serve learned from logs."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector

_NAME = "runs"
_LAST = 5
_RESULT_LIMIT_BYTES = 4 << 20


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
                    # Whole: `xpukit serve` plans with these numbers.
                    asker.read(f"{root}/{name}/{wanted}", limit_bytes=_RESULT_LIMIT_BYTES)
    state = asker.env("XDG_STATE_HOME").get("XDG_STATE_HOME", "")
    home = variables.get("HOME", "")
    base = state if state.startswith("/") else f"{home.rstrip('/')}/.local/state"
    for file in inquiry.words("state") if base.startswith("/") else ():
        asker.read(f"{base.rstrip('/')}/{file}")
    if not found:
        asker.note("no earlier run of xpukit evaluate in xpukit-runs/ here or in the home folder")


COLLECTOR = Collector(
    name=_NAME,
    summary=f"earlier runs of xpukit evaluate with the results of the last {_LAST}, corrections of xpukit serve",
    preset="default",
    collect=collect,
    timeout_s=15,
    order=490,
)
