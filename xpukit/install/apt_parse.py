"""What apt and dpkg print, as values. Nothing here raises for what it reads."""

from __future__ import annotations

import re

import msgspec

DPKG_FORMAT = "${Package}\\t${Version}\\t${Architecture}\\t${db:Status-Abbrev}\\n"

_INSTALL = re.compile(
    r"^Inst (?P<name>\S+)(?: \[(?P<before>[^\]]+)\])? \((?P<after>\S+)(?P<origin>[^\[\)]*)(?:\[(?P<arch>[^\]]+)\])?"
)
_REMOVE = re.compile(r"^Remv (?P<name>\S+)(?: \[(?P<before>[^\]]+)\])?")
_URI = re.compile(r"^'[^']*' (?P<file>\S+\.deb) (?P<size>\d+)")
_VERSION = re.compile(r"^ (?:\*\*\*|   ) (?P<version>\S+) -?\d+$")
_PLACE = re.compile(r"^ {6,}(?P<priority>-?\d+) (?P<place>.+)$")
_NEEDED = re.compile(r"^After this operation, (?P<number>[\d.,]+) (?P<unit>[kMGT]?B) of additional disk space")
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class PackageState(msgspec.Struct, frozen=True, kw_only=True):
    """A package that dpkg knows. `status` as dpkg abbreviates it: "ii" installed, "hi" held, "rc" settings left."""

    name: str
    version: str
    architecture: str
    status: str

    @property
    def installed(self) -> bool:
        """Unpacked and configured."""
        return self.status[1:2] == "i"

    @property
    def present(self) -> bool:
        """Any files but settings are there, perhaps in a broken state."""
        return self.status[1:2] not in ("n", "c", "")

    @property
    def held(self) -> bool:
        return self.status[:1] == "h"


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `apt-get -s`."""

    name: str
    before: str
    after: str
    origin: str
    architecture: str


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """What `apt-get -s install` would do; `removed` are names with versions."""

    installed: tuple[Simulated, ...] = ()
    removed: tuple[str, ...] = ()


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """`apt-cache policy` of a package. `pinned` is the version a pin of the user's names, "" for none.

    `available` are the versions that a source (not only dpkg) has, with the places.
    """

    name: str
    installed: str = ""
    candidate: str = ""
    pinned: str = ""
    available: dict[str, tuple[str, ...]] = {}


def parse_packages(text: str) -> dict[str, PackageState]:
    """`dpkg-query -W -f DPKG_FORMAT`, by "name:architecture"."""
    found = {}
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) >= 4 and fields[0]:
            state = PackageState(name=fields[0], version=fields[1], architecture=fields[2], status=fields[3].strip())
            found[f"{state.name}:{state.architecture}"] = state
    return found


def parse_simulation(text: str) -> Simulation:
    """The lines of `apt-get -s install` that matter."""
    installed, removed = [], []
    for line in text.splitlines():
        if match := _INSTALL.match(line):
            name, _, architecture = match["name"].partition(":")
            installed.append(
                Simulated(
                    name=name,
                    before=match["before"] or "",
                    after=match["after"],
                    origin=", ".join(part.strip() for part in match["origin"].split(",") if part.strip()),
                    architecture=match["arch"] or architecture,
                )
            )
        elif match := _REMOVE.match(line):
            removed.append(f"{match['name']} {match['before'] or ''}".strip())
    return Simulation(installed=tuple(installed), removed=tuple(removed))


def parse_uris(text: str) -> dict[str, int]:
    """`apt-get --print-uris`: bytes to fetch by "name version"; those at hand are missing."""
    found = {}
    for line in text.splitlines():
        if match := _URI.match(line):
            name, _, rest = match["file"].removesuffix(".deb").partition("_")
            version = rest.rpartition("_")[0].replace("%3a", ":")
            found[f"{name} {version}"] = int(match["size"])
    return found


def parse_needed_bytes(text: str) -> int:
    """What apt says it will take on the disk; 0 when it says nothing of it."""
    for line in text.splitlines():
        if match := _NEEDED.match(line):
            return int(float(match["number"].replace(",", "")) * _UNITS[match["unit"]])
    return 0


def parse_policy(text: str) -> dict[str, Policy]:
    """`apt-cache policy NAME…`, by name."""
    found: dict[str, Policy] = {}
    name = version = ""
    for line in text.splitlines():
        if line and not line.startswith(" ") and line.endswith(":"):
            name, version = line[:-1], ""
            found[name] = Policy(name=name)
        elif name and (field := line.strip()).startswith(("Installed: ", "Candidate: ", "Package pin: ")):
            key, _, value = field.partition(": ")
            key = {"Installed": "installed", "Candidate": "candidate"}.get(key, "pinned")
            found[name] = msgspec.structs.replace(found[name], **{key: "" if value == "(none)" else value})
        elif name and (match := _VERSION.match(line)):
            version = match["version"]
        elif name and version and (match := _PLACE.match(line)) and "/var/lib/dpkg/status" not in match["place"]:
            places = (*found[name].available.get(version, ()), match["place"])
            found[name] = msgspec.structs.replace(found[name], available={**found[name].available, version: places})
    return found
