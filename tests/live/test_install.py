"""What users install: a wheel in an empty environment, and the checkout's own script on a fresh clone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = [pytest.mark.live, pytest.mark.slow]


def call(*argv: str | Path, cwd: Path, env: dict[str, str] | None = None, timeout_s: float = 300) -> str:
    ran = subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert ran.returncode == 0, f"{argv}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def copy_checkout(repo: Path, target: Path) -> Path:
    """The files that git tracks or would track, as a clone has them."""
    listing = call("git", "ls-files", "-co", "--exclude-standard", "-z", cwd=repo)
    for name in filter(None, listing.split("\0")):
        source = repo / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    return target


def test_a_wheel_works_in_an_empty_environment(repo: Path, tmp_path: Path) -> None:
    checkout = copy_checkout(repo, tmp_path / "checkout")
    call(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path / "dist", checkout, cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("xpukit-*.whl")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    call(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, cwd=tmp_path)
    xpukit = tmp_path / "env" / "bin" / "xpukit"
    assert call(xpukit, "--version", cwd=tmp_path).startswith("xpukit ")
    document = json.loads(call(xpukit, "probe", "--json", cwd=tmp_path))
    assert document["schema"] == "xpukit.probe/1"
    assert "quick" in call(xpukit, "evaluate", "--list", cwd=tmp_path)
    shipped = call(
        python, "-c", "from xpukit.facts.references import load_references; print(len(load_references()))", cwd=tmp_path
    )
    assert int(shipped) > 10
    # Without the engine nothing can be measured, and each row says so.
    ran = subprocess.run(
        [xpukit, "evaluate", "--suite", "quick", "--only", "memory", "--json", "--out", tmp_path / "run"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 3, ran.stderr
    rows = json.loads(ran.stdout)["results"]
    assert {row["verdict"] for row in rows} == {"unknown"}
    assert all("not installed" in row["reason"] for row in rows)


def test_the_script_on_a_fresh_clone(repo: Path, tmp_path: Path) -> None:
    checkout = copy_checkout(repo, tmp_path / "checkout")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link").symlink_to(checkout / "scripts" / "xpukit")
    out = call(tmp_path / "elsewhere" / "link", "probe", "--json", cwd=tmp_path / "elsewhere")
    assert json.loads(out)["schema"] == "xpukit.probe/1"
    before = sorted((checkout / ".venv").rglob("*.dist-info"))
    call(checkout / "scripts" / "xpukit", "--version", cwd=tmp_path)
    assert sorted((checkout / ".venv").rglob("*.dist-info")) == before


@pytest.mark.parametrize(
    ("hidden", "words"),
    [("venv", "apt-get install python3-venv"), ("everything", "no Python 3.10 or newer")],
)
def test_what_is_missing_is_said(repo: Path, tmp_path: Path, hidden: str, words: str) -> None:
    """A machine without Python, or with Debian's Python without venv."""
    checkout = copy_checkout(repo, tmp_path / "checkout")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "readlink", "dirname", "cksum", "cat", "mkdir", "rm", "env"):
        (tools / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    if hidden == "venv":
        fake = tools / "python3"
        fake.write_text(f'#!/bin/bash\ncase "$*" in *"import venv"*) exit 1;; esac\nexec {sys.executable} "$@"\n')
        fake.chmod(0o755)
    ran = subprocess.run(
        [checkout / "scripts" / "xpukit", "probe"],
        env={"PATH": str(tools), "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 4
    assert words in ran.stderr
