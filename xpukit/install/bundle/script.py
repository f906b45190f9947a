"""The self-extracting script that brings xpukit to a machine with nothing but Python 3 and bash."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

from xpukit import __version__
from xpukit.core.atomic import write_atomic
from xpukit.core.errors import OutputError
from xpukit.facts.paths import shipped_dir
from xpukit.install.bundle.manifest import BundleFile, Manifest

_TEMPLATE = "xpukit-offline-install"


def write_script(
    place: Path, wheels: Path, files: Sequence[BundleFile], manifest: Manifest, bundle: str, fingerprint: str
) -> str:
    """Write the script with the wheels of `files` behind it; its SHA-256. Raises OutputError."""
    payload = _pack_wheels(wheels, [file for file in files if file.kind == "wheel"])
    values = {
        "VERSION": __version__,
        "BUNDLE": bundle,
        "FINGERPRINT": fingerprint,
        "PYTHON": manifest.target.python_version,
        "STACK": manifest.stack,
        "CREATED": manifest.created,
        "PAYLOAD_SHA256": hashlib.sha256(payload).hexdigest(),
    }
    data = render_script(read_template(), values) + payload
    write_atomic(place, data, mode=0o755)
    return hashlib.sha256(data).hexdigest()


def read_template() -> str:
    """The script as it lies in `scripts/`. Raises OutputError for a damaged installation."""
    path = shipped_dir("scripts") / _TEMPLATE
    try:
        return path.read_text(encoding="utf-8")
    except OSError as err:
        raise OutputError(f"{path}: {err.strerror}", hint="install xpukit again; or leave it out: --no-wheels") from err


def render_script(template: str, values: dict[str, str]) -> bytes:
    """The head of the script. Raises ValueError for a value that bash would not take as it stands."""
    text = template
    for name, value in values.items():
        if "'" in value or "\n" in value:
            raise ValueError(f"{name} has a quote or a line end: {value!r}")
        text = text.replace(f"@{name}@", value)
    return text.encode()


def _pack_wheels(folder: Path, files: Sequence[BundleFile]) -> bytes:
    """The wheels in one tar; they are compressed already."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for file in sorted(files, key=lambda file: file.path):
            info = tarfile.TarInfo(file.path.rpartition("/")[2])
            info.size = file.size_bytes
            info.mode = 0o644
            with (folder / info.name).open("rb") as wheel:
                archive.addfile(info, wheel)
    return made.getvalue()
