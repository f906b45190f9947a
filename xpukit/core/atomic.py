"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from xpukit.core.errors import OutputError


def write_atomic(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write under a temporary name in the same directory, then rename. Raises OutputError; leaves no litter.

    A device or pipe (/dev/null, /dev/stdout) is written to as it is: root would put a file in its place.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(content)
            return
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as err:
        raise OutputError(
            f"{path}: cannot be written: {err.strerror or err}",
            hint="check the directory, its permissions and free space",
        ) from err
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
