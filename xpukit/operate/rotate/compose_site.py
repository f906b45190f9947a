"""A deployment of serve's compose form: Docker, Compose, HAProxy's socket and the engines' own addresses."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from xpukit.core.errors import ExternalError, UsageError, XpukitError
from xpukit.facts.readiness import find_level, find_limit
from xpukit.facts.rotation import find_rotation_limit
from xpukit.host.balancer_socket import ask_balancer, can_reach
from xpukit.host.docker_client import run_client
from xpukit.host.docker_daemon import DockerDaemon
from xpukit.host.docker_values import ContainerInfo
from xpukit.host.door import Host
from xpukit.host.http_client import HttpReply
from xpukit.operate.ready.endpoint import JSON_TYPE, Ask, describe_endpoint, make_ask
from xpukit.operate.ready.gate import Gate
from xpukit.operate.ready.wait import is_ready
from xpukit.operate.rotate import deployment as labels
from xpukit.operate.rotate.balancer import Balancer
from xpukit.operate.rotate.count_requests import count_requests
from xpukit.operate.rotate.deployment import Deployment
from xpukit.operate.rotate.site import Command, Load
from xpukit.operate.rotate.state import SlotState

_REFERENCE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_BARE = re.compile(r"^\s*- \"?([A-Za-z_][A-Za-z0-9_]*)\"?\s*$", re.MULTILINE)
_TAIL_LINES = 5


def connect_balancer(daemon: DockerDaemon, balancer: ContainerInfo, socket: str) -> Callable[[str], str]:
    """Speak to HAProxy: by the socket's file where this user may, else from inside the container (it has socat)."""
    folder, _, name = socket.rpartition("/")
    path = f"{balancer.volumes.get(folder, '')}/{name}"

    def ask(command: str) -> str:
        if folder in balancer.volumes and can_reach(path):
            return ask_balancer(path, command)
        script = 'printf "%s\\n" "$1" | socat -t 5 - "UNIX-CONNECT:$2"'
        ran = daemon.exec_in(balancer.name, ["bash", "-c", script, "ask", command, socket], timeout_s=20)
        if ran.rc:
            said = (ran.err or ran.out).decode(errors="replace").strip()[-200:]
            raise ExternalError(f"{balancer.name}: its control socket does not answer: {said}", hint="docker logs")
        return ran.out.decode(errors="replace").strip()

    return ask


