"""`xpukit bench` against a server with known delays, and with a program in the place of an engine's benchmark."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.operate import bench_samples as samples
from xpukit.host.http_stream import Endpoint, HttpFailure, HttpStreamClient
from xpukit.operate.bench.client import ClientSettings, find_model, measure, measure_own_cost
from xpukit.operate.bench.schedule import LoadPlan

pytestmark = pytest.mark.live
STUB = Path(__file__).parent / "bench_stub.py"
# A timer may end a little early by the clock's grain; how late it ends is the machine's affair.
GRAIN_MS = 1.0
WAIT_S = 20.0


class Server:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=lambda: [self._lines.put(line) for line in process.stdout or ()], daemon=True).start()

    def next_answer(self) -> dict[str, float]:
        """What it says of an answer that it gave."""
        found: dict[str, float] = json.loads(self._lines.get(timeout=WAIT_S))
        return found


@contextlib.contextmanager
def serve(*options: str) -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, str(STUB), *options], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        yield Server(process)
    finally:
        process.kill()
        process.wait()


def run(argv: list[str], *, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **({"PATH": f"{path}:{os.environ['PATH']}"} if path else {})}
    return subprocess.run(
        [sys.executable, "-m", "xpukit", "bench", *argv],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        env=env,
        check=False,
    )


def load(requests: int = 20, **more: Any) -> LoadPlan:
    return LoadPlan(input_len=101, output_len=5, requests=requests, **more)


def test_known_delays_are_measured() -> None:
    with serve("--first-ms", "40", "--gap-ms", "10") as server:
        assert find_model(server.url) == "stub-model"
        result = measure(
            ClientSettings(url=server.url, model="stub-model", warmup=0), load(rate_rps=50.0, arrival="poisson")
        )
        said = [server.next_answer() for _ in range(20)]
    assert (result.completed, result.failed, result.output_tokens) == (20, 0, 100)
    # The stub counts two tokens a word and five for its template; the client found that out.
    assert {one["prompt_tokens"] for one in said} == {101}
    assert result.input_tokens == 20 * 101
    assert result.ttft is not None
    assert result.tpot is not None
    assert result.e2e is not None
    assert result.ttft.min is not None
    assert result.e2e.min is not None
    assert result.e2e.mean is not None
    assert result.ttft.min >= 40 - GRAIN_MS
    assert result.tpot.percentiles["p99"] >= 10 - GRAIN_MS
    assert result.e2e.min >= 80 - GRAIN_MS
    # What the client saw holds what the server did, and little else.
    served = sum(one["took_ms"] for one in said) / len(said)
    assert served - GRAIN_MS <= result.e2e.mean <= served + 2000
    assert result.overhead is not None
    assert result.overhead.event_us > 0
    assert "CPU" in result.overhead.statement or "late" in result.overhead.statement


def test_waiting_behind_a_stall_is_charged() -> None:
    # One at a time, 100 ms each, asked for at 100/s: the tenth is meant to start after 90 ms and ends after 1 s.
    with serve("--serial", "--first-ms", "100", "--gap-ms", "0") as server:
        result = measure(ClientSettings(url=server.url, model="m", warmup=0), load(10, rate_rps=100.0, arrival="fixed"))
        limited = measure(
            ClientSettings(url=server.url, model="m", warmup=0),
            load(10, rate_rps=100.0, arrival="fixed", concurrency=1),
        )
    for one in (result, limited):
        assert one.e2e is not None
        assert one.e2e.max is not None
        assert one.e2e.max >= 900 - GRAIN_MS
        assert one.e2e.median is not None
        assert one.e2e.median >= 400
    assert limited.concurrency_peak == 1.0


def test_errors_are_counted() -> None:
    with serve("--first-ms", "1", "--gap-ms", "0", "--fail-every", "3", "--cut-every", "4") as server:
        result = measure(ClientSettings(url=server.url, model="m", warmup=0), load(12, concurrency=2))
    # Of 12, four are refused; the 4th and 8th break off (the 12th is refused before it could).
    assert (result.completed, result.failed) == (6, 6)
    assert [(one.text, one.count) for one in result.errors] == [
        ("HTTP 503: busy", 4),
        ("the connection was closed before the answer ended", 2),
    ]


def test_a_time_limit_and_a_dead_server() -> None:
    with serve("--first-ms", "60000") as server:
        result = measure(
            ClientSettings(url=server.url, model="m", warmup=0, timeout_s=0.3, api="completions"),
            load(3, concurrency=3),
        )
        url = server.url
    assert (result.completed, result.failed) == (0, 3)
    assert result.errors[0].text == "no whole answer within 0.3 s"
    found = run(
        [
            "run",
            "--url",
            url,
            "--model",
            "m",
            "--input",
            "9",
            "--output",
            "4",
            "--requests",
            "1",
            "--out",
            "/dev/null/x",
        ]
    )
    assert found.returncode == 4
    assert "cannot be made" in found.stderr


def test_interrupted_and_continued(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = [
        "--input",
        "20",
        "--output",
        "20",
        "--requests",
        "12",
        "--concurrency",
        "2",
        "--warmup",
        "0",
        "--out",
        str(out),
    ]
    with serve("--first-ms", "100", "--gap-ms", "10") as server:
        argv = ["run", "--url", server.url, "--model", "m", *words]
        process = subprocess.Popen(
            [sys.executable, "-m", "xpukit", "bench", *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        for _ in range(3):
            server.next_answer()
        process.send_signal(signal.SIGINT)
        shown, said = process.communicate(timeout=WAIT_S)
        assert process.returncode == 130, said
        assert "(interrupted)" in shown
        document = json.loads((out / "results.json").read_text(encoding="utf-8"))
        (partial,) = document["points"][0]["runs"]
        assert document["interrupted"]
        assert 1 <= partial["completed"] < 12
        assert partial["failed"] == 0
        again = run([*argv, "--resume"])
        assert again.returncode == 0, again.stderr
    assert json.loads((out / "results.json").read_text(encoding="utf-8"))["points"][0]["runs"][0]["completed"] == 12


def test_find_limit(tmp_path: Path) -> None:
    words = ["--input", "20", "--output", "4", "--from-rate", "10", "--max-rate", "20", "--seconds", "0.5", "--json"]
    with serve("--first-ms", "5", "--gap-ms", "1") as server:
        kept = run(["find-limit", "--url", server.url, "--sla", "e2e_p99<=60s", *words])
        broken = run(["find-limit", "--url", server.url, "--sla", "ttft_p99<=1ms", *words])
    assert kept.returncode == 0, kept.stderr
    assert json.loads(kept.stdout)["highest_rps"] == 20
    assert broken.returncode == 1, broken.stderr
    assert json.loads(broken.stdout)["highest_rps"] is None


def put_program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
    (folder / name).chmod(0o755)


def test_the_engines_own_benchmark(tmp_path: Path) -> None:
    record = tmp_path / "argv.json"
    program = f"import json, sys\njson.dump(sys.argv[1:], open({str(record)!r}, 'w'))\nprint({samples.VLLM_TABLE!r})\n"
    put_program(tmp_path, "vllm", program)
    words = ["--model", "acme/Tiny-7B", "--input", "128", "--output", "64", "--requests", "20", "--concurrency", "4"]
    with serve("--first-ms", "1", "--gap-ms", "0") as server:
        argv = ["run", "--client", "vllm", "--url", server.url, *words, "--out", str(tmp_path / "run"), "--json"]
        found = run(argv, path=tmp_path)
        put_program(tmp_path, "vllm", "import sys\nsys.exit('no such tokenizer')\n")
        failing = run([*argv[:-2], str(tmp_path / "failing"), "--json"], path=tmp_path)
    assert found.returncode == 1, found.stderr  # the sample has two failed requests
    given = json.loads(record.read_text(encoding="utf-8"))
    assert given[:2] == ["bench", "serve"]
    assert given[given.index("--random-input-len") + 1] == "128"
    assert given[given.index("--percentile-metrics") + 1] == "ttft,tpot,itl,e2el"
    point = json.loads(found.stdout)["points"][0]
    assert point["reason"] == "2 of 20 requests failed"
    assert point["runs"][0]["engine"] == "vllm"
    (log,) = (tmp_path / "run" / "logs").iterdir()
    assert "Serving Benchmark Result" in log.read_text(encoding="utf-8")
    assert failing.returncode == 3
    assert "no such tokenizer" in json.loads(failing.stdout)["points"][0]["reason"]


def test_one_batch_without_a_server(tmp_path: Path) -> None:
    record = tmp_path / "argv.json"
    text = f"import json, sys\njson.dump(sys.argv[1:], open({str(record)!r}, 'w'))\nprint({samples.ONE_BATCH_LOG!r})\n"
    put_program(tmp_path, "python", text)
    words = ["run", "--client", "sglang:0.5.9", "--one-batch", "--device", "xpu", "--model", "acme/Tiny-7B"]
    load = ["--input", "128", "--output", "64", "--concurrency", "8", "--tp", "2", "--out", str(tmp_path / "run")]
    found = run([*words, *load, "--json"], path=tmp_path)
    assert found.returncode == 0, found.stderr
    given = json.loads(record.read_text(encoding="utf-8"))
    assert given[:2] == ["-m", "sglang.bench_one_batch"]
    assert given[given.index("--batch-size") + 1] == "8"
    assert given[given.index("--tp-size") + 1] == "2"
    [point] = json.loads(found.stdout)["points"]
    assert point["runs"][0]["one_batch"]["prefill_throughput"] > 0
    assert run([*words[:2], "vllm", *words[3:], *load], path=tmp_path).returncode == 2


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


def fetch(answer: bytes, *, times: int = 1, close: bool = False) -> list[bytes | str]:
    """What a client gets from a server that says this to each request; a failure as its text."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
                if close:
                    break
        writer.close()

    async def talk() -> list[bytes | str]:
        server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = HttpStreamClient(Endpoint(host="127.0.0.1", port=port, tls=False, prefix=""))
        got: list[bytes | str] = []
        for _ in range(times):
            try:
                got.append(await asyncio.wait_for(client.fetch("GET", "/x"), WAIT_S))
            except HttpFailure as err:
                got.append(err.text)
            # Lets the end of a closed connection arrive.
            await asyncio.sleep(0.01)
        client.close()
        server.close()
        return got

    return asyncio.run(talk())


@pytest.mark.parametrize(
    ("answer", "close", "got"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", False, b"hi"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", True, b"hi"),
        (b"HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n", False, b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\nA: b\r\n\r\n", False, b"hi"),
        (b"HTTP/1.0 200 OK\r\n\r\nhi", True, b"hi"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", False, b"hi"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone", False, "HTTP 404: none"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", True, "the answer ended too early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", True, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", True, "not HTTP"),
        (b"SSH-2.0\r\n\r\n", True, "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300 + b"\r\n", True, "too many headers"),
        (b"", True, "the connection was closed before the answer ended"),
    ],
)
def test_answers_of_any_shape(answer: bytes, close: bool, got: bytes | str) -> None:
    for one in fetch(answer, times=3, close=close):
        assert one == got if isinstance(got, bytes) else isinstance(one, str) and one.startswith(got)


def test_own_cost_is_measured() -> None:
    assert 0 < asyncio.run(measure_own_cost(200)) < 1
