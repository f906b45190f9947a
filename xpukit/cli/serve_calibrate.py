"""`serve --calibrate LOG`: the estimate beside what the engine's own log says, and the correction kept."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from xpukit.cli.render import print_table
from xpukit.cli.session import Session
from xpukit.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from xpukit.serve.model_types import Model
    from xpukit.serve.plan_types import Plan

SCHEMA = "xpukit.calibration/1"
_LIMIT_BYTES = 256 << 20


def print_calibration(session: Session, plan: Plan, model: Model, log: str) -> int:
    """Compare, keep the correction (on a live machine), print. Exit 3 where the log says nothing of memory."""
    from xpukit.core.json_document import build_document, now_utc
    from xpukit.serve.calibrate import compare_log, derive_correction, make_model_key, save_correction
    from xpukit.serve.engine_log import read_engine_log

    found = read_engine_log(_read_log(log))
    rows = compare_log(plan.memory, found, model)
    hostname = plan.machine.host
    correction = derive_correction(
        plan.memory,
        found,
        model,
        host_key=hostname,
        model_key=make_model_key(model),
        created=now_utc(),
        source=f"the log {Path(log).name}",
    )
    kept = ""
    if session.source is None and not plan.machine.platform:
        kept = str(save_correction(session.open_host(), correction))
    if session.json:
        body = {"rows": rows, "correction": correction, "kept": kept, "failures": found.failures}
        session.print_json(build_document(SCHEMA, hostname, body))
        return int(ExitCode.OK)
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
    for failure in found.failures:
        print(f"the log says: {failure}")
    if kept:
        session.say(f"the correction for this host and model is kept in {kept}")
    else:
        session.say("the correction was not kept: it is about another machine")
    return int(ExitCode.OK)


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
