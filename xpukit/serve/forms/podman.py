"""`podman run`, with the same rights."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.serve.forms import FormFile, FormOptions
from xpukit.serve.forms.docker import render_scripts
from xpukit.serve.plan_types import Plan

NAME = "podman"
SUMMARY = "podman run: the same as docker, for Podman"
ALIASES = ()
NEEDS_IMAGE = True


def render(plan: Plan, options: FormOptions) -> tuple[FormFile, ...]:
    """One script a machine."""
    return render_scripts(plan, options, engine="podman")


def start(names: Sequence[str]) -> tuple[str, ...]:
    """bash runs it."""
    return ("bash", names[0])
