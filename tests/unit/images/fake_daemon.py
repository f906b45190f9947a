"""A Docker daemon that is made up: answers that a test gives, and a record of what was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from xpukit.core.errors import ExternalError
from xpukit.host.docker_values import ContainerInfo, ContainerRequest, ExecAnswer, HistoryEntry, ImageInfo

# A command and its user -> what it answers.
AnswerExec = Callable[[Sequence[str], str], ExecAnswer]
# A container's request -> its exit code (None: still running at the limit) and its log.
AnswerRun = Callable[[ContainerRequest], tuple[int | None, bytes]]


class FakeDaemon:
    """Containers are numbers; each has the request it was created with. `kept` are those not removed again."""

    def __init__(
        self,
        *,
        images: Mapping[str, ImageInfo],
        answer: AnswerExec | None = None,
        run: AnswerRun | None = None,
        history: tuple[HistoryEntry, ...] = (),
        health: str = "healthy",
        status: str = "running",
        refuse_start: bool = False,
        archives: Mapping[str, bytes] | None = None,
    ) -> None:
        self.images = dict(images)
        self.archives = dict(archives or {})
        self.history = history
        self.requests: dict[str, ContainerRequest] = {}
        self.kept: list[str] = []
        self._answer = answer or (lambda argv, user: ExecAnswer(rc=0))
        self._run = run or (lambda request: (0, b""))
        self._health, self._status, self._refuse_start = health, status, refuse_start

    def inspect_image(self, reference: str) -> ImageInfo | None:
        return self.images.get(reference)

    def image_history(self, reference: str) -> tuple[HistoryEntry, ...]:
        return self.history

    def create_container(self, request: ContainerRequest) -> str:
        container = str(len(self.requests) + 1)
        self.requests[container] = request
        self.kept.append(container)
        return container

    def start_container(self, container: str) -> None:
        if self._refuse_start:
            raise ExternalError("no such program: sleep")

    def remove_container(self, container: str) -> None:
        self.kept.remove(container)

    def get_archive(self, container: str, path: str) -> bytes:
        if path not in self.archives:
            raise ExternalError(f"Could not find the file {path} in container {container}")
        return self.archives[path]

    def exec_in(
        self,
        container: str,
        argv: Sequence[str],
        *,
        user: str = "",
        env: Mapping[str, str] | None = None,
        timeout_s: float = 0,
    ) -> ExecAnswer:
        return self._answer([*argv, *(f"{key}={value}" for key, value in (env or {}).items())], user)

    def wait_container(self, container: str, *, timeout_s: float) -> int | None:
        return self._run(self.requests[container])[0]

    def read_logs(self, container: str, *, tail: int | None = None) -> bytes:
        return self._run(self.requests[container])[1]

    def inspect_container(self, container: str) -> ContainerInfo | None:
        return ContainerInfo(id=container, name="", image="", status=self._status, exit_code=127)

    def wait_healthy(self, container: str, *, timeout_s: float) -> ContainerInfo:
        return ContainerInfo(
            id=container, name="", image="", status=self._status, exit_code=1, health=self._health, health_log=("no",)
        )
