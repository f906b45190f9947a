"""The vendor's measuring tools: names, places, what brings them (data/tools/tools.toml)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.facts.tables import read_table

SCHEMA = "xpukit.tools/1"
ONEAPI_ROOT = "/opt/intel/oneapi"


class Program(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name that a tool goes by. `form`: how it takes its arguments, where builds differ.

    `files`: patterns of paths beside PATH; `under`: only a path that begins with one of these is this program.
    """

    name: str
    files: tuple[str, ...] = ()
    form: str = ""
    on_path: bool = True
    prefer_files: bool = False
    under: tuple[str, ...] = ()


class Tool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`beside`: files that it reads from the folder it is started in. `install_step`: of `xpukit install`."""

    name: str
    summary: str
    package: str
    next_step: str
    programs: tuple[Program, ...]
    beside: tuple[str, ...] = ()
    needs_oneapi: bool = False
    install_step: str = ""
    source: str
    date: str

    def explain_missing(self) -> str:
        """Why there is nothing to measure with, and what to do."""
        names = " or ".join(dict.fromkeys(program.name for program in self.programs))
        advice = f"{names} is not installed; {self.package} brings it: {self.next_step}"
        command = _ADVICE.name_command(self.install_step) if self.install_step else ""
        return f"{advice}; or: {command}" if command else advice


class _InstallAdvice:
    """How to run a step of `xpukit install`, told by the command line once it has that command."""

    def __init__(self) -> None:
        self.name_command: Callable[[str], str] = lambda step: ""


_ADVICE = _InstallAdvice()


def set_install_advice(name_command: Callable[[str], str]) -> None:
    """`name_command` gives the command line that runs a step ("" : there is none), for what a missing tool advises."""
    _ADVICE.name_command = name_command


class EnvironmentScripts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Scripts that set oneAPI's environment, best first."""

    scripts: tuple[str, ...]
    source: str
    date: str


class DumpForms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ways to ask one command of xpu-smi, best first; "{device}" stands for the device's number."""

    arguments: tuple[tuple[str, ...], ...]
    source: str
    date: str


class ToolTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything in tools.toml."""

    schema: str
    oneapi: EnvironmentScripts
    xpu_smi_dump: DumpForms
    xpu_smi_stats: DumpForms
    tools: tuple[Tool, ...]


@cache
def load_tools() -> ToolTable:
    """The table. Raises BadFactsError when the installation is damaged."""
    return read_table("tools", "tools", ToolTable, SCHEMA)


def get_tool(name: str) -> Tool:
    """A tool by its own name (not a program's). Raises BadFactsError for one that is not in the table."""
    for tool in load_tools().tools:
        if tool.name == name:
            return tool
    raise BadFactsError(f"no tool named {name!r} in tools.toml", hint="install xpukit again")
