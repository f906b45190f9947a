"""The script of one machine on which the engine is installed: Ray and a proxy beside it, logs, and an end for all."""

from __future__ import annotations

from xpukit.serve.forms import FormFile, FormOptions
from xpukit.serve.forms.heading import list_heading, list_reasons
from xpukit.serve.forms.machines import MachinePart, is_key, list_machines
from xpukit.serve.forms.quoting import assign, assign_value, continue_lines, list_lines, quote_word
from xpukit.serve.forms.ray_wait import export_token, wait_for_head, wait_for_machines, warn_of_old_ray
from xpukit.serve.plan_types import Launch, Plan


def write_machine_scripts(plan: Plan, options: FormOptions, *, keep_ids: bool = False) -> tuple[FormFile, ...]:
    """One script a machine. `keep_ids`: the processes' numbers are kept in a file, for tear-down from elsewhere."""
    parts = list_machines(plan)
    return tuple(
        FormFile(
            name=name_script(options, part, several=len(parts) > 1),
            text="\n".join(_write_machine(plan, part, options, len(parts), keep_ids=keep_ids)) + "\n",
            executable=True,
        )
        for part in parts
    )


def name_script(options: FormOptions, part: MachinePart, *, several: bool) -> str:
    """NAME.sh, or NAME-nodeN.sh where there are several machines."""
    return f"{options.name}-node{part.node}.sh" if several else f"{options.name}.sh"


def name_ids(options: FormOptions, node: int) -> str:
    """The file with the process numbers of a machine's script."""
    return f"{options.name}-node{node}.pids"


def _write_machine(plan: Plan, part: MachinePart, options: FormOptions, machines: int, *, keep_ids: bool) -> list[str]:
    lines = ["#!/bin/bash", *([f"# {line}" for line in list_heading(plan)] if options.comments else [])]
    if machines > 1:
        lines.append(f"# on machine {part.node} ({part.address}):")
    if plan.engine.setvars:
        lines += [f"# {plan.engine.setvars_why}"] if options.comments else []
        lines += [f"source {quote_word(plan.engine.setvars)} --force"]
    if len(part.launches) == 1 and part.ray is None:
        return [*lines, *_write_alone(plan, part.launches[0], options)]
    return [*lines, *_write_together(plan, part, options, machines, keep_ids=keep_ids)]


def _write_alone(plan: Plan, launch: Launch, options: FormOptions) -> list[str]:
    command = _list_command(plan, launch)
    if options.log_file and launch.role == "engine":
        command.append(f"2>&1 | tee {quote_word(name_log(options.log_file, launch))}")
    return [*_comment(launch, options), continue_lines(command)]


def _write_together(plan: Plan, part: MachinePart, options: FormOptions, machines: int, *, keep_ids: bool) -> list[str]:
    """A subshell: what it started ends with it, and the user's own shell does not."""
    lines = ["(", "started=()", """trap '[ ${#started[@]} -eq 0 ] || kill "${started[@]}" 2>/dev/null; wait' EXIT"""]
    lines.append("trap 'exit 143' TERM INT HUP")
    if keep_ids:
        # $BASHPID: the subshell, whose trap ends what it started.
        lines.append(f"echo $BASHPID > {quote_word(name_ids(options, part.node))}")
    if part.ray is not None:
        lines += [*export_token(part.ray), *warn_of_old_ray()]
        lines += [*wait_for_head(part.ray), *_write_background(plan, part.ray, options)]
        if part.engines:
            lines += wait_for_machines(machines, watch=True)
    for proxy in part.proxies:
        lines += _write_background(plan, proxy, options)
    waited = ["engines=()"] if part.engines else []
    lines += waited
    for launch in part.engines:
        lines += [*_write_background(plan, launch, options), "engines+=($!)"]
    # The helpers run for the engines' sake: without these they end too.
    wait = 'wait "${engines[@]}"' if part.engines else 'wait "${started[@]}"'
    return [*lines, wait, ")"]


def _write_background(plan: Plan, launch: Launch, options: FormOptions) -> list[str]:
    command = _list_command(plan, launch)
    if options.log_file:
        # Not a pipe: the number kept is the engine's then, not tee's.
        command.append(f"> >(tee {quote_word(name_log(options.log_file, launch))}) 2>&1")
    return [*_comment(launch, options), f"{continue_lines(command)} &", "started+=($!)"]


def _comment(launch: Launch, options: FormOptions) -> list[str]:
    return [f"# {reason}" for reason in list_reasons(launch)] if options.comments else []


def _list_command(plan: Plan, launch: Launch) -> list[str]:
    """Variables, pinning and the program, an option a line."""
    command = [assign(variable) for variable in launch.variables if not variable.passed]
    # Passed on by itself; named so that the shell stops where it is unset.
    keys = [
        variable.name
        for variable in launch.variables
        if variable.passed and is_key(plan, variable) and f"${{{variable.name}}}" not in " ".join(launch.argv)
    ]
    command += [assign_value(name, f"${{{name}}}") for name in keys]
    if launch.pin.numactl:
        command.append(" ".join(quote_word(word) for word in launch.pin.numactl))
    return [*command, *list_lines(launch.program, launch.flags)]


def name_log(path: str, launch: Launch) -> str:
    """Each of several processes has a log of its own."""
    if launch.name == "engine":
        return path
    head, dot, ending = path.rpartition(".")
    suffix = launch.name.removeprefix("engine-")
    return f"{head}-{suffix}.{ending}" if dot and head and "/" not in ending else f"{path}-{suffix}"
