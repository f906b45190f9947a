"""The source of packages that a user gives: its file for apt, its key, and whether apt's lists of it are up to date."""

from __future__ import annotations

import string
from collections.abc import Iterator
from urllib.parse import quote, unquote

from xpukit.install.site import Site
from xpukit.install.step import Source

KEYRING = "/etc/apt/keyrings/xpukit"
LISTS = "/var/lib/apt/lists"
_PARTS = "/etc/apt/sources.list.d"
SOURCE_FILE = f"{_PARTS}/xpukit"
# What an address may have as it is; apt splits at white space and decodes the rest.
_PLAIN = string.punctuation.replace("%", "")
_OFF = ("no", "false", "without", "off", "disable", "0")
# As apt keeps its lists, where it is told to (Acquire::GzipIndexes, in Debian's container images).
_COMPRESSED = (".lz4", ".gz", ".xz", ".zst", ".bz2", ".lzma")
_ASK_LIMIT_S = 60.0


def render_source(source: Source, *, key: str) -> tuple[str, str]:
    """The file of sources to write, and its content; ("", "") when there is no source to add."""
    if source.listing:
        return f"{SOURCE_FILE}.{'list' if _is_one_line_style(source.listing) else 'sources'}", source.listing
    if not source.directory:
        return "", ""
    trust = f"Signed-By: {key}" if key else "Trusted: yes"
    return (
        f"{SOURCE_FILE}.sources",
        # Nobody sends a directory of the machine's own: clocks without a network are wrong, and its index may be old.
        "# Written by xpukit install.\nTypes: deb\nCheck-Date: no\n"
        f"URIs: file:{quote(source.directory, safe=_PLAIN)}\nSuites: ./\n{trust}\n",
    )


def key_path(source: Source) -> str:
    """Where the key of a source is put, "" when it has none."""
    if not source.key:
        return ""
    return f"{KEYRING}.{'asc' if source.key.endswith('.asc') else 'gpg'}"


def only_options(source_file: str) -> tuple[str, ...]:
    """Options by which apt sees one file of sources only."""
    return ("-o", f"Dir::Etc::sourcelist={source_file}", "-o", "Dir::Etc::sourceparts=-")


def has_lists(site: Site, source_file: str) -> bool:
    """Whether apt has lists of every address of a file of sources, and none of a local directory is out of date.

    apt itself says where it keeps them: their names are addresses in a spelling of its own. Not every address has
    packages of each architecture.
    """
    argv = ("apt-get", *only_options(source_file), "indextargets", "--no-release-info")
    words = ("--format", "$(REPO_URI)\t$(FILENAME)\t$(URI)", "Created-By: Packages")
    ran = site.ask((*argv, *words), timeout_s=_ASK_LIMIT_S)
    there: dict[str, bool] = {}
    for line in ran.text.splitlines():
        place, name, address = (*line.split("\t"), "", "")[:3]
        found = next((name + ending for ending in ("", *_COMPRESSED) if name and site.exists(name + ending)), "")
        if found and address.startswith("file:") and not _is_current(site, unquote(address[5:]), found):
            return False
        there[place] = there.get(place, False) or bool(found)
    return ran.ok and all(there.values())


def _is_current(site: Site, original: str, found: str) -> bool:
    there = site.read("/" + original.lstrip("/"))
    if there.error:
        return True
    if found.endswith(_COMPRESSED):
        kept = site.ask(("/usr/lib/apt/apt-helper", "cat-file", found), timeout_s=_ASK_LIMIT_S)
        return kept.ok and (kept.dropped_bytes > 0 or kept.out == there.data)
    return site.read(found).data == there.data


def is_unread(site: Site) -> bool:
    """Whether apt has sources and has read none of them yet: a fresh image."""
    listed = site.list(LISTS)
    if listed.error == "UNRECORDED" or any("_Packages" in name for name in listed.names):
        return False
    names = [name for name in site.list(_PARTS).names if name.endswith((".list", ".sources"))]
    paths = ("/etc/apt/sources.list", *(f"{_PARTS}/{name}" for name in names))
    return any(list_addresses(site.read(path).text) for path in paths)


def list_addresses(content: str) -> list[str]:
    """The addresses of a file of sources, in either of apt's formats, without those that are switched off."""
    if _is_one_line_style(content):
        lines = [line.split() for line in content.splitlines()]
        return [found[0] for words in lines if words[:1] == ["deb"] and (found := [w for w in words[1:] if ":/" in w])]
    return [word for fields in _read_stanzas(content) for word in _pick_addresses(fields)]


def _pick_addresses(fields: dict[str, str]) -> list[str]:
    off = fields.get("enabled", "").lower() in _OFF
    return [] if off or "deb" not in fields.get("types", "deb").split() else fields.get("uris", "").split()


def _read_stanzas(content: str) -> Iterator[dict[str, str]]:
    """deb822: fields by name in lower case, continued lines joined."""
    fields: dict[str, str] = {}
    name = ""
    for line in [*content.splitlines(), ""]:
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line.startswith("#"):
            continue
        elif line[0].isspace():
            if name:
                fields[name] += f" {line.strip()}"
        else:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()


def _is_one_line_style(content: str) -> bool:
    """A file of `deb ADDRESS SUITE` lines; the other format has `Name: value`."""
    lines = (line.split() for line in content.splitlines())
    first = next((words for words in lines if words and not words[0].startswith("#")), ["deb"])
    return first[0] in ("deb", "deb-src")
