"""What package managers, version files and directory names say about installed software."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.probe.parsers.printed import Note, Notes, split_lines


class PackageListing(msgspec.Struct, frozen=True, kw_only=True):
    """Version by package name; only what is really installed."""

    versions: dict[str, str] = {}
    notes: tuple[Note, ...] = ()


# dpkg's third column is want, state and error: "ii " and "hi " are installed, "rc " left its settings behind.
_DPKG_STATE = re.compile(r"[uihrp][ncHUFWti]R?")
RPM_FORMAT = "%{NAME}\\t%{VERSION}-%{RELEASE}\\n"
DPKG_FORMAT = "${Package}\\t${Version}\\t${db:Status-Abbrev}\\n"


def parse_dpkg(data: bytes) -> PackageListing:
    """`dpkg-query -W -f` with DPKG_FORMAT."""
    notes = Notes()
    versions: dict[str, str] = {}
    for number, line in split_lines(data, notes):
        fields = line.split("\t")
        if not line.strip():
            continue
        if len(fields) != 3 or not _DPKG_STATE.fullmatch(fields[2].strip()):
            notes.add(number, f"not understood: {line.strip()}")
        elif fields[2].strip()[1] == "i" and fields[1]:
            versions.setdefault(fields[0], fields[1])
    return PackageListing(versions=versions, notes=notes.done())


def parse_rpm(data: bytes) -> PackageListing:
    """`rpm -q --qf` with RPM_FORMAT; "package X is not installed" lines are on the same stream."""
    notes = Notes()
    versions: dict[str, str] = {}
    for number, line in split_lines(data, notes):
        name, tab, version = line.partition("\t")
        if tab and name and version:
            versions.setdefault(name, version)
        elif line.strip() and "is not installed" not in line:
            notes.add(number, f"not understood: {line.strip()}")
    return PackageListing(versions=versions, notes=notes.done())


def parse_os_release(data: bytes) -> dict[str, str]:
    """/etc/os-release: KEY=value, quotes taken off; anything else is skipped."""
    found: dict[str, str] = {}
    for _, line in split_lines(data, Notes()):
        match = re.fullmatch(r"\s*([A-Z][A-Z0-9_]*)=(.*)", line)
        if match:
            value = match.group(2).strip()
            if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            found.setdefault(match.group(1), value.replace('\\"', '"').replace("\\$", "$"))
    return found


def read_distributions(names: Iterable[str]) -> dict[str, str]:
    """Version by normalised project name, from the names of *.dist-info directories in site-packages."""
    found: dict[str, str] = {}
    for name in names:
        match = re.fullmatch(r"(.+?)-([^-]+)\.(?:dist|egg)-info", name)
        if match:
            found.setdefault(re.sub(r"[-_.]+", "-", match.group(1)).lower(), match.group(2))
    return found


def read_library_version(resolved: str) -> str:
    """'1.8.12' of '/usr/lib/…/libze_loader.so.1.8.12'; "" for a bare '.so.1'."""
    match = re.search(r"\.so\.(\d+(?:\.\d+)+)$", resolved)
    return match.group(1) if match else ""


class DockerVersion(msgspec.Struct, frozen=True, kw_only=True):
    """`server` is "" when no daemon answered."""

    client: str = ""
    server: str = ""


def parse_docker_version(data: bytes) -> DockerVersion:
    """`docker version --format '{{json .}}'`; podman's imitation has the same keys."""
    for line in data.decode("utf-8", errors="replace").splitlines():
        if not line.lstrip().startswith("{"):
            continue
        try:
            document: Any = json.loads(line)
        except BAD_JSON:
            continue
        return DockerVersion(client=_version_of(document, "Client"), server=_version_of(document, "Server"))
    return DockerVersion()


def _version_of(document: Any, part: str) -> str:
    section = document.get(part) if isinstance(document, dict) else None
    version = section.get("Version") if isinstance(section, dict) else None
    return version if isinstance(version, str) else ""
