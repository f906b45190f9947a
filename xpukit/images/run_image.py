"""The document of `run-image`: the command that gives an image its GPUs, and whether the host fits the image."""

from __future__ import annotations

import msgspec

from xpukit.container.run_options import EngineName, RunOption, RunPlan
from xpukit.images.compat import Compatibility


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """The document of `run-image`: the plan, the whole command as argv and as text, and whether the host fits."""

    engine: EngineName
    image: str
    arguments: tuple[str, ...]
    options: tuple[RunOption, ...]
    gpus: tuple[str, ...]
    notes: tuple[str, ...]
    argv: tuple[str, ...]
    command: str
    compatibility: Compatibility | None = None


def describe_run(plan: RunPlan, compatibility: Compatibility | None) -> RunReport:
    """A plan with what its properties say."""
    fields = {name: getattr(plan, name) for name in plan.__struct_fields__}
    return RunReport(**fields, argv=plan.argv, command=plan.command, compatibility=compatibility)
