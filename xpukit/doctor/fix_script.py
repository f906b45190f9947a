"""The commands of findings as a shell script to read and run; nothing is run here."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from xpukit.core.finding import Finding
from xpukit.doctor.report import Report

_HEAD = (
    "#!/bin/sh",
    "# Made by `xpukit doctor --fix` for {host}, xpukit {version}. Nothing has been changed yet.",
    "# Read it, delete what you do not want, then run it. It stops at the first command that fails.",
    "set -eu",
)
_OF_A_SHELL = ("export ", "unset ")


def write_fix_script(report: Report, *, host: str, version: str, name_install: Callable[[Finding], str]) -> str:
    """A POSIX shell script. What the machine said stands in comments only, on one line each, so that it cannot run.

    `name_install`: the command of `xpukit install` that does the same on this machine, "" where there is none; it
    stands beside the commands.
    """
    lines = [line.format(host=flatten(host) or "this machine", version=version) for line in _HEAD]
    given: dict[tuple[str, ...], str] = {}
    without: list[Finding] = []
    for finding in report.findings:
        install = name_install(finding)
        if not finding.commands and not install:
            without.append(finding)
            continue
        lines += ["", f"# {_name(finding)}"]
        if finding.explanation:
            lines.append(f"#   why: {flatten(finding.explanation)}")
        lines += _list_commands(finding, given)
        if install and not finding.commands:
            lines += [f"#   do: {flatten(step)}" for step in finding.remedy]
        if install:
            lines.append(f"#   or with the driver stack, and `xpukit install undo` takes it back: {flatten(install)}")
    if without:
        lines += ["", "# No command for these: someone has to decide, or be at the machine."]
        for finding in without:
            lines.append(f"#   {_name(finding)}")
            lines += [f"#     do: {flatten(step)}" for step in finding.remedy]
    if report.unchecked:
        lines += ["", "# Could not be checked:"]
        lines += [f"#   {item.check}: {flatten(item.why)}" for item in report.unchecked]
    if report.ignored:
        lines += ["", f"# Accepted with --ignore: {_list_ids(report.ignored)}"]
    if not report.findings:
        lines += ["", "# Nothing to do: no finding."]
    return "\n".join(lines) + "\n"


def flatten(text: str) -> str:
    """Text on one line without control characters: safe behind `#` and on a terminal."""
    spaced = "".join(" " if char.isspace() else char for char in text)
    return " ".join("".join("?" if unicodedata.category(char).startswith("C") else char for char in spaced).split())


def _list_commands(finding: Finding, given: dict[tuple[str, ...], str]) -> list[str]:
    if not finding.commands:
        return []
    if finding.commands in given:
        return [f"#   the same commands as for {given[finding.commands]}, above"]
    if any(_is_unprintable(command) for command in finding.commands):
        return ["#   its commands hold control characters and are not printed: xpukit doctor --json has them"]
    given[finding.commands] = _short(finding)
    # A script's own shell is not the one that programs are started from.
    return [
        f"#   in the shell that starts the programs: {command}" if command.startswith(_OF_A_SHELL) else command
        for command in finding.commands
    ]


def _is_unprintable(command: str) -> bool:
    """Whether a command could be more than the line (or tab-indented lines) that a reader sees."""
    return any(unicodedata.category(char).startswith("C") and char not in "\n\t" for char in command)


def _name(finding: Finding) -> str:
    return f"{finding.severity} {_short(finding)}: {flatten(finding.summary)}"


def _short(finding: Finding) -> str:
    return f"{finding.id} ({flatten(finding.subject)})" if finding.subject else finding.id


def _list_ids(findings: Sequence[Finding]) -> str:
    return ", ".join(dict.fromkeys(_short(finding) for finding in findings))
