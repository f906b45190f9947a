"""One quoted command for each process, to paste into a shell where the engine is installed (a container's, say)."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.serve.forms import FormFile, FormOptions
from xpukit.serve.forms.heading import list_heading, list_reasons
from xpukit.serve.forms.quoting import assign, continue_lines, list_lines, quote_word
from xpukit.serve.plan_types import Launch, Plan

NAME = "shell"
SUMMARY = "commands for a shell in which the engine is installed"
ALIASES = ("sh", "bash", "python")
NEEDS_IMAGE = False


def render(plan: Plan, options: FormOptions) -> tuple[FormFile, ...]:
    """One script; several processes of one machine run side by side, several machines are sections."""
    lines: list[str] = []
    if options.comments:
        lines += [f"# {line}" for line in list_heading(plan)]
    nodes = sorted({launch.node for launch in plan.launches})
    for node in nodes:
        here = [launch for launch in plan.launches if launch.node == node]
        if len(nodes) > 1:
            lines += ["", f"# on machine {node} ({here[0].address}):"]
        if plan.engine.setvars:
            lines += [*([f"# {plan.engine.setvars_why}"] if options.comments else [])]
            lines += [f"source {quote_word(plan.engine.setvars)} --force"]
        if len(here) == 1:
            lines += _write_launch(here[0], options, background=False)
            continue
        # A subshell: when it ends, what it started ends too, and the user's own shell does not.
        lines += ["(", "trap 'kill 0' EXIT"]
        for launch in here[:-1]:
            lines += _write_launch(launch, options, background=True)
        lines += [*_write_launch(here[-1], options, background=False), ")"]
    return (FormFile(name=f"{options.name}.sh", text="\n".join(lines) + "\n", executable=True),)


def _write_launch(launch: Launch, options: FormOptions, *, background: bool) -> list[str]:
    lines = []
    if options.comments:
        lines = [f"# {reason}" for reason in list_reasons(launch)]
    command = [assign(variable) for variable in launch.variables if not variable.passed]
    if launch.pin.numactl:
        command.append(" ".join(quote_word(word) for word in launch.pin.numactl))
    command += list_lines(launch.program, launch.flags)
    if options.log_file and launch.role == "engine":
        command.append(f"2>&1 | tee {quote_word(_name_log(options.log_file, launch))}")
    text = continue_lines(command)
    return [*lines, f"{text} &" if background else text]


def _name_log(path: str, launch: Launch) -> str:
    """Each of several engines has a log of its own."""
    if launch.name == "engine":
        return path
    head, dot, ending = path.rpartition(".")
    suffix = launch.name.removeprefix("engine-")
    return f"{head}-{suffix}.{ending}" if dot and "/" not in ending else f"{path}-{suffix}"


def start(names: Sequence[str]) -> tuple[str, ...]:
    """bash runs it."""
    return ("bash", names[0])
