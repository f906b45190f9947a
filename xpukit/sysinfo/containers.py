"""Running containers, as `docker inspect` or `podman inspect` tells of them."""

from __future__ import annotations

from typing import Any

import msgspec

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker

ENGINES = ("docker", "podman")


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """What decides whether a container's log is worth having."""

    id: str
    name: str = ""
    image: str = ""
    devices: tuple[str, ...] = ()
    privileged: bool = False

    def is_serving(self, words: tuple[str, ...]) -> bool:
        """Whether it serves models by its name or image, or may open a GPU."""
        said = f"{self.name} {self.image}".lower()
        return (
            self.privileged or any("/dev/dri" in path for path in self.devices) or any(word in said for word in words)
        )


def make_template() -> str:
    """A Go template for `inspect`: one line of JSON, with values only of variables that are known to be harmless."""
    families = " ".join(f'(eq $family "{name}")' for name in load_inquiry("docker").words("env_families"))
    fields = {
        "id": ".Id",
        "name": ".Name",
        "created": ".Created",
        "image": ".Config.Image",
        "image_id": ".Image",
        "labels": ".Config.Labels",
        "entrypoint": ".Config.Entrypoint",
        "command": ".Config.Cmd",
        "state": ".State",
        "restarts": ".RestartCount",
        "mounts": ".Mounts",
        "devices": ".HostConfig.Devices",
        "device_requests": ".HostConfig.DeviceRequests",
        "privileged": ".HostConfig.Privileged",
        "shm_bytes": ".HostConfig.ShmSize",
        "ipc": ".HostConfig.IpcMode",
        "pid": ".HostConfig.PidMode",
        "network": ".HostConfig.NetworkMode",
        "cap_add": ".HostConfig.CapAdd",
        "security": ".HostConfig.SecurityOpt",
        "groups": ".HostConfig.GroupAdd",
        "ulimits": ".HostConfig.Ulimits",
        "memory_bytes": ".HostConfig.Memory",
        "cpuset": ".HostConfig.CpusetCpus",
        "restart": ".HostConfig.RestartPolicy",
    }
    parts = ",".join(f'"{name}":{{{{json {path}}}}}' for name, path in fields.items())
    variables = (
        '"env":[{{range .Config.Env}}{{$name := index (split . "=") 0}}{{$family := index (split $name "_") 0}}'
        f"{{{{if or {families}}}}}{{{{json .}}}}{{{{else}}}}{{{{json $name}}}}{{{{end}}}},{{{{end}}}}null]"
    )
    return f"{{{parts},{variables}}}"


def list_running(asker: Asker, engine: str) -> tuple[str, ...]:
    """Ids of running containers; () also when the engine cannot be asked."""
    ran = asker.run(engine, "ps", "-q", "--no-trunc", timeout_s=10, typical_bytes=200)
    return tuple(line for line in ran.text.split() if line.isalnum()) if ran.ok else ()


def inspect_containers(asker: Asker, engine: str, ids: tuple[str, ...]) -> tuple[Container, ...]:
    """Inspects each container; a line that is not understood costs that container."""
    if not ids:
        return ()
    ran = asker.run(
        engine, "inspect", "--type", "container", "--format", make_template(), *ids,
        timeout_s=15, typical_bytes=4000 * len(ids),
    )  # fmt: skip
    found = (parse_container(line) for line in ran.text.splitlines())
    return tuple(container for container in found if container is not None)


def parse_container(line: str) -> Container | None:
    """A line that the template made, None for anything else."""
    try:
        row: Any = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        return None
    devices = row.get("devices")
    paths = (
        [entry.get("PathOnHost") for entry in devices if isinstance(entry, dict)] if isinstance(devices, list) else []
    )
    return Container(
        id=row["id"],
        name=str(row.get("name") or ""),
        image=str(row.get("image") or ""),
        devices=tuple(path for path in paths if isinstance(path, str)),
        privileged=row.get("privileged") is True,
    )
