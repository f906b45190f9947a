"""A build through the daemon's API (the classic builder), with an end that leaves nothing of its own behind."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from xpukit.host.docker_connect import make_api
from xpukit.host.docker_values import ClassicBuilt

if TYPE_CHECKING:
    import docker

_STEP = re.compile(r"^Step \d+/\d+ : (\w+)")
_RUNNING = re.compile(r"^ ---> Running in ([0-9a-f]{12,64})")
_RESULT = re.compile(r"^ ---> ([0-9a-f]{12,64})\s*$")
# The daemon kills and removes the container of a cancelled build itself; what is left after this is removed by us.
_SETTLE_S = 5.0

Message = Mapping[str, Any]


class BuildTrace:
    """Which containers and images a build made, read from its messages: only those may be removed afterwards."""

    def __init__(self) -> None:
        self.containers: list[str] = []
        self.images: list[str] = []
        self.succeeded = False
        self._instruction = ""
        self._cached = False

    def feed(self, message: Message) -> None:
        text = message.get("stream")
        if not isinstance(text, str):
            return
        if step := _STEP.match(text):
            self._instruction = step[1].upper()
            self._cached = False
        elif text.startswith("Successfully built"):
            self.succeeded = True
        elif text.startswith(" ---> Using cache"):
            self._cached = True
        elif running := _RUNNING.match(text):
            self.containers.append(running[1])
        elif (result := _RESULT.match(text)) and not self._cached and self._instruction != "FROM":
            self.images.append(result[1])


def make_tracking_client(address: str, timeout_s: float) -> Any:
    """An APIClient that knows its last response, so that a build can be cancelled by closing its connection."""
    import docker

    class TrackingClient(docker.APIClient):  # type: ignore[misc]
        last_response: Any = None

        def post(self, *arguments: Any, **options: Any) -> Any:
            self.last_response = super().post(*arguments, **options)
            return self.last_response

    return make_api(TrackingClient, address, timeout_s=timeout_s)


def build_classic(
    address: str,
    context: IO[bytes],
    *,
    tags: Sequence[str],
    args: Mapping[str, str],
    labels: Mapping[str, str],
    network: str,
    pull: bool,
    no_cache: bool,
    on_message: Callable[[Message], None],
    timeout_s: float,
) -> ClassicBuilt:
    """Build the tar `context`; every message of the daemon goes to `on_message`.

    An interruption closes the connection (which cancels the build), removes the containers that this build started and
    the images without a name that it made, and goes on as it came. A build that fails keeps its finished steps: they
    are the cache of the next try. Raises ExternalError (through `DockerDaemon`) only for a request that is refused.
    """
    client = make_tracking_client(address, timeout_s)
    trace = BuildTrace()
    try:
        stream = client.build(
            fileobj=context,
            custom_context=True,
            encoding=None,
            decode=True,
            rm=True,
            forcerm=True,
            tag=tags[0] if tags else None,
            buildargs=dict(args),
            labels=dict(labels),
            network_mode=network or None,
            pull=pull,
            nocache=no_cache,
            timeout=timeout_s,
        )
        built = _follow(stream, trace, on_message, time.monotonic() + timeout_s)
        if built.timed_out or built.gone:
            _cancel(client, trace, images=built.timed_out)
        return built
    except BaseException:
        _cancel(client, trace)
        raise
    finally:
        with contextlib.suppress(Exception):
            client.close()


def _follow(
    stream: Iterator[Message], trace: BuildTrace, on_message: Callable[[Message], None], deadline: float
) -> ClassicBuilt:
    import docker.errors
    import requests
    import urllib3

    broken = (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)
    image_id, error, exit_code = "", "", None
    while True:
        # Only the reading is guarded: an error of `on_message` (a full disk under the log) is not the daemon's.
        try:
            message = next(stream, None)
        except docker.errors.APIError:  # the request itself was refused; it is a RequestException, too
            raise
        except broken as err:  # a daemon that is killed leaves a broken chunk, or half a JSON line (ValueError)
            if _is_time_out(err):
                return ClassicBuilt(error="the build took longer than its limit", timed_out=True)
            return ClassicBuilt(error=f"the connection to the daemon broke: {err}", gone=True)
        if message is None:
            break
        trace.feed(message)
        on_message(message)
        aux = message.get("aux")
        if isinstance(aux, Mapping) and str(aux.get("ID", "")).startswith("sha256:"):
            image_id = str(aux["ID"])
        if "error" in message:
            error = str(message["error"])
            detail = message.get("errorDetail")
            code = detail.get("code") if isinstance(detail, Mapping) else None
            exit_code = code if isinstance(code, int) else None
        if time.monotonic() > deadline:
            return ClassicBuilt(error="the build took longer than its limit", timed_out=True)
    if error:
        return ClassicBuilt(error=error, exit_code=exit_code)
    if image_id and trace.succeeded:
        return ClassicBuilt(image_id=image_id)
    return ClassicBuilt(error="the daemon ended the connection without a result", gone=True)


def _is_time_out(err: Exception) -> bool:
    """While a stream is read, requests wraps a read time-out into a ConnectionError."""
    import requests
    import urllib3

    late = (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError, TimeoutError)
    return isinstance(err, late) or any(isinstance(cause, late) for cause in err.args)


def _cancel(client: docker.APIClient, trace: BuildTrace, *, images: bool = True) -> None:
    import docker.errors
    import requests

    if client.last_response is not None:
        with contextlib.suppress(Exception):
            client.last_response.close()
    client.timeout = 10
    gone = (docker.errors.APIError, docker.errors.DockerException, requests.exceptions.RequestException, OSError)
    until = time.monotonic() + _SETTLE_S
    for container in trace.containers:
        with contextlib.suppress(*gone):
            while time.monotonic() < until:
                client.inspect_container(container)
                time.sleep(0.1)
            client.remove_container(container, force=True, v=True)
    for image in reversed(trace.images if images else ()):
        # Refused by the daemon for an image that has a name, a container or children: those are not ours to remove.
        with contextlib.suppress(*gone):
            if not (client.inspect_image(image).get("RepoTags") or []):
                client.remove_image(image)
