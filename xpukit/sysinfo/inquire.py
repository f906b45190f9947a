"""Asks what a collector's data file lists, in its order."""

from __future__ import annotations

from collections.abc import Callable

from xpukit.facts.sysinfo import Command, Paths, load_inquiry
from xpukit.sysinfo.collector import Asker


def ask_listed(asker: Asker, collector: str) -> None:
    """Everything in `facts/data/sysinfo/<collector>.toml`: env, programs, paths, commands."""
    inquiry = load_inquiry(collector)
    for prefix in inquiry.env.words:
        asker.env(prefix)
    for name in inquiry.programs.words:
        asker.which(name)
    for paths in inquiry.paths:
        ask_paths(asker, paths)
    for command in inquiry.commands:
        ask_command(asker, command)


def make_collect(collector: str) -> Callable[[Asker], None]:
    """A `collect` that asks what is listed and nothing else."""
    return lambda asker: ask_listed(asker, collector)


def ask_paths(asker: Asker, paths: Paths) -> None:
    """Each path, patterns expanded by listing directories."""
    for path in expand(asker, paths.paths):
        if paths.ask == "read":
            asker.read(path, limit_bytes=paths.limit_kib << 10, tail=paths.tail)
        elif paths.ask == "list":
            asker.list(path)
        elif paths.ask == "stat":
            asker.stat(path)
        elif paths.ask == "link":
            asker.link(path)
        else:
            asker.resolve(path)


def expand(asker: Asker, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Paths of patterns, each once; a path without `*` or `?` is itself, also when nothing is there."""
    found: list[str] = []
    for pattern in patterns:
        found += asker.glob(pattern) if "*" in pattern or "?" in pattern else (pattern,)
    return tuple(dict.fromkeys(found))


def read_there(asker: Asker, place: str, names: tuple[str, ...], *, limit_bytes: int) -> None:
    """Files below a directory (`a` or `b/c`), only those that it lists: what is absent costs no question."""
    listed: dict[str, tuple[str, ...]] = {}
    for name in names:
        below, _, last = f"{place}/{name}".rpartition("/")
        if below not in listed:
            # A folder that its parent does not show is not asked for.
            parent, _, own = below.rpartition("/")
            listed[below] = () if below != place and own not in listed.get(parent, (own,)) else asker.list(below).names
        if last in listed[below]:
            asker.read(f"{below}/{last}", limit_bytes=limit_bytes)


def ask_command(asker: Asker, command: Command) -> None:
    """The command, or one question about the program that it needs and that is not there."""
    if command.needs and not is_there(asker, command.needs):
        return
    asker.run(
        *command.argv,
        timeout_s=command.timeout_s,
        limit_bytes=command.limit_kib << 10,
        typical_bytes=max(1, command.typical_bytes * (asker.count_for_estimate(command.each) if command.each else 1)),
    )


def is_there(asker: Asker, needed: str) -> bool:
    """Whether a program (by name) or a path (absolute) is there."""
    return not asker.stat(needed).error if needed.startswith("/") else bool(asker.which(needed).value)
