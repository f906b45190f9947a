"""`xpukit sysinfo` with collectors of a test's own: python -m tests.live.hostile_sysinfo COLLECTORS.py ARGUMENTS...

The file defines `COLLECTORS`; they run in place of the real ones, with everything else as it is.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from xpukit.cli.app import run
from xpukit.sysinfo import registry


def main() -> int:
    # Not runpy: it empties the functions' globals when it is done.
    names: dict[str, Any] = {}
    exec(compile(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[1], "exec"), names)
    collectors = tuple(names["COLLECTORS"])
    registry.list_collectors = lambda: collectors  # type: ignore[assignment]
    return run(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
