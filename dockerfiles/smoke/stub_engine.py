#!/usr/bin/env python3
"""A server that answers like vLLM's OpenAI-compatible one, without a model: its text is computed, not generated.

It is for trying everything around an engine: starting, arguments, health, load balancing, metrics, failures. The same
request always gets the same text; small sums get the right result. Python's standard library only, 3.9 or newer.
"""

import argparse
import contextlib
import hmac
import json
import math
import os
import signal
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from stub_answers import (
    DEFAULT_MAX_TOKENS,
    FAILURES,
    Stats,
    compose_answer,
    count_tokens,
    cut_at_stop,
    embed,
    parse_failures,
    read_text,
    score,
)

VERSION = "1"
OPEN = "num_requests_open"


def log(place, text, level="INFO"):
    """One line on standard error in the shape of vLLM's log."""
    print(f"{level} {time.strftime('%m-%d %H:%M:%S')} [{place}] {text}", file=sys.stderr, flush=True)


class BadRequest(Exception):
    """A request that is refused, with its HTTP status."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Engine:
    """The settings, the counters and the slots that requests wait for."""

    def __init__(self, args, failures):
        self.args = args
        self.failures = failures
        self.names = args.served_model_name or [args.model_tag]
        self.stats = Stats(self.names[0])
        self.slots = threading.BoundedSemaphore(args.max_num_seqs)
        self.answered = 0
        self.lock = threading.Lock()

    def check_model(self, body):
        if body.get("model", self.names[0]) not in self.names:
            raise BadRequest(404, f"The model `{body['model']}` does not exist.")

    def count_for_crash(self):
        """End the process, as an engine does that dies, when it is time to."""
        with self.lock:
            self.answered += 1
            if "crash-after" in self.failures and self.answered > int(float(self.failures["crash-after"])):
                log("core.py:710", "EngineCore encountered a fatal error: the crash that was asked for.", "ERROR")
                os._exit(1)

    def generate(self, prompt, body):
        """Yield (token, None), at the end ("", reason)."""
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or DEFAULT_MAX_TOKENS
        used = count_tokens(prompt)
        if not isinstance(limit, int) or limit < 1:
            raise BadRequest(400, f"max_tokens must be at least 1, got {limit}.")
        if used + limit > self.args.max_model_len:
            text = f"This model's maximum context length is {self.args.max_model_len} tokens"
            raise BadRequest(400, f"{text}. However, you requested {used + limit}. Please reduce the length.")
        self.count_for_crash()
        tokens = compose_answer(prompt, self.failures, limit if body.get("ignore_eos") else body.get("min_tokens", 0))
        if (body.get("response_format") or {}).get("type", "text") != "text":
            tokens = [json.dumps({"answer": "".join(tokens)})]
        stops = [body["stop"]] if isinstance(body.get("stop"), str) else body.get("stop") or []
        kept, stopped = cut_at_stop(tokens[:limit], stops)
        return self.pace(kept, "length" if not stopped and len(tokens) >= limit else "stop", used)

    def pace(self, tokens, reason, prompt_tokens):
        """The tokens in time, in one of the slots. A client that goes away closes this early: "abort"."""
        came, times, ended = time.monotonic(), [], "abort"
        with self.stats.during("num_requests_waiting"):
            self.slots.acquire()
        try:
            with self.stats.during("num_requests_running"):
                for token in tokens:
                    time.sleep(float(self.failures.get("slow", self.args.stub_token_seconds)))
                    times.append(time.monotonic() - came)
                    yield token, None
                ended = reason
                yield "", reason
        finally:
            self.slots.release()
            self.stats.count(ended, prompt_tokens, times, time.monotonic() - came)


# --- HTTP ------------------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """One connection. `server.engine` is the engine."""

    protocol_version = "HTTP/1.1"
    server_version = f"stub-engine/{VERSION}"

    def do_GET(self):
        self.answer({"/health": self.get_health, "/ping": self.get_health, "/metrics": self.get_metrics,
                     "/version": self.get_version, "/v1/models": self.get_models})  # fmt: skip

    def do_POST(self):
        self.answer({"/v1/chat/completions": self.post_chat, "/v1/completions": self.post_completions,
                     "/v1/embeddings": self.post_embeddings, "/v1/rerank": self.post_rerank,
                     "/v1/audio/transcriptions": self.post_transcription})  # fmt: skip

    def answer(self, routes):
        self.engine = self.server.engine
        with self.engine.stats.during(OPEN):
            self.answer_one(routes)

    def answer_one(self, routes):
        path = self.path.split("?")[0]
        # Read first: what stays unread would be taken for the next request of this connection.
        self.content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if path not in routes:
                raise BadRequest(404, f"Not Found: {path}")
            key = self.engine.args.api_key
            given = self.headers.get("Authorization", "")
            if key and path.startswith("/v1/") and not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
                raise BadRequest(401, "Unauthorized")
            routes[path]()
        except BadRequest as err:
            body = {"message": str(err), "type": "BadRequestError", "param": None, "code": err.status}
            self.send_json({"error": body}, err.status)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def read_body(self):
        try:
            body = json.loads(self.content)
        except ValueError as err:
            raise BadRequest(400, f"not valid JSON: {err}") from None
        if not isinstance(body, dict):
            raise BadRequest(400, "the request is no JSON object")
        self.engine.check_model(body)
        return body

    def get_health(self):
        self.send_bytes(b"", "text/plain", 503 if "no-health" in self.engine.failures else 200)

    def get_version(self):
        self.send_json({"version": VERSION})

    def get_metrics(self):
        self.send_bytes(self.engine.stats.render(self.engine.args.max_num_seqs).encode(), "text/plain; version=0.0.4")

    def get_models(self):
        args = self.engine.args
        common = {"object": "model", "created": 0, "owned_by": "stub-engine", "root": args.model_tag}
        self.send_json({"object": "list", "data": [
            {"id": name, **common, "max_model_len": args.max_model_len} for name in self.engine.names
        ]})  # fmt: skip

    def post_chat(self):
        body = self.read_body()
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
            raise BadRequest(400, "messages must be a list with at least one message")
        # The last message decides the answer, so that a sum in a system prompt does not.
        self.engine_reply(body, read_text(messages[-1].get("content")), "chat.completion")

    def post_completions(self):
        body = self.read_body()
        prompt = body.get("prompt", "")
        if isinstance(prompt, list):  # several prompts, or token numbers
            prompt = " ".join(map(str, prompt))
        self.engine_reply(body, str(prompt), "text_completion")

    def engine_reply(self, body, prompt, kind):
        pieces = self.engine.generate(prompt, body)
        common = {"id": f"{'chatcmpl' if kind != 'text_completion' else 'cmpl'}-{uuid.uuid4().hex}", "object": kind,
                  "created": int(time.time()), "model": body.get("model", self.engine.names[0])}  # fmt: skip
        if body.get("stream"):
            self.stream(body, prompt, common, pieces)
            return
        said = list(pieces)
        tokens, reason = [token for token, _ in said[:-1]], said[-1][1]
        choice = {"index": 0, "finish_reason": reason, "logprobs": self.make_logprobs(body, tokens, kind)}
        text = "".join(tokens)
        choice.update(
            {"text": text} if kind == "text_completion" else {"message": {"role": "assistant", "content": text}}
        )
        self.send_json({**common, "choices": [choice], "usage": self.make_usage(prompt, tokens)})

    def stream(self, body, prompt, common, pieces):
        kind = common["object"]
        chat = kind == "chat.completion"
        common = {**common, "object": "chat.completion.chunk" if chat else kind}
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        tokens = []
        with contextlib.closing(pieces):
            if chat:
                self.send_event({**common, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
            for token, reason in pieces:
                choice = {"index": 0, "finish_reason": reason}
                choice.update({"delta": {"content": token} if reason is None else {}} if chat else {"text": token})
                if reason is None:
                    tokens.append(token)
                    choice["logprobs"] = self.make_logprobs(body, [token], kind)
                self.send_event({**common, "choices": [choice]})
        if (body.get("stream_options") or {}).get("include_usage"):
            self.send_event({**common, "choices": [], "usage": self.make_usage(prompt, tokens)})
        self.send_event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def make_usage(self, prompt, tokens):
        used, made = count_tokens(prompt), len(tokens)
        return {"prompt_tokens": used, "completion_tokens": made, "total_tokens": used + made}

    def make_logprobs(self, body, tokens, kind):
        if body.get("logprobs") in (None, False):
            return None
        value = math.nan if "nan-logprobs" in self.engine.failures else -0.25
        if kind == "text_completion":
            offsets = [len("".join(tokens[:index])) for index in range(len(tokens))]
            return {"tokens": tokens, "token_logprobs": [value] * len(tokens), "text_offset": offsets,
                    "top_logprobs": [{token: value} for token in tokens]}  # fmt: skip
        return {
            "content": [{"token": t, "logprob": value, "bytes": list(t.encode()), "top_logprobs": []} for t in tokens]
        }

    def post_embeddings(self):
        body = self.read_body()
        texts = body.get("input", [])
        texts = [texts] if isinstance(texts, str) else [str(text) for text in texts]
        used = sum(map(count_tokens, texts))
        data = [{"object": "embedding", "index": i, "embedding": embed(text)} for i, text in enumerate(texts)]
        self.send_json({"object": "list", "model": self.engine.names[0], "data": data,
                        "usage": {"prompt_tokens": used, "total_tokens": used}})  # fmt: skip

    def post_rerank(self):
        body = self.read_body()
        query, documents = str(body.get("query", "")), [str(one) for one in body.get("documents", [])]
        rows = [{"index": i, "document": {"text": document}, "relevance_score": score(query, document)}
                for i, document in enumerate(documents)]  # fmt: skip
        rows.sort(key=lambda row: (-row["relevance_score"], row["index"]))
        self.send_json({"id": f"rerank-{uuid.uuid4().hex}", "model": self.engine.names[0],
                        "results": rows[: body.get("top_n") or len(rows)]})  # fmt: skip

    def post_transcription(self):
        if not self.headers.get("Content-Type", "").startswith("multipart/form-data"):
            raise BadRequest(400, "a multipart/form-data request with a file is needed")
        self.send_json({"text": f"stub transcription of {len(self.content)} bytes"})

    def send_event(self, event):
        data = b"data: " + (event if isinstance(event, str) else json.dumps(event)).encode() + b"\n\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def send_json(self, body, status=200):
        self.send_bytes(json.dumps(body).encode(), "application/json", status)

    def send_bytes(self, data, content_type, status=200):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *args):
        print(f'INFO:     {self.client_address[0]} - "{self.requestline}" {args[1] if len(args) > 1 else ""}',
              file=sys.stderr, flush=True)  # fmt: skip


# --- Starting --------------------------------------------------------------------------------------------------------


def make_parser():
    """Options that vLLM's `serve` has, as far as launching and serving need them; most change nothing here."""
    parser = argparse.ArgumentParser(prog="stub-engine", description=__doc__.splitlines()[0])
    parser.add_argument("-v", "--version", action="version", version=f"stub-engine {VERSION}")
    serve = parser.add_subparsers(dest="command", required=True).add_parser("serve", help="Answer requests.")
    serve.add_argument("model_tag", nargs="?", default="stub/tiny", metavar="MODEL", help="Any name or path.")
    serve.add_argument("--host", default="0.0.0.0")
    serve.add_argument("--port", type=int, default=int(os.environ.get("XPUKIT_PORT") or 8000))
    serve.add_argument("--served-model-name", nargs="+")
    serve.add_argument("--api-key", default=os.environ.get("VLLM_API_KEY"))
    serve.add_argument("--max-model-len", type=int, default=4096)
    serve.add_argument("--max-num-seqs", type=int, default=256, help="How many requests run at once; others wait.")
    serve.add_argument("--max-num-batched-tokens", type=int)
    serve.add_argument("--tensor-parallel-size", "-tp", type=int, default=1)
    serve.add_argument("--pipeline-parallel-size", "-pp", type=int, default=1)
    serve.add_argument("--data-parallel-size", "-dp", type=int, default=1)
    serve.add_argument("--distributed-executor-backend", choices=["external_launcher", "mp", "ray", "uni"])
    serve.add_argument("--dtype", choices=["auto", "bfloat16", "float", "float16", "float32", "half"], default="auto")
    serve.add_argument("--quantization", "-q")
    serve.add_argument("--kv-cache-dtype", default="auto")
    serve.add_argument("--block-size", type=int, choices=[1, 8, 16, 32, 64, 128], default=64)
    serve.add_argument("--gpu-memory-utilization", type=float, default=0.9)
    serve.add_argument("--seed", type=int)
    serve.add_argument("--download-dir")
    for name in ("enforce-eager", "trust-remote-code", "enable-prefix-caching", "enable-chunked-prefill"):
        serve.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=None)
    serve.add_argument("--stub-token-seconds", type=float, default=0.001, help="How long a token takes.")
    serve.add_argument("--fail", action="append", default=[], metavar="FAILURE", help=f"Fail like this: {FAILURES}.")
    return parser


