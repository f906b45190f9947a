"""The door to a Docker daemon: plain values in and out, a time limit on every call, failures as ExternalError.

A live thing, not recorded: commands that only look at a machine ask the docker client through `Host` instead.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from xpukit.core.errors import ExternalError, OutputError
from xpukit.host import docker_decode
from xpukit.host.docker_address import check_address, find_address
from xpukit.host.docker_connect import make_api
from xpukit.host.docker_values import (
    ClassicBuilt,
    ContainerInfo,
    ContainerRequest,
    DaemonEvent,
    DaemonInfo,
    DaemonVersion,
    ExecAnswer,
    HistoryEntry,
    ImageInfo,
    Reach,
)

TIMEOUT_S = 30.0
BUILD_TIMEOUT_S = 6 * 3600.0
# A daemon that starts a container or removes a large image may take its time.
_SLOW_S = 120.0


class DockerDaemon:
    """One daemon, by its address; nothing is asked before the first call."""

    def __init__(self, address: str = "", *, timeout_s: float = TIMEOUT_S) -> None:
        self.address = address or find_address()
        # Only an address that we were given must be passed on to the docker client: it finds the other one itself.
        self.given_address = address
        self._timeout_s = timeout_s
        self._api: Any = None

    def check(self) -> Reach:
        """Whether the daemon answers, and why not: no daemon, no permission, a wrong address, silence, no SDK."""
        try:
            import docker  # noqa: F401
        except ImportError:
            return Reach(
                address=self.address,
                kind="no-sdk",
                message="the Python package docker is not installed",
                hint="pip install 'xpukit[docker]'",
            )
        reach = check_address(self.address)
        if not reach.ok:
            return reach
        try:
            self.version()
        except ExternalError as err:
            return Reach(address=self.address, kind="no-answer", message=err.message, hint=err.hint)
        return reach

    def require(self) -> None:
        """Raise ExternalError with the reason and the next step unless the daemon answers."""
        reach = self.check()
        if not reach.ok:
            raise ExternalError(reach.message, hint=reach.hint)

    def version(self) -> DaemonVersion:
        with self._asking("version") as api:
            return docker_decode.decode_version(api.version())

    def info(self) -> DaemonInfo:
        with self._asking("info") as api:
            raw = api.info()
        free = None
        root = str(raw.get("DockerRootDir", ""))
        if root and self.address.startswith("unix://"):
            with contextlib.suppress(OSError):
                stats = os.statvfs(root)
                free = stats.f_bavail * stats.f_frsize
        return docker_decode.decode_info(raw, free)

    # Images

    def inspect_image(self, reference: str) -> ImageInfo | None:
        """An image by name or id; None when the daemon does not have it."""
        import docker.errors

        with self._asking(f"image {reference}") as api:
            try:
                return docker_decode.decode_image(api.inspect_image(reference))
            except docker.errors.NotFound:
                return None

    def list_images(self, *, label: str = "") -> tuple[ImageInfo, ...]:
        """Images with a name or a label `key[=value]`; no intermediate ones."""
        with self._asking("images") as api:
            found = api.images(filters={"label": label} if label else None)
            return tuple(docker_decode.decode_image(api.inspect_image(entry["Id"])) for entry in found)

    def image_history(self, reference: str) -> tuple[HistoryEntry, ...]:
        """The instructions that made an image, newest first."""
        with self._asking(f"history of {reference}") as api:
            return docker_decode.decode_history(api.history(reference))

    def tag_image(self, reference: str, tag: str) -> None:
        name, version = docker_decode.split_tag(tag)
        with self._asking(f"tag {reference} as {tag}") as api:
            api.tag(reference, name, version)

    def remove_image(self, reference: str, *, force: bool = False) -> bool:
        """Remove an image; False when it was not there."""
        import docker.errors

        with self._asking(f"removing image {reference}", _SLOW_S) as api:
            try:
                api.remove_image(reference, force=force)
            except docker.errors.NotFound:
                return False
            return True

    def save_image(self, reference: str, path: Path, *, timeout_s: float = 3600.0) -> None:
        """Write an image as a tar file, whole or not at all."""
        with self._asking(f"saving {reference}", timeout_s) as api:
            _write_stream(path, api.get_image(reference))

    def import_image(self, path: Path, tag: str, *, changes: Sequence[str] = (), timeout_s: float = 600.0) -> str:
        """Make an image of one layer from the tar file of a root directory; its id."""
        name, version = docker_decode.split_tag(tag)
        with self._asking(f"importing {path}", timeout_s) as api:
            api.import_image_from_file(str(path), repository=name, tag=version, changes=list(changes) or None)
        found = self.inspect_image(tag)
        if found is None:
            raise ExternalError(
                f"Docker: {path} could not be imported as {tag}", hint="is it a tar of a root directory?"
            )
        return found.id

    def build_classic(
        self,
        context: IO[bytes],
        *,
        tags: Sequence[str],
        args: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        network: str = "",
        pull: bool = False,
        no_cache: bool = False,
        on_message: Callable[[Mapping[str, Any]], None],
        timeout_s: float = BUILD_TIMEOUT_S,
    ) -> ClassicBuilt:
        """Build a tar context with the daemon's classic builder; see `docker_build.build_classic`."""
        import docker.errors
        import requests

        from xpukit.host.docker_build import build_classic

        try:
            built = build_classic(
                self.address,
                context,
                tags=tags,
                args=args or {},
                labels=labels or {},
                network=network,
                pull=pull,
                no_cache=no_cache,
                on_message=on_message,
                timeout_s=timeout_s,
            )
        except docker.errors.APIError as err:  # refused before it began: a Dockerfile that does not parse
            return ClassicBuilt(error=str(err.explanation or err))
        except (docker.errors.DockerException, requests.exceptions.RequestException) as err:
            return ClassicBuilt(error=f"the connection to the daemon broke: {err}", gone=True)
        for tag in tags[1:] if built.image_id else ():
            self.tag_image(built.image_id, tag)
        return built

    # Containers

    def create_container(self, request: ContainerRequest) -> str:
        """Create a container without starting it; its id."""
        with self._asking(f"creating a container of {request.image}", _SLOW_S) as api:
            created = api.create_container(**docker_decode.encode_container(request, api.create_host_config))
            return str(created["Id"])

    def copy_container(self, container: str, name: str, *, labels: Mapping[str, str], without: str) -> str:
        """Create a container like this one beside it, without starting it; its id. See docker_decode.copy_container."""
        with self._asking(f"copying container {container[:12]}", _SLOW_S) as api:
            raw = api.inspect_container(container)
            body = docker_decode.copy_container(raw, labels=labels, without=without)
            return str(api.create_container_from_config(body, name)["Id"])

    def start_container(self, container: str) -> None:
        with self._asking(f"starting {container[:12]}", _SLOW_S) as api:
            api.start(container)

    def inspect_container(self, container: str) -> ContainerInfo | None:
        """A container's state; None when there is none."""
        import docker.errors

        with self._asking(f"container {container[:12]}") as api:
            try:
                return docker_decode.decode_container(api.inspect_container(container))
            except docker.errors.NotFound:
                return None

    def list_containers(self, *, label: str = "") -> tuple[ContainerInfo, ...]:
        """All containers, ended ones too, optionally those with a label `key[=value]`."""
        with self._asking("containers") as api:
            found = api.containers(all=True, filters={"label": label} if label else None)
        infos = (self.inspect_container(entry["Id"]) for entry in found)
        return tuple(info for info in infos if info is not None)

    def exec_in(
        self,
        container: str,
        argv: Sequence[str],
        *,
        user: str = "",
        env: Mapping[str, str] | None = None,
        timeout_s: float = _SLOW_S,
    ) -> ExecAnswer:
        """Run a command in a running container. Raises ExternalError when it outlasts `timeout_s` without a word."""
        with self._asking(f"{argv[0]} in {container[:12]}", timeout_s) as api:
            created = api.exec_create(container, list(argv), user=user, environment=dict(env or {}))
            out, err = api.exec_start(created["Id"], demux=True)
            code = api.exec_inspect(created["Id"])["ExitCode"]
        return ExecAnswer(rc=code if code is not None else -1, out=out or b"", err=err or b"")

    def read_logs(self, container: str, *, tail: int | None = None) -> bytes:
        """What the container wrote, both streams in order; `tail` lines of it at most."""
        with self._asking(f"log of {container[:12]}") as api:
            return bytes(api.logs(container, tail=tail if tail is not None else "all"))

    def wait_container(self, container: str, *, timeout_s: float) -> int | None:
        """The exit code, or None when the container still runs after `timeout_s`."""
        until = time.monotonic() + timeout_s
        while True:
            info = self.inspect_container(container)
            if info is None:
                raise ExternalError(
                    f"Docker: container {container[:12]} is gone", hint="it was removed by someone else"
                )
            if info.status in ("exited", "dead"):
                return info.exit_code
            if time.monotonic() >= until:
                return None
            time.sleep(0.1)

    def wait_healthy(self, container: str, *, timeout_s: float) -> ContainerInfo:
        """The state once the health check has an answer or the container ended, or that at the end of the time."""
        until = time.monotonic() + timeout_s
        while True:
            info = self.inspect_container(container)
            if info is None:
                raise ExternalError(
                    f"Docker: container {container[:12]} is gone", hint="it was removed by someone else"
                )
            if info.health in ("healthy", "unhealthy", "") or info.status not in ("running", "created"):
                return info
            if time.monotonic() >= until:
                return info
            time.sleep(0.2)

    def stop_container(self, container: str, *, grace_s: int = 10) -> None:
        with self._asking(f"stopping {container[:12]}", grace_s + TIMEOUT_S) as api:
            api.stop(container, timeout=grace_s)

    def remove_container(self, container: str) -> bool:
        """End and remove a container with its anonymous volumes; False when it was not there."""
        import docker.errors

        with self._asking(f"removing {container[:12]}", _SLOW_S) as api:
            try:
                api.remove_container(container, force=True, v=True)
            except docker.errors.NotFound:
                return False
            return True

    def get_archive(self, container: str, path: str, *, limit_bytes: int = 64 << 20) -> bytes:
        """A file or directory of a container as a tar. Raises ExternalError when it is not there or too large."""
        with self._asking(f"{path} of {container[:12]}", _SLOW_S) as api:
            stream, _ = api.get_archive(container, path)
            content = bytearray()
            for chunk in stream:
                content += chunk
                if len(content) > limit_bytes:
                    raise ExternalError(
                        f"{path} of {container[:12]} is larger than {limit_bytes} bytes",
                        hint="name a smaller part of it",
                    )
            return bytes(content)

    def export_container(self, container: str, path: Path, *, timeout_s: float = 3600.0) -> None:
        """Write a container's file system as a tar file, whole or not at all."""
        with self._asking(f"exporting {container[:12]}", timeout_s) as api:
            _write_stream(path, api.export(container))

    def read_events(self, *, since_s: float, until_s: float, label: str = "") -> tuple[DaemonEvent, ...]:
        """What happened between two times (seconds since 1970); a span that has passed, so that this ends."""
        with self._asking("events") as api:
            stream = api.events(
                since=f"{since_s:.3f}", until=f"{until_s:.3f}", filters={"label": label} if label else None, decode=True
            )
            return tuple(docker_decode.decode_event(entry) for entry in stream)

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if self._api is not None:
            with contextlib.suppress(Exception):
                self._api.close()
            self._api = None

    @contextlib.contextmanager
    def _asking(self, what: str, timeout_s: float | None = None) -> Iterator[Any]:
        """The SDK's client with a time limit; its exceptions become ExternalError."""
        import docker.errors
        import requests

        try:
            if self._api is None:
                self._api = make_api(docker.APIClient, self.address, timeout_s=self._timeout_s)
            self._api.timeout = timeout_s or self._timeout_s
            yield self._api
        except requests.exceptions.ReadTimeout as err:
            raise ExternalError(
                f"Docker: {what}: no answer within {timeout_s or self._timeout_s:.0f} s",
                hint="look at the daemon: journalctl -u docker; is its disk slow or full?",
            ) from err
        except docker.errors.APIError as err:
            raise ExternalError(
                f"Docker: {what}: {err.explanation or err}", hint=_hint_status(err.status_code)
            ) from err
        except (docker.errors.DockerException, requests.exceptions.RequestException) as err:
            self.close()
            reach = check_address(self.address)
            message = reach.message or f"Docker: {what}: {err}"
            raise ExternalError(message, hint=reach.hint or _hint_silence(self.address)) from err


def _hint_status(code: int | None) -> str:
    if code == 404:
        return "check the name: docker image ls, docker ps -a"
    if code == 409:
        return "it is in use or the name is taken: docker ps -a"
    return "the daemon's log says more: journalctl -u docker"


def _hint_silence(address: str) -> str:
    if address.startswith(("tcp://", "http://", "https://")):
        return "is it a Docker daemon's address? One with TLS needs DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"
    return "look at the daemon: journalctl -u docker"


def _write_stream(path: Path, chunks: Iterator[bytes]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
        temporary.replace(path)
    except OSError as err:
        raise OutputError(
            f"{path}: cannot be written: {err.strerror or err}", hint="check the directory and its free space"
        ) from err
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
