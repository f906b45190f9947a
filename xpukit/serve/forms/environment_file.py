"""The file with variables whose values the plan does not hold: to be filled in, and read by root only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xpukit.serve.forms import FormFile, FormOptions
from xpukit.serve.forms.container import PassedVariable
from xpukit.serve.forms.unit_text import join_command


def list_wanted(variables: Iterable[PassedVariable]) -> Sequence[PassedVariable]:
    """Each name once."""
    return list({one.name: one for one in variables}.values())


def name_place(options: FormOptions) -> str:
    """Where the file is on the machine that runs the units."""
    return f"/etc/xpukit/{options.name}.env"


def write_environment_file(variables: Iterable[PassedVariable], options: FormOptions) -> tuple[FormFile, ...]:
    """The file with every name and no value; () where nothing is passed."""
    wanted = list_wanted(variables)
    if not wanted:
        return ()
    lines = [
        f"# {name_place(options)}, mode 0600: values that were left out of the units. Take the # away to set one.",
        "# No quotes are needed; a line is NAME=value.",
    ]
    for one in wanted:
        asked = f" (the plan names {one.reference})" if one.reference != f"${{{one.name}}}" else ""
        lines += ["", f"# {one.why}{asked}{': needed' if one.required else ''}", f"#{one.name}="]
    return (FormFile(name=f"{options.name}.env", text="\n".join(lines) + "\n"),)


def list_checks(variables: Iterable[PassedVariable]) -> list[str]:
    """ExecStartPre lines that keep a server from starting without what it needs (its key, say)."""
    names = [one.name for one in list_wanted(variables) if one.required]
    tests = [f': "${{{name}:?is not set in the environment file}}"' for name in names]
    return [f"ExecStartPre={join_command(('/bin/bash', '-c', test))}" for test in tests]
