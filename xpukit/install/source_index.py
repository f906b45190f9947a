"""The index of a source directory (`Packages`): read for what its archives are, and made where there is none.

An offline installer is a tree of archives without an index; apt needs one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote

from xpukit.install.apt_sources import list_addresses
from xpukit.install.site import Site
from xpukit.install.step import Source

INDEX = "Packages"
# Where an archive of a bundle lay before: apt passes over fields that it does not know.
ORIGIN_FIELD = "X-Xpukit-Origin"


def list_directories(source: Source) -> tuple[str, ...]:
    """The directories of the machine that a source names."""
    if source.directory:
        return (source.directory,)
    addresses = list_addresses(source.listing)
    local = [word for word in addresses if word.startswith(("file:", "copy:"))]
    return tuple("/" + unquote(word.partition(":")[2]).strip("/") for word in local)


def parse_stanzas(text: str) -> Iterator[dict[str, str]]:
    """The fields of each archive of an index, first lines only, names in lower case. Never raises."""
    fields: dict[str, str] = {}
    for line in [*text.splitlines(), ""]:
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif not line[0].isspace():
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()


def find_archived(site: Site, directories: Sequence[str], pattern: str) -> tuple[str, ...]:
    """The packages whose archives lie where `pattern` says (matched from the end of the path), sorted."""
    found = set()
    for directory in directories:
        answer = site.read(f"{directory}/{INDEX}")
        if answer.error:
            continue
        for fields in parse_stanzas(answer.text):
            places = (fields.get("filename", ""), fields.get(ORIGIN_FIELD.lower(), ""))
            if any(place and PurePosixPath(place).match(pattern) for place in places):
                found.add(fields.get("package", ""))
    return tuple(sorted(found - {""}))
