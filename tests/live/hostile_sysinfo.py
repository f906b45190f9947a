"""`xpukit sysinfo` with collectors of a test's own: python -m tests.live.hostile_sysinfo COLLECTORS.py ARGUMENTS...

The file defines `COLLECTORS`; they run in place of the real ones, with everything else as it is. Where it defines
`WORKERS`, so many run at a time, and what probe, doctor and serve ask is not asked: then what comes after what is known.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from xpukit.cli import sysinfo
from xpukit.cli.app import run
from xpukit.sysinfo import bundle, registry


def main() -> int:
    # A shell ignores it for what it starts in the background, as the tests themselves may be.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Not runpy: it empties the functions' globals when it is done.
    names: dict[str, Any] = {}
    exec(compile(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[1], "exec"), names)
    collectors = tuple(names["COLLECTORS"])
    registry.list_collectors = lambda: collectors  # type: ignore[assignment]
    if "WORKERS" in names:
        bundle.WORKERS = names["WORKERS"]  # type: ignore[attr-defined]
        sysinfo.list_rooms = lambda: ()
    return run(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
