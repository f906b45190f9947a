"""A container to look into: it is removed whatever happens."""

from __future__ import annotations

import signal
from typing import Any, cast

import pytest

from xpukit.host.docker_daemon import DockerDaemon
from xpukit.host.docker_values import ContainerRequest
from xpukit.images.inside import keep_container


class Interrupted:
    """A daemon that does what it is asked while the user presses Ctrl-C during `when`."""

    def __init__(self, when: str) -> None:
        self.when = when
        self.containers: set[str] = set()

    def _meet(self, what: str) -> None:
        if what == self.when:
            signal.raise_signal(signal.SIGINT)

    def create_container(self, request: ContainerRequest) -> str:
        assert request.labels["io.xpukit.inspecting"] == "1"
        self.containers.add("c")  # the daemon has it; its answer is still on the way
        self._meet("create")
        return "c"

    def start_container(self, container: str) -> None:
        self._meet("start")

    def remove_container(self, container: str) -> bool:
        self._meet("remove")
        self.containers.discard(container)
        return True


@pytest.mark.parametrize("when", ["create", "start", "inside", "remove"])
def test_ctrl_c_leaves_no_container(when: str) -> None:
    daemon = Interrupted(when)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
    try:
        with (
            pytest.raises(KeyboardInterrupt),
            keep_container(cast(DockerDaemon, cast(Any, daemon)), ContainerRequest(image="i")),
        ):
            daemon._meet("inside")
    finally:
        signal.signal(signal.SIGINT, before)
    assert daemon.containers == set()
