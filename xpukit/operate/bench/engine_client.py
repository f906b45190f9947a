"""An engine's own benchmark as a child process: its command goes in, a result comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from xpukit.core.errors import ExternalError
from xpukit.host.door import Host
from xpukit.operate.bench.matrix import PointPlan
from xpukit.operate.bench.parse import parse_bench
from xpukit.operate.bench.result import BenchResult, Load


def run_engine_bench(
    host: Host,
    argv: Sequence[str],
    plan: PointPlan,
    *,
    engine: str,
    engine_version: str,
    log: Path,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> BenchResult:
    """Run it to its end. Raises ExternalError where it fails, says nothing that is a result, or takes too long."""
    ran = host.run(argv, timeout_s=timeout_s, env=env, log=log, on_line=on_line)
    found = parse_bench(ran.text, origin=str(log))
    if not ran.ok:
        raise ExternalError(ran.describe_failure(), hint=f"its whole output: {log}")
    if not found:
        raise ExternalError(f"{argv[0]}: it ended without a result", hint=f"its whole output: {log}")
    # What was asked is known better from here than from what was printed.
    result = found[-1]
    failed = result.failed
    if failed is None and result.completed is not None:
        failed = max(0, plan.requests - result.completed)
    return msgspec.structs.replace(
        result,
        engine=engine,
        engine_version=engine_version,
        model=plan.model.name,
        failed=failed,
        load=Load(
            input_len=plan.input_len,
            output_len=plan.output_len,
            requests=plan.requests,
            concurrency=plan.concurrency,
            rate_rps=plan.rate_rps,
            arrival=plan.arrival,
            shared_prefix=plan.shared_prefix or None,
        ),
    )
