"""Ray brought up over ssh for one run of the driver, and taken down again. Standard library only, as driver.py."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __package__:
    from xpukit.host.fleet.ray_folders import MARKER, PREFIX
else:
    from ray_folders import MARKER, PREFIX  # type: ignore[import-not-found, no-redef]

_JOIN_S = 150.0
_STOP_S = 12.0
_STORE_BYTES = 256 << 20
_TICK_S = 0.3
# Ray's own defaults need a minute to see that a cable was pulled; a loaded host still answers within 5 s.
_HEALTH = {
    "RAY_health_check_period_ms": "3000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "4",
}


class Failed(Exception):
    """Nothing can be done at all."""


class Link:
    """A host's part of Ray, held by an ssh session."""

    def __init__(self, host: dict[str, Any], argv: list[str], token: str) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the object)
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True
        )
        self.since = time.monotonic()
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.write(token.encode() + b"\n")
            self.process.stdin.flush()

    def read_end(self) -> str:
        """Why it ended, in its last words."""
        self.log.seek(0)
        lines = [line.strip() for line in self.log.read()[-20000:].decode(errors="replace").splitlines()]
        lines = [line for line in lines if line and not line.startswith(("--", "Local node IP"))]
        errors = [line for line in lines if "rror" in line or "denied" in line or "not found" in line]
        return (errors or lines or ["no word"])[-1][:300]

    def close(self) -> None:
        """The other side sees the end of its input, and ends Ray there."""
        with contextlib.suppress(OSError):
            if self.process.stdin is not None:
                self.process.stdin.close()

    def wait(self, until: float) -> None:
        """Until the session is over, or by force."""
        try:
            self.process.wait(timeout=max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


# The token comes first on standard input, so that it stands in no list of processes; the end of the input is the end.
_ON_THE_HOST = r"""
read -r RAY_AUTH_TOKEN || exit 1
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_TMPDIR="$2"
set -- "$1" "$2" "$3" "$4" $SSH_CONNECTION
export XPUKIT_FLEET_PART="$2 $4"
ray= end= made= tries=3 code=1
mkdir -m 700 "$RAY_TMPDIR" 2>/dev/null && made=1 && uname -n >"$RAY_TMPDIR/MARKER"
# What a run left here that was killed: this user's, this machine's, and no process speaks of it any more.
for old in "${RAY_TMPDIR%/*}"/PREFIX*; do
  [ "$old" != "$RAY_TMPDIR" ] && [ -O "$old" ] && [ ! -L "$old" ] && [ -f "$old/MARKER" ] || continue
  [ "$(cat "$old/MARKER")" = "$(uname -n)" ] && flock -n "$old/MARKER" true 2>/dev/null || continue
  # Not as a word of grep: it would find itself.
  printf '%s\n' "$old" | grep -qsF -f - /proc/[0-9]*/environ /proc/[0-9]*/cmdline || rm -rf "$old"
done
own=$(sed 's/.*) //' "/proc/$$/stat" | cut -d ' ' -f 4)
# To all that was started here: some carry the variable in another session, Ray's agents write their names over it.
signal_all() {
  found=$(grep -lsF "XPUKIT_FLEET_PART=$XPUKIT_FLEET_PART" /proc/[0-9]*/environ | cut -d / -f 3)
  if [ "$own" = "$$" ] || [ "$own" = "$PPID" ]; then
    found="$found $(sed -n "s/^\([0-9]*\) (.*) . [0-9]* [0-9]* $own .*/\1/p" /proc/[0-9]*/stat 2>/dev/null)"
  fi
  for one in $found; do
    [ "$one" = "$$" ] || [ "$one" = "$PPID" ] || kill "-$1" "$one" 2>/dev/null
  done
}
# Ray itself takes half a minute to end, and its agents outlive it when its head is gone.
sweep() {
  signal_all TERM
  sleep 2
  signal_all KILL
  signal_all KILL
  [ -z "$made" ] || rm -rf "$RAY_TMPDIR"
}
trap sweep EXIT
command -v "$1" >/dev/null || { echo "error: $1: not found on this host (--remote-ray PATH)"; exit 127; }
exec 3<&0 </dev/null
(cat <&3 >/dev/null; while kill -TERM $$ 2>/dev/null; do sleep 1; done) &
trap 'end=1; [ -z "$ray" ] || kill -TERM "$ray" 2>/dev/null' TERM
# Ray gives a busy machine 30 s to start, and then gives up.
while [ -z "$end" ] && [ "$tries" -gt 0 ]; do
  tries=$((tries - 1)) began=$(date +%s)
  "$1" start --block --disable-usage-stats --num-cpus=0 --object-store-memory=STORE \
    --address="$3" --node-ip-address="$7" --resources="$4" &
  ray=$!
  wait "$ray"
  code=$?
  [ $(($(date +%s) - began)) -lt 60 ] || break
done
exit "$code"
"""
JOIN = _ON_THE_HOST.replace("STORE", str(_STORE_BYTES)).replace("MARKER", MARKER).replace("PREFIX", PREFIX)


def check_token_is_known(since: str) -> None:
    """Raises Failed where this Python's Ray would leave the token unread: anybody could run programs on the hosts."""
    try:
        version = importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        raise Failed(f"{sys.executable} has no Ray") from None
    numbers, wanted = ([int(one) for one in re.findall(r"\d+", text)[:3]] for text in (version, since))
    if numbers < wanted:
        raise Failed(
            f"Ray {version} knows no token ({since} does): for the time of the run whoever reaches a port of it could"
            " run programs on all hosts. Install a newer one here and there"
        )


def list_below(pid: int) -> list[int]:
    """The processes that a process started, and theirs."""
    below: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
            below.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += below.get(one, [])
    return found[1:]


class OwnCluster:
    """Ray brought up for this run: the head here, without resources, and a part on each host over ssh."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request
        self._token = secrets.token_hex(32)
        self._links: dict[str, Link] = {}
        self._closed: list[Link] = []
        self.folder = Path(request["scratch"])
        self.address = ""
        self._head: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def start(self) -> None:
        """The head. Raises Failed."""
        check_token_is_known(self._request["token_since"])
        ray = self._request["ray"]
        own = self._request["head_address"] or self._find_own_address()
        with socket.socket() as probe:
            probe.bind((own, 0))
            port = probe.getsockname()[1]
        self.address = f"{own}:{port}"
        os.environ.update(
            RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=self._token, RAY_USAGE_STATS_ENABLED="0", RAY_TMPDIR=str(self.folder)
        )
        os.environ.update({name: value for name, value in _HEALTH.items() if name not in os.environ})
        log = (self.folder / "head.log").open("wb")
        argv = [
            ray, "start", "--head", "--block", f"--port={port}", f"--node-ip-address={own}", "--num-cpus=0",
            "--include-dashboard=false", "--disable-usage-stats", f"--object-store-memory={_STORE_BYTES}",
        ]  # fmt: skip
        # It goes when this program is killed.
        tied = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
        with log:
            self._head = subprocess.Popen([*tied, *argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + _JOIN_S
        while True:
            if self._head.poll() is not None or time.monotonic() > until:
                raise Failed(f"Ray's head does not start: {self._read_head_log()}")
            with contextlib.suppress(OSError), socket.create_connection((own, port), timeout=1):
                return
            time.sleep(_TICK_S)

    def watch_head(self, tell: Callable[[str], None]) -> None:
        """Have `tell` called, in a thread, with the head's last words where it ends before `stop`."""
        head = self._head
        assert head is not None

        def watch() -> None:
            while head.poll() is None:
                time.sleep(_TICK_S)
            if not self._stopping:
                tell(self._read_head_log())

        threading.Thread(target=watch, daemon=True).start()

    def _read_head_log(self) -> str:
        lines = (self.folder / "head.log").read_text(errors="replace").strip().splitlines()
        # Which of its processes ended is said before the last line.
        ended = [line.strip() for line in lines if "exit code" in line]
        return (ended or lines or ["no word"])[-1][:300]

    def _find_own_address(self) -> str:
        """The address from which the first host is reached."""
        target = self._request["hosts"][0]["ssh"]
        shown = subprocess.run(
            [*self._request["ssh"], "-G", target], capture_output=True, text=True, timeout=20, check=False
        )
        name = next((line.split()[1] for line in shown.stdout.splitlines() if line.startswith("hostname ")), target)
        try:
            family, kind, _, _, place = socket.getaddrinfo(name, 22, type=socket.SOCK_DGRAM)[0]
            with socket.socket(family, kind) as probe:
                probe.connect(place)
                return str(probe.getsockname()[0])
        except OSError as err:
            raise Failed(f"{name}: no way to it: {err} (--head-address names this machine's address)") from err

    def join(self, host: dict[str, Any]) -> None:
        """Begin to bring a host in."""
        resources = json.dumps({host["resource"]: 1})
        words = ["sh", "-c", JOIN, "xpukit", self._request["remote_ray"], str(self.folder), self.address, resources]
        argv = [*self._request["ssh"], "-T", host["ssh"], shlex.join(words)]
        self._links[host["name"]] = Link(host, argv, self._token)

    def find_problem(self, name: str, *, joined: bool) -> str:
        """Why a host cannot be worked with any more, "" while it can."""
        link = self._links.get(name)
        if link is None:
            return ""
        if link.process.poll() is not None:
            return f"{'its ssh session ended' if joined else 'could not join'}: {link.read_end()}"
        if not joined and time.monotonic() - link.since > _JOIN_S:
            return f"did not join Ray within {_JOIN_S:.0f} s: {link.read_end()}"
        return ""

    def leave(self, name: str) -> None:
        """End a host's part."""
        link = self._links.pop(name, None)
        if link is not None:
            link.close()
            self._closed.append(link)

    def stop(self) -> None:
        """End all that was started, here and there."""
        self._stopping = True
        for name in list(self._links):
            self.leave(name)
        until = time.monotonic() + _STOP_S
        for link in self._closed:
            link.wait(until)
        if self._head is not None:
            parts = list_below(self._head.pid)
            self._head.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._head.wait(timeout=_STOP_S)
            self._head.kill()
            for pid in parts:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
