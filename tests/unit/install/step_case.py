"""A step tried on a file tree: real files in a temporary root, commands answered by the test."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xpukit.facts.stacks import StackFacts
from xpukit.host.answers import FoundAnswer, IdentityAnswer, Ran
from xpukit.host.file_lock import LockHolder
from xpukit.host.writable import WritableHost
from xpukit.install.apply import Outcome, apply_stack
from xpukit.install.plan import plan_step
from xpukit.install.reporter import Reporter
from xpukit.install.site import Site
from xpukit.install.step import Options, Scene, Step, StepPlan
from xpukit.install.undo import UndoOutcome, undo_stack

Answer = Ran | Callable[[tuple[str, ...]], Ran]


class KilledError(BaseException):
    """The process is gone: nothing after this point runs, as with SIGKILL."""


class TreeHost(WritableHost):
    """Files of a temporary tree, commands from a table; dies at the n-th write or command when told to."""

    def __init__(self, commands: Mapping[tuple[str, ...], Answer]) -> None:
        super().__init__()
        self.commands = dict(commands)
        self.ran: list[tuple[str, ...]] = []
        self.steps_left: int | None = None
        self.dies_after = False

    def _step(self, act: Callable[[], Any]) -> Any:
        if self.steps_left is None:
            return act()
        if self.steps_left == 0:
            if self.dies_after:
                act()
            raise KilledError
        self.steps_left -= 1
        return act()

    def run(self, argv: Sequence[str], **settings: Any) -> Ran:
        words = tuple(argv[2:]) if argv[0] == "chroot" else tuple(argv)
        self.ran.append(words)
        return self._step(lambda: self._answer(words))

    def _answer(self, words: tuple[str, ...]) -> Ran:
        for length in range(len(words), 0, -1):
            answer = self.commands.get(words[:length])
            if answer is not None:
                return answer if isinstance(answer, Ran) else answer(words)
        return Ran(argv=words, rc=127, failure="not-found", err=b"not in this test's table")

    def write_file(self, path: str, data: bytes, *, mode: int, uid: int = -1, gid: int = -1) -> str:
        # The owner is whoever runs the tests.
        return str(self._step(lambda: super(TreeHost, self).write_file(path, data, mode=mode)))

    def remove_file(self, path: str) -> str:
        return str(self._step(lambda: super(TreeHost, self).remove_file(path)))

    def append_synced(self, path: str, data: bytes) -> str:
        if path.endswith(".log"):
            return super().append_synced(path, data)
        return str(self._step(lambda: super(TreeHost, self).append_synced(path, data)))

    def find_record_lock(self, path: str) -> LockHolder:
        return LockHolder()

    def identity(self) -> IdentityAnswer:
        return IdentityAnswer(hostname="tree", username="root", uid=0)

    def env(self, name: str) -> FoundAnswer:
        return FoundAnswer()


def make_stack(**rows: Any) -> StackFacts:
    """A stack of a test's own."""
    known: dict[str, Any] = {
        "schema": "xpukit.stack/1", "name": "test", "summary": "made for a test", "date": "2026-11-21",
        "source": "this test", "distribution": "", "releases": (),
    }  # fmt: skip
    return StackFacts(**{**known, **rows})


def answer(text: str = "", *, rc: int = 0, err: str = "") -> Ran:
    """A command's answer."""
    return Ran(argv=("test",), rc=rc, out=text.encode(), err=err.encode())


class StepCase:
    """A machine of files, and a step to try on it."""

    def __init__(
        self,
        folder: Path,
        *,
        stack: StackFacts | None = None,
        files: Mapping[str, str | bytes] | None = None,
        commands: Mapping[tuple[str, ...], Answer] | None = None,
        options: Options | None = None,
        devices: Sequence[Any] = (),
    ) -> None:
        self.root = folder / "root"
        (self.root / "etc").mkdir(parents=True, exist_ok=True)
        for path, content in (files or {}).items():
            self.write(path, content)
        self.host = TreeHost(commands or {})
        self.site = Site(self.host, str(self.root))
        self.scene = Scene(
            site=self.site,
            stack=stack or make_stack(),
            options=options or Options(lock_wait_s=0),
            devices=tuple(devices),
        )

    def write(self, path: str, content: str | bytes) -> None:
        """A file of the machine, as somebody else would write it."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text(encoding="utf-8")

    def plan(self, step: Step) -> StepPlan:
        return plan_step(step, self.scene)

    def apply(self, *steps: Step) -> Outcome:
        return apply_stack(self.scene, Reporter(), steps=steps)

    def undo(self, *, force: bool = False) -> UndoOutcome:
        return undo_stack(self.site, Reporter(), force=force, lock_wait_s=0)

    def crash(self, act: Callable[[], object], *, at: int, after: bool = False) -> bool:
        """Run `act`, dying at its n-th write or command (`after`: it was done, but nobody heard). False: it ended."""
        self.host.steps_left, self.host.dies_after = at, after
        try:
            act()
        except KilledError:
            return True
        finally:
            self.host.steps_left = None
        return False

    def crash_apply(self, *steps: Step, at: int, after: bool = False) -> bool:
        return self.crash(lambda: self.apply(*steps), at=at, after=after)

    def crash_undo(self, *, at: int, after: bool = False) -> bool:
        return self.crash(self.undo, at=at, after=after)

    def snapshot(self) -> dict[str, tuple[str, str]]:
        """Every file's mode and hash, without our own state."""
        found = {}
        for directory, _, names in os.walk(self.root):
            for name in names:
                full = Path(directory) / name
                path = "/" + str(full.relative_to(self.root))
                if not path.startswith("/var/lib/xpukit"):
                    content = os.readlink(full) if full.is_symlink() else hashlib.sha256(full.read_bytes()).hexdigest()
                    found[path] = (oct(os.lstat(full).st_mode), content)
        return found
