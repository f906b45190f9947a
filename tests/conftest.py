"""Tripwire, recorded machines, golden files. The default run needs no GPU and touches no machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no reason to fail; and CI tries the same examples each time, so that a landing does not hang on luck.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

REPO = Path(__file__).resolve().parent.parent
# `--import-mode=importlib` leaves sys.path alone; tests share builders under `tests.`.
sys.path.insert(0, str(REPO))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files instead of comparing")
    parser.addoption("--slow", action="store_true", help="run tests marked slow too (QEMU boots, fresh installs)")
    parser.addoption("--no-live", action="store_true", help="only the tiers that need nothing of this machine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow: give --slow"))
        if "live" in item.keywords and config.getoption("--no-live"):
            item.add_marker(pytest.mark.skip(reason="live: --no-live was given"))


class BehindTheDoorError(BaseException):
    """Code under test reached for the machine without going through Host. No `except Exception` can hide it."""


_WATCHED = ("/sys/", "/proc/", "/dev/")
# Python itself, the terminal and randomness: no look at the machine.
_HARMLESS = ("/dev/null", "/dev/tty", "/dev/urandom", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/fd/")
_armed = False


def _watch(event: str, args: tuple[object, ...]) -> None:
    if not _armed:
        return
    if event in ("open", "os.listdir", "os.scandir"):
        path = args[0]
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if isinstance(path, str) and path.startswith(_WATCHED) and not path.startswith(_HARMLESS):
            raise BehindTheDoorError(f"{event} {path}")
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "ctypes.dlopen"):
        raise BehindTheDoorError(f"{event} {args[:2]}")


sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def tripwire(request: pytest.FixtureRequest) -> Iterator[None]:
    """Armed in every test that is not marked live."""
    global _armed  # noqa: PLW0603
    _armed = "live" not in request.keywords
    try:
        yield
    finally:
        _armed = False


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output must not depend on the terminal or colours of whoever runs the tests."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


@pytest.fixture(scope="session")
def repo() -> Path:
    return REPO


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> object:
    """`golden("name", text)` compares with tests/golden/name; a missing file fails (in CI too) unless updating."""

    def check(name: str, text: str) -> None:
        path = REPO / "tests" / "golden" / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        assert path.exists(), f"no golden file {path.name}: run with --update-golden and review the diff"
        assert text == path.read_text(encoding="utf-8")

    return check
