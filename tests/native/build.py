"""Compile what the live tests need in C, once per content of the sources.

The fake Level Zero driver reads an ini-like file. Before the first section, for the whole driver:

- `mode`: ok, or one of crash-, hang-, exit-, noise-FUNCTION, such as `crash-zeInit` or `hang-zesPowerGetProperties`
- `init_error`, `sysman_init_error`: what zeInit and zesInit return; `p2p`: all, tiles or none
- `driver_version` (packed, as zeDriverGetProperties gives it), `api_minor`: the driver's release
- `refuse`: functions (comma-separated) that answer UNSUPPORTED_FEATURE; `extensions`: their names, or all

`[device]` begins a device: `name`, `model`, `type` (gpu, npu, cpu), `id`, `vendor`, `bdf`, `tiles`, `memory_mib`,
`memory_free_mib`, `frequency_mhz`, `temperature_c`, `firmware` (NAME VERSION, may be repeated) and the numbers named in
set_key() of the source. `[driver]` begins another driver in the same library.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
LEVEL_ZERO_HEADER = Path("/usr/include/level_zero/ze_api.h")
APT_PACKAGES = ("gcc", "libc6-dev", "libze1", "libze-dev")
"""What scripts/test installs (Debian or Ubuntu names) for the tests with the fake driver."""


def name_cache() -> Path:
    """Where built things are kept between test runs."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(tempfile.gettempdir(), f"xpukit-{os.getuid()}")
    return Path(base) / "xpukit-tests"


def find_missing() -> str:
    """What is not there for building against Level Zero's headers, or ""."""
    if not shutil.which("cc"):
        return "no C compiler (cc)"
    return "" if LEVEL_ZERO_HEADER.exists() else "no Level Zero headers (package libze-dev)"


def build_fake_level_zero(directory: Path | None = None) -> Path:
    """The fake driver's shared library."""
    sources = [HERE / "fake_level_zero.c", HERE / "fake_level_zero_tables.c"]
    flags = ["-std=gnu11", "-O1", "-g", "-Wall", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden"]
    return compile_c("libfake_level_zero.so", sources, [*flags, "-Wno-format-truncation"], directory)


def compile_c(name: str, sources: Sequence[Path], flags: Sequence[str], directory: Path | None = None) -> Path:
    """`name` in a folder named after the sources' content, flags and the Level Zero headers; compiled when absent."""
    contents = [source.read_bytes() for source in sources]
    if LEVEL_ZERO_HEADER.exists():
        contents.append(LEVEL_ZERO_HEADER.read_bytes())
    digest = hashlib.sha256(b"\0".join([*contents, " ".join(flags).encode()])).hexdigest()[:16]
    folder = (directory or name_cache()) / digest
    target = folder / name
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    # Built beside and renamed: two test runs may build at once, and half a library must never be loaded.
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        built = Path(scratch) / name
        subprocess.run(
            ["cc", *flags, "-o", str(built), *(str(source) for source in sources)],
            check=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
        built.rename(target)
    return target


def write_config(
    path: Path, devices: Sequence[Mapping[str, object]], *, also: Sequence[Mapping[str, object]] = (), **whole: object
) -> Path:
    """A configuration of the fake driver: `whole` for all, one mapping per device, `also` in a second driver."""

    def describe(keys: Mapping[str, object]) -> list[str]:
        lines = []
        for key, value in keys.items():
            values = value if isinstance(value, (list, tuple)) else [value]
            lines += [f"{key} = {item}" for item in values]
        return lines

    lines = describe(whole)
    for device in devices:
        lines += ["[device]", *describe(device)]
    if also:
        lines.append("[driver]")
    for device in also:
        lines += ["[device]", *describe(device)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
