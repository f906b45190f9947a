#!/usr/bin/env python3
"""Our benchmark client against aiohttp, which vLLM's and SGLang's clients are built on: what a streamed event costs.

Run with the environment that has xpukit, and aiohttp for the peer: python benchmarks/bench_client.py [--rounds N]

Both ask the same server (tests/live/bench_stub.py, a process of its own) for the same streams, so many at a time, and time
every event; the peer does what vLLM's client does for one: iterate over the pieces, split off `data: `, json.loads. Told are
processor microseconds of the client for an event, and by how much the median first token comes later than the server's
known delay. No client can be better than 0 there.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from xpukit.host.http_stream import HttpStreamClient, read_url  # noqa: E402
from xpukit.operate.bench.openai_stream import ask, build_body  # noqa: E402

FIRST_MS, GAP_MS = 30.0, 2.0


class Turn(NamedTuple):
    """Processor microseconds of an event; median first token beyond the server's delay, ms."""

    event_us: float
    late_ms: float


async def run_ours(url: str, body: bytes, requests: int, places: int) -> tuple[int, list[float]]:
    client = HttpStreamClient(read_url(url))
    firsts: list[float] = []
    events = 0

    async def work(numbers: list[int]) -> None:
        nonlocal events
        while numbers:
            numbers.pop()
            answer = await ask(client, "chat", body, intended=time.perf_counter(), timeout_s=60)
            assert not answer.error, answer.error
            firsts.append(answer.pieces[0] - answer.intended)
            events += len(answer.pieces)

    left = list(range(requests))
    await asyncio.gather(*(work(left) for _ in range(places)))
    client.close()
    return events, firsts


async def run_aiohttp(url: str, body: bytes, requests: int, places: int) -> tuple[int, list[float]]:
    import aiohttp

    firsts: list[float] = []
    events = 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def work(numbers: list[int]) -> None:
            nonlocal events
            while numbers:
                numbers.pop()
                begin, times = time.perf_counter(), []
                async with session.post(f"{url}/v1/chat/completions", data=body) as response:
                    async for raw in response.content:
                        line = raw.strip()
                        if not line:
                            continue
                        at = time.perf_counter()
                        event = json.loads(line.decode().removeprefix("data: "))
                        if event["choices"] and event["choices"][0]["delta"].get("content"):
                            times.append(at)
                firsts.append(times[0] - begin)
                events += len(times)

        left = list(range(requests))
        await asyncio.gather(*(work(left) for _ in range(places)))
    return events, firsts


RIVALS = {"xpukit": run_ours, "aiohttp": run_aiohttp}


def take_turn(name: str, url: str, body: bytes, requests: int, places: int) -> Turn:
    cpu = time.process_time()
    events, firsts = asyncio.run(RIVALS[name](url, body, requests, places))
    used = time.process_time() - cpu
    return Turn(event_us=used / events * 1e6, late_ms=statistics.median(firsts) * 1000 - FIRST_MS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--at-a-time", type=int, default=16)
    options = parser.parse_args()
    names = [name for name in RIVALS if name == "xpukit" or importlib.util.find_spec(name)]
    stub = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/live/bench_stub.py"), "--first-ms", str(FIRST_MS), "--gap-ms", str(GAP_MS)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert stub.stdout is not None
    url = f"http://127.0.0.1:{stub.stdout.readline().strip()}"
    body = build_body("m", "chat", "word " * 200, options.tokens, ignore_eos=True)
    turns: dict[str, list[Turn]] = {name: [] for name in names}
    try:
        for number in range(options.rounds + 1):
            for name in random.sample(names, len(names)):
                turn = take_turn(name, url, body, options.requests, options.at_a_time)
                # The first round warms up.
                if number:
                    turns[name].append(turn)
                for _ in range(options.requests):
                    stub.stdout.readline()
    finally:
        stub.kill()
    for name, found in turns.items():
        cost, late = (statistics.median(getattr(one, field) for one in found) for field in Turn._fields)
        print(f"{name:8} {cost:7.1f} us of a processor an event, first token {late:+6.2f} ms ({len(found)} rounds)")
    if len(names) == 1:
        print("aiohttp is not installed: no peer")
    return 0


if __name__ == "__main__":
    sys.exit(main())
