"""Each error class has one exit code, and the docs list them all."""

from __future__ import annotations

import re
from pathlib import Path

from xpukit.core import errors
from xpukit.core.errors import ExitCode, UnrecordedQuestionError, XpukitError


def list_error_classes() -> list[type]:
    return [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, XpukitError)]


def test_docs_list_every_class_under_its_code(repo: Path) -> None:
    rows = re.findall(r"^\| (\d+) \|[^|]*\|(.*)\|$", (repo / "docs/exit-codes.md").read_text(encoding="utf-8"), re.M)
    documented = {int(code): set(re.findall(r"`(\w+)`", classes)) for code, classes in rows}
    assert set(documented) == {int(code) for code in ExitCode}
    for error in list_error_classes():
        assert error.__name__ in documented[int(error.exit_code)], error
    named = {name for names in documented.values() for name in names}
    assert named == {error.__name__ for error in list_error_classes()} | {UnrecordedQuestionError.__name__}


def test_every_class_says_what_it_is_for() -> None:
    assert all(error.__doc__ for error in list_error_classes())
    assert not issubclass(UnrecordedQuestionError, Exception)
