"""Several stub engines behind a real HAProxy in a Docker daemon of our own: images made of this machine's files, a plan
with device nodes that every machine has, and clients inside the daemon's network namespace."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

from tests.live.docker_engine import DockerEngine, hear_interrupts, make_image_tar
from tests.live.smoke_base import BASE, import_base
from tests.live.test_serve_forms import plan_here
from tests.unit.serve.form_plans import load_plan
from xpukit.facts.recipes import load_recipe
from xpukit.images.render import render_recipe
from xpukit.images.settings import resolve_settings
from xpukit.serve.plan_types import Plan

ENGINE_IMAGE = "xpukit-test/stub-vllm:1"
BALANCER_IMAGE = "xpukit-test/loadbalancer:1"
KEY = "s3cret"
URL = "http://127.0.0.1:8000"
METRICS_URL = "http://127.0.0.1:18000"
_PROGRAMS = ("bash", "haproxy", "socat", "cat", "ls", "timeout")
_UID = 10001
LIMIT_S = 60.0
# A client: so many workers, each sends one streamed request after another until the file STOP is there.
CLIENT = r"""
import asyncio, json, os, sys, time
host, port, workers, stop, key = "127.0.0.1", 8000, int(sys.argv[1]), sys.argv[2], sys.argv[3]
done = []
async def ask(number):
    body = json.dumps({"model": "m", "stream": True, "max_tokens": 24,
                       "messages": [{"role": "user", "content": f"question {number}"}]}).encode()
    began = time.time()
    said = b""
    try:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     b"Authorization: Bearer " + key.encode() + b"\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                     % len(body) + body)
        await writer.drain()
        said = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        status = said.split(b" ", 2)[1].decode() if said else "empty"
        outcome = "ok" if status == "200" and b"[DONE]" in said else f"{status} cut off"
    except Exception as err:
        outcome = f"{type(err).__name__}: {err}"
    done.append((began, time.time(), outcome))
async def work(worker):
    number = 0
    while not os.path.exists(stop):
        await ask(f"{worker}-{number}")
        number += 1
        await asyncio.sleep(0.15)  # engines and Docker need the processors too
async def main():
    await asyncio.gather(*(work(worker) for worker in range(workers)))
asyncio.run(main())
print(json.dumps(done))
"""


def make_images(engine: DockerEngine) -> None:
    """The stub as a program `vllm`, and HAProxy with the recipe's scripts."""
    for name in _PROGRAMS:
        if not shutil.which(name):
            pytest.skip(f"{name} is not installed (Debian: haproxy, socat)")
    import_base(engine)
    make_engine_image(engine)
    recipe = load_recipe("loadbalancer")
    rendered = render_recipe(recipe, resolve_settings(recipe), builder="buildkit")
    contents = {file.path: file.content for file in rendered.files}
    files = {f"opt/xpukit/{name}": contents[name] for name in ("entrypoint.sh", "check.sh")}
    files["usr/local/bin/backend"] = contents["backend.sh"]
    engine.docker(
        "import",
        "-c", "USER 10001:10001", "-c", 'ENTRYPOINT ["/opt/xpukit/entrypoint.sh"]',
        "-c", "ENV PATH=/usr/local/bin:/usr/sbin:/bin",
        "-", BALANCER_IMAGE,
        stdin=_tar(files, make_image_tar(_PROGRAMS), folder="run/balancer"),
    )  # fmt: skip


def make_engine_image(engine: DockerEngine, failure: str = "") -> None:
    """The image of the engines: with a failure switch of the stub, or without."""
    smoke = Path(load_recipe("smoke").folder)
    made = engine.docker("create", BASE, "true")
    for name in ("stub_engine.py", "stub_answers.py"):
        engine.docker("cp", str(smoke / name), f"{made}:/opt/{name}")
    script = f"#!/bin/sh\nexport STUB_FAIL={failure}\n"
    script += 'exec python3 /opt/stub_engine.py "$@" --served-model-name m --stub-token-seconds 0.005\n'
    engine.docker("cp", "-", f"{made}:/usr/bin/", stdin=_tar({"vllm": script.encode()}))
    engine.docker("commit", made, ENGINE_IMAGE)
    engine.docker("rm", made)


