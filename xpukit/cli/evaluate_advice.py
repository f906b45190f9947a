"""The command of `xpukit install` that brings a missing tool, or puts a finding right, on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xpukit.facts.stacks import StackFacts
    from xpukit.host import Host


def name_install_command(stack: StackFacts | None, step: str, *, commands: Sequence[str] = ()) -> str:
    """'sudo xpukit install apply --with level-zero-tests'; "" where the machine's stack does not have it.

    `step`: a package or option, "groups" or "kernel", which count where one of `commands` does the same, or "firmware".
    """
    if stack is None or not step:
        return ""
    if step == "kernel":
        same = stack.kernel is not None and any(stack.kernel.package in command.split() for command in commands)
        return "sudo xpukit install apply --with kernel" if same else ""
    if step == "groups":
        same = bool(stack.groups) and any("usermod" in command.split() for command in commands)
        return "sudo xpukit install apply" if same else ""
    if step == "firmware":
        # A package of the stack where `commands` install the same; else the folder that has the stack's files.
        words = {word for command in commands for word in command.split()}
        if any(row.firmware and row.name in words for row in stack.packages):
            return "sudo xpukit install apply"
        return "sudo xpukit install apply --source DIR (DIR/firmware has the files)" if stack.firmware else ""
    if step in {option.name for option in stack.options}:
        return f"sudo xpukit install apply --with {step}"
    if step in {row.name for row in stack.packages if not row.option}:
        return "sudo xpukit install apply"
    return ""


def find_stack_of(host: Host) -> StackFacts | None:
    """The stack of the machine's release."""
    from xpukit.facts.stacks import find_stack
    from xpukit.install.detect import read_release
    from xpukit.install.site import Site

    release = read_release(Site(host))
    return find_stack(release.id, release.version)


def advise_install_steps(host: Host) -> None:
    """Let the facts about tools name the command, for the stack of this machine's release."""
    from xpukit.facts.tools import set_install_advice

    stack = find_stack_of(host)
    set_install_advice(lambda step: name_install_command(stack, step))
