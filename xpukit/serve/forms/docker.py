"""`docker run` with exactly the GPUs, processors and rights that the engine needs."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.serve.forms import FormFile, FormOptions
from xpukit.serve.forms.container import ContainerLaunch, contain_launch
from xpukit.serve.forms.heading import list_heading, list_reasons
from xpukit.serve.forms.quoting import continue_lines, join_words, quote_word
from xpukit.serve.plan_types import Plan

NAME = "docker"
SUMMARY = "docker run: exact device nodes, no more rights than needed"
ALIASES = ("docker-run",)
NEEDS_IMAGE = True


def render(plan: Plan, options: FormOptions) -> tuple[FormFile, ...]:
    """One script; several processes of a machine are started in the background."""
    lines: list[str] = [f"# {line}" for line in list_heading(plan)] if options.comments else []
    nodes = sorted({launch.node for launch in plan.launches})
    for node in nodes:
        here = [launch for launch in plan.launches if launch.node == node]
        if len(nodes) > 1:
            lines += ["", f"# on machine {node} ({here[0].address}):"]
        for launch in here:
            contained = contain_launch(plan, launch, options, detach=len(here) > 1)
            if options.comments:
                lines += [f"# {reason}" for reason in list_reasons(launch)]
                lines += [f"# note: {note}" for note in contained.run.notes]
            lines.append(write_command(contained, log_file=options.log_file))
    return (FormFile(name=f"{options.name}.sh", text="\n".join(lines) + "\n", executable=True),)


def write_command(contained: ContainerLaunch, *, log_file: str = "") -> str:
    """`docker run`, one option a line."""
    run = contained.run
    lines = [f"{run.engine} run", *(join_words(option.words) for option in run.options)]
    lines.append(join_words((run.image, *run.arguments[:1])) if run.arguments else quote_word(run.image))
    lines += _pair_words(run.arguments[1:])
    if log_file and ("--detach",) not in [option.words for option in run.options]:
        lines.append(f"2>&1 | tee {quote_word(log_file)}")
    return continue_lines(lines)


def _pair_words(words: Sequence[str]) -> list[str]:
    """Words of the engine, a flag and its values on a line."""
    lines: list[list[str]] = []
    for word in words:
        if word.startswith("-") or not lines:
            lines.append([word])
        else:
            lines[-1].append(word)
    return [join_words(line) for line in lines]


def start(names: Sequence[str]) -> tuple[str, ...]:
    """bash runs it."""
    return ("bash", names[0])
