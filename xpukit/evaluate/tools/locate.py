"""Where a vendor's tool lies on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import basename, dirname, join

import msgspec

from xpukit.facts.tools import ONEAPI_ROOT, Program, Tool, get_tool
from xpukit.host import Host

# "**" in a pattern goes no deeper and opens no more folders than this.
_DEPTH = 5
_MOST_FOLDERS = 400


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A tool's program. `path` "" : it is not here, and `reason` says what brings it.

    `folder`: where to start it, if it reads files from there; `form`: how this build takes its arguments. A tool that
    is here without such a file has a path and a reason.
    """

    tool: Tool
    path: str = ""
    form: str = ""
    folder: str = ""
    reason: str = ""

    @property
    def program(self) -> str:
        """What to start. Where nothing was found, the name alone: starting it then fails and is reported."""
        return self.path or self.tool.programs[0].name


def find_tool(host: Host, name: str) -> Found:
    """The first of the tool's programs that is here, on PATH or in the places where its packages put it."""
    tool = get_tool(name)
    for program in tool.programs:
        path = _find_program(host, program)
        if path:
            found = Found(tool=tool, path=path, form=program.form)
            return _add_folder(host, found) if tool.beside else found
    return Found(tool=tool, form=tool.programs[0].form, reason=tool.explain_missing())


def explain_unavailable(host: Host, *names: str) -> str:
    """Why benchmarks by these tools cannot run on this machine; "" when they can."""
    for name in names:
        reason = find_tool(host, name).reason
        if reason:
            return reason
    seen = any(device.index is not None for device in host.level_zero().devices)
    return "" if seen else "Level Zero shows no GPU here, and the vendor's tools measure GPUs"


def _find_program(host: Host, program: Program) -> str:
    on_path = host.which(program.name).value if program.on_path else None
    in_places = (path for pattern in program.files for path in expand(host, pattern))
    first = next(in_places, None) if program.prefer_files or not on_path else None
    for path in (first, on_path):
        if path and (not program.under or path.startswith(program.under)):
            return path
    return ""


def _add_folder(host: Host, found: Found) -> Found:
    """The folder that holds the tool's files: the program's own, or that of the file it is a link to."""
    resolved = host.resolve(found.path).target
    folders = [dirname(found.path), *([dirname(resolved)] if resolved else [])]
    lacking: list[list[str]] = []
    for folder in dict.fromkeys(folders):
        names = set(host.list(folder).names)
        missing = [name for name in found.tool.beside if name not in names]
        if not missing:
            return msgspec.structs.replace(found, folder=folder)
        lacking.append(missing)
    reason = f"{found.path} is here without {', '.join(lacking[-1])}, which must lie in its folder"
    return msgspec.structs.replace(found, folder=folders[0], reason=reason)


def expand(host: Host, pattern: str) -> Iterator[str]:
    """Existing paths that a pattern of tools.toml means, ONEAPI_ROOT's before the usual place's."""
    root = host.env("ONEAPI_ROOT").value
    if root and pattern.startswith(f"{ONEAPI_ROOT}/"):
        yield from _expand_parts(host, "/", [*_split(root), *_split(pattern.removeprefix(ONEAPI_ROOT))])
        if root.rstrip("/") == ONEAPI_ROOT:
            return
    yield from _expand_parts(host, "/", _split(pattern))


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _expand_parts(host: Host, folder: str, parts: list[str]) -> Iterator[str]:
    for place, part in enumerate(parts):
        if part == "**":
            yield from _search(host, folder, parts[-1])
            return
        if part == "*":
            # The newest version first: names are sorted, and versions of one width sort by age.
            for name in reversed(host.list(folder).names):
                yield from _expand_parts(host, join(folder, name), parts[place + 1 :])
            return
        folder = join(folder, part)
    if host.stat(folder).kind == "file":
        yield folder


def _search(host: Host, folder: str, name: str) -> Iterator[str]:
    """Files called `name` below a folder, the nearest first."""
    level = [folder]
    opened = 0
    for _ in range(_DEPTH + 1):
        deeper: list[str] = []
        for here in level:
            opened += 1
            if opened > _MOST_FOLDERS:
                return
            for entry in host.list(here).names:
                path = join(here, entry)
                kind = host.stat(path).kind
                if kind == "file" and basename(path) == name:
                    yield path
                elif kind == "dir":
                    deeper.append(path)
        level = deeper
