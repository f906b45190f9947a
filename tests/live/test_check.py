"""`xpukit check` and `serve --run` before a real server process, with each way to fail."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.live.openai_stub import FAILURES, find_port, start_stub
from tests.unit.serve.form_plans import load_plan
from xpukit.cli import app
from xpukit.core.errors import UsageError
from xpukit.core.json_document import build_document, encode_json
from xpukit.host.foreground import run_foreground
from xpukit.host.http_client import HttpReply, send_request
from xpukit.serve.plan_types import Plan

pytestmark = pytest.mark.live
REPO = Path(__file__).resolve().parents[2]
STUB = Path(__file__).with_name("openai_stub.py")


def run_check(*words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the JSON document, standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = app.run(["check", *words, "--json"])
    return code, json.loads(out.getvalue()), err.getvalue()


def list_rows(document: dict[str, Any], *verdicts: str) -> set[str]:
    return {row["name"] for row in document["rows"] if row["verdict"] in verdicts}


@pytest.mark.parametrize("level", [(), ("--quick",), ("--long",)])
def test_a_good_engine_is_ready(level: tuple[str, ...]) -> None:
    with start_stub("openapi") as stub:
        code, document, _ = run_check(stub.url, *level)
    assert code == 0
    assert len(list_rows(document, "pass")) == len(document["rows"]) == 16
    assert document["schema"] == "xpukit.check/1"
    assert document["context_tokens"] == 4096
    schema = json.loads((REPO / "docs" / "schemas" / "xpukit.check-1.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema)


SPOKEN = {"arithmetic", "prose", "stream", "long", "concurrent"}
# Failure -> (exit code, rows that fail), where "*" stands for chat and completions (depth is asked of chat alone).
EXPECTED: dict[str, tuple[int, set[str]]] = {
    "empty": (1, {f"*-{row}" for row in SPOKEN | {"logprobs"}}),
    "repeat": (1, {f"*-{row}" for row in SPOKEN}),
    "bad-math": (1, {f"*-{row}" for row in SPOKEN - {"prose"}}),
    "degenerate": (1, {f"*-{row}" for row in SPOKEN}),
    "loop": (1, {f"*-{row}" for row in SPOKEN}),
    "nan-logprobs,embed-nan,rerank-reversed": (1, {"*-logprobs", "embeddings", "rerank", "score"}),
    "no-logprobs,embed-short,stream-cut": (1, {"*-logprobs", "embeddings", "*-stream"}),
    "floor-logprobs,embed-flat,stream-error": (1, {"*-logprobs", "embeddings", "*-stream"}),
    "error-logprobs,embed-same": (1, {"*-logprobs", "embeddings"}),
    "deep=600": (1, {"chat-long"}),
    "mixed": (1, {"chat-concurrent"}),
    "think": (0, set()),
    "bad-json": (1, {"chat-arithmetic", "chat-prose", "chat-logprobs", "chat-long", "chat-concurrent", "rerank",
                     "completions-arithmetic", "completions-prose", "completions-logprobs", "embeddings", "score"}),
    "few-tokens": (0, set()),
    "busy": (0, set()),
    "hang": (1, {"chat-arithmetic"}),
    "http-500": (1, {f"*-{row}" for row in SPOKEN | {"logprobs"}} | {"embeddings", "rerank", "score"}),
    "no-template": (0, set()),
    "without=chat+completions": (0, set()),
    "without=chat+completions+embeddings+rerank+score": (3, set()),
}  # fmt: skip


@pytest.mark.parametrize("failure", EXPECTED)
def test_each_failure_is_caught(failure: str) -> None:
    code, rows = EXPECTED[failure]
    both = {row.replace("*", api) for row in rows for api in ("chat", "completions")}
    expected = both - {"completions-long", "completions-concurrent"}
    # These hold requests up: of chat alone. The limit on each request is one that only "hang" comes near to.
    words = ("--api", "chat") if failure in ("mixed", "busy", "hang") else ()
    with start_stub(failure) as stub:
        found, document, _ = run_check(stub.url, "--quick", "--timeout", "1" if failure == "hang" else "20", *words)
    if failure == "busy":  # whether one of them gets in at all is a matter of moments
        assert list_rows(document, "fail") | list_rows(document, "warn") == {"chat-concurrent"}
        assert found == (1 if list_rows(document, "fail") else 0)
        return
    assert list_rows(document, "fail") == expected
    assert found == code
    for row in document["rows"]:
        assert row["verdict"] == "pass" or row["why"]
    warned = {"few-tokens": {"chat-long"}}.get(failure, set())
    assert list_rows(document, "warn") == warned


def test_every_failure_of_the_stub_is_tried() -> None:
    tried = {name.partition("=")[0] for names in EXPECTED for name in names.split(",")}
    others = {"openapi", "start", "kv-too-small", "kv"}
    # Those of test_bench_stress.py and test_bench_context.py.
    others |= {"oom-above", "forget", "slower", "leak", "kv-leak", "break-after", "wrong-after", "preempt"}
    assert set(FAILURES) - tried == others


def test_an_engine_that_dies_meanwhile_fails() -> None:
    with start_stub("crash-after=3") as stub:
        code, document, _ = run_check(stub.url, "--quick")
        assert stub.process.wait(timeout=10) == 1
    assert code == 1
    assert {"chat-logprobs", "alive"} <= list_rows(document, "fail")
    assert {"completions", "embeddings", "rerank"} <= list_rows(document, "unknown")


def test_a_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with start_stub(options=("--api-key", "s3cret-word")) as stub:
        code, document, err = run_check(stub.url)
        assert (code, document["error"]["class"]) == (2, "UsageError")
        assert "--api-key-env" in document["error"]["hint"]
        monkeypatch.setenv("OUR_KEY", "wrong")
        code, document, _ = run_check(stub.url, "--api-key-env", "OUR_KEY")
        assert code == 2
        monkeypatch.setenv("OUR_KEY", "s3cret-word")
        code, document, err = run_check(stub.url, "--quick", "--api-key-env", "OUR_KEY")
    assert code == 0
    assert "s3cret-word" not in json.dumps(document) + err


def test_what_cannot_be_asked_is_said() -> None:
    code, document, _ = run_check(f"http://127.0.0.1:{find_port()}")
    assert (code, document["error"]["class"]) == (4, "ExternalError")
    assert run_check("http://127.0.0.1:1", "--api-key-env", "NOT_SET_ANYWHERE")[0] == 2
    assert run_check("ftp://127.0.0.1")[0] == 2
    with start_stub() as stub:
        code, document, _ = run_check(stub.url, "--model", "other")
        assert (code, document["error"]["hint"]) == (2, "it serves: stub/tiny")


def test_the_terminal_shows_rows_and_evidence() -> None:
    with start_stub("degenerate") as stub:
        ran = subprocess.run(
            [sys.executable, "-m", "xpukit", "check", stub.url, "--quick", "--api", "chat"],
            cwd=REPO, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert ran.returncode == 1
    assert "degenerate: 64 of 64 characters are '!'" in ran.stdout
    assert "asked:  {" in ran.stdout
    assert ran.stdout.splitlines()[-1].startswith("not ready: 5 fail, 1 pass")


# --- serve --run -----------------------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Callable[..., contextlib.AbstractContextManager[subprocess.Popen[str]]]:
    """Start `serve --run` of a saved plan whose `vllm` is the stub."""
    plan = load_plan("native")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "vllm").write_text(f'#!/bin/sh\nexec {sys.executable} {STUB} "$@"\n')
    (programs / "vllm").chmod(0o755)

    @contextlib.contextmanager
    def start(failure: str, *words: str) -> Iterator[subprocess.Popen[str]]:
        path = tmp_path / "plan.json"
        path.write_text(encode_json(build_document("xpukit.plan/1", "h", move_plan(plan, find_port()))))
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "STUB_FAIL": failure,
                       "SERVER_KEY": "k3y-of-the-test", "PYTHONPATH": str(REPO)}  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-m", "xpukit", "serve", "--plan", str(path), "--run", *words],
            cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.communicate(timeout=40)

    return start


def move_plan(plan: Plan, port: int) -> Plan:
    """One engine of the plan, on this port, not pinned."""
    import msgspec

    [launch] = [one for one in plan.launches if one.role == "engine"][:1]
    flags = tuple(
        msgspec.structs.replace(
            flag, words=tuple(str(port) if word == str(launch.port) else word for word in flag.words)
        )
        for flag in launch.flags
    )
    pin = msgspec.structs.replace(launch.pin, numactl=())
    moved = msgspec.structs.replace(launch, flags=flags, port=port, pin=pin)
    return msgspec.structs.replace(plan, launches=(moved,))


def read_until(process: subprocess.Popen[str], mark: str) -> list[str]:
    """Its lines up to the one that holds the mark."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if mark in line:
            return lines
    raise AssertionError("\n".join(lines))


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_serve_run_waits_and_checks(served: Any) -> None:
    with served("start=1") as process:
        lines = read_until(process, "ready: ")
        assert process.poll() is None
    said = [line for line in lines if line.startswith("xpukit: ")]
    for words in ("weights loaded", "KV cache: ", "maximum concurrency: ", "graphs captured", "answers after"):
        assert any(words in line for line in said), words
    # The engine's own words pass through.
    assert any("Application startup complete" in line for line in lines)
    assert lines[-1].startswith("ready: ")
    assert "k3y-of-the-test" not in "\n".join(line for line in lines if not line.startswith("INFO"))


