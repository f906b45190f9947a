"""A Level Zero loader newer than this distribution's, from a later Debian, run through that Debian's own ld.so.

Older distributions ship a loader without zesInit; what runs with newer ones can only be seen behind a newer one.
"""

from __future__ import annotations

import site
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.native.build import name_cache
from xpukit.host.answers import Ran
from xpukit.host.runner import run_process

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_PACKAGES = ("libze1", "libc6", "libstdc++6", "libgcc-s1")
_LIBRARIES = "usr/lib/x86_64-linux-gnu"


def find_mirror() -> str:
    """The mirror that this machine's own apt takes Debian's main packages from, "" where it has none."""
    form = "$(ORIGIN) $(LABEL) $(COMPONENT) $(REPO_URI)"
    listed = run_process(["apt-get", "indextargets", "--format", form, "Created-By: Packages"], timeout_s=60)
    found = [line.split()[-1] for line in listed.text.splitlines() if line.startswith("Debian Debian main ")]
    return found[0] if found else ""


class NewerLoader:
    """The unpacked packages of one Debian suite; `run` has run_process's signature."""

    def __init__(self, suite: str) -> None:
        self.suite = suite
        self.root = name_cache() / f"level-zero-{suite}"
        self.libraries = self.root / _LIBRARIES

    def fetch(self) -> str:
        """Download and unpack what is not there yet; says what went wrong, or ""."""
        if (self.root / "complete").exists():
            return ""
        if not KEYRING.exists():
            return f"no {KEYRING} (package debian-archive-keyring)"
        state = self.root / "apt"
        for part in ("lists/partial", "cache/archives/partial", "debs"):
            (state / part).mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        mirror = find_mirror()
        if not mirror:
            return "apt names no Debian mirror here"
        source = f"deb [arch=amd64 signed-by={KEYRING}] {mirror} {self.suite} main\n"
        (state / "sources.list").write_text(source, encoding="utf-8")
        options = {
            "Dir::Etc::SourceList": state / "sources.list",
            "Dir::Etc::SourceParts": "-",
            "Dir::State::Lists": state / "lists",
            "Dir::State::Status": state / "status",
            "Dir::Cache": state / "cache",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        apt = ["apt-get", "-q", *(part for key, value in options.items() for part in ("-o", f"{key}={value}"))]
        for command in ([*apt, "update"], [*apt, "download", *_PACKAGES]):
            ran = run_process(command, timeout_s=180, cwd=str(state / "debs"))
            if not ran.ok:
                return ran.describe_failure()
        for deb in sorted((state / "debs").glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(deb), str(self.root)], check=True, timeout=60)
        (self.root / "complete").touch()
        return ""

    def wrap(self, argv: Sequence[str]) -> list[str]:
        """`argv`, whose first entry is this Python, under the suite's dynamic linker."""
        path = f"{self.libraries}:{sys.prefix}/lib:/usr/lib/x86_64-linux-gnu:/lib/x86_64-linux-gnu"
        python = str(Path(sys.executable).resolve())
        return [str(self.libraries / "ld-linux-x86-64.so.2"), "--library-path", path, python, *argv[1:]]

    def run(self, argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str] | None = None) -> Ran:
        extra = {**(env or {}), "PYTHONHOME": sys.base_prefix, "PYTHONPATH": ":".join(site.getsitepackages())}
        return run_process(self.wrap(argv), timeout_s=timeout_s, env=extra)
