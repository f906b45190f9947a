"""`podman run`, with the same rights."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.serve.forms import FormFile, FormOptions
from xpukit.serve.forms.container import contain_launch
from xpukit.serve.forms.docker import write_command
from xpukit.serve.forms.heading import list_heading, list_reasons
from xpukit.serve.plan_types import Plan

NAME = "podman"
SUMMARY = "podman run: the same as docker, for Podman"
ALIASES = ()
NEEDS_IMAGE = True


def render(plan: Plan, options: FormOptions) -> tuple[FormFile, ...]:
    """One script."""
    lines: list[str] = [f"# {line}" for line in list_heading(plan)] if options.comments else []
    several = len(plan.launches) > 1
    for launch in plan.launches:
        if several:
            lines += ["", f"# {launch.name} on {launch.address}:"]
        if options.comments:
            lines += [f"# {reason}" for reason in list_reasons(launch)]
        contained = contain_launch(plan, launch, options, engine="podman", detach=several)
        lines.append(write_command(contained, log_file=options.log_file))
    return (FormFile(name=f"{options.name}.sh", text="\n".join(lines) + "\n", executable=True),)


def start(names: Sequence[str]) -> tuple[str, ...]:
    """bash runs it."""
    return ("bash", names[0])
