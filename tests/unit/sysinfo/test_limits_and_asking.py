"""Budgets, entries, patterns: what an asker does when time or room run out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.dict_host import DictHost
from xpukit.core.errors import OutputError
from xpukit.host.answers import FileAnswer, FoundAnswer, NamesAnswer, Ran
from xpukit.sysinfo.asking import EstimateAsker, HostAsker, expand_pattern, match_names
from xpukit.sysinfo.entry import EntryStatus, judge_answer
from xpukit.sysinfo.limits import Budget, LimitedHost, NotingHost, name_question

UNAME = Ran(argv=("uname", "-a"), rc=0, out=b"Linux\n")


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_asker(
    host: DictHost, *, timeout_s: float = 100, max_bytes: int = 1 << 20
) -> tuple[HostAsker, NotingHost, Clock]:
    clock = Clock()
    budget = Budget(timeout_s=timeout_s, max_bytes=max_bytes, clock=clock)
    noting = NotingHost(LimitedHost(host, budget), clock=clock)
    budget.start_collector(10)
    return HostAsker(noting, budget), noting, clock


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (UNAME, "ok", ""),
        (
            Ran(argv=("modinfo", "xe"), rc=1, err=b"modinfo: ERROR: Module xe not found.\n"),
            "missing",
            "exit 1: modinfo: ERROR: Module xe not found.",
        ),
        (
            Ran(argv=("ls", "/x"), rc=2, err=b"ls: cannot access '/x': No such file or directory\n"),
            "missing",
            "exit 2: ls: cannot access '/x': No such file or directory",
        ),
        (Ran(argv=("grep", "x", "/y"), rc=1), "ok", "no line matches"),
        (Ran(argv=("grep", "x", "/y"), rc=2), "failed", "exit 2"),
        (FileAnswer(error="EINVAL"), "missing", "EINVAL"),
        (Ran(argv=("a",), rc=1, err=b"no\nbad luck\n"), "failed", "exit 1: bad luck"),
        (Ran(argv=("a",), rc=1, out=b"half\n", err=b"one missing\n"), "ok", "exit 1: one missing"),
        (Ran(argv=("a",), rc=127, failure="not-found"), "missing", "not installed"),
        (Ran(argv=("a",), rc=126, failure="denied"), "denied", "permission denied"),
        (Ran(argv=("a",), rc=-15, failure="timeout", seconds=10.0), "timeout", "stopped after 10 s"),
        (Ran(argv=("a",), rc=-9, failure="signal:9"), "failed", "killed by signal 9"),
        (Ran(argv=("a",), rc=0, out=b"x", dropped_bytes=7), "capped", "head and tail kept, 7 bytes left out"),
        (Ran(argv=("a",), rc=124, failure="EFBIG"), "skipped", "the bundle has reached its size limit"),
        (Ran(argv=("a",), rc=127, failure="UNRECORDED"), "missing", "not in the recording"),
        (FileAnswer(data=b"x"), "ok", ""),
        (FileAnswer(data=b"x", truncated=True), "capped", "only 1 bytes of it were kept"),
        (FileAnswer(error="ENOENT"), "missing", "not there"),
        (FileAnswer(error="EACCES"), "denied", "permission denied"),
        (FileAnswer(error="ETIMEDOUT"), "timeout", "no answer in time"),
        (FileAnswer(error="ELOOP"), "failed", "ELOOP"),
        (NamesAnswer(error="EFBIG"), "skipped", "the bundle has reached its size limit"),
        (FoundAnswer(value=None), "ok", ""),
    ],
)
def test_what_an_answer_counts_as(answer: Ran, status: EntryStatus, said: str) -> None:
    assert judge_answer(answer) == (status, said)


def test_after_the_collectors_time_nothing_is_asked() -> None:
    host = DictHost({"/etc/os-release": "x"}, commands={("uname", "-a"): UNAME})
    asker, noting, clock = make_asker(host)
    assert asker.run("uname", "-a").ok
    clock.now += 11
    host.asked.clear()
    assert asker.run("uname", "-a").failure == "timeout"
    assert asker.read("/etc/os-release").error == "ETIMEDOUT"
    assert asker.list("/etc").error == "ETIMEDOUT"
    assert asker.stat("/etc").error == "ETIMEDOUT"
    assert asker.glob("/etc/*") == ()
    assert host.asked == []
    statuses = [(entry.what, entry.status) for entry in noting.entries]
    assert statuses[:3] == [("run uname -a", "ok"), ("run uname -a", "timeout"), ("read /etc/os-release", "timeout")]
    assert "time is used up" in noting.entries[1].detail


def test_after_the_overall_time_the_recording_says_timeout() -> None:
    clock = Clock()
    host = DictHost({"/a": "x"})
    limited = LimitedHost(host, Budget(timeout_s=5, max_bytes=1 << 20, clock=clock))
    assert limited.read("/a").data == b"x"
    clock.now += 6
    assert limited.read("/a").error == "ETIMEDOUT"
    assert limited.run(("uname",), timeout_s=3).failure == "timeout"
    assert host.asked == [("read", "/a")]


def test_a_full_bundle_drops_later_answers_and_says_so() -> None:
    host = DictHost({f"/f{number}": "x" * 3000 for number in range(6)})
    asker, noting, _ = make_asker(host, max_bytes=12_000)
    answers = [asker.read(f"/f{number}") for number in range(6)]
    assert [answer.error for answer in answers] == ["", "", "", "EFBIG", "EFBIG", "EFBIG"]
    assert [entry.status for entry in noting.entries] == ["ok"] * 3 + ["skipped"] * 3
    assert asker.run("uname", "-a").failure == "EFBIG"
    # What costs next to nothing is still asked.
    assert not asker.stat("/f5").error


def test_the_disk_being_full_is_remembered_though_askers_shrug() -> None:
    class FullDisk(LimitedHost):
        def mediate(self, question, answer_type, ask):  # type: ignore[no-untyped-def]
            raise OutputError("no space")

    noting = NotingHost(FullDisk(DictHost(), Budget(timeout_s=5, max_bytes=1 << 20)))
    with pytest.raises(OutputError):
        noting.read("/a")
    assert isinstance(noting.broken, OutputError)


def test_environment_by_prefix() -> None:
    host = DictHost(environment={"ZE_AFFINITY_MASK": "0", "ZE_DEBUG": "1", "HOME": "/root"})
    asker, _, _ = make_asker(host)
    assert asker.env("ZE_") == {"ZE_AFFINITY_MASK": "0", "ZE_DEBUG": "1"}


def test_questions_in_words() -> None:
    assert name_question(("read", "/etc/x y")) == "read /etc/x y"
    assert name_question(("run", "ls", "-l", "\0", "A=b", "cwd=/")) == "run ls -l [A=b cwd=/]"
    assert name_question(("memory",)) == "memory"


SYS = {
    "/sys/class/drm/card0/device/vendor": "0x8086",
    "/sys/class/drm/card1/device/vendor": "0x1a03",
    "/sys/class/drm/card1-DP-1/status": "off",
    "/sys/class/drm/.hidden/device/vendor": "x",
    "/sys/class/drm/version": "drm",
}


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("/sys/class/drm/card?", ["/sys/class/drm/card0", "/sys/class/drm/card1"]),
        (
            "/sys/class/drm/*/device/vendor",
            ["/sys/class/drm/card0/device/vendor", "/sys/class/drm/card1/device/vendor"],
        ),
        ("/sys/*/drm/card*/status", ["/sys/class/drm/card1-DP-1/status"]),
        ("/sys/class/drm/version", ["/sys/class/drm/version"]),
        ("/nowhere/*", []),
        ("/sys/class/drm/version/*", []),
        ("/sys/class/drm/.h*/device", ["/sys/class/drm/.hidden/device"]),
    ],
)
def test_patterns(pattern: str, found: list[str]) -> None:
    asker, _, _ = make_asker(DictHost(SYS))
    assert list(asker.glob(pattern)) == found
    assert list(EstimateAsker(DictHost(SYS)).glob(pattern)) == found


@given(st.text(max_size=30))
def test_any_text_is_a_pattern(pattern: str) -> None:
    assert isinstance(expand_pattern(pattern, lambda _: ("a", "b\n", ".c"), lambda _: True), tuple)
    assert set(match_names(("a", ".b"), pattern)) <= {"a", ".b"}


def test_an_estimate_runs_and_reads_nothing() -> None:
    host = DictHost({"/etc/a": "text", "/proc/b": "text"}, commands={("uname", "-a"): UNAME})
    asker = EstimateAsker(host)
    asker.run("uname", "-a", typical_bytes=200)
    asker.run("nowhere")
    asker.read("/etc/a")
    asker.read("/etc/none")
    assert (asker.commands, asker.files) == (1, 1)
    assert asker.size_bytes >= 200
    assert {question[0] for question in host.asked} <= {"which", "stat", "list", "env-names"}
