"""systemd units: a container in the foreground where there is an image, else the engine itself."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xpukit.facts.launch_forms import load_launch_forms
from xpukit.serve.forms import FormFile, FormOptions
from xpukit.serve.forms.container import ContainerLaunch, PassedVariable, list_containers, name_container, source_lines
from xpukit.serve.forms.environment_file import list_checks, name_place, write_environment_file
from xpukit.serve.forms.heading import list_heading, list_reasons
from xpukit.serve.forms.machines import MachinePart, is_key, list_machines
from xpukit.serve.forms.quoting import REFERENCE, join_words
from xpukit.serve.forms.ray_wait import wait_for_head, wait_for_machines, warn_of_old_ray
from xpukit.serve.forms.unit_text import (
    continue_unit_lines,
    escape_text,
    join_command,
    quote_command_word,
    quote_setting_word,
)
from xpukit.serve.plan_types import Launch, Plan, Variable

NAME = "systemd"
SUMMARY = "systemd units: docker in the foreground, or the engine itself where no image is known"
ALIASES = ("unit",)
NEEDS_IMAGE = False
_DOCKER = "/usr/bin/docker"


class _Unit(msgspec.Struct, frozen=True, kw_only=True):
    """A service before it is written. `after`: units that have to run for it."""

    name: str
    node: int
    comments: tuple[str, ...]
    settings: tuple[str, ...]
    service: tuple[str, ...]
    after: tuple[str, ...] = ()


def render(plan: Plan, options: FormOptions) -> tuple[FormFile, ...]:
    """A service for each process, a target where a machine has several, and a file for values that are passed."""
    if plan.engine.image:
        containers = list_containers(plan, options)
        units = [_contain(one, options) for one in containers]
        passed = [variable for one in containers for variable in one.passed]
    else:
        units = [unit for part in list_machines(plan) for unit in _run_natively(plan, part, options)]
        passed = [
            _describe_passed(plan, one) for launch in plan.launches for one in launch.variables if _is_passed(one)
        ]
    files = []
    nodes = sorted({unit.node for unit in units})
    for node in nodes:
        here = [unit for unit in units if unit.node == node]
        target = f"{options.name}-node{node}.target" if len(nodes) > 1 else f"{options.name}.target"
        wanted_by = target if len(here) > 1 else "multi-user.target"
        files += [_write_unit(plan, unit, options, wanted_by) for unit in here]
        if len(here) > 1:
            files.append(FormFile(name=target, text=_write_target(plan, here)))
    return (*files, *write_environment_file(passed, options))


def _write_unit(plan: Plan, unit: _Unit, options: FormOptions, wanted_by: str) -> FormFile:
    lines = [f"# {line}" for line in (*list_heading(plan), *unit.comments)] if options.comments else []
    lines += ["[Unit]", f"Description={escape_text(f'{plan.model.id or plan.model.asked} ({unit.name})')}"]
    lines += [*unit.settings, f"Wants=network-online.target\nAfter={' '.join(('network-online.target', *unit.after))}"]
    # Loading may fail for a reason that stays: no endless row of attempts.
    lines += ["StartLimitIntervalSec=1h", "StartLimitBurst=5"]
    if wanted_by.endswith(".target") and wanted_by != "multi-user.target":
        lines.append(f"PartOf={wanted_by}")
    lines += ["", "[Service]", *unit.service, "", "[Install]", f"WantedBy={wanted_by}"]
    return FormFile(name=f"{unit.name}.service", text="\n".join(lines) + "\n")


def _write_target(plan: Plan, units: Sequence[_Unit]) -> str:
    wants = " ".join(f"{unit.name}.service" for unit in units)
    return "\n".join(
        (
            "[Unit]",
            f"Description={escape_text(f'{plan.model.id or plan.model.asked}: all processes of this machine')}",
            f"Wants={wants}",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        )
    )


def _list_service(options: FormOptions, *, passed: bool) -> list[str]:
    stop = load_launch_forms().stop
    lines = ["Restart=on-failure", "RestartSec=10"] if options.restart else []
    lines.append(f"TimeoutStopSec={stop.grace_s + 30}")
    if passed:
        lines.append(f"EnvironmentFile=-{quote_setting_word(name_place(options))}")
    return lines


def _contain(one: ContainerLaunch, options: FormOptions) -> _Unit:
    reasons = dict.fromkeys(reason for launch in one.launches for reason in list_reasons(launch, inside=True))
    words = [join_command((_DOCKER, "run")), *(join_command(option.words) for option in one.run.options)]
    words += [join_command((one.run.image,)), *(quote_command_word(word) for word in one.run.arguments)]
    stop = load_launch_forms().stop
    service = [
        "Type=exec",
        *_list_service(options, passed=bool(one.passed)),
        *list_checks(one.passed),
        # One that a crash of the machine left behind has the name.
        f"ExecStartPre=-{join_command((_DOCKER, 'rm', '--force', one.name))}",
        f"ExecStart={continue_unit_lines(words)}",
        f"ExecStop={join_command((_DOCKER, 'stop', '--time', str(stop.grace_s), one.name))}",
    ]
    notes = tuple(f"note: {note}" for note in one.run.notes)
    return _Unit(
        name=one.name,
        node=one.node,
        comments=(*reasons, *notes),
        settings=("Requires=docker.service",),
        service=tuple(service),
        after=("docker.service",),
    )


def _run_natively(plan: Plan, part: MachinePart, options: FormOptions) -> list[_Unit]:
    machines = len({launch.node for launch in plan.launches})
    units: list[_Unit] = []
    helpers: list[str] = []
    for launch in part.launches:
        name = _name_unit(options, launch)
        wait: list[str] = []
        if launch.role == "worker":
            wait = [*warn_of_old_ray(), *wait_for_head(launch)]
        elif launch.role == "head":
            wait = warn_of_old_ray()
        elif launch.role == "engine" and part.ray is not None:
            wait = wait_for_machines(machines)
        after = tuple(f"{helper}.service" for helper in helpers) if launch.role == "engine" else ()
        units.append(
            _Unit(
                name=name,
                node=part.node,
                comments=(*list_reasons(launch), _NATIVE),
                settings=(f"Requires={' '.join(after)}",) if after else (),
                service=tuple(_list_native(plan, launch, options, wait)),
                after=after,
            )
        )
        if launch.role != "engine":
            helpers.append(name)
    return units


_NATIVE = (
    "set User= to one that may open the GPUs (group render), and PATH= in the environment file to where the engine is"
)


def _name_unit(options: FormOptions, launch: Launch) -> str:
    name = name_container(options.name, (launch,))
    return f"{name}-ray" if launch.role in ("head", "worker") else name


def _list_native(plan: Plan, launch: Launch, options: FormOptions, wait: Sequence[str]) -> list[str]:
    fixed = [one for one in launch.variables if not _is_passed(one)]
    lines = ["Type=exec", *_list_service(options, passed=True)]
    lines += [f"Environment={quote_setting_word(f'{one.name}={one.value}')}" for one in fixed]
    lines += [*launch.pin.systemd, "NoNewPrivileges=yes", "LimitCORE=0", "KillMode=mixed"]
    lines += list_checks(_describe_passed(plan, one) for one in launch.variables if _is_passed(one))
    if wait:
        fact = load_launch_forms().ray
        lines += [f"TimeoutStartSec={fact.join_s + 120}"]
        lines += [f"ExecStartPre={join_command(('/bin/bash', '-c', chr(10).join((*source_lines(plan), *wait))))}"]
    if plan.engine.setvars or any(REFERENCE.search(word) for word in launch.argv):
        text = " && ".join((*source_lines(plan), f"exec {join_words(launch.argv)}"))
        return [*lines, f"ExecStart={join_command(('/bin/bash', '-c', text))}"]
    words = [join_command(("/usr/bin/env", *launch.program))]
    words += [join_command(flag.words) for flag in launch.flags]
    return [*lines, f"ExecStart={continue_unit_lines(words)}"]


def _is_passed(variable: Variable) -> bool:
    return variable.passed or REFERENCE.search(variable.value) is not None


def _describe_passed(plan: Plan, variable: Variable) -> PassedVariable:
    reference = variable.value if not variable.passed else f"${{{variable.name}}}"
    required = not variable.passed or is_key(plan, variable)
    return PassedVariable(name=variable.name, reference=reference, why=variable.why, required=required)


def start(names: Sequence[str]) -> tuple[str, ...]:
    """systemctl starts what was put in /etc/systemd/system."""
    del names
    return ()
