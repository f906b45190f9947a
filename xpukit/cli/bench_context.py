"""`xpukit bench context`: the longest request that really serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from xpukit.cli.bench_server import AskedServer, takes_server
from xpukit.cli.session import JsonOption, Session, current_session
from xpukit.core.errors import ExitCode, UsageError, XpukitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from xpukit.cli.bench_engine import RunningEngine
    from xpukit.cli.bench_server import Server
    from xpukit.operate.context.needle import NeedleAsker
    from xpukit.operate.context.search import Bounds, ContextReport, Try
    from xpukit.operate.ready.endpoint import Ask, Endpoint
    from xpukit.operate.ready.result import Api
    from xpukit.serve.plan_types import Plan

HELP = "Find the longest request that really serves: start, read the log, adjust, verify by a long request."


@takes_server
def bench_context(
    *,
    json: JsonOption = False,
    server: AskedServer,
    first: Annotated[str, typer.Option("--first", metavar="TOKENS", help="Tried first. [what is planned]")] = "",
    lowest: Annotated[str, typer.Option("--lowest", metavar="TOKENS", help="Not below. [1024]")] = "",
    highest: Annotated[
        str, typer.Option("--highest", metavar="TOKENS", help="Not above. [what the engine says it has room for]")
    ] = "",
    precision: Annotated[
        float | None, typer.Option("--precision", min=0.001, max=1.0, metavar="SHARE", help="Of the length. [0.03]")
    ] = None,
    tries: Annotated[int | None, typer.Option("--tries", min=1, max=100, help="At most. [10]")] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0.1, metavar="SECONDS", help="For one request. [900]")
    ] = None,
) -> int:
    """Search, print."""
    session = current_session()
    session.take(json=json)
    session.require_live("bench context")
    from xpukit.cli.bench_engine import choose_plan
    from xpukit.cli.serve_options import parse_tokens
    from xpukit.cli.serve_retry import read_context
    from xpukit.core.json_document import build_document
    from xpukit.facts.readiness import find_limit
    from xpukit.operate.context.directory import ContextDirectory, ContextRecord
    from xpukit.operate.context.search import CONTEXT_SCHEMA, Bounds, search_context

    given = server.read(session, "context")
    place, url = given.place, server.url
    bounds = Bounds(
        first=parse_tokens(first) if first else 0,
        lowest=parse_tokens(lowest) if lowest else int(find_limit("context_lowest")),
        highest=parse_tokens(highest) if highest else None,
        precision=precision or find_limit("context_precision"),
        most_tries=tries or int(find_limit("context_tries")),
    )
    if url:
        asker, endpoint = _open_endpoint(url, given.key, server.model, given.api, timeout)
        bounds = _bound_endpoint(bounds, endpoint, asker)
        what, attempt = endpoint.url, _ask_endpoint(session, asker)
    else:
        plan = choose_plan(session, server.serve, server.plan_file, place / "plan", choice=given.choice)
        planned = read_context(plan)
        if planned is None:
            raise UsageError("the plan names no longest request", hint="plan it with --context N")
        bounds = msgspec.structs.replace(bounds, first=bounds.first or planned)
        what = f"{plan.model.id or plan.model.asked} on {plan.engine.name} {plan.engine.version}, {server.form}"
        attempt = _start_each(session, plan, given, timeout)
    if bounds.highest is not None and bounds.lowest > bounds.highest:
        raise UsageError(
            f"nothing lies between {bounds.lowest} and {bounds.highest} tokens", hint="--lowest, --highest"
        )
    directory = ContextDirectory.open(place, ContextRecord(what=what, bounds=bounds), resume=server.resume)

    def look(tokens: int) -> Try | None:
        session.say(f"{tokens} tokens:")
        try:
            found = attempt(tokens)
        except KeyboardInterrupt:
            return None
        session.say(f"  {found.outcome}{': ' + found.why if found.why else ''}")
        return found

    report = search_context(look, bounds, what=what, done=directory.read_tries(), keep=directory.keep)
    directory.write_report(report)
    if session.json:
        session.print_json(build_document(CONTEXT_SCHEMA, "", report))
    else:
        print_context(session, report)
        session.say(f"kept in {place}")
    if report.interrupted:
        return int(ExitCode.INTERRUPTED)
    if any(one.outcome == "unknown" for one in report.tries):
        return int(ExitCode.COULD_NOT_JUDGE)
    return int(ExitCode.OK if report.proven is not None else ExitCode.JUDGED_FAILING)


def _open_endpoint(url: str, key: str, model: str, api: Api, timeout_s: float | None) -> tuple[NeedleAsker, Endpoint]:
    from xpukit.operate.ready.endpoint import describe_endpoint, make_ask

    ask = make_ask(url, key)
    endpoint = describe_endpoint(ask, url, model=model)
    return _make_asker(ask, endpoint, api, timeout_s), endpoint


def _make_asker(ask: Ask, endpoint: Endpoint, api: Api, timeout_s: float | None) -> NeedleAsker:
    from xpukit.facts.readiness import find_level
    from xpukit.operate.context.needle import NeedleAsker
    from xpukit.operate.ready.gate import Gate

    return NeedleAsker(Gate(ask, endpoint, find_level("long"), apis=(api,), timeout_s=timeout_s), api)


def _bound_endpoint(bounds: Bounds, endpoint: Endpoint, asker: NeedleAsker) -> Bounds:
    """Of a running endpoint the length is a prompt's: its stated limit less the answer is the most there can be."""
    from xpukit.facts.readiness import find_limit

    stated = endpoint.context_tokens
    most = bounds.highest
    if most is None and stated is not None:
        most = stated - asker.answer_tokens(stated)
    if most is None:
        # No limit is stated: up by doubling, so that a small server is not sent a book at once.
        first = bounds.first or int(find_limit("unknown_context_tokens"))
        return msgspec.structs.replace(bounds, first=first, highest=int(find_limit("context_most")), doubling=True)
    return msgspec.structs.replace(
        bounds, first=bounds.first or most, highest=most, lowest=min(bounds.lowest, max(1, most))
    )