def log_start(args, failures):
    """The lines by which a launcher follows vLLM's start. The memory is made up: 64 KiB for a token of the cache."""
    tokens = args.max_model_len * 16
    log("api_server.py:1000", f"stub-engine API server version {VERSION}")
    log("default_loader.py:268", "Loading weights took 0.01 seconds")
    if "oom-at-start" in failures:
        log("core.py:586", "EngineCore failed to start.", "ERROR")
        sys.exit("torch.OutOfMemoryError: XPU out of memory. Tried to allocate 2.00 GiB (as was asked for)")
    log("gpu_model_runner.py:1886", "Model loading took 0.0100 GiB and 0.010000 seconds")
    log("gpu_worker.py:255", f"Available KV cache memory: {tokens / 16384:.2f} GiB")
    log("kv_cache_utils.py:833", f"GPU KV cache size: {tokens:,} tokens")
    log("kv_cache_utils.py:837", f"Maximum concurrency for {args.max_model_len:,} tokens per request: 16.00x")


class Server(ThreadingHTTPServer):
    """A thread for each connection; connections that wait for nothing do not keep the process alive."""

    daemon_threads = True
    request_queue_size = 512


def main(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    try:
        failures = parse_failures([*args.fail, os.environ.get("STUB_FAIL", "")])
    except ValueError as err:
        parser.error(str(err))
    log_start(args, failures)
    try:
        server = Server((args.host, args.port), Handler)
    except OSError as err:
        sys.exit(f"OSError: [Errno {err.errno}] {err.strerror}: {args.host}:{args.port}")
    server.engine = Engine(args, failures)
    # shutdown() waits for the serving loop, which runs in this thread: a signal handler must not wait for it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    log("launcher.py:28", f"Starting stub-engine API server on http://{args.host}:{server.server_port}")
    print("INFO:     Application startup complete.", file=sys.stderr, flush=True)
    server.serve_forever(poll_interval=0.1)
    print("INFO:     Shutting down", file=sys.stderr, flush=True)
    server.server_close()
    idle = server.engine.stats.wait_until_zero(OPEN, timeout_s=30)
    print("INFO:     Application shutdown complete." if idle else "ERROR:    requests were cut off", file=sys.stderr)
    return 0 if idle else 1


if __name__ == "__main__":
    sys.exit(main())
