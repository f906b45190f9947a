"""Room for images and models."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.core.units import format_bytes
from xpukit.doctor.check import Check, Patient
from xpukit.facts.doctor_limits import find_limit

# Local file systems only: a network disk whose server is gone would block.
DF = ("df", "-lPT")
_DF_TIMEOUT_S = 10.0


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """A mounted file system and what is free on it for ordinary users."""

    point: str
    free_bytes: int
    total_bytes: int


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """The file systems of Docker's root and of the Hugging Face cache."""
    if not patient.machine.devices:
        return
    ran = patient.host.run(list(DF), timeout_s=_DF_TIMEOUT_S)
    mounts = parse_df(ran.out)
    if not mounts:
        if ran.failure not in ("UNRECORDED", "not-found"):
            yield Unchecked(check="disk_space", why=ran.describe_failure(), remedy="see whether a network disk hangs")
        return
    points = list_points(patient.host.read("/proc/self/mountinfo").text)
    if patient.find_software("Docker client"):
        root = read_docker_root(patient)
        image = find_limit("image_bytes")
        mount = find_mount(mounts, root, points)
        if mount is not None and mount.free_bytes < image.value:
            yield Finding(
                id="XPK-DISK-IMAGES",
                severity="warning",
                summary=f"{format_bytes(mount.free_bytes)} free for container images; one takes "
                f"about {format_bytes(image.value)} while it is pulled",
                evidence=(Evidence(source=f"df -lPT: {mount.point} (holds {root})", value=_describe(mount)),),
                explanation="A pull that fills the disk fails half way; a full disk stops running containers too.",
                remedy=("remove images and containers that nobody uses, or move Docker's data-root",),
                commands=("docker system df",),
                links=(image.link, "https://docs.docker.com/engine/manage-resources/pruning/"),
                subject=mount.point,
            )
    cache = read_cache_path(patient)
    mount = find_mount(mounts, cache, points) if cache else None
    weights = sum(device.memory_bytes or 0 for device in patient.machine.devices if device.discrete)
    if mount is not None and weights and mount.free_bytes < weights:
        yield Finding(
            id="XPK-DISK-MODELS",
            severity="info",
            summary=f"{format_bytes(mount.free_bytes)} free for downloaded models; weights that fill the GPUs take "
            f"{format_bytes(weights)}",
            evidence=(Evidence(source=f"df -lPT: {mount.point} (holds the model cache)", value=_describe(mount)),),
            explanation="Engines download weights into the Hugging Face cache of the user unless they are given a "
            "directory.",
            remedy=("set HF_HOME to a directory on a larger disk, and mount it into containers",),
            links=("https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables#hfhome",),
            subject=mount.point,
        )


def read_docker_root(patient: Patient) -> str:
    """Docker's data directory; its default when the daemon does not say."""
    ran = patient.host.run(["docker", "info", "--format", "{{json .}}"], timeout_s=_DF_TIMEOUT_S)
    match = re.search(r'"DockerRootDir"\s*:\s*"(/[^"]*)"', ran.text)
    return match.group(1) if match else "/var/lib/docker"


def read_cache_path(patient: Patient) -> str:
    """Where huggingface_hub puts models, by its own order of variables; "" when none is an absolute path."""
    for name, below in (
        ("HF_HUB_CACHE", ""),
        ("HUGGINGFACE_HUB_CACHE", ""),
        ("HF_HOME", ""),
        ("XDG_CACHE_HOME", "/huggingface"),
        ("HOME", "/.cache/huggingface"),
    ):
        value = patient.host.env(name).value
        if value and value.startswith("/"):
            return f"{value.rstrip('/')}{below}"
    return ""


def parse_df(data: bytes) -> tuple[Mount, ...]:
    """`df -lPT`; lines that are not a file system are skipped."""
    found = []
    for line in data.decode("utf-8", errors="replace").splitlines():
        match = re.match(r"^\S.*?\s+\S+\s+(\d{1,18})\s+\d{1,18}\s+(\d{1,18})\s+(?:\d+%|-)\s+(/.*)$", line)
        if match:
            total, free, point = match.groups()
            found.append(Mount(point=point, free_bytes=int(free) << 10, total_bytes=int(total) << 10))
    return tuple(found)


def find_mount(mounts: tuple[Mount, ...], path: str, points: Iterable[str] = ()) -> Mount | None:
    """The local file system that holds a path; None when another one of `points` does (a network disk)."""
    sizes = {mount.point: mount for mount in mounts}
    holding = [point for point in {*sizes, *points} if f"{path}/".startswith(f"{point.rstrip('/')}/")]
    return sizes.get(max(holding, key=len, default=""))


def list_points(mountinfo: str) -> tuple[str, ...]:
    """All mount points of a /proc/PID/mountinfo, which writes a space as \\040."""
    lines = (line.split() for line in mountinfo.splitlines())
    return tuple(fields[4].replace("\\040", " ") for fields in lines if len(fields) > 4)


def _describe(mount: Mount) -> str:
    return f"{mount.free_bytes >> 10} of {mount.total_bytes >> 10} KiB free"


CHECK = Check(
    name="disk_space",
    summary="room for images and models",
    ids=("XPK-DISK-IMAGES", "XPK-DISK-MODELS"),
    look=look,
    concerns="machines with an Intel GPU",
    order=552,
)
