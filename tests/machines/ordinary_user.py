"""Run Python as a user without rights, who must be able to read the interpreter and what it imports."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

UID = 65534
REPO = Path(__file__).resolve().parents[2]


def find_python(directory: Path) -> tuple[list[str], str]:
    """(argv to put before Python's arguments, why not). `directory` must be readable by everybody.

    As root: setpriv to `UID`, with this interpreter or, where that lies in a home directory, an environment made in
    `directory` of the system's interpreter of the same version and this one's packages. An ordinary user needs
    nothing.
    """
    if os.geteuid() != 0:
        return [sys.executable], ""
    if shutil.which("setpriv") is None:
        return [], "setpriv is not installed (package util-linux)"
    # setpriv itself executes with root's capabilities: `env` in between is the first that has none.
    user = [f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--", "env", "HOME=/nonexistent"]
    prefix = ["setpriv", *user, "PYTHONDONTWRITEBYTECODE=1"]
    for python in (sys.executable, _borrow_packages(directory)):
        argv = [*prefix, python, "-c", "import msgspec, psutil, pyudev, rich, typer"]
        if python and subprocess.run(argv, cwd="/", capture_output=True, timeout=60, check=False).returncode == 0:
            return [*prefix, python], ""
    return [], f"uid {UID} may not read this Python or its packages"


def _borrow_packages(directory: Path) -> str:
    """An environment of the system's interpreter that sees this one's packages; "" when there is none to borrow to."""
    system = f"/usr/bin/python3.{sys.version_info.minor}"
    environment = directory / "python"
    made = shutil.which(system) and subprocess.run(
        [system, "-m", "venv", "--without-pip", str(environment)], capture_output=True, timeout=60, check=False
    )
    if not made or made.returncode != 0:
        return ""
    (packages,) = environment.glob("lib/python3*/site-packages")
    borrowed = dict.fromkeys((str(REPO), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    (packages / "borrowed.pth").write_text("".join(f"{path}\n" for path in borrowed))
    return str(environment / "bin" / "python")
