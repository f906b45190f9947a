"""Every collector of sysinfo and every check of doctor has a file, a name, ids and a row in docs; bad ones are refused."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

from xpukit.doctor import checks as checks_package
from xpukit.doctor.check import Check
from xpukit.doctor.registry import list_checks
from xpukit.doctor.registry import list_faults as list_check_faults
from xpukit.sysinfo import collectors as collectors_package
from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.registry import list_collectors
from xpukit.sysinfo.registry import list_faults as list_collector_faults

COLLECTOR = Collector(name="good", summary="Looks.", preset="minimal", collect=lambda asker: None)
CHECK = Check(name="good", summary="Looks.", ids=("XPK-GOOD",), look=lambda patient: ())


def load_objects(package: ModuleType, attribute: str) -> dict[str, object]:
    """What each file of a package defines, by file name."""
    names = [info.name for info in pkgutil.iter_modules(package.__path__)]
    modules = {name: importlib.import_module(f"{package.__name__}.{name}") for name in names}
    return {name: getattr(module, attribute, None) for name, module in modules.items()}


def list_written_ids(path: Path) -> set[str]:
    """The ids of the findings that a source file makes, where they stand there as one text."""
    calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    made = (call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Finding")
    values = (keyword.value for call in made for keyword in call.keywords if keyword.arg == "id")
    return {str(value.value) for value in values if isinstance(value, ast.Constant)}


def test_collectors_are_well_made() -> None:
    found = load_objects(collectors_package, "COLLECTOR")
    assert list_collector_faults(found) == ()
    assert sorted(found) == sorted(collector.name for collector in list_collectors())


def test_checks_are_well_made() -> None:
    found = load_objects(checks_package, "CHECK")
    assert list_check_faults(found) == ()
    assert sorted(found) == sorted(check.name for check in list_checks())


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        ({"good": None}, "good.py: has no COLLECTOR"),
        ({"other": COLLECTOR}, "other.py: its collector is named 'good'"),
        ({"good": {"name": "good"}}, "good.py: has no COLLECTOR"),
        ({"not-a-name": Collector(name="not-a-name", summary="s", preset="full", collect=print)}, "an identifier"),
        ({"good": Collector(name="good", summary="", preset="full", collect=print)}, "and a summary"),
        ({"good": Collector(name="good", summary="s", preset="huge", collect=print)}, "preset"),  # type: ignore[arg-type]
        ({"good": Collector(name="good", summary="s", preset="full", collect=print, timeout_s=1e4)}, "time-out"),
        ({"good": Collector(name="good", summary="s", preset="full", collect="x")}, "nothing to call"),  # type: ignore[arg-type]
    ],
)
def test_bad_collectors_are_refused(made: dict[str, object], fault: str) -> None:
    assert list_collector_faults({"good": COLLECTOR}) == ()
    (said,) = list_collector_faults(made)
    assert fault in said


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        ({"good": None}, "good.py: has no CHECK"),
        ({"other": CHECK}, "other.py: its check is named 'good'"),
        ({"good": Check(name="good", summary="", ids=("XPK-A",), look=lambda _: ())}, "a summary"),
        ({"good": Check(name="good", summary="s", ids=(), look=lambda _: ())}, "none given"),
        ({"good": Check(name="good", summary="s", ids=("GPU-LOST",), look=lambda _: ())}, "GPU-LOST"),
        ({"good": Check(name="good", summary="s", ids=("XPK-lost",), look=lambda _: ())}, "XPK-lost"),
        ({"good": Check(name="good", summary="s", ids=("XPK-A", "XPK-A"), look=lambda _: ())}, "twice"),
        (
            {"good": CHECK, "more": Check(name="more", summary="s", ids=("XPK-GOOD",), look=lambda _: ())},
            "more.py: XPK-GOOD is an id of good.py",
        ),
    ],
)
def test_bad_checks_are_refused(made: dict[str, object], fault: str) -> None:
    assert list_check_faults({"good": CHECK}) == ()
    (said,) = list_check_faults(made)
    assert fault in said


@pytest.mark.parametrize("check", list_checks(), ids=lambda check: check.name)
def test_a_check_declares_and_documents_its_ids(check: Check, repo: Path) -> None:
    path = repo / "xpukit" / "doctor" / "checks" / f"{check.name}.py"
    assert list_written_ids(path) <= set(check.ids), "an id that is not in `ids` is not listed and not documented"
    docs = (repo / "docs" / "checks.md").read_text(encoding="utf-8")
    assert f"## {check.name}\n" in docs
    known_errors = (repo / "docs" / "known-errors.md").read_text(encoding="utf-8")
    for name in check.ids:
        if name.startswith("XPK-LOG-"):
            assert name in known_errors
        else:
            assert f"| `{name}` |" in docs, "run scripts/make-checks-doc"


@pytest.mark.parametrize("collector", list_collectors(), ids=lambda collector: collector.name)
def test_a_collector_is_in_docs_with_what_root_adds(collector: Collector, repo: Path) -> None:
    root = collector.root_adds or "-"
    row = f"| `{collector.name}` | {collector.preset} | {collector.summary} | {root} |"
    assert row in (repo / "docs" / "collectors.md").read_text(encoding="utf-8").splitlines()
