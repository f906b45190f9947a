"""Finding Ray: its program and the Python that has it, which may be another than ours."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from xpukit.core.errors import CouldNotJudgeError
from xpukit.host import Host

# The tests' and CI's way to name another environment; --ray says the same.
VARIABLE = "XPUKIT_RAY_BIN"


class RayProgram(msgspec.Struct, frozen=True, kw_only=True):
    """`ray` and the interpreter beside it."""

    ray: str
    python: str


def find_ray(host: Host, named: str = "") -> RayProgram:
    """The Ray of `named` (a folder, or the program), of XPUKIT_RAY_BIN, beside our Python, or on PATH.

    Raises CouldNotJudgeError when there is none.
    """
    beside = str(Path(sys.executable).parent)
    on_path = host.which("ray").value or ""
    for place in (named, "" if named else host.env(VARIABLE).value or "", "" if named else beside):
        if not place:
            continue
        # A folder may be called ray too.
        for ray in (f"{place.rstrip('/')}/ray", place):
            if ray.endswith("/ray") and host.exists(ray):
                return _find_python(host, ray)
        if place == named:
            raise CouldNotJudgeError(f"--ray {named}: there is no program ray", hint="name the folder that holds it")
    if on_path:
        return _find_python(host, on_path)
    raise CouldNotJudgeError(
        "Ray is not installed on this machine",
        hint="pip install 'xpukit[fleet]', or --ray DIR where another Python has it",
    )


def _find_python(host: Host, ray: str) -> RayProgram:
    """The interpreter of its first line: a link in /usr/local/bin has none beside it."""
    first = host.read(ray, limit_bytes=4096).text.partition("\n")[0]
    words = first.removeprefix("#!").split()
    if first.startswith("#!") and words and "python" in words[0] and host.exists(words[0]):
        return RayProgram(ray=ray, python=words[0])
    beside = str(Path(ray).parent / "python3")
    if host.exists(beside):
        return RayProgram(ray=ray, python=beside)
    raise CouldNotJudgeError(f"{ray}: which Python it belongs to is not clear", hint="--ray DIR with ray and python3")
