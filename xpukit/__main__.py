"""The `xpukit` command."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    # Reading modules makes a hundred thousand objects that stay: looking through them for garbage was a tenth of the
    # time of a short command.
    gc.set_threshold(50_000, 20, 20)
    try:
        from xpukit.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # Ctrl-C while modules are still being read
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
