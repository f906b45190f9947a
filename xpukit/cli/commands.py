"""All commands, in the order of the help text. The module of one is read only when it is asked for: the help text and
every other command start without it.
"""

from __future__ import annotations

import importlib
from typing import NamedTuple

import typer


class Command(NamedTuple):
    """A command or a group. Its module is the name with underscores; there it is `app`, or has the module's name."""

    name: str
    help: str


COMMANDS = (
    Command("probe", "Show GPUs, links, firmware, NUMA nodes and topology of this machine (or of a recording)."),
    Command(
        "doctor", "Say what is wrong with this machine (or a recording, or a log) and what to do; changes nothing."
    ),
    Command("sysinfo", "Write a support bundle: what this machine is and says, without names and secrets."),
    Command("install", "The driver stack: what would change, do it, take it back."),
    Command(
        "evaluate",
        "Measure the devices of this machine (the CPU if there is no GPU), judge the numbers, write a report.",
    ),
    Command("compare", "Compare runs of evaluate: what changed, and over many hosts which of them stand out."),
    Command("baseline", "Reference values: check files, show which row a device gets and why, record from runs."),
    Command("build-image", "Build a serving image from a recipe, test it, and keep account of what is in it."),
    Command("run-image", "Print (or run) the docker command that gives an image exactly the GPUs and rights it needs."),
    Command("cdi", "Write, or check, the specification by which Docker and Podman give Intel GPUs by name (CDI)."),
    Command("serve", "Plan a launch that fits, is pinned, and that the engine accepts; print it (or run it)."),
    Command("check", "Ask a running OpenAI-compatible service and judge its answers: ready means right."),
    Command("bench", "Measure a server under load, judge what was measured."),
    Command("rotate", "Replace the engines behind a balancer one after another; failure leaves the old one serving."),
    Command(
        "exporter",
        "Prometheus metrics of the GPUs: use, memory, clocks, power, heat, links, errors, processes by container.",
    ),
    Command("monitor", "Prometheus and Grafana with dashboards and alerts for GPUs and engines, on loopback."),
    Command(
        "fleet",
        "Many machines: xpukit on each of them (Ray), collectives among them (MPI), a look before a launch (ssh).",
    ),
)


def add_command(tree: typer.Typer, command: Command) -> None:
    """The command as it is, with its options."""
    name = command.name.replace("-", "_")
    module = importlib.import_module(f"xpukit.cli.{name}")
    group = getattr(module, "app", None)
    if group is not None:
        tree.add_typer(group, name=command.name, help=command.help)
    else:
        tree.command(command.name, help=command.help)(getattr(module, name))


def add_name(tree: typer.Typer, command: Command) -> None:
    """Only the name and what is said of it."""
    tree.command(command.name, help=command.help)(_stand_in)


def _stand_in() -> None:
    """Is in the list of commands; what is run is the command itself."""
