"""`RAY-PYTHON driver.py`: one task per host through Ray, results into a folder, an event a line on standard output.

Run by the Python that has Ray, which need not have xpukit: only Ray and the standard library are used. Request (JSON)
on standard input, as `xpukit.operate.fleet.ray_run.DriverRequest` writes it. Which task runs where and when, what is
carried between machines and which machine is gone is Ray's business; over ssh only `ray start` is run. A host's part of
Ray ends when its ssh session ends, so that nothing stays even after this process was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

if __package__:
    from xpukit.host.fleet.own_cluster import Failed, OwnCluster
    from xpukit.host.fleet.ray_folders import hold_folder, sweep_folders
else:  # as the program of a Python without xpukit: files beside this one
    from own_cluster import Failed, OwnCluster  # type: ignore[import-not-found, no-redef]
    from ray_folders import hold_folder, sweep_folders  # type: ignore[import-not-found, no-redef]

_TICK_S = 0.3
_LOOK_S = 2.0
_GRACE_S = 45.0
# More than half of what Ray gives each node: two of our tasks never share a host, and others may still pin theirs.
_NODE_SHARE = 0.6


# Who holds it has the word; at the end it is not given back.
_WORD = threading.RLock()


def say(event: str, **content: Any) -> None:
    """One line, whole."""
    with _WORD:
        sys.stdout.write(json.dumps({"event": event, **content}) + "\n")
        sys.stdout.flush()


def look_at_host(request: dict[str, Any], package: bytes) -> dict[str, Any]:
    """The task: runs on the host, in a folder of its own; what the program wrote comes back."""
    import base64
    import contextlib
    import os
    import shutil
    import signal
    import time
    import zipfile
    from pathlib import Path

    folder = Path(tempfile.mkdtemp(prefix="xpukit-fleet-"))
    try:
        env = dict(os.environ)
        # Ray sets these for its workers; a measurement wants what the machine has.
        try:
            before = dict(
                line.split("=", 1)
                for line in Path(f"/proc/{os.getppid()}/environ").read_text(errors="replace").split("\0")
                if "=" in line
            )
        except OSError:
            before = {}
        steered = ("OMP_NUM_THREADS", "ONEAPI_DEVICE_SELECTOR", "CUDA_VISIBLE_DEVICES", "PYTHONPATH", "LD_PRELOAD")
        for name in [*steered, *(name for name in env if name.startswith("RAY_"))]:
            env.pop(name, None)
            if name in before and not name.startswith("RAY_"):
                env[name] = before[name]
        for name, text in request["files"].items():
            (folder / name).write_bytes(base64.b64decode(text))
        program = list(request["program"])
        if package:
            (folder / "package.zip").write_bytes(package)
            with zipfile.ZipFile(folder / "package.zip") as archive:
                archive.extractall(folder / "package")
            env["PYTHONPATH"] = str(folder / "package")
            env["PYTHONDONTWRITEBYTECODE"] = "1"
        elif not shutil.which(program[0]):
            program = [next((one for one in request["else"] if shutil.which(one)), program[0])]

        # A task that is ended takes its program with it.
        tied = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []

        def ask(argv: list[str], limit_s: float) -> tuple[int, str]:
            with (folder / ".out").open("wb") as out, (folder / ".err").open("wb") as err:
                try:
                    process = subprocess.Popen(
                        [*tied, *program, *argv],
                        cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                        start_new_session=True,
                    )  # fmt: skip
                except OSError as problem:
                    return 127, f"{program[0]}: {problem.strerror}"
                try:
                    return process.wait(timeout=limit_s), ""
                except subprocess.TimeoutExpired:
                    return 124, f"no end within {limit_s:g} s"
                finally:
                    for number in (signal.SIGTERM, signal.SIGKILL):
                        if process.poll() is None:
                            with contextlib.suppress(OSError):
                                os.killpg(process.pid, number)
                            with contextlib.suppress(subprocess.TimeoutExpired):
                                process.wait(timeout=10)

        code, problem = ask(["--version"], 60)
        version = (folder / ".out").read_text(errors="replace").strip()
        if code or version != request["version"]:
            said = (folder / ".err").read_text(errors="replace").strip()[-300:]
            why = problem or (said if code else f"{version} there, {request['version']} here")
            return {"rc": 127, "why": f"{' '.join(program)} --version: {why}", "seconds": 0.0, "files": {}}
        started = time.monotonic()
        code, problem = ask(request["argv"], request["limit_s"])
        seconds = time.monotonic() - started
        files: dict[str, bytes] = {}
        room = int(request["most_bytes"])
        for name, pattern in ((".out", ""), (".err", ""), *(("", one) for one in request["collect"])):
            for path in [folder / name] if name else sorted(folder.glob(pattern)):
                if path.is_file() and not path.is_symlink() and path.stat().st_size <= room:
                    room -= path.stat().st_size
                    files[str(path.relative_to(folder))] = path.read_bytes()
        return {"rc": code, "why": problem, "seconds": round(seconds, 3), "files": files}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Fleet:
    """The hosts of a run, each on its way: waiting, joining, running, over."""

    def __init__(self, request: dict[str, Any], own: OwnCluster | None) -> None:
        import ray

        self._ray = ray
        self._request = request
        self._own = own
        self._waiting = list(request["hosts"])
        self._joining: dict[str, dict[str, Any]] = {}
        self._running: dict[Any, dict[str, Any]] = {}
        self._nodes: dict[str, dict[str, Any]] = {}
        self._looked = 0.0
        self._task = ray.remote(num_cpus=0, max_retries=0)(look_at_host)
        package = Path(request["package"]).read_bytes() if request["package"] else b""
        self._package = ray.put(package)
        self._plain = {
            name: request[name]
            for name in ("program", "else", "argv", "files", "version", "limit_s", "collect", "most_bytes")
        }

    def run(self) -> None:
        """To the end of the last host."""
        while self._waiting or self._joining or self._running:
            while self._waiting and len(self._joining) + len(self._running) < self._request["at_once"]:
                host = self._waiting.pop(0)
                self._joining[host["name"]] = host
                if self._own is not None:
                    self._own.join(host)
            self._look_at_nodes()
            self._submit_joined()
            self._take_results()
            self._give_up()

    def _look_at_nodes(self) -> None:
        if time.monotonic() - self._looked < _LOOK_S and not (self._joining and self._own is None):
            return
        self._nodes = {node["NodeID"]: node for node in self._ray.nodes()}
        self._looked = time.monotonic()

    def _find_node(self, host: dict[str, Any]) -> dict[str, Any] | None:
        alive = [node for node in self._nodes.values() if node["Alive"]]
        if self._own is not None:
            return next((node for node in alive if host["resource"] in node["Resources"]), None)
        wanted = {host["name"], host["address"]}
        return next(
            (node for node in alive if wanted & {node["NodeManagerAddress"], node["NodeManagerHostname"]}), None
        )

    def _submit_joined(self) -> None:
        for name, host in list(self._joining.items()):
            node = self._find_node(host)
            if node is None:
                continue
            del self._joining[name]
            resource: dict[str, float] = (
                {host["resource"]: 1.0} if self._own else {f"node:{node['NodeManagerAddress']}": _NODE_SHARE}
            )
            for wanted, amount in self._request["hold"].items():
                there = node["Resources"].get(wanted, 0.0)
                resource[wanted] = there if amount == "all" else float(amount)
            resource = {key: amount for key, amount in resource.items() if amount}
            cpus = resource.pop("CPU", 0)
            gpus = resource.pop("GPU", 0)
            options = {"num_cpus": cpus, "num_gpus": gpus, "resources": resource}
            reference = self._task.options(**options).remote(self._plain, self._package)
            self._running[reference] = {**host, "node": node["NodeID"], "since": time.monotonic()}
            say("running", host=name, address=node["NodeManagerAddress"], resources=resource)

    def _take_results(self) -> None:
        if not self._running:
            time.sleep(_TICK_S)
            return
        ended, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_TICK_S)
        for reference in ended:
            host = self._running.pop(reference)
            try:
                answer = self._ray.get(reference)
            except Exception as err:
                lines = [line.strip() for line in str(err).splitlines() if line.strip()]
                self._lose(host, f"{type(err).__name__}: {(lines or ['no word'])[0][:300]}")
                continue
            self._keep(host, answer)
            self._leave(host["name"])

    def _keep(self, host: dict[str, Any], answer: dict[str, Any]) -> None:
        folder = Path(self._request["arriving"]) / host["folder"]
        shutil.rmtree(folder, ignore_errors=True)
        for name, content in answer["files"].items():
            path = folder / name
            # A host says what its files are called: none leaves its folder.
            if not path.resolve().is_relative_to(folder.resolve()):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        say(
            "ended",
            host=host["name"],
            rc=answer["rc"],
            why=answer["why"],
            seconds=answer["seconds"],
            folder=str(folder),
        )

    def _give_up(self) -> None:
        """Hosts that are gone, or that do not come."""
        for name, host in list(self._joining.items()):
            if self._own is not None:
                problem = self._own.find_problem(name, joined=False)
            else:
                problem = "no machine of the Ray cluster has this name or address" if self._looked else ""
            if problem:
                del self._joining[name]
                self._lose(host, problem)
        for reference, host in list(self._running.items()):
            node = self._nodes.get(host["node"])
            problem = "" if node is None or node["Alive"] else "Ray lost the machine"
            if self._own is not None:
                problem = problem or self._own.find_problem(host["name"], joined=True)
            waited = time.monotonic() - host["since"]
            if not problem and self._own is not None and waited > self._request["limit_s"] + _GRACE_S + 60:
                problem = f"no answer within {waited:.0f} s"
            if problem:
                with contextlib.suppress(Exception):
                    self._ray.cancel(reference, force=True)
                del self._running[reference]
                self._lose(host, problem)

    def _lose(self, host: dict[str, Any], why: str) -> None:
        say("lost", host=host["name"], why=why)
        self._leave(host["name"])

    def _leave(self, name: str) -> None:
        if self._own is not None:
            self._own.leave(name)


def _end(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def explain_refusal(err: BaseException | None) -> str:
    """Why Ray did not take us in. Of a wrong token its last exception says only that there is no connection."""
    first = str(err).splitlines()[0] if str(err) else type(err).__name__
    while err is not None:
        if "AuthenticationError" in f"{type(err).__name__} {err}":
            return "it wants its token: RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or ~/.ray/auth_token"
        err = err.__cause__ or err.__context__
    return first


def end_without_head(own: OwnCluster, hosts: list[str], why: str) -> None:
    """The head is gone: all that is not done is lost. Ray itself would wait for it for a minute, and then end us."""
    _WORD.acquire()
    for name in hosts:
        say("lost", host=name, why=f"Ray's head on this machine ended: {why}")
    own.stop()
    say("done")
    os._exit(0)


def serve(request: dict[str, Any]) -> None:
    """Do the whole run. Raises Failed."""
    if request["scratch"]:
        hold_folder(Path(request["scratch"]))
        for folder in sweep_folders(Path(request["scratch"])):
            say("swept", folder=str(folder))
    own = OwnCluster(request) if not request["address"] else None
    try:
        if own is not None:
            own.start()
            own.watch_head(lambda why: end_without_head(own, [host["name"] for host in request["hosts"]], why))
        try:
            import ray
        except ImportError as err:
            raise Failed(f"{sys.executable} has no Ray: {err}") from err
        try:
            ray.init(
                address=own.address if own else request["address"],
                log_to_driver=False, logging_level="ERROR", configure_logging=False, namespace="xpukit",
            )  # fmt: skip
        except (ConnectionError, RuntimeError, ValueError, OSError) as err:
            raise Failed(f"no Ray cluster at {request['address'] or 'the head'}: {explain_refusal(err)}") from err
        say("cluster", address=own.address if own else request["address"], ray=ray.__version__, own=own is not None)
        if request["list"]:
            alive = [node for node in ray.nodes() if node["Alive"]]
            found = [{"name": node["NodeManagerHostname"], "address": node["NodeManagerAddress"]} for node in alive]
            say("nodes", nodes=found)
            return
        Fleet(request, own).run()
    finally:
        if own is not None:
            # First the driver: it would complain about machines that leave.
            if "ray" in sys.modules:
                with contextlib.suppress(Exception):
                    sys.modules["ray"].shutdown()
            own.stop()


def main() -> int:
    """Serve one request. Exit 0 when every host was dealt with, 3 when there is no cluster."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    request = json.loads(sys.stdin.buffer.read())
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        serve(request)
    except Failed as err:
        say("failed", why=str(err))
        return 3
    say("done")
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
