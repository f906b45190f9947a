"""`vllm serve` without a model: health, the list of models, and completions that say that they are a stub's."""

from __future__ import annotations

import argparse
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def make_parser() -> argparse.ArgumentParser:
    """The few arguments of vLLM that tests of images use; any other is refused, as the engine does."""
    parser = argparse.ArgumentParser(prog="vllm")
    parser.add_argument("-v", "--version", action="version", version="stub")
    serve = parser.add_subparsers(dest="command", required=True).add_parser("serve", help="answer requests")
    serve.add_argument("model_tag", nargs="?", default="stub", help="model")
    serve.add_argument("--model", default="", help="model, by its other name")
    serve.add_argument("--host", default="0.0.0.0", help="address to listen on")
    serve.add_argument("--port", type=int, default=int(os.environ.get("XPUKIT_PORT", "8000")), help="port to listen on")
    serve.add_argument("--served-model-name", default="", help="name that the server answers with")
    serve.add_argument("--tensor-parallel-size", "-tp", type=int, default=1, help="GPUs; not used")
    serve.add_argument("--max-model-len", type=int, default=2048, help="tokens; not used")
    return parser


def make_handler(name: str) -> type[BaseHTTPRequestHandler]:
    """The handler for a server of the model `name`."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, body: object) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            if self.path == "/health":
                self.answer(200, {})
            elif self.path == "/v1/models":
                self.answer(200, {"object": "list", "data": [{"id": name, "object": "model"}]})
            else:
                self.answer(404, {"error": {"message": "not found"}})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path != "/v1/completions":
                self.answer(404, {"error": {"message": "not found"}})
                return
            text = "this image holds a stub, not a model"
            self.answer(200, {"object": "text_completion", "model": name, "choices": [{"index": 0, "text": text}]})

        def log_message(self, format: str, *args: object) -> None:
            print(self.address_string(), format % args, flush=True)

    return Handler


def main() -> None:
    """Parse and serve until stopped."""
    args = make_parser().parse_args()
    name = args.served_model_name or args.model or args.model_tag
    server = ThreadingHTTPServer((args.host, args.port), make_handler(name))
    print(f"stub: {name} on port {args.port}", flush=True)
    server.serve_forever()
