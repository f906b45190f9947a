"""Which processes use GPUs, and in which containers: found now and then, read at each scrape."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from xpukit.facts.exporter_metrics import load_exporter_sources
from xpukit.host.answers import FileAnswer
from xpukit.host.door import Host
from xpukit.operate.exporter.fdinfo import DrmClient, parse_fdinfo

# A descriptor may be closed and its number used again between two scans: look at all of them again this often.
_FULL_SCAN_EVERY = 12
SHORT_ID = 12


class ClientFile(msgspec.Struct, frozen=True, kw_only=True):
    """A descriptor of a process that is a DRM client."""

    path: str
    process: str
    container: str


class SeenClient(msgspec.Struct, frozen=True, kw_only=True):
    """A client and whose it is; `container` is the first 12 digits of its id, "" outside of containers."""

    client: DrmClient
    process: str
    container: str


def find_container(cgroup: str) -> str:
    """The container's short id in the text of /proc/<pid>/cgroup, "" for none; of nested ones the innermost."""
    found = re.findall(load_exporter_sources().containers.pattern, cgroup, re.MULTILINE)
    return str(found[-1])[:SHORT_ID] if found else ""


class ClientFinder:
    """Knows the DRM descriptors of all processes that can be seen."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._scans = 0
        self._names: dict[str, tuple[str, ...]] = {}
        self._links: dict[tuple[str, str], bool] = {}
        self.files: tuple[ClientFile, ...] = ()
        # Whether every process of the host could be looked into; None before the first scan.
        self.complete: bool | None = None

    def scan(self) -> None:
        """Look for descriptors of /dev/dri. Only what changed is looked at, except now and then."""
        if self._scans % _FULL_SCAN_EVERY == 0:
            self._names, self._links = {}, {}
        self._scans += 1
        listing = self._host.list("/proc")
        pids = [name for name in listing.names if name.isdecimal()]
        complete = not listing.error and self._sees_host()
        names: dict[str, tuple[str, ...]] = {}
        links: dict[tuple[str, str], bool] = {}
        for pid in pids:
            answer = self._host.list(f"/proc/{pid}/fd")
            if answer.error:
                # A process that ended meanwhile hides nothing.
                complete = complete and answer.error in ("ENOENT", "ESRCH")
                continue
            names[pid] = answer.names
            known = set(self._names.get(pid, ()))
            for descriptor in answer.names:
                key = (pid, descriptor)
                links[key] = self._links[key] if descriptor in known else self._is_drm(pid, descriptor)
        self._names, self._links = names, links
        self.complete = complete
        self.files = self._describe([key for key, is_drm in links.items() if is_drm])

    def _sees_host(self) -> bool:
        target = self._host.link("/proc/self/ns/pid").target
        return target == f"pid:[{load_exporter_sources().pid_namespace.inode}]"

    def _is_drm(self, pid: str, descriptor: str) -> bool:
        return self._host.link(f"/proc/{pid}/fd/{descriptor}").target.startswith("/dev/dri/")

    def _describe(self, keys: list[tuple[str, str]]) -> tuple[ClientFile, ...]:
        owners = {
            pid: (
                self._host.read(f"/proc/{pid}/comm").text,
                find_container(self._host.read(f"/proc/{pid}/cgroup").text),
            )
            for pid in {pid for pid, _ in keys}
        }
        files: dict[tuple[str, str], ClientFile] = {}
        for pid, descriptor in keys:
            path = f"/proc/{pid}/fdinfo/{descriptor}"
            client = parse_fdinfo(self._host.read(path).text)
            if client is not None:
                process, container = owners[pid]
                file = ClientFile(path=path, process=process, container=container)
                files.setdefault((client.bdf, client.client_id), file)
        return tuple(files.values())

    def read(self, *, timeout_s: float) -> list[SeenClient]:
        """The clients as they are now; those that ended are left out."""
        seen: dict[tuple[str, str], SeenClient] = {}
        for file, answer in self._read_files(timeout_s):
            client = parse_fdinfo(answer.text)
            if client is not None:
                found = SeenClient(client=client, process=file.process, container=file.container)
                seen.setdefault((client.bdf, client.client_id), found)
        return list(seen.values())

    def _read_files(self, timeout_s: float) -> Iterator[tuple[ClientFile, FileAnswer]]:
        rest = self.files  # a scan beside this may put others there
        while rest:
            answers = self._host.read_many([file.path for file in rest], timeout_s=timeout_s)
            # What comes after one that hangs was not read.
            read = next((number for number, one in enumerate(answers, 1) if one.error == "ETIMEDOUT"), len(answers))
            yield from zip(rest[:read], answers[:read], strict=True)
            rest = rest[read:]
