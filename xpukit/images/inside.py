"""Small programs of ours that run inside an image (dockerfiles/_inside), and a container to run them in."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from xpukit.core.errors import ExternalError
from xpukit.core.json_document import BAD_JSON
from xpukit.facts.paths import shipped_dir
from xpukit.host.docker_daemon import DockerDaemon
from xpukit.host.docker_values import ContainerRequest, ExecAnswer
from xpukit.host.interrupt import hold_interrupts

# By this label what an interrupted run left behind is found: docker ps -a --filter label=io.xpukit.inspecting
LABEL_OURS = "io.xpukit.inspecting"
# An image's Python, in the order in which a user's shell inside would find it.
_PYTHONS = ("python3", "/opt/venv/bin/python3", "python")
_IDLE_S = "86400"


def load_program(name: str) -> str:
    """The source of a program that runs inside."""
    return (shipped_dir("dockerfiles") / "_inside" / name).read_text(encoding="utf-8")


@contextlib.contextmanager
def keep_container(daemon: DockerDaemon, request: ContainerRequest) -> Iterator[str]:
    """Create and start a container; it is removed whatever happens, also where Ctrl-C comes in the middle of that."""
    labelled = msgspec.structs.replace(request, labels={**request.labels, LABEL_OURS: "1"})
    container = ""
    try:
        # Between the daemon's making it and our knowing its name nothing could remove it.
        with hold_interrupts():
            container = daemon.create_container(labelled)
        daemon.start_container(container)
        yield container
    finally:
        if container:
            with hold_interrupts():
                daemon.remove_container(container)


def idle_request(image: str, **changes: Any) -> ContainerRequest:
    """A container of the image that only waits, so that commands can be run in it; no network."""
    fields: dict[str, Any] = {"entrypoint": ("sleep",), "command": (_IDLE_S,), "network": "none", "init": True}
    return ContainerRequest(image=image, **{**fields, **changes})


def run_inside(
    daemon: DockerDaemon, container: str, argv: Sequence[str], *, timeout_s: float, user: str = ""
) -> ExecAnswer:
    """A command as a user's `docker exec` runs it; a program that is not there answers 127, and so does every program
    of an image in which not even `sleep` runs.
    """
    try:
        return daemon.exec_in(container, argv, timeout_s=timeout_s, user=user)
    except ExternalError as err:
        if any(words in err.message.lower() for words in ("not found", "no such file", "is not running")):
            return ExecAnswer(rc=127, err=err.message.encode())
        raise


def run_program(
    daemon: DockerDaemon, container: str, name: str, arguments: Sequence[str] = (), *, timeout_s: float, user: str = ""
) -> Any:
    """The JSON that one of our programs prints. None where the image has no Python, or it said nothing usable.

    The source is an argument: nothing is copied, so that remote daemons and read-only containers work too.
    """
    source = load_program(name)
    for python in _PYTHONS:
        # Through bash, where there is one, so that BASH_ENV loads the engine's environment as it does for a user.
        for argv in (("bash", "-c", 'exec "$@"', "bash", python, "-c", source), (python, "-c", source)):
            answer = run_inside(daemon, container, (*argv, *arguments), timeout_s=timeout_s, user=user)
            if answer.rc == 0:
                with contextlib.suppress(IndexError, *BAD_JSON):
                    return json.loads(answer.out.decode().strip().splitlines()[-1])
                return None
            if answer.rc not in (126, 127):
                return None
    return None
