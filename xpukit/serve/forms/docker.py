"""`docker run` with exactly the GPUs, processors and rights that the engine needs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from xpukit.container.run_options import EngineName
from xpukit.serve.forms import FormFile, FormOptions
from xpukit.serve.forms.container import ContainerLaunch, list_containers
from xpukit.serve.forms.heading import list_heading, list_reasons
from xpukit.serve.forms.quoting import assign_value, continue_lines, quote_word
from xpukit.serve.plan_types import Plan

NAME = "docker"
SUMMARY = "docker run: exact device nodes, no more rights than needed"
ALIASES = ("docker-run",)
NEEDS_IMAGE = True


def render(plan: Plan, options: FormOptions) -> tuple[FormFile, ...]:
    """One script a machine; several containers of a machine are started in the background."""
    return render_scripts(plan, options, engine="docker")


def render_scripts(plan: Plan, options: FormOptions, *, engine: EngineName) -> tuple[FormFile, ...]:
    """Scripts for an engine that takes Docker's options."""
    containers = list_containers(plan, options, engine=engine, detach=None)
    nodes = sorted({one.node for one in containers})
    files = []
    for node in nodes:
        here = [one for one in containers if one.node == node]
        lines = ["#!/bin/bash", *([f"# {line}" for line in list_heading(plan)] if options.comments else [])]
        if len(nodes) > 1:
            lines.append(f"# on machine {node} ({here[0].address}):")
        for contained in here:
            if options.comments:
                lines += comment_container(contained)
            lines.append(write_command(contained, log_file=options.log_file))
        name = f"{options.name}-node{node}.sh" if len(nodes) > 1 else f"{options.name}.sh"
        files.append(FormFile(name=name, text="\n".join(lines) + "\n", executable=True))
    return tuple(files)


def comment_container(contained: ContainerLaunch) -> list[str]:
    """Reasons of the launches and notes of the options, as comments."""
    reasons = dict.fromkeys(reason for launch in contained.launches for reason in list_reasons(launch, inside=True))
    return [*(f"# {reason}" for reason in reasons), *(f"# note: {note}" for note in contained.run.notes)]


def write_command(contained: ContainerLaunch, *, log_file: str = "") -> str:
    """`docker run`, one option a line. Values that are passed on never stand among its words."""
    run = contained.run
    given = [assign_value(one.name, one.reference) for one in contained.passed if one.required]
    lines = [" ".join((*given, run.engine, "run")), *(join_literal(option.words) for option in run.options)]
    lines.append(join_literal((run.image, *run.arguments[:1])))
    lines += _pair_words(run.arguments[1:])
    if log_file and ("--detach",) not in [option.words for option in run.options]:
        lines.append(f"2>&1 | tee {quote_word(log_file)}")
    return continue_lines(lines)


def join_literal(words: Sequence[str]) -> str:
    """Words on one line, nothing filled in."""
    return " ".join(shlex.quote(word) for word in words)


def _pair_words(words: Sequence[str]) -> list[str]:
    """Words of the engine, a flag and its values on a line."""
    lines: list[list[str]] = []
    for word in words:
        if word.startswith("-") or not lines:
            lines.append([word])
        else:
            lines[-1].append(word)
    return [join_literal(line) for line in lines]


def start(names: Sequence[str]) -> tuple[str, ...]:
    """bash runs it."""
    return ("bash", names[0])
