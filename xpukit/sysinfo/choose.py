"""Which collectors run: preset, --only, --skip."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from xpukit.core.errors import UsageError
from xpukit.sysinfo.collector import PRESETS, Collector, Preset


def parse_preset(text: str) -> Preset:
    """A preset by name. Raises UsageError."""
    for preset in PRESETS:
        if preset == text:
            return preset
    raise UsageError(f"--preset {text}: no such preset", hint=f"one of: {', '.join(PRESETS)}")


def split_names(given: Sequence[str]) -> tuple[str, ...]:
    """'a,b' and repeated options alike."""
    return tuple(dict.fromkeys(name.strip() for text in given for name in text.split(",") if name.strip()))


def choose_collectors(
    collectors: Sequence[Collector], *, preset: Preset, only: Sequence[str] = (), skip: Sequence[str] = ()
) -> tuple[Collector, ...]:
    """Those of the preset, or exactly `only` whatever the preset, without `skip`; in running order.

    Raises UsageError for a name that is none, and when nothing is left.
    """
    names = [collector.name for collector in collectors]
    for option, given in (("--only", only), ("--skip", skip)):
        for name in given:
            if name not in names:
                raise UsageError(f"{option} {name}: no such collector", hint=_suggest(name, names))
    level = PRESETS.index(preset)
    chosen = tuple(
        collector
        for collector in collectors
        if (collector.name in only if only else PRESETS.index(collector.preset) <= level) and collector.name not in skip
    )
    if only and not chosen:
        raise UsageError("--only and --skip leave no collector", hint="see: xpukit sysinfo --list")
    return chosen


def _suggest(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.replace("-", "_"), names, n=2, cutoff=0.5)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{meant}see: xpukit sysinfo --list"
