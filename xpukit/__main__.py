"""The `xpukit` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        from xpukit.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # Ctrl-C while modules are still being read
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
