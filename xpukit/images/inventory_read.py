"""Reads an image's inventory from a running container of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from xpukit.host.docker_daemon import DockerDaemon
from xpukit.host.docker_values import HistoryEntry, ImageInfo
from xpukit.images.engine_flags import LABEL_FLAGS, LABEL_FLAGS_HASH
from xpukit.images.inside import run_inside, run_program
from xpukit.images.inventory import Inventory, LayerSize, Package, PackageKind
from xpukit.images.inventory_files import read_dpkg, read_release

TIMEOUT_S = 120.0
_DPKG = ("dpkg-query", "-W", "-f", "${db:Status-Abbrev}\\t${Package}\\t${Version}\\t${Architecture}\\n")
_RPM = ("rpm", "-qa", "--qf", "%{NAME}\\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\t%{ARCH}\\t%{LICENSE}\\n")
_OS_RELEASE = re.compile(r"^(ID|VERSION_ID)=\"?([^\"\n]*)\"?$", re.MULTILINE)
# Words of a variable's name whose value may be a secret: it is not kept.
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|CREDENTIAL", re.IGNORECASE)
HIDDEN = "(not shown)"


def read_inventory(
    daemon: DockerDaemon, container: str, info: ImageInfo, *, image: str = "", timeout_s: float = TIMEOUT_S
) -> Inventory:
    """Ask the package managers inside a running container. What cannot be asked is noted, never raised."""
    notes: list[str] = []
    said_release = _say(daemon, container, ("cat", "/etc/os-release"), timeout_s) or read_release(daemon, container)
    release = dict(_OS_RELEASE.findall(said_release))
    # As root, since distributions may lie in a home that the image's user cannot read.
    said = run_program(daemon, container, "read_packages.py", timeout_s=timeout_s, user="0")
    if not isinstance(said, dict):
        notes.append("Python packages and licences were not read: the image has no Python that runs")
        said = {}
    licences = said.get("licences")
    dpkg = _say(daemon, container, _DPKG, timeout_s)
    rpm = _say(daemon, container, _RPM, timeout_s)
    if dpkg is None and rpm is None:
        dpkg = read_dpkg(daemon, container)
        said_packages = "read from dpkg's files" if dpkg else "not known"
        notes.append(f"the image has neither dpkg nor rpm to ask: packages of the system are {said_packages}")
    packages = [
        *parse_dpkg(dpkg or "", licences if isinstance(licences, dict) else {}),
        *parse_rpm(rpm or ""),
        *parse_python(said.get("python") or ()),
    ]
    return Inventory(
        image=image or next(iter(info.tags), info.id),
        image_id=info.id,
        created=info.created,
        architecture=info.architecture,
        os_id=release.get("ID", ""),
        os_version=release.get("VERSION_ID", ""),
        size_bytes=info.size_bytes,
        layers=read_layers(daemon.image_history(info.id)),
        # The flags have a file of their own; the hash below stands for them.
        labels={key: value for key, value in sorted(info.labels.items()) if key not in (LABEL_FLAGS, LABEL_FLAGS_HASH)},
        env={key: HIDDEN if _SECRET.search(key) else value for key, value in sorted(info.env.items())},
        entrypoint=info.entrypoint,
        command=info.command,
        user=info.user,
        packages=tuple(sorted(set(packages))),
        flags_sha256=info.labels.get(LABEL_FLAGS_HASH, ""),
        notes=tuple(notes),
    )


def _say(daemon: DockerDaemon, container: str, argv: Sequence[str], timeout_s: float) -> str | None:
    answer = run_inside(daemon, container, argv, timeout_s=timeout_s)
    return answer.out.decode("utf-8", "replace") if answer.rc == 0 else None


def read_layers(history: Sequence[HistoryEntry]) -> tuple[LayerSize, ...]:
    """Oldest first, each instruction on one line without what the builder puts around it."""
    return tuple(
        LayerSize(instruction=shorten_instruction(entry.created_by) or "(imported)", size_bytes=entry.size_bytes)
        for entry in reversed(history)
    )


def shorten_instruction(text: str) -> str:
    """ "RUN apt-get …" of "/bin/sh -c apt-get …", "ENV A=b" of "/bin/sh -c #(nop) ENV A=b"; 200 characters at most."""
    line = " ".join(text.split())
    line = re.sub(r"^\S*sh (-\S+ (pipefail )?)*-c #\(nop\) +", "", line)
    line = re.sub(r"^(RUN )?\S*sh (-\S+ (pipefail )?)*-c ", "RUN ", line)
    line = re.sub(rf"({re.escape(LABEL_FLAGS)}=)\S+", r"\1…", line.removesuffix(" # buildkit"))
    return line if len(line) <= 200 else line[:199] + "…"


def parse_dpkg(text: str, licences: Mapping[str, Any]) -> list[Package]:
    """Installed packages of dpkg-query's answer in our format; half-installed ones are left out."""
    found = []
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) == 4 and fields[0].strip().endswith("i"):
            stated = licences.get(fields[1])
            names = tuple(str(name) for name in stated) if isinstance(stated, list) else ()
            found.append(
                Package(
                    kind="deb",
                    name=fields[1],
                    version=fields[2],
                    architecture=fields[3],
                    licences=names,
                    licence_source="copyright" if names else "",
                )
            )
    return found


def parse_rpm(text: str) -> list[Package]:
    """Packages of rpm's answer in our format; imported keys are no packages."""
    found = []
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) == 4 and fields[0] != "gpg-pubkey":
            licence = (fields[3],) if fields[3] not in ("", "(none)") else ()
            kind: PackageKind = "rpm"
            source = "rpm" if licence else ""
            found.append(
                Package(
                    kind=kind,
                    name=fields[0],
                    version=fields[1],
                    architecture=fields[2],
                    licences=licence,
                    licence_source=source,
                )
            )
    return found


def parse_python(entries: Sequence[Any]) -> list[Package]:
    """Distributions as `read_packages.py` describes them."""
    found = []
    for entry in entries:
        if not isinstance(entry, dict) or not entry.get("Name") or not entry.get("Version"):
            continue
        licences, source = _read_licence(entry)
        found.append(
            Package(
                kind="pypi",
                name=str(entry["Name"]),
                version=str(entry["Version"]),
                place=str(entry.get("Place", "")),
                licences=licences,
                licence_source=source,
                commit=str(entry.get("Commit", "")),
            )
        )
    return found


def _read_licence(entry: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    expression = str(entry.get("License-Expression", "")).strip()
    if expression:
        return (expression,), "expression"
    text = str(entry.get("License", "")).strip()
    # Some put the whole licence there: its first line names it.
    if text and text.upper() != "UNKNOWN":
        return (" ".join(text.splitlines()[0].split())[:100],), "metadata"
    classifiers = entry.get("Classifiers")
    names = [str(text).rpartition("::")[2].strip() for text in classifiers] if isinstance(classifiers, list) else []
    return tuple(names), "classifier" if names else ""
