"""What a missing tool advises beside its package: the step of `xpukit install`, once there is that command."""

from __future__ import annotations


def name_install_command(step: str) -> str:
    """'xpukit install apply --only level-zero-tests'; "" as long as no command `install apply` is registered."""
    from xpukit.cli.app import app

    for group in app.registered_groups:
        commands = group.typer_instance.registered_commands if group.typer_instance is not None else []
        if group.name == "install" and any(command.name == "apply" for command in commands):
            return f"xpukit install apply --only {step}"
    return ""


def advise_install_steps() -> None:
    """Let the facts about tools name the command."""
    from xpukit.facts.tools import set_install_advice

    set_install_advice(name_install_command)
