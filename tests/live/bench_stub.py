"""A server of streams with known delays, as a plain process: it prints its port, then a line of JSON for each answer.

`python tests/live/bench_stub.py --first-ms 20 --gap-ms 5 [--fail-every N] [--cut-every N] [--serial]`. Requests for a
single token are the client's probes: always answered at once and not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
from typing import Any

OPTIONS = argparse.ArgumentParser()
OPTIONS.add_argument("--first-ms", type=float, default=20.0)
OPTIONS.add_argument("--gap-ms", type=float, default=5.0)
OPTIONS.add_argument("--fail-every", type=int, default=0)
OPTIONS.add_argument("--cut-every", type=int, default=0)
OPTIONS.add_argument("--serial", action="store_true", help="one request after the other")


class Stub:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.count = 0
        self.turn = asyncio.Lock()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = [
                    int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length")
                ]
                body = json.loads(await reader.readexactly(length[0])) if length else {}
                if head.startswith("GET"):
                    answer = b'{"data":[{"id":"stub-model"}]}'
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
                elif not await self.answer(writer, body):
                    break
                await writer.drain()
        writer.close()

    async def answer(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        begin, tokens = time.perf_counter(), body["max_tokens"]
        prompt = len((body.get("prompt") or body["messages"][0]["content"]).split())
        probe = tokens == 1
        self.count += not probe
        mine = self.count
        if not probe and self.options.fail_every and mine % self.options.fail_every == 0:
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")
            return True
        async with self.turn if self.options.serial and not probe else contextlib.nullcontext():
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            await asyncio.sleep(0 if probe else self.options.first_ms / 1000)
            for number in range(tokens):
                if number:
                    await asyncio.sleep(self.options.gap_ms / 1000)
                self.send(writer, {"choices": [{"index": 0, "delta": {"content": " word"}, "text": " word"}]})
                await writer.drain()
                if not probe and self.options.cut_every and mine % self.options.cut_every == 0 and number == 1:
                    return False
            took = time.perf_counter() - begin
        self.send(writer, {"choices": [], "usage": {"prompt_tokens": 2 * prompt + 5, "completion_tokens": tokens}})
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        if not probe:
            print(json.dumps({"took_ms": took * 1000, "prompt_tokens": 2 * prompt + 5}), flush=True)
        return True

    @staticmethod
    def send(writer: asyncio.StreamWriter, event: dict[str, Any]) -> None:
        data = b"data: %b\n\n" % json.dumps(event).encode()
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))


async def main() -> None:
    stub = Stub(OPTIONS.parse_args())
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
