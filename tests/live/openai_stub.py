"""An OpenAI-compatible engine without a model, as a plain process: the stub of the smoke image with more ways to fail.

`python tests/live/openai_stub.py serve MODEL --port N --fail NAME[=VALUE]`; STUB_FAIL holds failures too. Its metrics and
logs are shaped like vLLM's. From tests: `with start_stub("degenerate") as stub: stub.url`.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

SMOKE = Path(__file__).resolve().parents[2] / "dockerfiles" / "smoke"
START_LIMIT_S = 20.0
# Beside those of the smoke stub (stub_answers.FAILURES).
FAILURES = {
    "degenerate": "every answer is !!!!",
    "loop": "every answer ends in a loop",
    "deep": "=N: !!!! for prompts of more than N tokens",
    "mixed": "answers of requests at one time are swapped",
    "think": "thoughts before each answer",
    "no-logprobs": "log probabilities are asked for and do not come",
    "floor-logprobs": "-9999.0, which vLLM writes for -inf",
    "error-logprobs": "HTTP 500 where log probabilities are asked for",
    "embed-nan": "NaN in an embedding",
    "embed-short": "one embedding has another dimension",
    "embed-flat": "all numbers of an embedding are the same",
    "embed-same": "every text has the same embedding",
    "rerank-reversed": "the best document comes last",
    "stream-cut": "streams end without [DONE]",
    "stream-error": "an error in the stream",
    "bad-json": "replies are cut in the middle",
    "few-tokens": "counts 20 tokens of every prompt, as one that cuts prompts does",
    "busy": "HTTP 429 for requests at one time",
    "hang": "no answer to a POST",
    "http-500": "every POST fails",
    "no-template": "chat is refused for want of a chat template",
    "without": "=API+API: those paths are not there",
    "openapi": "/openapi.json names the paths",
    "start": "=SECONDS: the start takes that long",
    "kv-too-small": "the start fails with the length that would fit",
    "kv": "=N: a KV cache of N tokens: the start fails for longer requests and says so",
    "oom-above": "=N: the start fails for requests of more than N tokens, and proposes nothing",
    "forget": "=N: the middle of prompts of more than N tokens is not read",
    "slower": "=MS: every answered request makes the next ones slower by this",
    "leak": "=MIB: every answered request keeps so much memory",
    "kv-leak": "=SHARE: every answered request keeps so much of the KV cache",
    "break-after": "=N: every answer after N requests fails",
    "wrong-after": "=N: every sum after N requests is wrong",
    "preempt": "every request is preempted once",
}
_PATHS = {
    "chat": "/v1/chat/completions", "completions": "/v1/completions", "embeddings": "/v1/embeddings",
    "rerank": "/v1/rerank", "score": "/v1/score", "transcription": "/v1/audio/transcriptions",
}  # fmt: skip


class Stub(NamedTuple):
    """A running stub."""

    url: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path


def find_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def start_stub(*failures: str, options: tuple[str, ...] = (), wait: bool = True) -> Iterator[Stub]:
    """Start it, wait until it answers, stop it at the end."""
    port = find_port()
    words = [word for failure in failures for word in ("--fail", failure)]
    with tempfile.TemporaryDirectory(prefix="xpk-stub") as folder:
        log = Path(folder) / "engine.log"
        command = [sys.executable, __file__, "serve", "stub/tiny", "--host", "127.0.0.1", "--port", str(port)]
        environment = {name: value for name, value in os.environ.items() if name not in ("STUB_FAIL", "VLLM_API_KEY")}
        with log.open("wb") as out:
            process = subprocess.Popen([*command, *options, *words], stdout=out, stderr=out, env=environment)
        try:
            until = time.monotonic() + START_LIMIT_S
            while wait and "Application startup complete" not in log.read_text(encoding="utf-8"):
                assert process.poll() is None, log.read_text(encoding="utf-8")
                assert time.monotonic() < until, log.read_text(encoding="utf-8")
                time.sleep(0.05)
            yield Stub(f"http://127.0.0.1:{port}", port, process, log)
        finally:
            process.kill()
            process.wait()


# --- the process -----------------------------------------------------------------------------------------------------


def split_failures(texts: list[str]) -> tuple[dict[str, str], list[str]]:
    """Ours, and those of the smoke stub."""
    own: dict[str, str] = {}
    others = []
    for item in (item.strip() for text in texts for item in text.split(",") if item.strip()):
        name, _, value = item.partition("=")
        if name in FAILURES:
            own[name] = value
        else:
            others.append(item)
    return own, others


def main(argv: list[str]) -> int:
    sys.path.insert(0, str(SMOKE))
    import stub_engine as base

    texts, words = [os.environ.pop("STUB_FAIL", "")], []
    rest = iter(argv)
    for word in rest:
        if word == "--fail":
            texts.append(next(rest))
        else:
            words.append(word)
    own, others = split_failures(texts)
    compose, say_start = base.compose_answer, base.log_start
    guard = threading.Lock()
    open_sums: list[str] = []
    state = {"answered": 0, "preempted": 0}
    kept: list[bytes] = []
    started = time.time()

    def compose_answer(prompt: str, failures: dict[str, str], min_tokens: int) -> list[str]:
        tokens = compose(prompt, failures, min_tokens)
        if "degenerate" in own or ("deep" in own and len(prompt.split()) > int(own["deep"])):
            return ["!"] * 64
        hidden = re.findall(r"number of the lighthouse is (\d+)", prompt)
        if hidden and prompt.rstrip().endswith(("only.", "lighthouse is")):
            words = prompt.split()
            place = words.index(f"{hidden[0]}.") / len(words)
            lost = "forget" in own and len(words) > int(own["forget"]) and 0.3 < place < 0.7
            return ["There", " is", " none"] if lost else [hidden[0]]
        if "wrong-after" in own and state["answered"] > int(own["wrong-after"]):
            failures = {**failures, "bad-math": ""}
            tokens = compose(prompt, failures, min_tokens)
        if "loop" in own:
            return ["Well,", *[" and", " so", " on"] * 20]
        if "mixed" in own:
            with guard:
                open_sums.append(tokens[0])
            time.sleep(0.15)
            with guard:
                tokens = [open_sums[0]]
            time.sleep(0.15)
            with guard:
                open_sums.clear()
        return ["<think>", "\nlet", " me", " see", "\n</think>", "\n\n", *tokens] if "think" in own else list(tokens)

    def log_start(args: Any, failures: dict[str, str]) -> None:
        for part in range(3):
            time.sleep(float(own.get("start", "0")) / 3)
            print(f"Loading safetensors checkpoint shards: {part * 50:3d}% Completed | {part}/2", file=sys.stderr)
        if "kv-too-small" in own and args.max_model_len > 2048:
            place = "core.py:586"
            base.log(place, "EngineCore failed to start.", "ERROR")
            text = f"To serve at least one request with the models's max seq len ({args.max_model_len}), (6.30 GiB KV "
            text += "cache is needed, which is larger than the available KV cache memory (3.11 GiB). Based on the "
            text += "available memory, the estimated maximum model length is 2048. Try increasing "
            text += "`gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine."
            base.log(place, f"ValueError: {text}", "ERROR")
            sys.exit(1)
        if "oom-above" in own and args.max_model_len > int(own["oom-above"]):
            base.log("core.py:586", "EngineCore failed to start.", "ERROR")
            sys.exit("torch.OutOfMemoryError: XPU out of memory. Tried to allocate 2.00 GiB")
        if "kv" in own:
            log_cache(args.max_model_len, int(own["kv"]))
        else:
            say_start(args, failures)
        base.log("gpu_model_runner.py:2780", "Graph capturing finished in 3 secs, took 0.42 GiB")

    def log_cache(asked: int, tokens: int) -> None:
        base.log("gpu_model_runner.py:1886", "Model loading took 0.0100 GiB and 0.010000 seconds")
        if asked > tokens:
            text = (
                f"To serve at least one request with the models's max seq len ({asked}), ({asked / 16384:.2f} GiB KV "
            )
            text += f"cache is needed, which is larger than the available KV cache memory ({tokens / 16384:.2f} GiB). "
            text += f"Based on the available memory, the estimated maximum model length is {tokens}. Try increasing "
            text += "`gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine."
            base.log("core.py:586", f"ValueError: {text}", "ERROR")
            sys.exit(1)
        base.log("kv_cache_utils.py:833", f"GPU KV cache size: {tokens:,} tokens")
        base.log(
            "kv_cache_utils.py:837", f"Maximum concurrency for {asked:,} tokens per request: {tokens / asked:.2f}x"
        )

    class Handler(base.Handler):  # type: ignore[misc,name-defined]
        # Each event at once, as real servers send it.
        disable_nagle_algorithm = True

        def get_metrics(self) -> None:
            said = self.engine.stats.render(self.engine.args.max_num_seqs)
            if "kv-leak" in own:
                lost = state["answered"] * float(own["kv-leak"])
                said = re.sub(r"(kv_cache_usage_perc\{.*\}) .*", rf"\g<1> {min(1.0, lost)}", said)
            pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
            said += f"process_resident_memory_bytes {float(pages * os.sysconf('SC_PAGE_SIZE'))}\n"
            said += f"process_start_time_seconds {started}\n"
            label = f'engine="0",model_name="{self.engine.names[0]}"'
            said += f"vllm:num_preemptions_total{{{label}}} {float(state['preempted'])}\n"
            self.send_bytes(said.encode(), "text/plain; version=0.0.4")

        def count_answer(self) -> None:
            """What every answered request leaves behind."""
            with guard:
                state["answered"] += 1
                state["preempted"] += "preempt" in own
                if "leak" in own:
                    kept.append(os.urandom(1) * int(float(own["leak"]) * (1 << 20)))
            if "break-after" in own and state["answered"] > int(own["break-after"]):
                raise base.BadRequest(500, "EngineCore encountered an issue")
            time.sleep(float(own.get("slower", "0")) / 1000 * state["answered"])

        def answer_one(self, routes: dict[str, Any]) -> None:
            path = self.path.split("?")[0]
            api = next((name for name, known in _PATHS.items() if known == path), "")
            if path == "/v1/score" and self.command == "POST":
                routes = {**routes, path: self.post_score}
            if path == "/openapi.json" and "openapi" in own:
                routes = {**routes, path: lambda: self.send_json({"paths": {path: {} for path in self.list_paths()}})}
            if self.command == "POST" and ("hang" in own or "http-500" in own):
                if "hang" in own:
                    time.sleep(60)
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_json({"error": {"message": "EngineDeadError"}}, 500)
                return
            if api and api in own.get("without", "").split("+"):
                routes = {}
            super().answer_one(routes)

        def list_paths(self) -> list[str]:
            gone = own.get("without", "").split("+")
            return [path for name, path in _PATHS.items() if name not in gone]

        def engine_reply(self, body: dict[str, Any], prompt: str, kind: str) -> None:
            if "no-template" in own and kind == "chat.completion":
                text = "default chat template is no longer allowed, so you must provide a chat template"
                raise base.BadRequest(400, text)
            if "error-logprobs" in own and body.get("logprobs"):
                raise base.BadRequest(500, "Out of range float values are not JSON compliant")
            self.count_answer()
            if "busy" in own:
                time.sleep(0.2)
                if self.engine.stats.gauges[base.OPEN] > 2:
                    raise base.BadRequest(429, "too many requests")
            super().engine_reply(body, prompt, kind)

        def make_logprobs(self, body: dict[str, Any], tokens: list[str], kind: str) -> Any:
            made = super().make_logprobs(body, tokens, kind)
            if "no-logprobs" in own:
                return None
            if made and "floor-logprobs" in own:
                for row in made.get("content") or []:
                    row["logprob"] = -9999.0
                made = {**made, "token_logprobs": [-9999.0] * len(tokens)} if "tokens" in made else made
            return made

        def post_score(self) -> None:
            body = self.read_body()
            rows = [base.score(str(body.get("text_1")), str(text)) for text in body.get("text_2", [])]
            data = [{"index": index, "object": "score", "score": value} for index, value in enumerate(rows)]
            self.send_json({"object": "list", "data": data})

        def send_event(self, event: Any) -> None:
            if event == "[DONE]" and "stream-cut" in own:
                return
            if event == "[DONE]" and "stream-error" in own:
                super().send_event({"error": {"message": "EngineCore encountered an issue", "code": 500}})
            super().send_event(event)

        def send_json(self, body: Any, status: int = 200) -> None:
            if status == 200:
                self.spoil(body)
                if "bad-json" in own and self.command == "POST":
                    self.send_bytes(b'{"choices": [{"mess', "application/json")
                    return
            super().send_json(body, status)

        def spoil(self, body: dict[str, Any]) -> None:
            if "few-tokens" in own and "usage" in body:
                body["usage"]["prompt_tokens"] = 20
            rows = body.get("data") or []
            if rows and "embedding" in rows[0]:
                if "embed-nan" in own:
                    rows[0]["embedding"][3] = math.nan
                if "embed-short" in own:
                    rows[-1]["embedding"] = rows[-1]["embedding"][:-8]
                if "embed-flat" in own:
                    rows[0]["embedding"] = [0.125] * 64
                if "embed-same" in own:
                    for row in rows:
                        row["embedding"] = base.embed("")
            if "rerank-reversed" in own:
                for row in [*body.get("results", []), *rows]:
                    for name in ("relevance_score", "score"):
                        if name in row:
                            row[name] = -row[name]
                body.get("results", []).reverse()

    base.compose_answer, base.log_start, base.Handler = compose_answer, log_start, Handler
    return int(base.main([*words, *[word for one in others for word in ("--fail", one)]]) or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
