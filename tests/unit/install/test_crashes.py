"""Killed at any write or command of apply and undo: what is left goes either way, and nothing is lost."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.unit.install.settings_machine import make_case
from xpukit.install.journal import load_journal
from xpukit.install.status import read_status
from xpukit.install.steps.files import STEP as FILES
from xpukit.install.steps.groups import STEP as GROUPS


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("then", ["undo", "apply-undo"])
def test_killed_at_any_write_of_apply(tmp_path: Path, after: bool, then: str) -> None:
    for at in itertools.count():
        case = make_case(tmp_path / str(at))
        before = case.snapshot()
        if not case.crash_apply(FILES, GROUPS, at=at, after=after):
            assert at > 15
            return
        if then.startswith("apply"):
            case.apply(FILES, GROUPS)
            assert case.read("/etc/there.conf") == "ours\n"
            assert case.plan(FILES).changes == case.plan(GROUPS).changes == ()
            assert read_status(case.site).drift == 0
            assert all(entry.finished for entry in read_status(case.site).entries)
        if then.endswith("undo"):
            assert case.undo().refused == ()
            assert case.snapshot() == before
            assert load_journal(case.site).in_force == ()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("then", ["apply", "undo"])
def test_killed_at_any_write_of_undo(tmp_path: Path, after: bool, then: str) -> None:
    for at in itertools.count():
        case = make_case(tmp_path / str(at))
        before = case.snapshot()
        case.apply(FILES, GROUPS)
        applied = case.snapshot()
        if not case.crash_undo(at=at, after=after):
            assert at > 10
            return
        if then == "apply":
            case.apply(FILES, GROUPS)
            assert case.snapshot() == applied
        assert case.undo().refused == ()
        assert case.snapshot() == before


@pytest.mark.parametrize("then", ["undo", "apply"])
def test_killed_in_the_middle_of_a_write(tmp_path: Path, then: str) -> None:
    """The file has not got its name yet: what lies beside it goes too, and the directories made for it."""
    case = make_case(tmp_path)
    before = case.snapshot()
    (change,) = [c for c in case.plan(FILES).changes if not case.site.exists(c.path)][:1]  # type: ignore[union-attr]
    folder, _, name = change.path.rpartition("/")  # type: ignore[union-attr]
    part = f"{folder}/.{name}.xpukit-part"
    for at in itertools.count():
        assert case.crash_apply(FILES, at=at)
        if any(
            entry.change == change or change.path in str(entry.change) for entry in load_journal(case.site).in_force
        ):  # type: ignore[union-attr]
            break
        case.undo()
    case.write(part, "half")
    if then == "apply":
        case.apply(FILES)
        assert not case.site.exists(part)
    case.undo()
    assert case.snapshot() == before


def test_what_never_happened_is_not_in_force(tmp_path: Path) -> None:
    """Killed before the first change of one stack; another stack is applied then."""
    case = make_case(tmp_path)
    assert any(case.crash_apply(FILES, at=at) and load_journal(case.site).in_force for at in range(12))
    case.apply(GROUPS)
    status = read_status(case.site)
    assert {entry.step for entry in status.entries if entry.standing == "before"} == set()
    assert status.drift == 0
