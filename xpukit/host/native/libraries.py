"""Where the vendor libraries of the `embedded` extra are, and loading them.

The wheels put their libraries into `<prefix>/lib` without an RPATH, so each must be in the process, global, before
one that needs it. Use in worker processes only: what is loaded stays loaded.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import site
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xpukit.core.errors import CouldNotJudgeError

# Order matters: what a library needs stands before it (read from the wheels' NEEDED entries).
COMPILER_RUNTIME = ("libintlc.so.5", "libimf.so", "libsvml.so", "libirng.so")
SYCL_RUNTIME = (*COMPILER_RUNTIME, "libhwloc.so.15", "libumf.so.1", "libur_loader.so.0", "libsycl.so.9")
ONEDNN = (*SYCL_RUNTIME, "libtbb.so.12", "libdnnl.so.3")
MKL = (*COMPILER_RUNTIME, "libiomp5.so", "libmkl_core.so.3", "libmkl_intel_thread.so.3", "libmkl_rt.so.3")

# What `pip install` calls each part, by the file that shows it is there.
_PARTS = (
    ("libsycl.so.9", "intel-sycl-rt"),
    ("libur_loader.so.0", "intel-cmplr-lib-ur"),
    ("libintlc.so.5", "intel-cmplr-lib-rt"),
    ("libtbb.so.12", "tbb"),
    ("libdnnl.so.3", "onednn"),
    ("libccl.so.2", "oneccl"),
    ("libmpi.so.12", "impi-rt"),
)
_OPENCL_PART = ("libintelocl.so", "intel-opencl-rt")
_MODULES = (("dpctl", "dpctl"), ("numpy", "numpy"), ("mpi4py", "mpi4py"))
INSTALL_HINT = "pip install 'xpukit[embedded]', or run scripts/xpukit, which does it for you"


def _candidate_dirs() -> tuple[Path, ...]:
    """Where pip may have put a wheel's data files: this environment, --user, --target, the base environment."""
    found = [Path(sys.prefix) / "lib"]
    spec = importlib.util.find_spec("dpctl")
    if spec is not None and spec.origin:
        packages = Path(spec.origin).parent.parent  # .../lib/python3.x/site-packages, or pip's --target
        found += [packages.parent.parent, packages / "lib"]
    if site.ENABLE_USER_SITE:
        found.append(Path(site.getuserbase()) / "lib")
    found.append(Path(sys.base_prefix) / "lib")
    return tuple(dict.fromkeys(found))


@functools.cache
def find_library_dir() -> Path:
    """The directory with the wheels' libraries; `<sys.prefix>/lib` when none of them is installed."""
    names = [name for name, _ in (*_PARTS, _OPENCL_PART)]
    candidates = _candidate_dirs()
    return max(candidates, key=lambda folder: sum((folder / name).exists() for name in names))


def find_library(name: str) -> Path | None:
    """The file of a library that came as a wheel, or None. Where the exact version is absent: any `stem.so*`."""
    folder = find_library_dir()
    if (folder / name).exists():
        return folder / name
    stem = name.split(".so", maxsplit=1)[0]
    others = sorted(folder.glob(f"{stem}.so*"))
    return others[-1] if others else None


@functools.cache
def load(name: str) -> ctypes.CDLL:
    """Load one library with global symbols; from the wheels, else wherever the system's linker finds it.

    Raises CouldNotJudgeError that names the pip package and what the linker said.
    """
    path = find_library(name)
    try:
        return ctypes.CDLL(str(path) if path else name, mode=ctypes.RTLD_GLOBAL)
    except OSError as err:
        package = dict((*_PARTS, _OPENCL_PART)).get(name, "")
        wanted = f" (pip package {package})" if package else ""
        raise CouldNotJudgeError(f"{name}{wanted} cannot be loaded: {err}", hint=INSTALL_HINT) from err


def preload(names: Sequence[str]) -> tuple[str, ...]:
    """Load libraries in this order. One that fails is left out and told, since a later one may do without it.

    Returns what could not be loaded, as "name: reason".
    """
    failed: list[str] = []
    for name in names:
        try:
            load(name)
        except CouldNotJudgeError as err:
            failed.append(f"{name}: {err.message}")
    return tuple(failed)


def describe_missing(*, cpu: bool = True) -> tuple[str, ...]:
    """The pip packages of the embedded engine that are not installed (`cpu`: count the OpenCL CPU device's too)."""
    parts = (*_PARTS, _OPENCL_PART) if cpu else _PARTS
    missing = [package for name, package in parts if find_library(name) is None]
    missing += [package for module, package in _MODULES if importlib.util.find_spec(module) is None]
    return tuple(missing)


def prepare_opencl_cpu() -> Path | None:
    """Point the OpenCL loader at the wheels' CPU device. Call before dpctl is imported.

    The wheel's own .icd file holds a path of the machine that built it. Returns the driver's path, None when the
    part is missing (then dpctl shows no CPU device). A value that the user set stays.
    """
    path = find_library("libintelocl.so")
    if path is not None:
        os.environ.setdefault("OCL_ICD_FILENAMES", str(path))
    return path


def wants_cpu() -> bool:
    """Whether this worker is to measure the CPU device (evaluate/embedded/environment.py sets it)."""
    return os.environ.get("XPUKIT_DEVICE", "cpu") == "cpu"


def import_dpctl() -> Any:
    """The dpctl module, once its libraries are loaded. Raises CouldNotJudgeError that names what is not installed."""
    try:
        import dpctl
    except ImportError as err:
        absent = ", ".join(describe_missing())
        raise CouldNotJudgeError(
            f"dpctl cannot be imported: {err}" + (f" (not installed: {absent})" if absent else ""), hint=INSTALL_HINT
        ) from err
    return dpctl