class ComposeSite:
    """See `Site`. `key`: what requests must bring; `level`: how deep the gate goes."""

    def __init__(
        self, host: Host, daemon: DockerDaemon, deployed: Deployment, *, key: str = "", level: str = "quick"
    ) -> None:
        self._host = host
        self._daemon = daemon
        self._deployed = deployed
        self._key = key
        self._level = find_level(level)
        self._slots = {one.slot: one for one in deployed.slots}
        self._compose: tuple[str, ...] = ()
        found = daemon.inspect_container(deployed.balancer)
        if found is None:
            raise ExternalError(f"{deployed.balancer} is gone", hint="docker ps -a")
        self._balancer = Balancer(connect_balancer(daemon, found, deployed.socket))

    def read(self) -> tuple[SlotState, ...]:
        servers = {one.name: one for one in self._balancer.list_servers()}
        states = []
        for slot in self._deployed.slots:
            server = servers.get(slot.slot)
            own, kept = self._look(slot.service), self._look(slot.service + labels.KEPT_SUFFIX)
            states.append(
                SlotState(
                    slot=slot.slot,
                    service=slot.service,
                    balance=server.balance if server else "maint",
                    container=labels.describe_container(own),
                    previous=labels.describe_container(kept),
                    requests=server.requests if server else 0,
                    spare=slot.spare,
                    age_s=labels.read_age(own),
                )
            )
        return tuple(states)

    def find_obstacle(self) -> str:
        """Compose and its file, and an engine that can be asked from here, with the key that it wants."""
        try:
            self._run_compose("config", "-q")
            up = [one.slot for one in self.read() if one.balance == "up"]
            replies = [self._ask(slot)("GET", "/v1/models", timeout_s=find_limit("health_s")) for slot in up]
        except XpukitError as err:
            return f"{err.message} ({err.hint})" if err.hint else err.message
        if any(reply.status in (401, 403) for reply in replies):
            return "the engines want a key (--api-key-env NAME)"
        if replies and all(reply.trouble for reply in replies):
            return f"no engine can be asked at its container's address: {replies[0].detail or replies[0].trouble}"
        return ""

    def set_state(self, slot: str, command: Command) -> None:
        self._balancer.set_state(slot, command)

    def count_requests(self, slot: str) -> Load:
        server = next((one for one in self._balancer.list_servers() if one.name == slot), None)
        text = ""
        if self._find_running(slot) is not None:
            reply = self._ask(slot)("GET", "/metrics", timeout_s=find_limit("health_s"))
            text = reply.body.decode(errors="replace") if reply.status == 200 and not reply.trouble else ""
        return Load(balancer=server.requests if server else 0, engine=count_requests(text))

    def park(self, slot: str) -> None:
        """A copy of the container, from the image that it runs, that Compose does not take for its own."""
        service = self._slots[slot].service
        self._daemon.copy_container(
            service, service + labels.KEPT_SUFFIX, labels={labels.KEPT: "1"}, without=labels.COMPOSE
        )

    def recreate(self, slot: str) -> None:
        service = self._slots[slot].service
        for name in (service + labels.KEPT_SUFFIX, service):
            if labels.describe_container(self._look(name)) in ("running", "failing"):
                self._daemon.stop_container(name, grace_s=int(find_rotation_limit("stop_s")))
        self._run_compose("up", "-d", "--no-deps", "--no-build", "--force-recreate", service)

    def wait_answer(self, slot: str, limit_s: float) -> str:
        until = self.now() + limit_s
        while True:
            one = self._find_running(slot)
            if one is None:
                return f"the container ended{self._read_tail(slot)}"
            if is_ready(self._ask(slot)):
                return ""
            if self.now() >= until:
                return f"no answer within {limit_s:.0f} s{self._read_tail(slot)}"
            self.sleep(find_rotation_limit("poll_s"))

    def gate(self, slot: str) -> str:
        try:
            ask, url = self._ask(slot), self._url(slot)
            report = Gate(ask, describe_endpoint(ask, url), self._level).run()
        except XpukitError as err:
            return err.message
        if report.exit_code == 0:
            return ""
        bad = [row for row in report.rows if row.verdict in ("fail", "unknown")]
        return "; ".join(f"{row.name}: {row.why}" for row in bad[:3]) or "there was nothing to judge"

    def admit(self, slot: str) -> None:
        one = self._slots[slot]
        self._balancer.set_address(slot, self._address(slot), one.port)
        self._balancer.set_state(slot, "ready")

    def drop_previous(self, slot: str) -> None:
        self._daemon.remove_container(self._slots[slot].service + labels.KEPT_SUFFIX)

    def bring_back(self, slot: str) -> None:
        service = self._slots[slot].service
        if labels.describe_container(self._look(service)) in ("running", "failing"):
            self._daemon.stop_container(service, grace_s=int(find_rotation_limit("stop_s")))
        self._daemon.start_container(service + labels.KEPT_SUFFIX)

    def stop(self, slot: str) -> None:
        self._daemon.stop_container(self._slots[slot].service, grace_s=int(find_rotation_limit("stop_s")))

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def await_balancer(self) -> None:
        """Wait until HAProxy answers. Raises ExternalError when it does not in time."""
        until = self.now() + find_rotation_limit("admit_s")
        while True:
            try:
                self._balancer.list_servers()
            except ExternalError:
                if self.now() >= until:
                    raise
                self.sleep(find_rotation_limit("poll_s"))
            else:
                return

    def ask_later(self, slot: str) -> Ask:
        """Requests to the slot's engine, wherever it is then; "unreachable" while it has no container."""

        def ask(
            method: str, path: str, body: bytes | None = None, *, content_type: str = JSON_TYPE, timeout_s: float
        ) -> HttpReply:
            try:
                now = self._ask(slot)
            except ExternalError as err:
                return HttpReply(trouble="unreachable", detail=err.message)
            return now(method, path, body, content_type=content_type, timeout_s=timeout_s)

        return ask

    # Inside

    def _look(self, name: str) -> ContainerInfo | None:
        return self._daemon.inspect_container(name)

    def _find_running(self, slot: str) -> ContainerInfo | None:
        """The container that serves the slot: the engine's, or the kept one after a failure."""
        service = self._slots[slot].service
        for name in (service, service + labels.KEPT_SUFFIX):
            found = self._look(name)
            if found is not None and found.status == "running":
                return found
        return None

    def _address(self, slot: str) -> str:
        found = self._find_running(slot)
        if found is None or not found.addresses:
            raise ExternalError(
                f"{self._slots[slot].service} runs no container with an address of its own", hint="docker ps -a"
            )
        return next(iter(found.addresses.values()))

    def _url(self, slot: str) -> str:
        address = self._address(slot)
        shown = f"[{address}]" if ":" in address else address
        return f"http://{shown}:{self._slots[slot].port}"

    def _ask(self, slot: str) -> Ask:
        return make_ask(self._url(slot), self._key)

    def _read_tail(self, slot: str) -> str:
        try:
            text = self._daemon.read_logs(self._slots[slot].service, tail=_TAIL_LINES).decode(errors="replace")
        except ExternalError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return f"; its last word: {lines[-1][:300]}" if lines else ""

    def _run_compose(self, *words: str) -> None:
        project = self._deployed
        files = [str(_place(project, name)) for name in project.files]
        argv = [*self._find_compose(), "-p", project.project]
        for name in files:
            argv += ["-f", name]
        lines: list[str] = []
        ran = run_client(
            [*argv, *words],
            timeout_s=find_rotation_limit("compose_s"),
            env=self._collect_values(files),
            log=None,
            on_line=lines.append,
        )
        if not ran.ok:
            said = next((line.strip() for line in reversed(lines) if line.strip()), ran.failure)
            raise ExternalError(f"Compose: {said[:300]}", hint="docker compose up says more")

    def _find_compose(self) -> tuple[str, ...]:
        if not self._compose and self._host.run(["docker", "compose", "version"], timeout_s=20).ok:
            self._compose = ("docker", "compose")
        elif not self._compose and self._host.which("docker-compose").value:
            self._compose = ("docker-compose",)
        if not self._compose:
            raise ExternalError(
                "neither docker compose nor docker-compose is installed", hint="apt install docker-compose"
            )
        return self._compose

    def _collect_values(self, files: Sequence[str]) -> dict[str, str]:
        """The variables that the files refer to, from this process's environment: they are nowhere else."""
        names: set[str] = set()
        for name in files:
            answer = self._host.read(name)
            if not answer.ok:
                raise UsageError(f"{name}: cannot be read ({answer.error})", hint="a rotation needs the Compose file")
            names |= set(_REFERENCE.findall(answer.text.replace("$$", ""))) | set(_BARE.findall(answer.text))
        found = {name: self._host.env(name).value for name in names}
        return {name: value for name, value in found.items() if value}


def _place(deployed: Deployment, name: str) -> Path:
    path = Path(name)
    return path if path.is_absolute() else Path(deployed.folder) / path
