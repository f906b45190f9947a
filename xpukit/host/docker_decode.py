"""The daemon's JSON as our values, and a container request as the SDK's arguments. Pure; absent is empty."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xpukit.host.docker_values import (
    ContainerInfo,
    ContainerRequest,
    DaemonEvent,
    DaemonInfo,
    DaemonVersion,
    HistoryEntry,
    ImageInfo,
)

Raw = Mapping[str, Any]


def decode_version(raw: Raw) -> DaemonVersion:
    names = [str(part.get("Name", "")) for part in raw.get("Components") or ()]
    return DaemonVersion(
        version=str(raw.get("Version", "")),
        api_version=str(raw.get("ApiVersion", "")),
        kernel=str(raw.get("KernelVersion", "")),
        architecture=str(raw.get("Arch", "")),
        engine="podman" if any("podman" in name.lower() for name in names) else "docker",
    )


def decode_info(raw: Raw, free_bytes: int | None) -> DaemonInfo:
    return DaemonInfo(
        storage_driver=str(raw.get("Driver", "")),
        root_dir=str(raw.get("DockerRootDir", "")),
        free_bytes=free_bytes,
        containers=raw.get("Containers") or 0,
        images=raw.get("Images") or 0,
        cpus=raw.get("NCPU") or 0,
        memory_bytes=raw.get("MemTotal") or 0,
        cgroup_version=str(raw.get("CgroupVersion", "")),
        rootless=any("name=rootless" in str(option) for option in raw.get("SecurityOptions") or ()),
        runtimes=tuple(sorted(raw.get("Runtimes") or {})),
        cdi_dirs=tuple(raw.get("CDISpecDirs") or ()),
        http_proxy=str(raw.get("HttpProxy") or ""),
    )


def decode_image(raw: Raw) -> ImageInfo:
    config: Raw = raw.get("Config") or {}
    return ImageInfo(
        id=str(raw.get("Id", "")),
        tags=tuple(raw.get("RepoTags") or ()),
        digests=tuple(raw.get("RepoDigests") or ()),
        created=str(raw.get("Created") or ""),
        size_bytes=raw.get("Size") or 0,
        labels=dict(config.get("Labels") or {}),
        env=dict(_split_pair(entry) for entry in config.get("Env") or ()),
        user=str(config.get("User") or ""),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        command=tuple(config.get("Cmd") or ()),
        working_dir=str(config.get("WorkingDir") or ""),
        exposed_ports=tuple(sorted(config.get("ExposedPorts") or {})),
        has_healthcheck=(config.get("Healthcheck") or {}).get("Test", ["NONE"])[:1] != ["NONE"],
        layers=tuple((raw.get("RootFS") or {}).get("Layers") or ()),
        architecture=str(raw.get("Architecture") or ""),
        os=str(raw.get("Os") or ""),
    )


def decode_history(raw: Sequence[Raw]) -> tuple[HistoryEntry, ...]:
    return tuple(
        HistoryEntry(
            id=str(entry.get("Id") or ""),
            created_by=str(entry.get("CreatedBy") or ""),
            size_bytes=entry.get("Size") or 0,
            comment=str(entry.get("Comment") or ""),
        )
        for entry in raw
    )


def decode_container(raw: Raw) -> ContainerInfo:
    state: Raw = raw.get("State") or {}
    health: Raw = state.get("Health") or {}
    status = str(state.get("Status") or "")
    bound: dict[str, int] = {}
    for name, places in ((raw.get("NetworkSettings") or {}).get("Ports") or {}).items():
        with contextlib.suppress(ValueError, KeyError, IndexError, TypeError):
            bound[name] = int(places[0]["HostPort"])
    return ContainerInfo(
        id=str(raw.get("Id", "")),
        name=str(raw.get("Name", "")).removeprefix("/"),
        image=str((raw.get("Config") or {}).get("Image") or ""),
        status=status,
        exit_code=state.get("ExitCode") if status in ("exited", "dead") else None,
        oom_killed=bool(state.get("OOMKilled")),
        error=str(state.get("Error") or ""),
        health="" if health.get("Status") in (None, "none") else str(health["Status"]),
        health_log=tuple(str(entry.get("Output") or "").strip() for entry in health.get("Log") or ()),
        ports=bound,
        labels={str(key): str(value) for key, value in ((raw.get("Config") or {}).get("Labels") or {}).items()},
        addresses={
            str(name): str(network["IPAddress"])
            for name, network in ((raw.get("NetworkSettings") or {}).get("Networks") or {}).items()
            if network and network.get("IPAddress")
        },
        volumes={
            str(mount.get("Destination", "")): str(mount.get("Source", ""))
            for mount in raw.get("Mounts") or ()
            if mount.get("Type") == "volume"
        },
        created=str(raw.get("Created") or ""),
    )


def copy_container(raw: Raw, *, labels: Mapping[str, str], without: str) -> dict[str, Any]:
    """The body of a request that creates a container like this one, from the very image it runs.

    `labels` are added; those that begin with `without` (and a host name that is the container's id) are left out.
    """
    config = dict(raw.get("Config") or {})
    identity = str(raw.get("Id", ""))
    config["Image"] = raw.get("Image") or config.get("Image")
    kept = {key: value for key, value in (config.get("Labels") or {}).items() if not key.startswith(without)}
    config["Labels"] = {**kept, **labels}
    if config.get("Hostname") and identity.startswith(str(config["Hostname"])):
        del config["Hostname"]
    networks = {
        name: {"Aliases": [alias for alias in network.get("Aliases") or () if not identity.startswith(alias)]}
        for name, network in ((raw.get("NetworkSettings") or {}).get("Networks") or {}).items()
    }
    return {
        **config,
        "HostConfig": dict(raw.get("HostConfig") or {}),
        "NetworkingConfig": {"EndpointsConfig": networks},
    }


def decode_event(raw: Raw) -> DaemonEvent:
    actor: Raw = raw.get("Actor") or {}
    nanoseconds = raw.get("timeNano")
    return DaemonEvent(
        type=str(raw.get("Type", "")),
        action=str(raw.get("Action", "")),
        id=str(actor.get("ID") or ""),
        time_s=nanoseconds / 1e9 if isinstance(nanoseconds, int) else float(raw.get("time") or 0),
        attributes={str(key): str(value) for key, value in (actor.get("Attributes") or {}).items()},
    )


def encode_container(request: ContainerRequest, make_host_config: Callable[..., Any]) -> dict[str, Any]:
    """Arguments of the SDK's create_container. Options that are not set are left to the daemon."""
    host: dict[str, Any] = {
        "devices": list(request.devices),
        "group_add": list(request.groups),
        "binds": list(request.binds),
        "mounts": [{"Type": "bind", "Source": path, "Target": path, "ReadOnly": True} for path in request.mounts],
        "port_bindings": {name: ("127.0.0.1", port or None) for name, port in request.ports.items()},
        "network_mode": request.network,
        "shm_size": request.shm_bytes,
        "mem_limit": request.memory_bytes,
        "cpuset_cpus": request.cpuset_cpus,
        "cpuset_mems": request.cpuset_mems,
        "cap_add": list(request.cap_add),
        "cap_drop": list(request.cap_drop),
        "security_opt": list(request.security_opt),
        "read_only": request.read_only,
        "init": request.init,
    }
    arguments: dict[str, Any] = {
        "image": request.image,
        "environment": dict(request.env),
        "labels": dict(request.labels),
        "host_config": make_host_config(**{key: value for key, value in host.items() if value}),
    }
    if request.command is not None:
        arguments["command"] = list(request.command)
    if request.entrypoint is not None:
        arguments["entrypoint"] = list(request.entrypoint)
    if request.name:
        arguments["name"] = request.name
    if request.user:
        arguments["user"] = request.user
    if request.health_interval_s is not None:
        # What is not said, the test itself above all, stays the image's.
        interval_ns = round(request.health_interval_s * 1e9)
        arguments["healthcheck"] = {"interval": interval_ns, "retries": request.health_retries}
    if request.ports:
        arguments["ports"] = [_split_port(name) for name in request.ports]
    return arguments


def split_tag(reference: str) -> tuple[str, str]:
    """("registry:5000/name", "tag") of a reference; tag `latest` where none is given, as Docker has it."""
    name, colon, tag = reference.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (reference, "latest")


def _split_pair(entry: str) -> tuple[str, str]:
    key, _, value = entry.partition("=")
    return key, value


def _split_port(name: str) -> tuple[int, str]:
    number, _, protocol = name.partition("/")
    return int(number), protocol or "tcp"
