"""Every step, handler, refresh and stack has the right shape."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import get_args

import pytest

from tests.unit.install.step_case import StepCase
from xpukit.core.errors import BadFactsError
from xpukit.facts.devices import list_devices
from xpukit.facts.stacks import StackFacts, find_stack, get_stack, load_stack_file, load_stacks
from xpukit.install import handlers, refreshes, steps
from xpukit.install.change import Change
from xpukit.install.firmware_source import explain_name, name_of
from xpukit.install.registry import list_handlers, list_refreshes, list_steps
from xpukit.install.step import Options


def test_each_step_is_named_as_its_file_and_its_refreshes_exist() -> None:
    assert {step.name for step in list_steps()} == {info.name for info in pkgutil.iter_modules(steps.__path__)}
    known = {refresh.name for refresh in list_refreshes()}
    assert known == {info.name for info in pkgutil.iter_modules(refreshes.__path__)}
    orders = [step.order for step in list_steps()]
    assert len(set(orders)) == len(orders)
    for step in list_steps():
        assert set(step.refreshes) <= known, step.name
        assert step.summary
        assert step.scopes


def test_each_kind_of_change_has_a_handler() -> None:
    kinds = {kind.__struct_config__.tag for kind in get_args(Change)}
    assert set(list_handlers()) == kinds == {info.name for info in pkgutil.iter_modules(handlers.__path__)}


@pytest.mark.parametrize("package", [steps, handlers, refreshes])
def test_what_is_public_says_what_it_is(package: object) -> None:
    for info in pkgutil.iter_modules(package.__path__):  # type: ignore[attr-defined]
        module = importlib.import_module(f"{package.__name__}.{info.name}")  # type: ignore[attr-defined]
        assert module.__doc__, info.name


@pytest.mark.parametrize("stack", load_stacks(), ids=lambda stack: stack.name)
def test_stacks(stack: StackFacts) -> None:
    assert stack.packages
    assert all(row.source and row.purpose for row in stack.packages)
    assert all(row.source and row.why and row.path.startswith("/") for row in stack.files)
    assert len({row.name for row in stack.packages}) == len(stack.packages)
    assert get_stack(stack.name) is stack
    if stack.scope == "container":
        assert stack.files == stack.groups == stack.services == stack.kernel_arguments == stack.firmware == ()
        assert stack.kernel is None
    else:
        for release in stack.releases:
            assert find_stack(stack.distribution, release) is stack
    assert not stack.default_options, "nothing optional is done without being asked for"


@pytest.mark.parametrize("stack", load_stacks(), ids=lambda stack: stack.name)
def test_each_option_of_a_stack_does_something(stack: StackFacts) -> None:
    lists = ("packages", "copies", "files", "groups", "services", "holds", "kernel_arguments", "firmware")
    used = {row.option for name in lists for row in getattr(stack, name)}
    assert {option.name for option in stack.options} <= used


@pytest.mark.parametrize("stack", load_stacks(), ids=lambda stack: stack.name)
def test_firmware_and_programs_of_a_stack_say_what_they_are(stack: StackFacts) -> None:
    assert len({(row.path, row.version) for row in stack.firmware}) == len(stack.firmware)
    for row in stack.firmware:
        assert re.fullmatch(r"[0-9a-f]{64}", row.sha256), row.path
        assert re.fullmatch(r"\d+(\.\d+)+", row.version), row.path
        assert not explain_name(name_of(row.path))
        assert any(facts.platform.startswith(row.platforms) for facts in list_devices())
        assert row.source
    for copy in stack.copies:
        assert copy.directory.startswith("/opt/")
        assert copy.source
        assert copy.option
        assert not copy.pattern.startswith(("/", "."))
    for package in stack.packages:
        assert bool(package.archives) == bool(package.brings), package.name
    if stack.distribution:
        assert {row.path for row in stack.firmware} >= {"xe/bmg_guc_70.bin", "xe/bmg_huc.bin", "i915/bmg_dmc.bin"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('schema = "other"\n', "schema is 'other'"),
        ('schema = "xpukit.stack/1"\nname = "a"\n', "missing required field"),
        ('schema = "xpukit.stack/1"\ninclude = ["../x"]\n', "no part '../x'"),
        (
            'schema = "xpukit.stack/1"\nname = "a"\nsummary = ""\ndate = ""\nsource = ""\n'
            '[[holds]]\npackage = "a"\noption = "b"\nsource = ""\n',
            "no option 'b'",
        ),
    ],
)
def test_a_bad_stack_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(BadFactsError, match=says):
        load_stack_file(path)


@pytest.mark.parametrize("stack", load_stacks(), ids=lambda stack: stack.name)
def test_every_step_plans_on_an_empty_machine(tmp_path: Path, stack: StackFacts) -> None:
    """No apt, no /etc but an empty one: blocked or unknown, never an exception."""
    options = Options(users=("nobody",), chosen=frozenset(option.name for option in stack.options))
    case = StepCase(tmp_path, stack=stack, options=options)
    for step in list_steps():
        plan = case.plan(step)
        assert not inspect.isgenerator(plan)
        if step.name == "packages":
            assert "dpkg cannot be asked" in plan.blocked
