"""A deployment as its containers' labels describe it; the labels are written by serve's compose form."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

import msgspec

from xpukit.core.errors import ExternalError, UsageError
from xpukit.core.json_document import BAD_JSON
from xpukit.host.docker_values import ContainerInfo
from xpukit.operate.rotate.state import Container

LABEL = "xpukit.deployment"
ROLE = "xpukit.role"
SLOT = "xpukit.slot"
# Of the copy that a rotation keeps of the engine that it replaces.
KEPT = "xpukit.kept"
KEPT_SUFFIX = "-previous"
COMPOSE = "com.docker.compose."


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """As the label xpukit.slots has it."""

    slot: str
    service: str
    port: int
    spare: bool = False


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """What a rotation needs to know. `files` are the Compose files, `folder` where they were started from."""

    name: str
    balancer: str
    socket: str
    slots: tuple[Slot, ...]
    project: str
    files: tuple[str, ...]
    folder: str


def list_names(containers: Sequence[ContainerInfo]) -> tuple[str, ...]:
    """The deployments that have a balancer."""
    return tuple(
        sorted({one.labels[LABEL] for one in containers if one.labels.get(ROLE) == "balancer" and LABEL in one.labels})
    )


def find_deployment(name: str, containers: Sequence[ContainerInfo]) -> Deployment:
    """The deployment of that name. Raises UsageError where there is none, ExternalError where its balancer is down."""
    own = [one for one in containers if one.labels.get(LABEL) == name and one.labels.get(ROLE) == "balancer"]
    if not own:
        names = ", ".join(list_names(containers))
        hint = f"there are: {names}" if names else "start one: xpukit serve MODEL --replicas 2 --form compose --run"
        raise UsageError(f"no deployment {name!r} with a balancer on this machine", hint=hint)
    [balancer, *_] = own
    if balancer.status != "running":
        raise ExternalError(
            f"the balancer {balancer.name} is {balancer.status}", hint=f"docker start {balancer.name}, or docker logs"
        )
    labels = balancer.labels
    try:
        slots = msgspec.json.decode(labels.get("xpukit.slots", ""), type=tuple[Slot, ...])
    except BAD_JSON as err:
        raise UsageError(
            f"{balancer.name}: its label xpukit.slots says nothing: {err}", hint="write the file anew"
        ) from err
    return Deployment(
        name=name,
        balancer=balancer.name,
        socket=labels.get("xpukit.socket", ""),
        slots=slots,
        project=labels.get(f"{COMPOSE}project", ""),
        files=tuple(file for file in labels.get(f"{COMPOSE}project.config_files", "").split(",") if file),
        folder=labels.get(f"{COMPOSE}project.working_dir", ""),
    )


def describe_container(info: ContainerInfo | None) -> Container:
    """What the container's state comes to."""
    if info is None:
        return "absent"
    if info.status in ("running", "paused"):
        return "running"
    if info.status in ("restarting", "dead"):
        return "failing"
    return "stopped"


def read_age(info: ContainerInfo | None, now: datetime | None = None) -> float | None:
    """Seconds since the container was created, None where that is not known."""
    if info is None or not info.created:
        return None
    # Nanoseconds are more than Python takes.
    text = info.created.partition(".")[0].removesuffix("Z")
    try:
        then = datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    return ((now or datetime.now(timezone.utc)) - then).total_seconds()
