"""The container that a smoke test runs in: the rights of `run-image`, and a hook that says what the engine sees."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from xpukit.container.gpu_nodes import GpuNodes, list_gids
from xpukit.host.docker_values import ContainerRequest
from xpukit.images.inside import idle_request, load_program

HOOK_PLACE = "/run/xpukit-smoke"


def make_request(image: str, gpus: Sequence[GpuNodes], memory_bytes: int | None = None) -> ContainerRequest:
    """The rights that `run-image` gives: exact nodes and links, groups by number, no capability."""
    return ContainerRequest(
        image=image,
        devices=tuple(f"{node}:{node}:rw" for gpu in gpus for node in gpu.nodes),
        groups=tuple(str(gid) for gid in list_gids(gpus)),
        # A link's name holds the PCI address with its colons, which a bind's text cannot.
        mounts=tuple(link for gpu in gpus for link in gpu.by_path),
        cap_drop=("ALL",),
        security_opt=("no-new-privileges",),
        memory_bytes=memory_bytes,
        network="none",
        init=True,
    )


def idle_fields() -> dict[str, object]:
    idle = idle_request("")
    return {"entrypoint": idle.entrypoint, "command": idle.command}


@contextmanager
def place_hook() -> Iterator[str]:
    """A folder with the environment hook, readable by the image's user.

    A remote daemon does not see it: then the environments are not known, and the report says so.
    """
    with tempfile.TemporaryDirectory(prefix="xpukit-smoke-") as place:
        Path(place).chmod(0o755)
        hook = Path(place) / "sitecustomize.py"
        hook.write_text(load_program("environment_hook.py"), encoding="utf-8")
        hook.chmod(0o644)
        yield place
