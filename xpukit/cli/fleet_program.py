"""The vendor's benchmark over several hosts: run by mpiexec, read and judged as `evaluate --log` does."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from xpukit.cli.session import Session
from xpukit.core.errors import UsageError

if TYPE_CHECKING:
    from xpukit.evaluate.run_directory import RunDirectory


def run_program(
    session: Session,
    directory: RunDirectory,
    program: str,
    launcher: tuple[str, ...],
    environment: dict[str, str],
    *,
    hosts: tuple[str, ...],
    ranks_per_host: int,
    mode: str,
    limit_s: float,
) -> int:
    """Run it, keep all it says in the directory's logs, judge its tables."""
    from xpukit.cli.fleet_collectives import conclude
    from xpukit.core.json_document import build_document, now_utc
    from xpukit.core.measurement import Target
    from xpukit.evaluate.log import LogSource, judge_logs
    from xpukit.evaluate.run import SCHEMA
    from xpukit.facts.suites import load_suite
    from xpukit.host.native.libraries import find_library_dir
    from xpukit.host.native.mpi import build_environment

    try:
        words = shlex.split(program)
    except ValueError as err:
        raise UsageError(f"--program {program!r}: {err}") from err
    if not words:
        raise UsageError("--program is empty")
    host = session.open_host()
    log = directory.log_path("program")
    argv = (*launcher, *words)
    own = build_environment(find_library_dir()) if launcher[0].startswith(str(find_library_dir().parent)) else {}
    access = {"p2p": {"CCL_TOPO_P2P_ACCESS": "1"}, "usm": {"CCL_TOPO_P2P_ACCESS": "0"}}.get(mode, {})
    started = now_utc()
    ran = host.run(argv, timeout_s=limit_s, env={**own, **access, **environment}, log=log)
    text = f"CCL_TOPO_P2P_ACCESS={access['CCL_TOPO_P2P_ACCESS']}\n{ran.text}" if access else ran.text
    # Hydra fills a host before the next one: rank 0 to N-1 on the first, and so on.
    names = [f"{one}/{local}" if ranks_per_host > 1 else one for one in hosts for local in range(ranks_per_host)]
    evaluation = judge_logs(
        [LogSource(name=str(log), text=text)],
        rows=(),
        settings=load_suite("quick").judge,
        targets=[Target(label=name, kind="gpu", name="a rank") for name in names],
        started=started,
    )
    directory.write_json("results.json", build_document(SCHEMA, host.identity().hostname, evaluation))
    if not ran.ok:
        last = (ran.err_text.strip().splitlines() or [""])[-1][:300]
        session.warn(f"{words[0]}: {ran.failure or f'ended with {ran.rc}'}: {last}")
    return conclude(session, directory, evaluation)
