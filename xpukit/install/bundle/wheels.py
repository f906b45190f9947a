"""xpukit itself and what it needs, as wheels for the target's Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from xpukit.core.errors import ExternalError, OutputError, UsageError
from xpukit.core.json_document import BAD_JSON
from xpukit.host.door import Host
from xpukit.host.network_environment import read_network_environment, strip_credentials
from xpukit.install.bundle.manifest import hash_file

_BUILD_LIMIT_S = 300.0
_RESOLVE_LIMIT_S = 900.0
_DOWNLOAD_LIMIT_S = 8 * 3600.0
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# Wheels that ask for no newer C library than this run on every release that stacks exist for (Debian 12 has 2.36).
_GLIBC_MINOR = 36
_MIN_PYTHON = (3, 10)


class WheelSource(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel that pip chose: its address, and its SHA-256 where the index says it."""

    name: str
    version: str
    url: str
    sha256: str = ""

    @property
    def file(self) -> str:
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


def check_python(version: str) -> None:
    """Raise UsageError for a Python that xpukit does not run on, or none."""
    parts = version.split(".")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise UsageError(
            f"the target's Python is not known ({version!r})", hint="say it: --python 3.11; or leave out: --no-wheels"
        )
    if (int(parts[0]), int(parts[1])) < _MIN_PYTHON:
        raise UsageError(f"xpukit does not run on the target's Python {version}", hint="install a newer one there")


def find_checkout() -> Path | None:
    """The checkout that this xpukit runs from, None for an installed wheel."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "pyproject.toml").is_file() and (root / "xpukit").is_dir() else None


def build_own_wheel(host: Host, python: str, folder: Path) -> Path:
    """xpukit's own wheel, from the checkout. Raises UsageError where there is none, ExternalError when it fails."""
    root = find_checkout()
    if root is None:
        raise UsageError(
            "this xpukit does not run from a checkout, so its wheel cannot be made",
            hint="give it: --xpukit-wheel FILE.whl; or leave it out: --no-wheels",
        )
    argv = (python, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "-w", str(folder))
    ran = host.run((*argv, str(root)), timeout_s=_BUILD_LIMIT_S, env=read_network_environment(host))
    found = sorted(folder.glob("xpukit-*.whl"))
    if not ran.ok or not found:
        raise ExternalError(
            f"xpukit's wheel could not be made: {_last_error(ran.err_text) or ran.describe_failure()}",
            hint="check network and proxies, or give it: --xpukit-wheel FILE.whl",
        )
    return found[-1]


def fetch_wheels(
    host: Host,
    python: str,
    own: Path,
    folder: Path,
    *,
    extras: Sequence[str],
    python_version: str,
    architecture: str,
    say: Callable[[str], None],
) -> tuple[WheelSource, ...]:
    """Fetch what the wheel `own` needs on the target; what is there whole is kept. Raises ExternalError."""
    requirement = f"{own}[{','.join(extras)}]" if extras else str(own)
    options = ["--disable-pip-version-check", "--only-binary", ":all:", "--implementation", "cp"]
    options += ["--python-version", python_version]
    for tag in list_platforms(architecture):
        options += ["--platform", tag]
    env = read_network_environment(host)
    argv = [python, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", "--report", "-"]
    # pip takes foreign platforms only with a target of their own; nothing is written there in a dry run.
    ran = host.run([*argv, "--target", "xpukit-bundle", *options, requirement], timeout_s=_RESOLVE_LIMIT_S, env=env)
    wheels = [wheel for wheel in parse_report(ran.text) if wheel.name != "xpukit"]
    if not ran.ok or not wheels:
        raise ExternalError(
            f"pip cannot find the wheels: {_last_error(ran.err_text) or ran.describe_failure()}",
            hint=f"are there wheels for Python {python_version}? is the index reachable (proxies, PIP_CERT)?",
        )
    missing = [wheel for wheel in wheels if not _is_whole(folder / wheel.file, wheel.sha256)]
    say(f"wheels: {len(wheels) + 1}, to fetch: {len(missing)}")
    if missing:
        links = [f"{wheel.url}#sha256={wheel.sha256}" if wheel.sha256 else wheel.url for wheel in missing]
        argv = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
        ran = host.run([*argv, *options, *links], timeout_s=_DOWNLOAD_LIMIT_S, env=env)
        if not ran.ok:
            raise ExternalError(
                f"pip cannot fetch the wheels: {_last_error(ran.err_text) or ran.describe_failure()}",
                hint="run it again: what came is kept",
            )
    for wheel in wheels:
        if not _is_whole(folder / wheel.file, wheel.sha256):
            raise ExternalError(f"{wheel.file}: not what the index says", hint="run it again: it is fetched anew")
    return tuple(msgspec.structs.replace(wheel, url=strip_credentials(wheel.url)) for wheel in wheels)


def list_platforms(architecture: str) -> tuple[str, ...]:
    """Platform tags of a Debian architecture, newest C library first. Raises OutputError for one without wheels."""
    machine = _MACHINES.get(architecture)
    if machine is None:
        raise OutputError(f"no wheels are made for {architecture}", hint="leave them out: --no-wheels")
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(_GLIBC_MINOR, 4, -1)]
    return (*tags, f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"linux_{machine}")


def parse_report(text: str) -> tuple[WheelSource, ...]:
    """The packages of pip's installation report, by name. What is no report gives none."""
    try:
        report: Any = json.loads(text)
        items = report["install"]
        found = [
            WheelSource(
                name=str(item["metadata"]["name"]),
                version=str(item["metadata"]["version"]),
                url=str(item["download_info"]["url"]),
                sha256=str(item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256", "")),
            )
            for item in items
        ]
    except (KeyError, TypeError, AttributeError, *BAD_JSON):
        return ()
    return tuple(sorted(found, key=lambda wheel: wheel.name))


def _is_whole(path: Path, sha256: str) -> bool:
    return path.is_file() and (not sha256 or hash_file(path)[0] == sha256)


def _last_error(text: str) -> str:
    errors = [line for line in text.splitlines() if line.startswith("ERROR:")]
    return errors[-1].removeprefix("ERROR: ") if errors else ""
