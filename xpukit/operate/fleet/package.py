"""This installation of xpukit as one archive, to be run by a Python elsewhere."""

from __future__ import annotations

import zipfile
from pathlib import Path

import xpukit
from xpukit.facts.paths import shipped_dir

_SHIPPED = ("dockerfiles", "reference_perf", "scripts")
_LEFT_OUT = ("__pycache__", "_shipped")


def write_package(path: Path) -> int:
    """Write the package, with the data folders where a wheel has them; its size in bytes.

    The libraries that xpukit needs are not in it: some are compiled for one Python.
    """
    root = Path(xpukit.__file__).resolve().parent
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        _add_folder(archive, root, "xpukit")
        for name in _SHIPPED:
            folder = shipped_dir(name)
            if folder.is_dir():
                _add_folder(archive, folder, f"xpukit/_shipped/{name}")
    return path.stat().st_size


def _add_folder(archive: zipfile.ZipFile, folder: Path, name: str) -> None:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not set(inside.parts) & set(_LEFT_OUT):
            # No times: the same installation gives the same bytes.
            entry = zipfile.ZipInfo(f"{name}/{inside.as_posix()}")
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (path.stat().st_mode & 0o777) << 16
            archive.writestr(entry, path.read_bytes())
