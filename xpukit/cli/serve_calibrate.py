"""`serve --calibrate LOG`: the estimate beside what the engine's own log says, and the correction kept."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from xpukit.cli.render import print_table
from xpukit.cli.serve_options import ServeOptions
from xpukit.cli.session import Session
from xpukit.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from xpukit.serve.engine_log import EngineLog
    from xpukit.serve.model_types import Model
    from xpukit.serve.plan_types import Plan
    from xpukit.serve.request import ServeRequest

    MakePlan = Callable[[Session, ServeRequest, ServeOptions], tuple[Plan, Model]]

SCHEMA = "xpukit.calibration/1"
_LIMIT_BYTES = 256 << 20


def calibrate(session: Session, request: ServeRequest, options: ServeOptions, make_plan: MakePlan) -> int:
    """Plan the launch that the log is of, compare, keep the correction (on a live machine), print.

    Exit 3 where the log says nothing of memory, or is not of this model.
    """
    from xpukit.cli.serve_surroundings import find_model
    from xpukit.serve.engine_log import read_engine_log
    from xpukit.serve.logged_launch import adopt_arguments, adopt_engine, check_engine, find_logged_model

    log = read_engine_log(_read_log(options.calibrate))
    if not request.model:
        import msgspec

        named = find_logged_model(log)
        if not named:
            raise UsageError(
                "no model was named, and the log does not name it", hint="xpukit serve MODEL --calibrate LOG"
            )
        request = msgspec.structs.replace(request, model=named)
    model = find_model(session, request)
    request, taken = adopt_arguments(request, log, quantized=model.is_pre_quantized)
    plan, model = make_plan(session, adopt_engine(request, log), options)
    check_engine(plan.engine.name, log)
    if taken and not session.json:
        session.say(f"taken from the log: {', '.join(taken)}")
    return _compare(session, plan, model, log, Path(options.calibrate).name)


def _compare(session: Session, plan: Plan, model: Model, log: EngineLog, name: str) -> int:
    from xpukit.core.json_document import build_document, now_utc
    from xpukit.serve.calibrate import compare_log, derive_correction, find_mismatch, make_model_key, save_correction

    rows = compare_log(plan.memory, log, model)
    hostname = plan.machine.host
    correction = derive_correction(
        plan.memory,
        log,
        model,
        host_key=hostname,
        model_key=make_model_key(model),
        created=now_utc(),
        source=f"the log {name}",
    )
    mismatch = find_mismatch(plan.memory, log, model)
    elsewhere = "it is about another machine" if session.source is not None or plan.machine.platform else ""
    refused = mismatch or elsewhere
    kept = "" if refused else str(save_correction(session.open_host(), correction))
    status = ExitCode.COULD_NOT_JUDGE if mismatch else ExitCode.OK
    if session.json:
        body = {"rows": rows, "correction": correction, "kept": kept, "not_kept": refused, "failures": log.failures}
        session.print_json(build_document(SCHEMA, hostname, body))
        return int(status)
    table = [
        (
            row.name,
            row.unit,
            _format(row.estimate),
            _format(row.fact),
            f"{row.error_percent:+.1f} %" if row.error_percent is not None else "",
        )
        for row in rows
    ]
    columns = ("what", "unit", "estimate", "log", "estimate is off by")
    print_table("Estimate and fact", columns, table, color=session.color, right=(2, 3, 4))
    for failure in log.failures:
        print(f"the log says: {failure}")
    if kept:
        session.say(f"the correction for this host and model is kept in {kept}")
        session.say(f"  it is used by plans of {plan.weights}, {plan.parallelism.describe()}, {plan.engine.name}")
    else:
        session.say(f"the correction was not kept: {refused}")
    return int(status)


def _read_log(path: str) -> str:
    try:
        if path == "-":
            return sys.stdin.read(_LIMIT_BYTES)
        with Path(path).open("rb") as file:
            return file.read(_LIMIT_BYTES).decode("utf-8", errors="replace")
    except OSError as err:
        raise UsageError(
            f"{path}: {err.strerror or err}", hint="give the engine's log, or - for standard input"
        ) from err


def _format(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"
