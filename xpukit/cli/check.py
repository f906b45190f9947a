"""`xpukit check`: whether a service answers rightly, through its API."""

from __future__ import annotations

from typing import Annotated

import typer

from xpukit.cli.session import JsonOption, Session, current_session
from xpukit.core.errors import UsageError


def check(
    url: Annotated[str, typer.Argument(metavar="URL", help="Its address, as http://127.0.0.1:8000.")],
    json: JsonOption = False,
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="The model's name. [the first that it serves]")
    ] = "",
    api_key_env: Annotated[
        str, typer.Option("--api-key-env", metavar="NAME", help="The environment variable that holds the key.")
    ] = "",
    api: Annotated[
        list[str] | None,
        typer.Option(
            "--api",
            metavar="NAME",
            help="Only this (may be repeated): chat, completions, embeddings, rerank, score or transcription.",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Short prompts, few at once.")] = False,
    long: Annotated[bool, typer.Option("--long", help="Up to the context limit, many at once.")] = False,
    context: Annotated[
        str, typer.Option("--context", "-c", metavar="TOKENS", help="The context limit. [what the endpoint states]")
    ] = "",
    embedding_size: Annotated[
        int | None, typer.Option("--embedding-size", min=1, metavar="N", help="The dimension embeddings must have.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0.1, metavar="SECONDS", help="Of each request. [120, long: 900]")
    ] = None,
) -> int:
    """Check, print, say the verdict."""
    session = current_session()
    session.take(json=json)
    session.require_live("check")
    if quick and long:
        raise UsageError("--quick and --long exclude each other", hint="choose one")
    from xpukit.cli.check_tables import print_report, tell_row
    from xpukit.cli.serve_options import parse_choice, parse_tokens
    from xpukit.core.json_document import build_document
    from xpukit.facts.readiness import find_level
    from xpukit.operate.ready.endpoint import describe_endpoint, make_ask
    from xpukit.operate.ready.gate import Gate
    from xpukit.operate.ready.result import APIS, SCHEMA

    apis = tuple(dict.fromkeys(parse_choice("--api", one, APIS) for one in api or ()))
    ask = make_ask(url, read_key(session, api_key_env))
    endpoint = describe_endpoint(
        ask, url, model=model, context_tokens=parse_tokens(context) if context else None, timeout_s=timeout
    )
    level = find_level("quick" if quick else "long" if long else "normal")
    report = Gate(
        ask,
        endpoint,
        level,
        apis=apis,
        size=embedding_size,
        timeout_s=timeout,
        report=lambda row: tell_row(session, row),
    ).run()
    if session.json:
        session.print_json(build_document(SCHEMA, session.open_host().identity().hostname, report))
    else:
        print_report(session, report)
    return report.exit_code


def read_key(session: Session, name: str) -> str:
    """The key in that environment variable, "" where none was named. Raises UsageError where it is not set."""
    if not name:
        return ""
    value = session.open_host().env(name).value
    if not value:
        raise UsageError(f"the environment variable {name} is not set", hint=f"export {name}=…, then again")
    if not value.isprintable() or not value.isascii():
        raise UsageError(f"the key in {name} has characters that no header can carry", hint="look for a line end in it")
    return value
