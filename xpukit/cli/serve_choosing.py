"""`serve --interactive` and `serve --web`: which of the two, and what they cannot be combined with."""

from __future__ import annotations

from xpukit.cli.serve_options import ServeOptions
from xpukit.cli.session import Session
from xpukit.core.errors import UsageError
from xpukit.serve.request import ServeRequest


def start_choosing(
    session: Session, request: ServeRequest, options: ServeOptions, *, interactive: bool, web_port: int | None
) -> int:
    """Ask on the terminal, or (`web_port` given) serve the page. Raises UsageError for what does not go with it."""
    if interactive and web_port is not None:
        raise UsageError("--interactive and --web are two ways of the same", hint="give one of them")
    for option, given in (("--plan", options.plan), ("--calibrate", options.calibrate)):
        if given:
            raise UsageError(f"{option} leaves nothing to choose", hint=f"leave {option} or the choosing out")
    if interactive:
        from xpukit.cli.serve_interactive import serve_interactive

        return serve_interactive(session, request, options)
    from xpukit.cli.serve_web import serve_web

    assert web_port is not None
    return serve_web(session, request, options, port=web_port)
