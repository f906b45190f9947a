"""`serve --web`: the generator of launches as a page on loopback."""

from __future__ import annotations

from importlib.util import find_spec
from urllib.parse import urlencode

from xpukit.cli.serve_desk import PlanDesk
from xpukit.cli.serve_options import ServeOptions
from xpukit.cli.session import Session
from xpukit.core.errors import ExitCode, UsageError
from xpukit.serve.request import ServeRequest
from xpukit.serve.request_words import FIELDS, Output, list_defaults

_NEEDED = ("starlette", "uvicorn")


def serve_web(session: Session, request: ServeRequest, options: ServeOptions, *, port: int) -> int:
    """Serve the page until Ctrl-C. Raises UsageError: the extra is not installed, the port is in use, or --run."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(f"--web needs {' and '.join(missing)}", hint="pip install 'xpukit[web]'")
    if options.run or options.out is not None or options.save is not None:
        raise UsageError("the page starts and writes nothing", hint="it gives the line for --run, --out and --save")
    from xpukit.serve.web.app import make_app
    from xpukit.serve.web.server import ADDRESS, open_socket, run_server

    desk = PlanDesk(session, evaluation=options.evaluation)
    output = Output(
        form=options.form,
        name=options.name,
        model_dir=options.models,
        privileged=options.privileged,
        cdi=options.cdi,
    )
    listener = open_socket(port)
    number = listener.getsockname()[1]

    def announce() -> None:
        # The one line on standard output: scripts read the address from it.
        print(f"http://{ADDRESS}:{number}/{make_query(request, output)}", flush=True)
        session.say(f"only this machine can reach it; from another: ssh -L {number}:{ADDRESS}:{number} THIS-HOST")
        session.say("Ctrl-C ends it")

    run_server(make_app(desk, request), listener, started=announce)
    return int(ExitCode.OK)


def make_query(request: ServeRequest, output: Output) -> str:
    """The part of the page's address that holds the choices, with its question mark; "" where there are none."""
    defaults = list_defaults()
    pairs: list[tuple[str, str]] = [("model", request.model)] if request.model else []
    for field in FIELDS:
        value = getattr(output if field.group == "output" else request, field.name)
        if value == defaults[field.name]:
            continue
        for one in value if isinstance(value, tuple) else (value,):
            pairs.append(
                (field.name, {True: "1", False: "0"}.get(one, str(one)) if isinstance(one, bool) else str(one))
            )
    return f"?{urlencode(pairs)}" if pairs else ""
