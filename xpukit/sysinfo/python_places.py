"""Python environments of this machine: the active one and those of images and installers."""

from __future__ import annotations

import re

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker


def list_interpreters(asker: Asker) -> tuple[str, ...]:
    """Paths of Python programs, the active environment first; none twice."""
    active = [*asker.env("VIRTUAL_ENV").items(), *asker.env("CONDA_PREFIX").items()]
    prefixes = [value for name, value in active if name in ("VIRTUAL_ENV", "CONDA_PREFIX") and value.startswith("/")]
    found = [f"{prefix}/bin/python3" for prefix in (*prefixes, *_others())]
    on_path = asker.which("python3").value
    there = [path for path in dict.fromkeys((*([on_path] if on_path else []), *found)) if not asker.stat(path).error]
    # /usr/bin/python3 is a link to /usr/bin/python3.x; a venv's is one too and still another environment.
    return tuple(dict.fromkeys(there))


def list_site_packages(asker: Asker, interpreter: str) -> tuple[str, ...]:
    """Package directories beside an interpreter, by where they usually lie."""
    prefix = interpreter.rpartition("/bin/")[0]
    names = [name for name in asker.list(f"{prefix}/lib").names if re.fullmatch(r"python3(\.\d+)?", name)]
    places = [f"{prefix}/lib/{name}/{kind}" for name in names for kind in ("site-packages", "dist-packages")]
    return tuple(place for place in places if not asker.stat(place).error)


def _others() -> tuple[str, ...]:
    return load_inquiry("python").words("environments")
