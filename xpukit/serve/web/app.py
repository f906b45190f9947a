"""The page's server as an ASGI application: its files, the facts, and plans. No answer of it changes anything."""

from __future__ import annotations

from pathlib import Path

import msgspec

from xpukit.core.errors import UsageError
from xpukit.serve.request import ServeRequest
from xpukit.serve.web.answer import Answer, Complaint, Desk, Facts, answer_request, list_facts
from xpukit.serve.web.guard import AsgiApp, guard
from xpukit.serve.web.read_body import read_body

_STATIC = Path(__file__).parent / "static"
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/app.css": ("app.css", "text/css; charset=utf-8"),
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/show.js": ("show.js", "text/javascript; charset=utf-8"),
}
_JSON = "application/json"


def make_app(desk: Desk, given: ServeRequest) -> AsgiApp:
    """The application. `given`: what the command line said; files that it names may be named by the page too.

    GET / and its files, GET /facts (`Facts`), POST /plan with a JSON object of choices (`Answer`; 400 for what is not
    one). Needs starlette (extra `web`).
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def send_file(request: Request) -> Response:
        name, kind = _FILES[request.url.path]
        return Response((_STATIC / name).read_bytes(), media_type=kind)

    async def send_facts(request: Request) -> Response:
        facts: Facts = await run_in_threadpool(list_facts, desk, given)
        return Response(msgspec.json.encode(facts), media_type=_JSON)

    async def send_plan(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
            return _refuse(415, Complaint(message="not JSON", hint=f"send Content-Type: {_JSON}"))
        try:
            asked, output = read_body(await request.body(), given)
        except UsageError as err:
            return _refuse(400, Complaint(message=err.message, hint=err.hint))
        answer: Answer = await run_in_threadpool(answer_request, desk, asked, output)
        return Response(msgspec.json.encode(answer), media_type=_JSON)

    def _refuse(status: int, complaint: Complaint) -> Response:
        return Response(msgspec.json.encode({"error": complaint}), status_code=status, media_type=_JSON)

    routes = [Route(path, send_file, methods=["GET"]) for path in _FILES]
    routes += [Route("/facts", send_facts, methods=["GET"]), Route("/plan", send_plan, methods=["POST"])]
    return guard(Starlette(routes=routes))