def _ask_endpoint(session: Session, asker: NeedleAsker) -> Callable[[int], Try]:
    from xpukit.operate.context.verify import try_prompt

    def attempt(tokens: int) -> Try:
        found = try_prompt(asker, tokens)
        for line in found.evidence:
            session.say(f"  {line}")
        return found

    return attempt


def _start_each(session: Session, plan: Plan, given: Server, timeout_s: float | None) -> Callable[[int], Try]:
    from xpukit.cli.bench_engine import start_engine
    from xpukit.cli.serve_retry import set_context
    from xpukit.operate.context.started import describe_start

    def attempt(tokens: int) -> Try:
        place = given.place / "tries" / str(tokens)
        with start_engine(session, set_context(plan, tokens), place, given.choice, key=given.key) as engine:
            found = describe_start(engine.attempt, tokens, log=str(engine.log))
            return found if found is not None else _verify(session, engine, tokens, given, timeout_s)

    return attempt


def _verify(session: Session, engine: RunningEngine, tokens: int, given: Server, timeout_s: float | None) -> Try:
    from xpukit.operate.context.started import read_room
    from xpukit.operate.context.verify import verify_context

    try:
        asker, endpoint = _open_endpoint(engine.url, given.key, "", given.api, timeout_s)
    except XpukitError as err:
        from xpukit.operate.context.search import Try

        return Try(tokens=tokens, outcome="unknown", why=err.message, log=str(engine.log))
    # The engine may have taken another length than it was given (it says so).
    session.say(f"  started; {endpoint.context_tokens or tokens} tokens by its own word; asking")
    found = verify_context(asker, tokens)
    for line in found.evidence:
        session.say(f"  {line}")
    started = tuple(step.text for step in engine.attempt.steps)
    return msgspec.structs.replace(
        found,
        suggested=None,
        room=read_room(engine.attempt),
        evidence=(*started, *found.evidence),
        seconds=round(found.seconds + engine.attempt.seconds, 3),
        log=str(engine.log),
    )


def print_context(session: Session, report: ContextReport) -> None:
    """Each try, and what it came to."""
    from xpukit.cli.render import print_table

    rows = [
        (
            str(one.tokens),
            one.outcome,
            "-" if one.prompt_tokens is None else str(one.prompt_tokens),
            "-" if one.suggested is None else str(one.suggested),
            f"{one.seconds:.1f}",
            one.why,
        )
        for one in report.tries
    ]
    head = ("tokens", "outcome", "prompt answered", "suggested", "seconds", "why")
    print_table(report.what, head, rows, color=session.color, right=(0, 2, 3, 4))
    print(report.statement)