def test_serve_run_says_that_answers_are_wrong(served: Any) -> None:
    with served("degenerate") as process:
        lines = read_until(process, "runs, but its answers are not right")
        assert any(line.startswith("not ready: ") for line in lines)
        assert process.poll() is None


def test_serve_run_without_check_only_starts(served: Any) -> None:
    with served("", "--no-check") as process:
        lines = read_until(process, "Application startup complete")
    assert not [line for line in lines if line.startswith("xpukit: ")]


def test_serve_run_offers_the_retry_that_the_log_suggests(served: Any) -> None:
    with served("kv-too-small") as process:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 4
    assert "[XPK-LOG-KV-CACHE-TOO-SMALL]" in out
    assert "the log suggests --max-model-len 2048" in out


def test_serve_run_takes_the_retry_where_it_is_asked_to(served: Any) -> None:
    with served("kv=5000", "--retry") as process:
        lines = read_until(process, "ready: ")
        assert process.poll() is None
    assert "starting again with --context 5000, as the log suggests" in lines
    assert "  context limit  5000 tokens" in lines


def test_a_watched_program_passes_its_output_on_and_ends_with_all_its_children(
    capfd: pytest.CaptureFixture[str],
) -> None:
    seen: list[str] = []
    # The child keeps the pipe open long after its parent has ended.
    script = "sleep 100 & printf 'a 10%%\\ra 20%%\\nb\\n'; printf 'odd \\377' >&2; exit 3"
    code = run_foreground(["sh", "-c", script], lambda lines: seen.extend(line for line in lines if line is not None))
    out, err = capfd.readouterr()
    assert code == 3
    assert out == "a 10%\ra 20%\nb\n"
    assert err.startswith("odd ")
    assert {"a 10%", "a 20%", "b"} <= set(seen)


