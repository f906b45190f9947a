"""What a Docker daemon answers, as plain values."""

from __future__ import annotations

from typing import Literal

import msgspec

ReachKind = Literal["", "no-daemon", "no-permission", "bad-address", "no-answer", "no-sdk"]


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a daemon can be spoken to. `kind` is "" when it can; `message` and `hint` say why not and what to do."""

    address: str
    kind: ReachKind = ""
    message: str = ""
    hint: str = ""

    @property
    def ok(self) -> bool:
        return not self.kind


class DaemonVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Versions of the daemon. `engine` is "podman" where Podman answers in Docker's place."""

    version: str
    api_version: str
    kernel: str = ""
    architecture: str = ""
    engine: Literal["docker", "podman"] = "docker"


class DaemonInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How the daemon is set up. `free_bytes` is None where its directory is not on this machine or cannot be seen."""

    storage_driver: str
    root_dir: str
    free_bytes: int | None = None
    containers: int = 0
    images: int = 0
    cpus: int = 0
    memory_bytes: int = 0
    cgroup_version: str = ""
    rootless: bool = False
    runtimes: tuple[str, ...] = ()
    cdi_dirs: tuple[str, ...] = ()
    http_proxy: str = ""


class ImageInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An image as the daemon has it. `layers` are the diff ids, oldest first; `command` is Cmd."""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    created: str = ""
    size_bytes: int = 0
    labels: dict[str, str] = {}
    env: dict[str, str] = {}
    user: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    working_dir: str = ""
    exposed_ports: tuple[str, ...] = ()
    has_healthcheck: bool = False
    layers: tuple[str, ...] = ()
    architecture: str = ""
    os: str = ""


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One instruction of an image's history, newest first; size 0 for those without a layer."""

    id: str
    created_by: str
    size_bytes: int
    comment: str = ""


class ContainerRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A container to create. `entrypoint` and `command` None leave the image's own.

    `devices` are "host[:container[:rwm]]"; `binds` "host:container[:ro]"; `mounts` paths that are seen read-only
    at the same place inside and may hold a colon; `ports` map "8000/tcp" to a port of 127.0.0.1 (0: any free one).
    `health_interval_s` and `health_retries` change how often the image's own health check is asked, and when it is
    given up.
    """

    image: str
    name: str = ""
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    env: dict[str, str] = {}
    labels: dict[str, str] = {}
    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    ports: dict[str, int] = {}
    network: str = ""
    user: str = ""
    shm_bytes: int | None = None
    memory_bytes: int | None = None
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    read_only: bool = False
    init: bool = False
    health_interval_s: float | None = None
    health_retries: int | None = None


class ContainerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A container's state. `health` is "" without a health check; `exit_code` None while it runs.

    `addresses`: its address in each network that it is in; `volumes`: the host's directory of each volume, by where it
    is mounted; `created`: as the daemon writes it (RFC 3339).
    """

    id: str
    name: str
    image: str
    status: str
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    health: str = ""
    health_log: tuple[str, ...] = ()
    ports: dict[str, int] = {}
    labels: dict[str, str] = {}
    addresses: dict[str, str] = {}
    volumes: dict[str, str] = {}
    created: str = ""


class ExecAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A finished command inside a container."""

    rc: int
    out: bytes = b""
    err: bytes = b""


class DaemonEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the daemon's event stream."""

    type: str
    action: str
    id: str
    time_s: float
    attributes: dict[str, str] = {}


class ClassicBuilt(msgspec.Struct, frozen=True, kw_only=True):
    """How a build through the API ended. `gone` is set when the connection broke before a result came."""

    image_id: str = ""
    error: str = ""
    exit_code: int | None = None
    gone: bool = False
    timed_out: bool = False
