"""Running containers, as `docker inspect` or `podman inspect` tells of them."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.facts.sysinfo import load_inquiry
from xpukit.host.door import Host
from xpukit.sysinfo.collector import Asker

ENGINES = ("docker", "podman")
JSON = ("--format", "{{json .}}")
_SUMMARY_IMAGES = 20
PS = ("ps", "--all", "--no-trunc", *JSON)
IMAGES = ("images", "--digests", "--no-trunc", *JSON)


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


def make_template(engine: str) -> str:
    """A Go template for `inspect`: one line of JSON, with values only of variables that are known to be harmless.

    A field that the engine does not have would make the whole template fail.
    """
    families = " ".join(f'(eq $family "{name}")' for name in load_inquiry("docker").words("env_families"))
    fields = {
        "id": ".ID" if engine == "podman" else ".Id",
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
        **({} if engine == "podman" else {"device_requests": ".HostConfig.DeviceRequests"}),
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
    """Ids of running containers, newest first; () also when the engine cannot be asked."""
    # What doctor asks too: one question for all.
    ran = asker.run(engine, *PS, timeout_s=10, typical_bytes=2000)
    return parse_running(ran.text) if ran.ok else ()


def parse_running(text: str) -> tuple[str, ...]:
    """The ids in what `ps` says."""
    running = [row for row in decode_rows(text) if row.get("State") == "running"]
    ids = [row.get("ID") or row.get("Id") for row in running]
    return tuple(name for name in ids if isinstance(name, str) and name.isalnum())


def parse_running_images(text: str) -> tuple[str, ...]:
    """The images of the containers that `ps` shows as running, each once."""
    names = [row.get("Image") for row in decode_rows(text) if row.get("State") == "running"]
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str) and name))


def parse_serving_images(text: str) -> tuple[str, ...]:
    """Names with tag of the images in what `images` says whose names tell that they serve models."""
    words = load_inquiry("docker").words("serving")
    names: list[str] = []
    for row in decode_rows(text):
        tags = row.get("RepoTags") or row.get("Names") or [f"{row.get('Repository')}:{row.get('Tag')}"]
        names += [tag for tag in (tags if isinstance(tags, list) else ()) if isinstance(tag, str)]
    known = (name for name in names if not name.startswith("-") and "<none>" not in name)
    return tuple(dict.fromkeys(name for name in known if any(word in name.lower() for word in words)))


def list_summary_images(host: Host) -> tuple[str, ...]:
    """Images that run or that serve models, as 'name:tag', of what a bundle holds; those that run say so."""
    images: dict[str, bool] = {}
    for engine in ENGINES:
        running = host.run((engine, *PS), timeout_s=10)
        images |= dict.fromkeys(parse_running_images(running.text) if running.ok else (), True)
        listed = host.run((engine, *IMAGES), timeout_s=15)
        images = {**dict.fromkeys(parse_serving_images(listed.text) if listed.ok else (), False), **images}
    ordered = sorted(images, key=lambda name: (not images[name], name))[:_SUMMARY_IMAGES]
    return tuple(f"{name} (running)" if images[name] else name for name in ordered)


def decode_rows(text: str) -> list[dict[str, Any]]:
    """What `--format '{{json .}}'` prints of several things: docker an object a line, podman one list."""
    rows: list[Any] = []
    with contextlib.suppress(*BAD_JSON):
        whole = msgspec.json.decode(text) if text.lstrip().startswith("[") else None
        rows += whole if isinstance(whole, list) else ()
    for line in () if rows else text.splitlines():
        with contextlib.suppress(*BAD_JSON):
            rows.append(msgspec.json.decode(line))
    return [row for row in rows if isinstance(row, dict)]


def inspect_containers(asker: Asker, engine: str, ids: tuple[str, ...]) -> tuple[Container, ...]:
    """Inspects each container; a line that is not understood costs that container."""
    if not ids:
        return ()
    ran = asker.run(
        engine, "inspect", "--type", "container", "--format", make_template(engine), *ids,
        timeout_s=15, typical_bytes=4000 * len(ids),
    )  # fmt: skip
    found = (parse_container(line) for line in ran.text.splitlines())
    return tuple(container for container in found if container is not None)


def parse_container(line: str) -> Container | None:
    """A line that the template made, None for anything else."""
    try:
        row: Any = msgspec.json.decode(line)
    except BAD_JSON:
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
