"""Apply and undo on a file tree: idempotent, crash-proof at every write, and never over somebody's changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.install.settings_machine import make_case
from tests.unit.install.step_case import StepCase, make_stack
from xpukit.core.errors import CouldNotJudgeError, ExternalError
from xpukit.facts.stacks import FileFacts
from xpukit.host.answers import FileAnswer
from xpukit.install.change import FileChange, hash_bytes, make_file_change
from xpukit.install.journal import JOURNAL, load_journal, read_journal
from xpukit.install.lock import LOCK
from xpukit.install.status import read_status
from xpukit.install.step import Scene, Step, StepPlan
from xpukit.install.steps.files import STEP as FILES
from xpukit.install.steps.groups import STEP as GROUPS


def test_apply_then_apply_then_undo(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    before = case.snapshot()
    done = case.apply(FILES, GROUPS)
    assert len(done.changes) == 5
    assert case.read("/etc/there.conf") == "ours\n"
    assert "render:x:999:worker" in case.read("/etc/group")
    assert (case.root / "etc/there.conf").stat().st_mode & 0o777 == 0o640
    applied = case.snapshot()
    assert case.apply(FILES, GROUPS).changes == ()
    assert case.snapshot() == applied
    outcome = case.undo()
    assert outcome.refused == ()
    assert case.snapshot() == before
    assert not (case.root / "etc/new").exists()
    again = case.undo().outcome
    assert again is not None
    assert again.changes == ()


def test_a_plan_changes_nothing_and_writes_no_journal(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    before = case.snapshot()
    assert len(case.plan(FILES).changes) == 2
    assert case.snapshot() == before
    assert not (case.root / "var").exists()


def test_undo_refuses_what_someone_changed_and_touches_nothing(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    case.apply(FILES, GROUPS)
    case.write("/etc/there.conf", "somebody's\n")
    applied = case.snapshot()
    refused = case.undo().refused
    assert [refusal.what for refusal in refused] == ["write /etc/there.conf"]
    assert "/etc/there.conf: changed since" in refused[0].why
    assert case.snapshot() == applied
    status = read_status(case.site)
    assert status.drift == 1
    assert [entry.standing for entry in status.entries if entry.note] == ["drifted"]
    assert case.undo(force=True).refused == ()
    assert case.read("/etc/there.conf") == "theirs\n"


def test_undo_leaves_a_group_that_others_use(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    case.apply(GROUPS)
    case.write("/etc/group", case.read("/etc/group").replace("999:worker", "999:worker,guest"))
    assert [refusal.why for refusal in case.undo().refused] == ["group render has members: guest"]


def test_the_first_backup_stays(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    case.apply(FILES)
    case.undo()
    case.write("/etc/there.conf", "later\n")
    case.apply(FILES)
    first = case.root / "var/lib/xpukit/install/backups/first/etc/there.conf"
    assert first.read_text(encoding="utf-8") == "theirs\n"
    case.undo()
    assert case.read("/etc/there.conf") == "later\n"


def test_a_journal_torn_by_a_crash_is_read_and_continued(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    before = case.snapshot()
    case.apply(FILES)
    path = case.root / JOURNAL.lstrip("/")
    path.write_bytes(path.read_bytes() + b'{"event": "doi')
    assert load_journal(case.site).damaged_lines == 1
    assert case.apply(FILES).changes == ()
    assert case.undo().refused == ()
    assert case.snapshot() == before


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xff\xfe", b"[]\n1\n", b'{"event":"done","seq":4}\n', b'{"event":5}'])
def test_a_damaged_journal_never_raises(data: bytes) -> None:
    assert read_journal(data).in_force == ()


def test_two_files_written_twice_go_back_to_the_start(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    before = case.snapshot()
    case.apply(FILES)
    newer = make_stack(files=(FileFacts(path="/etc/there.conf", content="newer\n", source="test"),))
    other = StepCase(tmp_path, stack=newer)
    other.apply(FILES)
    assert case.read("/etc/there.conf") == "newer\n"
    assert read_status(case.site).drift == 0
    assert case.undo().refused == ()
    assert case.snapshot() == before


def test_a_step_that_does_not_come_to_rest_is_a_failure(tmp_path: Path) -> None:
    def plan(scene: Scene) -> StepPlan:
        length = len(scene.site.read("/etc/grows").data)
        return StepPlan(changes=(make_file_change("/etc/grows", "x" * (length + 1), "test"),))

    case = make_case(tmp_path)
    with pytest.raises(ExternalError, match="still wanted: write /etc/grows"):
        case.apply(Step(name="grows", summary="", order=1, plan=plan))
    assert [run.result for run in load_journal(case.site).runs] == ["failed"]
    case.undo()
    assert not (case.root / "etc/grows").exists()


def test_a_file_with_another_hash_is_not_written(tmp_path: Path) -> None:
    change = FileChange(path="/lib/firmware/a.bin", why="", sha256=hash_bytes(b"right"), copy_from="/opt/a.bin")
    case = StepCase(tmp_path, files={"/opt/a.bin": "wrong"})
    step = Step(name="copies", summary="", order=1, plan=lambda scene: StepPlan(changes=(change,)))
    with pytest.raises(ExternalError, match="another hash"):
        case.apply(step)
    assert not (case.root / "lib/firmware/a.bin").exists()


def test_a_held_lock_is_waited_for_and_then_named(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    case.apply(FILES)
    other = case.host.make_lock(str(case.root / LOCK.lstrip("/")))
    assert other.take("process 77, install apply of other, since noon") == ""
    try:
        with pytest.raises(ExternalError, match="process 77, install apply of other"):
            case.undo()
    finally:
        other.release()
    assert case.undo().refused == ()


def test_links_of_the_tree_stay_inside_it(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    (case.root / "etc/there.conf").unlink()
    (case.root / "etc/there.conf").symlink_to("/etc/real.conf")
    case.write("/etc/real.conf", "real\n")
    before = case.snapshot()
    case.apply(FILES)
    assert (case.root / "etc/there.conf").is_symlink()
    assert case.read("/etc/real.conf") == "ours\n"
    case.undo()
    assert case.snapshot() == before


def test_a_full_disk_stops_before_anything_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case(tmp_path)
    before = case.snapshot()
    with monkeypatch.context() as patch:
        patch.setattr(case.host, "append_synced", lambda path, data: "ENOSPC")
        with pytest.raises(ExternalError, match="journal cannot be written"):
            case.apply(FILES)
    assert case.snapshot() == before
    case.apply(FILES)
    case.undo()
    assert case.snapshot() == before


def test_a_journal_of_root_cannot_be_judged_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case(tmp_path)
    monkeypatch.setattr(case.host, "read", lambda path, **settings: FileAnswer(error="EACCES"))
    with pytest.raises(CouldNotJudgeError, match="cannot be read: EACCES"):
        load_journal(case.site)
