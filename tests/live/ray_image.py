"""An image with this machine's Ray and an engine that says what it was given."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.live.docker_engine import DockerEngine
from tests.live.smoke_base import BASE, import_base
from tests.live.test_serve_forms import STUB, STUB_SCRIPT

_PLACE = "/usr/local/lib/python3.11/dist-packages"
# Half of Ray's size, and none of it is asked for by `ray start`, `ray status` and `ray.init`.
_NEEDLESS = frozenset(("jars", "rllib", "data", "tune", "train", "llm", "serve", "cpp"))


def make_ray_image(engine: DockerEngine, rays: Path) -> None:
    """`rays`: the folder of `ray` and its Python. Its tag is `STUB`."""
    asked = "import ray, sys; print(ray.__path__[0], sys.version_info[:2] == (3, 11))"
    ran = subprocess.run([str(rays / "python3"), "-c", asked], capture_output=True, text=True, timeout=60, check=True)
    package, _, fits = ran.stdout.strip().rpartition(" ")
    if fits != "True":
        pytest.skip("the image's Python is 3.11: Ray has to be installed for it")
    import_base(engine)
    identity = engine.docker("create", BASE, "true")
    with tempfile.TemporaryDirectory(prefix="xpk-ray-image", dir="/tmp") as folder:
        packages = Path(folder) / "packages"
        shutil.copytree(
            Path(package).parent, packages, ignore=lambda place, names: _list_needless(place, names, package)
        )
        script = (rays / "ray").read_text(encoding="utf-8").split("\n", 1)[1]
        for name, text in (("ray", f"#!/usr/bin/python3\n{script}"), ("vllm", STUB_SCRIPT)):
            (Path(folder) / name).write_text(text)
            (Path(folder) / name).chmod(0o755)
            engine.docker("cp", f"{folder}/{name}", f"{identity}:/usr/local/bin/{name}")
        engine.docker("cp", f"{packages}/.", f"{identity}:{_PLACE}")
    engine.docker("commit", identity, STUB)
    engine.docker("rm", identity)


def _list_needless(place: str, names: list[str], package: str) -> set[str]:
    if place == package:
        return set(names) & _NEEDLESS
    return {
        name for name in names if name in ("pip", "__pycache__") or f"{place}/{name}" == f"{package}/dashboard/client"
    }
