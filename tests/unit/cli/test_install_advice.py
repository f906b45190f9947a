"""What a missing measuring tool advises can be typed on the machine that it is advised for."""

from __future__ import annotations

import pytest

from tests.unit.install.step_case import make_stack
from xpukit.cli.evaluate_advice import name_install_command
from xpukit.facts.stacks import StackFacts, get_stack, load_stacks
from xpukit.facts.tools import load_tools

STEPS = sorted({tool.install_step for tool in load_tools().tools} - {""})
UBUNTU = [stack for stack in load_stacks() if stack.distribution == "ubuntu"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("stack", UBUNTU, ids=lambda stack: stack.name)
def test_each_tool_is_brought_by_the_stacks_that_intel_makes_tools_for(stack: StackFacts, step: str) -> None:
    command = name_install_command(stack, step)
    assert command.startswith("sudo xpukit install apply")
    if "--with" not in command:
        assert step in {row.name for row in stack.packages if not row.option}
        return
    option = command.rpartition(" ")[2]
    rows = [*stack.packages, *stack.copies]
    assert any(row.option == option for row in rows), "an option that brings nothing"
    assert option in {known.name for known in stack.options}


@pytest.mark.parametrize("step", [step for step in STEPS if step != "xpu-smi"])
def test_nothing_is_advised_that_the_machines_stack_does_not_have(step: str) -> None:
    assert name_install_command(get_stack("debian-12"), step) == ""
    assert name_install_command(None, step) == ""
    assert name_install_command(make_stack(), step) == ""