def _tar(files: Mapping[str, bytes], base: bytes = b"", folder: str = "") -> bytes:
    buffer = io.BytesIO(base)
    with tarfile.open(fileobj=buffer, mode="a" if base else "w") as tar:
        if folder:
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o700, _UID, _UID
            tar.addfile(entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def make_plan(replicas: int) -> Plan:
    """So many engines with a key, on device nodes and processors of this machine."""
    plan = load_plan("native")
    [first, *_] = plan.launches
    launches = []
    for index in range(replicas):
        port = first.port + index
        flags = tuple(
            msgspec.structs.replace(flag, words=("--port", str(port))) if flag.intent == "port" else flag
            for flag in first.flags
        )
        gpus = plan.launches[index % len(plan.launches)].gpus
        launches.append(msgspec.structs.replace(first, name=f"engine-{index}", port=port, flags=flags, gpus=gpus))
    plan = plan_here(msgspec.structs.replace(plan, launches=tuple(launches)))
    image = msgspec.structs.replace(plan.engine, image=ENGINE_IMAGE, start="pass", setvars="")
    return msgspec.structs.replace(plan, engine=image)


class Stack:
    """Commands inside the daemon's network namespace, as one who is logged in there would type them."""

    def __init__(self, engine: DockerEngine, place: Path) -> None:
        self.engine = engine
        self.place = place
        self.environment = {**os.environ, "DOCKER_HOST": engine.address, "SERVER_KEY": KEY}

    def inside(self, *argv: str) -> list[str]:
        return ["nsenter", "-t", str(self.engine.pid), "-n", "--", *argv]

    def xpukit(self, *words: str) -> list[str]:
        return self.inside(sys.executable, "-m", "xpukit", *words)

    def run(self, argv: list[str], *, limit: float = LIMIT_S) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv, cwd=self.place, env=self.environment, capture_output=True, text=True, timeout=limit, check=False
        )

    def rotate(self, *words: str) -> subprocess.CompletedProcess[str]:
        common = ("--api-key-env", "SERVER_KEY", "--lock", str(self.place / "lock"))
        return self.run(self.xpukit("rotate", "chat", *words, *common), limit=2 * LIMIT_S)

    @contextlib.contextmanager
    def serving(self, replicas: int, *words: str) -> Iterator[subprocess.Popen[str]]:
        """`serve --run` until all engines that are no spares get requests; ended with Ctrl-C."""
        plan = make_plan(replicas)
        saved = self.place / "plan.json"
        saved.write_bytes(msgspec.json.encode({"schema": "xpukit.plan/1", **msgspec.to_builtins(plan)}))
        log = (self.place / "serve.log").open("w+")
        argv = self.xpukit(
            "serve", "--plan", str(saved), "--form", "compose", "--name", "chat", "--run",
            "--balancer-image", BALANCER_IMAGE, *words,
        )  # fmt: skip
        argv = hear_interrupts(argv)
        process = subprocess.Popen(argv, cwd=self.place, env=self.environment, stdout=log, stderr=log, text=True)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=2 * LIMIT_S)
            log.close()

    def read_log(self) -> str:
        return (self.place / "serve.log").read_text(encoding="utf-8", errors="replace")

    def await_true(self, what: Callable[[], bool], why: str, limit: float = LIMIT_S) -> None:
        until = time.monotonic() + limit
        while not what():
            assert time.monotonic() < until, f"{why}: {self.read_log()[-3000:]}"
            time.sleep(0.1)

    def list_backends(self) -> dict[str, str]:
        rows = self.engine.docker("exec", "chat-balancer", "bash", "-c", _LIST).splitlines()
        fields = [row.split(",") for row in rows if row.startswith("engines,engine-")]
        return {row[1]: row[17] for row in fields}

    def tells_metrics(self, slot: str) -> bool:
        """Whether the slot's engine says its own metrics on this machine's loopback, through the balancer."""
        ask = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"
        ran = self.run(self.inside(sys.executable, "-c", ask, f"{METRICS_URL}/engines/{slot}/metrics"))
        return "vllm:num_requests_running" in ran.stdout

    def list_created(self) -> dict[str, str]:
        """When the containers of the replicas were created."""
        names = ("chat-0", "chat-1", "chat-2", "chat-3")
        created = self.engine.docker("inspect", "-f", "{{.Created}}", *names).splitlines()
        return dict(zip(names, created, strict=True))

    def count_running(self, name: str) -> int:
        """Requests that the balancer has given to an engine."""
        rows = self.engine.docker("exec", "chat-balancer", "bash", "-c", _LIST).splitlines()
        return sum(int(row.split(",")[4]) for row in rows if row.startswith(f"engines,engine-{name[-1]},"))

    @contextlib.contextmanager
    def broken_image(self, failure: str) -> Iterator[None]:
        """The engines' image fails for containers that are created in here."""
        make_engine_image(self.engine, failure)
        try:
            yield
        finally:
            make_engine_image(self.engine)

    @contextlib.contextmanager
    def loaded(self, workers: int = 4) -> Iterator[list[tuple[float, float, str]]]:
        """Clients that ask all the time; what became of each request is in the list after the block."""
        stop = self.place / "stop"
        with contextlib.suppress(FileNotFoundError):
            stop.unlink()
        argv = self.inside(sys.executable, "-c", CLIENT, str(workers), str(stop), KEY)
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        found: list[tuple[float, float, str]] = []
        try:
            yield found
        finally:
            stop.touch()
            out, _ = process.communicate(timeout=LIMIT_S)
            found += [tuple(row) for row in json.loads(out)]


_LIST = "echo 'show stat engines 4 -1' | socat -t 2 - UNIX-CONNECT:/run/balancer/admin.sock"
