"""The folders in /tmp that hold a run's part of Ray, and those that a killed run left. Standard library only.

A folder is taken away only where it is this user's, was made on this machine (others may see the same /tmp), is held by
no driver, and is named by no process: Ray's own carry it in their environment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from typing import IO

PREFIX = "xpk-ray-"
# In each folder: the machine's name. The driver of a run holds a lock on it.
MARKER = "machine"
_HELD: list[IO[str]] = []


def hold_folder(folder: Path) -> None:
    """Mark it as this machine's and in use, to the end of this process."""
    file = (folder / MARKER).open("w+", encoding="utf-8")
    file.write(f"{os.uname().nodename}\n")
    file.flush()
    with contextlib.suppress(OSError):  # a file system without locks: its processes still say that it is used
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    _HELD.append(file)


def sweep_folders(own: Path) -> list[Path]:
    """Take away what killed runs left beside `own`; what could not be taken away stays."""
    stale = [folder for folder in sorted(own.parent.glob(f"{PREFIX}*")) if folder != own and _is_left(folder)]
    named = list_named_by_processes([str(folder) for folder in stale]) if stale else set()
    swept = []
    for folder in stale:
        if str(folder) not in named:
            shutil.rmtree(folder, ignore_errors=True)
            swept += [] if folder.exists() else [folder]
    return swept


def _is_left(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.geteuid():
            return False
        with (folder / MARKER).open(encoding="utf-8", errors="replace") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file.read().strip() == os.uname().nodename
    return False


def list_named_by_processes(names: list[str]) -> set[str]:
    """Those of `names` that stand in the environment or the command line of a process that we may look at."""
    found: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        for part in ("environ", "cmdline"):
            with contextlib.suppress(OSError):
                text = (process / part).read_bytes()
                found.update(name for name in names if os.fsencode(name) in text)
    return found
