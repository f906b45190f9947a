"""Container images in a bundle: saved by one Docker daemon, taken to a machine, and loaded there as the apply says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.chroot_machine import REPO, TinyPackage, make_base, open_machine, skip_without_root
from tests.live.docker_engine import DockerEngine, import_tiny

pytestmark = [pytest.mark.live, pytest.mark.slow]
IMAGE = "xpukit-test/site:1"


def create(engine: DockerEngine, *words: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "xpukit", "install", "bundle", "create", *map(str, words)]
    env = {**os.environ, "DOCKER_HOST": engine.address}
    return subprocess.run(argv, cwd=REPO, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_an_image_goes_from_one_daemon_to_another_machine(closed_engine: DockerEngine, tmp_path: Path) -> None:
    skip_without_root()
    make_base()
    import_tiny(closed_engine, IMAGE)
    wanted = closed_engine.docker("image", "inspect", "-f", "{{.Id}} {{.RootFS.Layers}}", IMAGE)
    (tmp_path / "target").mkdir()
    with open_machine(tmp_path / "target") as machine:
        machine.add_packages((TinyPackage("xpk-good"),))
        stack = machine.write_stack('[[packages]]\nname = "xpk-good"\npurpose = "test"\nsource = "test"\n')
        sources = tmp_path / "own.sources"
        sources.write_text(f"Types: deb\nURIs: file:{machine.repository}\nSuites: ./\nTrusted: yes\n")
        words = (
            "--stack", stack, "--for", machine.root, "--source", sources, "--no-own-sources", "--no-wheels",
            "--signing-key", tmp_path / "key.asc", "-o", tmp_path / "site.tar",
        )  # fmt: skip
        missing = create(closed_engine, *words, "--image", "xpukit-test/none:1")
        assert missing.returncode != 0
        assert "xpukit-test/none:1" in missing.stderr
        made = create(closed_engine, *words, "--image", IMAGE, "--json")
        assert made.returncode == 0, made.stderr
        document = json.loads(made.stdout)
        assert document["manifest"]["images"] == [IMAGE]
        closed_engine.docker("image", "rm", IMAGE)
        assert IMAGE not in closed_engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
        trust = ("--fingerprint", document["fingerprint"])
        applied = machine.install("apply", "--bundle", str(tmp_path / "site.tar"), *trust, "--yes")
        match = re.search(r"docker load -i (\S+)", applied.stderr)
        assert match is not None, applied.stderr
        loaded = closed_engine.docker("load", "-i", f"{machine.root}{match[1]}")
        assert IMAGE in loaded
        assert closed_engine.docker("image", "inspect", "-f", "{{.Id}} {{.RootFS.Layers}}", IMAGE) == wanted
        machine.install("undo", "--yes")
        assert not os.path.exists(f"{machine.root}{match[1]}")
    closed_engine.docker("image", "rm", IMAGE)
