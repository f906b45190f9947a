"""Packages and system of an image in which no program can be run (made from nothing, "distroless"): from its files."""

from __future__ import annotations

import io
import tarfile

from xpukit.core.errors import ExternalError
from xpukit.host.docker_daemon import DockerDaemon

# Debian's own database, and a file for each package where there is no dpkg.
_DPKG = ("/var/lib/dpkg/status", "/var/lib/dpkg/status.d")
_RELEASE = ("/usr/lib/os-release", "/etc/os-release")


def read_release(daemon: DockerDaemon, container: str) -> str:
    """The text of os-release; "" where there is none. /etc/os-release is mostly a link, so the other goes first."""
    return next((text for path in _RELEASE if (text := "".join(_read_files(daemon, container, path)))), "")


def read_dpkg(daemon: DockerDaemon, container: str) -> str | None:
    """The packages as dpkg-query prints them (inventory_read.py parses that); None where the image has no database."""
    texts = [text for path in _DPKG for text in _read_files(daemon, container, path)]
    lines = [line for text in texts for line in _list_packages(text)]
    return "".join(f"{line}\n" for line in lines) if lines else None


def _list_packages(text: str) -> list[str]:
    found = []
    for paragraph in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in paragraph.splitlines():
            name, colon, value = line.partition(":")
            if colon and not line.startswith((" ", "\t")):
                fields[name] = value.strip()
        # Files of their own have no state: what is there is installed.
        state = fields.get("Status", "install ok installed").split()
        if fields.get("Package") and fields.get("Version") and state[-1:] == ["installed"]:
            found.append(f"ii\t{fields['Package']}\t{fields['Version']}\t{fields.get('Architecture', '')}")
    return found


def _read_files(daemon: DockerDaemon, container: str, path: str) -> list[str]:
    """The texts at `path`, a file or a folder of files; [] where it is not there or cannot be had."""
    try:
        content = daemon.get_archive(container, path)
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            members = [
                member for member in tar.getmembers() if member.isfile() and not member.name.endswith(".md5sums")
            ]
            files = [tar.extractfile(member) for member in members]
            return [file.read().decode("utf-8", "replace") for file in files if file is not None]
    except (ExternalError, tarfile.TarError):
        return []
