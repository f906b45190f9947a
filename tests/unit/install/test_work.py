"""Programs that give up where another holds the user database's lock are asked again, others are not."""

from __future__ import annotations

import pytest

from xpukit.core.errors import ExternalError
from xpukit.host.answers import Ran
from xpukit.install.work import Work

LOCKED = b"gpasswd: cannot lock /etc/gshadow; try again later.\n"


def make_work(monkeypatch: pytest.MonkeyPatch, *answers: Ran) -> tuple[Work, list[float]]:
    """A work whose commands answer in this order, the last one for ever; and the pauses that were made."""
    pauses: list[float] = []
    left = list(answers)
    work = Work(site=None)  # type: ignore[arg-type]
    monkeypatch.setattr(work, "run", lambda *_, **__: left.pop(0) if len(left) > 1 else left[0])
    monkeypatch.setattr("xpukit.install.work.time.sleep", pauses.append)
    return work, pauses


def ran(rc: int, err: bytes = b"") -> Ran:
    return Ran(argv=("gpasswd",), rc=rc, err=err)


def test_a_lock_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    work, pauses = make_work(monkeypatch, ran(1, LOCKED), ran(1, LOCKED), ran(0))
    assert work.must_with_lock(("gpasswd",)).ok
    assert len(pauses) == 2


def test_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    work, pauses = make_work(monkeypatch, ran(1, LOCKED))
    with pytest.raises(ExternalError, match="try again later"):
        work.must_with_lock(("gpasswd",))
    assert 1 < len(pauses) < 100


def test_another_failure_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    work, pauses = make_work(monkeypatch, ran(3, b"gpasswd: user 'x' does not exist\n"))
    with pytest.raises(ExternalError, match="does not exist"):
        work.must_with_lock(("gpasswd",))
    assert pauses == []
