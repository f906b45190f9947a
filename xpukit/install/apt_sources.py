"""The source of packages that a user gives: its file for apt, its key, and whether apt's lists of it are up to date."""

from __future__ import annotations

from xpukit.install.site import Site
from xpukit.install.step import Source

KEYRING = "/etc/apt/keyrings/xpukit"
SOURCE_FILE = "/etc/apt/sources.list.d/xpukit"
LISTS = "/var/lib/apt/lists"


def render_source(source: Source, *, key: str) -> tuple[str, str]:
    """The file of sources to write, and its content; ("", "") when there is no source to add."""
    if source.listing:
        ending = (
            "sources" if source.listing.lstrip().lower().startswith(("types:", "#", "uris:", "enabled:")) else "list"
        )
        return f"{SOURCE_FILE}.{ending}", source.listing
    if not source.directory:
        return "", ""
    trust = f"Signed-By: {key}" if key else "Trusted: yes"
    return (
        f"{SOURCE_FILE}.sources",
        f"# Written by xpukit install.\nTypes: deb\nURIs: file:{source.directory}\nSuites: ./\n{trust}\n",
    )


def key_path(source: Source) -> str:
    """Where the key of a source is put, "" when it has none."""
    if not source.key:
        return ""
    return f"{KEYRING}.{'asc' if source.key.endswith('.asc') else 'gpg'}"


def has_lists(site: Site, content: str) -> bool:
    """Whether apt has lists of every address of the file (it names them after it), and they are not out of date."""
    names = site.list(LISTS).names
    for address in list_addresses(content):
        place = address.partition(":")[2].lstrip("/")
        stem = place.rstrip("/").replace("/", "_")
        found = [name for name in names if stem in name and "Packages" in name]
        if not found:
            return False
        if address.startswith("file:") and not _is_current(site, "/" + place.rstrip("/"), found):
            return False
    return True


def _is_current(site: Site, directory: str, names: list[str]) -> bool:
    there = site.read(f"{directory}/Packages")
    if there.error:
        return True
    return any(site.read(f"{LISTS}/{name}").data == there.data for name in names)


def list_addresses(content: str) -> list[str]:
    """The addresses of a file of sources, in either of apt's formats."""
    found: list[str] = []
    for line in content.splitlines():
        words = line.split()
        if line.lower().startswith("uris:"):
            found.extend(words[1:])
        elif words[:1] == ["deb"]:
            found.extend([word for word in words[1:] if ":/" in word][:1])
    return found