# --- the client ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def serve_bytes(*answers: bytes, pause_s: float = 0.0) -> Iterator[str]:
    """A server that sends these pieces to whoever connects, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = threading.Event()

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    one, _ = listening.accept()
                    with one, contextlib.suppress(OSError):
                        one.recv(65536)
                        for piece in answers:
                            one.sendall(piece)
                            if done.wait(pause_s):
                                return

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/x"
        done.set()
        listening.shutdown(socket.SHUT_RDWR)


def ask(url: str, timeout_s: float = 5.0, limit_bytes: int = 1 << 20) -> HttpReply:
    return send_request(url, timeout_s=timeout_s, limit_bytes=limit_bytes)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@pytest.mark.parametrize(
    ("answers", "trouble", "body"),
    [
        ((HEAD + b"Content-Length: 3\r\n\r\nabc",), "", b"abc"),
        ((HEAD + b"\r\nabc",), "", b"abc"),
        ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",), "", b"abc"),
        ((HEAD + b"Content-Length: 9\r\n\r\nabc",), "cut-off", b"abc"),
        ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\nabc",), "cut-off", None),
        ((b"",), "cut-off", b""),
        ((b"hello\r\n\r\n",), "protocol", b""),
        ((b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",), "protocol", b""),
        ((HEAD + b"\r\n" + b"a" * 2000,), "too-long", b"a" * 1000),
    ],
)
def test_the_client_reads_what_servers_do(answers: tuple[bytes, ...], trouble: str, body: bytes | None) -> None:
    with serve_bytes(*answers) as url:
        reply = ask(url, limit_bytes=1000)
    assert reply.trouble == trouble, reply
    assert body is None or reply.body == body
    assert bool(reply.detail) == bool(trouble)


@pytest.mark.parametrize("answers", [(b"",), (b"HTTP/1.1 200 OK\r\n", *[b"A"] * 100), (HEAD + b"\r\n", *[b"a"] * 100)])
def test_a_deadline_holds_for_servers_that_drip(answers: tuple[bytes, ...]) -> None:
    with serve_bytes(*answers, pause_s=0.2) as url:
        if answers == (b"",):
            with serve_bytes(b"", pause_s=30) as silent:
                reply = ask(silent, timeout_s=0.6)
        else:
            reply = ask(url, timeout_s=0.6)
    assert reply.trouble == "timeout"


def test_the_client_takes_no_proxy_and_follows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with serve_bytes(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n") as url:
        assert ask(url).status == 302
    assert ask(f"http://127.0.0.1:{find_port()}").trouble == "unreachable"
    with pytest.raises(UsageError):
        ask("file:///etc/passwd")


def test_a_certificate_that_nobody_signed_is_refused(tmp_path: Path) -> None:
    import ssl

    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2",
         "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")],
        capture_output=True, timeout=60, check=False,
    ) if shutil.which("openssl") else None  # fmt: skip
    if made is None or made.returncode:
        pytest.skip("openssl is not here")
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        reply = ask(f"https://127.0.0.1:{server.server_port}/")
    finally:
        server.shutdown()
        server.server_close()
    assert reply.trouble == "tls"
    assert reply.detail


class Odd(http.server.BaseHTTPRequestHandler):
    """Answers that no engine gives but what stands in front of one may."""

    def do_GET(self) -> None:
        body = gzip.compress(b'{"data": [{"id": "m"}]}')
        if self.path.startswith("/orders"):
            body = b'{"error":{"message":"\x1b]0;title\x07\x1b[2Jgone"}}'
        self.send_response(500 if self.path.startswith("/orders") else 200)
        self.send_header("Content-Length", str(len(body)))
        if self.path.startswith("/packed"):
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture(scope="module")
def odd() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("words", [["check"], ["bench", "run", "--input", "4", "--output", "4", "--url"]])
@pytest.mark.parametrize(("path", "said"), [("/packed", "compressed (gzip)"), ("/orders", "gone")])
def test_what_stands_in_front_of_a_server_is_shown_as_text(odd: str, words: list[str], path: str, said: str) -> None:
    """Bytes that were not asked for are named, orders to the terminal are not obeyed."""
    ran = subprocess.run(
        [sys.executable, "-m", "xpukit", *words, odd + path], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 4
    assert said in ran.stderr
    assert all(char.isprintable() or char == "\n" for char in ran.stderr), ran.stderr
