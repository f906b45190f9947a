"""`python -m xpukit.host.level_zero`: one JSON document on standard output, as a child that may die."""

from __future__ import annotations

import os
import sys

from xpukit.host.level_zero.api import LOADER_NAME

# Before each call its name goes to standard error, so that the parent knows where a driver crashed or hung.
TRACE_MARK = "@level-zero "


def main(arguments: list[str] | None = None) -> int:
    """Options: --loader PATH, --sysman auto|legacy|none. Standard error carries what drivers print and the trace."""
    import msgspec

    from xpukit.host.level_zero.query import query_level_zero

    options = parse_options(sys.argv[1:] if arguments is None else arguments)
    # Drivers print to standard output: keep the real one for us and point theirs at standard error.
    sys.stdout.flush()
    ours = os.dup(1)
    os.dup2(2, 1)
    answer = query_level_zero(
        loader=options["loader"],
        sysman="legacy" if options["sysman"] == "legacy" else "none" if options["sysman"] == "none" else "auto",
        trace=write_trace,
    )
    with os.fdopen(ours, "wb") as stream:
        stream.write(msgspec.json.encode(answer) + b"\n")
    return 0


def parse_options(arguments: list[str]) -> dict[str, str]:
    """The two options; argparse would double the start-up time of a child that answers in milliseconds."""
    options = {"loader": LOADER_NAME, "sysman": "auto"}
    rest = list(arguments)
    while rest:
        name = rest.pop(0).removeprefix("--")
        if name not in options or not rest:
            raise SystemExit("usage: python -m xpukit.host.level_zero [--loader PATH] [--sysman auto|legacy|none]")
        options[name] = rest.pop(0)
    return options


def write_trace(call: str) -> None:
    """One unbuffered line: what a buffer holds dies with the process."""
    os.write(2, f"{TRACE_MARK}{call}\n".encode())


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Drivers' destructors have nothing to tell us and are known to crash: leave without running them.
    os._exit(code)
