"""The journal's kernel messages, only what concerns the GPU stack."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.host.answers import Ran
from xpukit.sysinfo.collector import Asker


def make_pattern() -> str:
    """One regular expression, in words that grep -E and journalctl's --grep both take."""
    return "|".join(load_inquiry("kernel_log").words("patterns"))


def ask_journal(asker: Asker, *, boot: int) -> Ran:
    """Kernel messages of a boot (0 this one, -1 the one before)."""
    return asker.run(
        "journalctl", "-k", "-b", str(boot), "--no-pager", "-o", "short-precise", "--grep", make_pattern(),
        timeout_s=20, limit_bytes=512 << 10, typical_bytes=60000,
    )  # fmt: skip
