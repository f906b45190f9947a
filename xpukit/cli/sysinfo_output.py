"""Where the bundle goes and what it is called; sizes as options take them."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path

from xpukit.core.errors import UsageError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?", re.IGNORECASE)
_FACTORS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
# Below this not even what probe reads fits; above, the reader refuses to unpack it.
_SMALLEST_BYTES = 64 << 10
_LARGEST_BYTES = 1 << 30


def parse_size(text: str) -> int:
    """'50M', '200 KiB', '1g' in bytes (powers of 1024). Raises UsageError."""
    matched = _SIZE.fullmatch(text.strip())
    if matched is None:
        raise UsageError(f"--max-size {text}: not a size", hint="for example --max-size 50M")
    size = int(float(matched.group(1)) * _FACTORS[matched.group(2).lower()])
    if not _SMALLEST_BYTES <= size <= _LARGEST_BYTES:
        raise UsageError(f"--max-size {text}: out of range", hint="from 64K to 1G")
    return size


def choose_target(output: Path | None, archive_format: str | None, host_pseudonym: str, *, redacted: bool) -> Path:
    """The archive's path: FILE as given, or a name of ours in DIR or here. Raises UsageError."""
    from xpukit.sysinfo.packing import SUFFIXES, find_format

    if archive_format is not None and archive_format not in SUFFIXES:
        raise UsageError(f"--format {archive_format}: no such format", hint=f"one of: {', '.join(SUFFIXES)}")
    if output is not None and str(output) == "-":
        raise UsageError("a bundle is not written to standard output", hint="name a file or directory with -o")
    if output is None or output.is_dir():
        time = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        kind = "" if redacted else "-unredacted"
        name = f"xpukit-sysinfo-{host_pseudonym}-{time}{kind}"
        return _find_free_name(output or Path(), name, SUFFIXES[archive_format or "zst"])
    if archive_format is not None and find_format(output) != archive_format:
        raise UsageError(f"{output} is not named as --format {archive_format}", hint="leave --format out")
    stem = output.name.removesuffix(SUFFIXES[find_format(output)])
    if not redacted and "-unredacted" not in stem:
        # Whoever finds the file must see what it is.
        output = output.with_name(f"{stem}-unredacted{SUFFIXES[find_format(output)]}")
    if not output.parent.is_dir():
        raise UsageError(f"{output.parent}: no such directory", hint="make it first, or name another place with -o")
    if output.exists() and not output.is_file():
        raise UsageError(f"{output}: not a regular file", hint="name another place with -o")
    return output


def _find_free_name(directory: Path, name: str, suffix: str) -> Path:
    """Two bundles made within a second both stay."""
    path = directory / f"{name}{suffix}"
    number = 2
    while path.exists():
        path = directory / f"{name}-{number}{suffix}"
        number += 1
    return path
