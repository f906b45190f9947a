"""Docker and Podman: versions, settings, images, running containers."""

from __future__ import annotations

from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.containers import ENGINES, inspect_containers, list_running
from xpukit.sysinfo.inquire import ask_listed

_NAME = "docker"
_JSON = ("--format", "{{json .}}")
_IMAGE = "{{json .RepoTags}} {{json .RepoDigests}} {{json .Config.Labels}}"


def collect(asker: Asker) -> None:
    ask_listed(asker, _NAME)
    found = [engine for engine in ENGINES if asker.which(engine).value]
    if not found:
        asker.note("neither docker nor podman is installed")
    for engine in found:
        version = asker.run(engine, "version", *_JSON, timeout_s=8, typical_bytes=1500)
        if not version.ok:
            asker.note(f"{engine}: {version.describe_failure()}")
            # Without a daemon every further question waits and fails in the same way.
            continue
        asker.run(engine, "info", *_JSON, timeout_s=10, typical_bytes=4000)
        asker.run(engine, "images", "--digests", "--no-trunc", *_JSON, timeout_s=15, typical_bytes=6000)
        asker.run(engine, "ps", "--all", "--no-trunc", *_JSON, timeout_s=10, typical_bytes=4000)
        ids = list_running(asker, engine)
        images = sorted({container.image for container in inspect_containers(asker, engine, ids) if container.image})
        if images:
            asker.run(
                engine, "image", "inspect", "--format", _IMAGE, *images,
                timeout_s=10, typical_bytes=1500 * len(images),
            )  # fmt: skip


COLLECTOR = Collector(
    name=_NAME,
    summary="Docker and Podman: version, settings, images, running containers with devices, mounts, command, limits",
    preset="default",
    collect=collect,
    timeout_s=60,
    root_adds="everything, where this user is not in group docker",
    order=460,
)
