"""One quoted command for each process, to paste into a shell where the engine is installed (a container's, say)."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.serve.forms import FormFile, FormOptions
from xpukit.serve.forms.scripts import write_machine_scripts
from xpukit.serve.plan_types import Plan

NAME = "shell"
SUMMARY = "commands for a shell in which the engine is installed"
ALIASES = ("sh", "bash", "python", "lmdeploy")
NEEDS_IMAGE = False


def render(plan: Plan, options: FormOptions) -> tuple[FormFile, ...]:
    """One script a machine; several processes of a machine run side by side and end together."""
    return write_machine_scripts(plan, options)


def start(names: Sequence[str]) -> tuple[str, ...]:
    """bash runs it."""
    return ("bash", names[0])
