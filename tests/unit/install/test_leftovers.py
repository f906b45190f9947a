"""What packages' own scripts leave when they are purged: taken back where it came with them and nothing uses it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.install.step_case import StepCase, answer, make_stack
from xpukit.facts.leftovers import load_leftovers
from xpukit.facts.stacks import PackageFacts
from xpukit.host.answers import Ran
from xpukit.install.reporter import Reporter
from xpukit.install.step import Options
from xpukit.install.steps.packages import STEP
from xpukit.install.undo import undo_stack

HOSTS = "127.0.0.1 localhost\n"
GROUPS = "root:x:0:\nstaff:x:50:\n"
PASSWD = "root:x:0:0::/root:/bin/sh\n"


class Netbase(StepCase):
    """A machine on which a package comes whose script makes a group and, where there is none, /etc/hosts."""

    def __init__(self, folder: Path, *, hosts: str = "") -> None:
        files = {"/etc/group": GROUPS, "/etc/passwd": PASSWD, "/var/lib/apt/lists/x_Packages": ""}
        row = PackageFacts(name="netbase", purpose="p", source="s")
        super().__init__(folder, stack=make_stack(packages=(row,)), files=files, options=Options(lock_wait_s=0))
        if hosts:
            self.write("/etc/hosts", hosts)
        self.installed = False
        self.found = answer()
        policy = "netbase:\n  Installed: (none)\n  Candidate: 6\n  Version table:\n     6 500\n        500 x\n"
        self.host.commands |= {
            ("apt-cache",): answer(policy),
            ("dpkg-query",): lambda words: answer("netbase\t6\tall\tii \n" if self.installed else ""),
            ("apt-get",): self._apt,
            ("dpkg",): self._dpkg,
            ("find",): lambda words: self.found,
            ("groupdel",): self._groupdel,
        }

    def _apt(self, words: tuple[str, ...]) -> Ran:
        if "-s" in words or "--print-uris" in words:
            return answer("Inst netbase (6 x [all])\n")
        self.installed = True
        if not (self.root / "etc/hosts").exists():
            self.write("/etc/hosts", HOSTS)
        self.write("/etc/group", self.read("/etc/group") + "lab:x:999:\n")
        return answer()

    def _dpkg(self, words: tuple[str, ...]) -> Ran:
        if "--purge" in words and "--no-act" not in words:
            self.installed = False
        return answer()

    def _groupdel(self, words: tuple[str, ...]) -> Ran:
        lines = self.read("/etc/group").splitlines(keepends=True)
        self.write("/etc/group", "".join(line for line in lines if not line.startswith(f"{words[-1]}:")))
        return answer()

    def take_back(self) -> list[str]:
        """Undo; what was said besides."""
        said: list[str] = []

        class Listener(Reporter):
            def say(self, text: str) -> None:
                said.append(text)

        assert not undo_stack(self.site, Listener(), lock_wait_s=0).refused
        assert not self.installed
        return said


def test_what_nobody_uses_goes(tmp_path: Path) -> None:
    case = Netbase(tmp_path)
    before = case.snapshot()
    case.apply(STEP)
    assert case.read("/etc/hosts") == HOSTS
    assert case.take_back() == []
    assert case.snapshot() == before
    assert ("find", "/", "-xdev", "-gid", "999", "-print", "-quit") in case.host.ran


def add_member(case: Netbase) -> None:
    case.write("/etc/group", case.read("/etc/group").replace("lab:x:999:", "lab:x:999:ann"))


def add_user(case: Netbase) -> None:
    case.write("/etc/passwd", PASSWD + "bob:x:1000:999::/:/bin/sh\n")


def add_file(case: Netbase) -> None:
    case.found = answer("/srv/data\n", rc=1)


def look_too_long(case: Netbase) -> None:
    case.found = Ran(argv=("find",), rc=-9, failure="timeout")


def refuse(case: Netbase) -> None:
    case.host.commands[("groupdel",)] = answer(rc=8)


@pytest.mark.parametrize(
    ("use", "why"),
    [
        (add_member, "it has ann"),
        (add_user, "it has bob"),
        (add_file, "/srv/data belongs to it"),
        (look_too_long, "it is not known whether files belong to it (timeout)"),
        (refuse, "groupdel refuses"),
    ],
)
def test_a_group_that_is_used_stays(tmp_path: Path, use: Callable[[Netbase], None], why: str) -> None:
    case = Netbase(tmp_path)
    case.apply(STEP)
    use(case)
    assert case.take_back() == [
        f"a package's own script made the group lab: it stays, because {why} (groupdel lab removes it)"
    ]
    assert "lab:x:999:" in case.read("/etc/group")


def test_what_was_there_before_or_came_since_is_nobodys_business(tmp_path: Path) -> None:
    case = Netbase(tmp_path, hosts="10.0.0.1 mine\n")
    case.apply(STEP)
    case.write("/etc/group", case.read("/etc/group").replace("lab:x:999:", "theirs:x:1001:"))
    assert case.take_back() == []
    assert case.read("/etc/hosts") == "10.0.0.1 mine\n"
    assert case.read("/etc/group") == GROUPS + "theirs:x:1001:\n"


def test_a_group_that_was_made_anew_since_is_another(tmp_path: Path) -> None:
    case = Netbase(tmp_path)
    case.apply(STEP)
    case.write("/etc/group", GROUPS + "lab:x:2000:\n")
    case.take_back()
    assert case.read("/etc/group") == GROUPS + "lab:x:2000:\n"


def test_a_file_that_was_changed_since_stays(tmp_path: Path) -> None:
    case = Netbase(tmp_path)
    case.apply(STEP)
    case.write("/etc/hosts", HOSTS + "10.0.0.2 theirs\n")
    assert case.take_back() == ["/etc/hosts came with a package and was changed since: it stays"]
    assert "theirs" in case.read("/etc/hosts")


def test_each_row_says_who_says_so() -> None:
    rows = load_leftovers().files
    assert len({row.path for row in rows}) == len(rows)
    assert all(row.path.startswith("/") and row.package and row.why and row.source for row in rows)
