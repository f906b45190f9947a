"""Docker and Podman: versions, settings, images, running containers."""

from __future__ import annotations

from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.containers import ENGINES, IMAGES, JSON, inspect_containers, list_running, parse_serving_images
from xpukit.sysinfo.inquire import ask_listed

_NAME = "docker"
# Of running containers and of engines: labels say which versions are in them.
_MOST_IMAGES = 40
_IMAGE = "{{json .RepoTags}} {{json .RepoDigests}} {{json .Config.Labels}}"


def collect(asker: Asker) -> None:
    ask_listed(asker, _NAME)
    found = [engine for engine in ENGINES if asker.which(engine).value]
    if not found:
        asker.note("neither docker nor podman is installed")
    for engine in found:
        version = asker.run(engine, "version", *JSON, timeout_s=8, typical_bytes=1500)
        if not version.ok:
            asker.note(f"{engine}: {version.describe_failure()}")
            # Without a daemon every further question waits and fails in the same way.
            continue
        asker.run(engine, "info", *JSON, timeout_s=10, typical_bytes=4000)
        listed = asker.run(engine, *IMAGES, timeout_s=15, typical_bytes=3000)
        containers = inspect_containers(asker, engine, list_running(asker, engine))
        running = sorted({container.image for container in containers if container.image})
        images = tuple(dict.fromkeys((*running, *parse_serving_images(listed.text))))[:_MOST_IMAGES]
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
    begins_first=True,
    order=460,
)
