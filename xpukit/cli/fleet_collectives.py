"""`xpukit fleet collectives`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpukit.cli.fleet_options import HostsOption, SshConfigOption, StrictOption
from xpukit.cli.session import JsonOption, Session, current_session
from xpukit.core.errors import CouldNotJudgeError, UsageError

if TYPE_CHECKING:
    from xpukit.evaluate.result import Evaluation
    from xpukit.evaluate.run_directory import RunDirectory
    from xpukit.host import Host
    from xpukit.host.native.mpi_hosts import Flavour
    from xpukit.operate.fleet.hosts import FleetHost
    from xpukit.operate.fleet.reach import Reached
    from xpukit.operate.fleet.ssh import SshSettings

HELP = "Collectives over several hosts by MPI: oneCCL or MPI's own, or the vendor's benchmark."


def collectives(
    hosts: HostsOption = "",
    ranks: Annotated[
        int | None, typer.Option("--ranks-per-host", min=1, help="[the fewest GPUs of a host; 1 without]")
    ] = None,
    mode: Annotated[str, typer.Option("--mode", help="p2p or usm (GPUs), cpu. [p2p where all have GPUs]")] = "",
    engine: Annotated[str, typer.Option("--engine", help="oneccl, or mpi (host memory): the yardstick.")] = "oneccl",
    suite: Annotated[str, typer.Option("--suite", help="Whose sizes and repetitions.")] = "quick",
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="COLLECTIVE", help="allreduce, ...; repeatable.")
    ] = None,
    size: Annotated[list[int] | None, typer.Option("--size", metavar="BYTES", help="Instead; repeatable.")] = None,
    program: Annotated[
        str, typer.Option("--program", metavar='"PATH ..."', help="oneCCL's benchmark on the hosts, with its options.")
    ] = "",
    mpiexec: Annotated[
        str, typer.Option("--mpiexec", metavar="PATH", help="Intel MPI's or MPICH's. [that of the extra embedded]")
    ] = "",
    python: Annotated[
        str, typer.Option("--python", metavar="PATH", help="The hosts' Python with xpukit[embedded]. [as here]")
    ] = "",
    interface: Annotated[
        str, typer.Option("--interface", metavar="DEV", help="This machine's network to the hosts. [found]")
    ] = "",
    timeout: Annotated[float | None, typer.Option("--timeout", min=1, help="Seconds in all. [by the sizes]")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="[xpukit-fleet/<time>-collectives]")] = None,
    ssh_config: SshConfigOption = None,
    strict_host_keys: StrictOption = False,
    json: JsonOption = False,
) -> int:
    """Look at the hosts, measure, judge, print."""
    session = current_session()
    session.take(json=json)
    session.require_live("fleet collectives")
    if engine not in ("oneccl", "mpi"):
        raise UsageError(f"--engine {engine} is neither oneccl nor mpi")
    if mode not in ("", "cpu", "p2p", "usm"):
        raise UsageError(f"--mode {mode} is none of cpu, p2p, usm")
    from xpukit.evaluate.embedded.collective_maths import COLLECTIVES
    from xpukit.operate.fleet.hosts import read_hosts
    from xpukit.operate.fleet.reach import find_interface, reach_hosts
    from xpukit.operate.fleet.ssh import SshSettings

    if odd := [name for name in only or () if name not in COLLECTIVES]:
        raise UsageError(f"--only {odd[0]} is none of {', '.join(COLLECTIVES)}")
    host = session.open_host()
    asked = read_hosts(hosts)
    if len(asked) < 2:
        raise UsageError("collectives over hosts need two", hint="on one host: xpukit evaluate --only collectives")
    settings = SshSettings(config=str(ssh_config.resolve()) if ssh_config else "", strict=strict_host_keys)
    interpreter = python or sys.executable
    reached = reach_hosts(host, settings, asked, python="" if program else interpreter)
    _refuse_absent(reached)
    fewest = min(one.gpus for one in reached)
    chosen = mode or ("p2p" if fewest and engine == "oneccl" else "cpu")
    if chosen != "cpu" and (engine == "mpi" or not fewest):
        raise UsageError(
            f"--mode {chosen}: not every host has a GPU" if engine != "mpi" else "--engine mpi is for --mode cpu"
        )
    per_host = ranks or (fewest if chosen != "cpu" else 1)
    device = interface or find_interface(host, reached[0].client)
    launcher, environment, input_to_all = _build_launcher(host, settings, asked, mpiexec, per_host, device)
    directory = _open_directory(out, suite, only or [])
    session.say(f"{len(asked)} hosts x {per_host} ranks, {chosen}, into {directory.path}")
    if program:
        from xpukit.cli.fleet_program import run_program

        return run_program(
            session, directory, program, launcher, environment,
            hosts=tuple(one.name for one in asked), ranks_per_host=per_host, mode=chosen, limit_s=timeout or 600.0,
        )  # fmt: skip
    import msgspec

    from xpukit.core.json_document import build_document, now_utc
    from xpukit.evaluate.embedded.host_collectives import HostsPlan, measure_hosts, plan_hosts_job
    from xpukit.evaluate.run import SCHEMA
    from xpukit.facts.suites import load_suite
    from xpukit.host.native.libraries import find_library_dir

    plan = HostsPlan(
        hosts=tuple(one.name for one in asked),
        ranks_per_host=per_host,
        mode=chosen,
        kind="collectives" if engine == "oneccl" else "mpi_collectives",
        python=interpreter,
        libraries=str(Path(python).parent.parent / "lib") if python else str(find_library_dir()),
        launcher=launcher,
        environment=environment,
        input_to_all=input_to_all,
    )
    job = plan_hosts_job(plan, load_suite(suite), collectives=only or (), sizes=size or ())
    if timeout:
        job = msgspec.structs.replace(job, timeout_s=timeout)
    evaluation = measure_hosts(host, job, plan, load_suite(suite), directory, started=now_utc())
    directory.write_json("results.json", build_document(SCHEMA, host.identity().hostname, evaluation))
    return conclude(session, directory, evaluation)


def conclude(session: Session, directory: RunDirectory, evaluation: Evaluation) -> int:
    """Print; the exit code says the verdict."""
    from xpukit.cli.evaluate import exit_code_of
    from xpukit.cli.evaluate_tables import print_evaluation

    if session.json:
        session.print_json(directory.load_json("results.json"))
    else:
        print_evaluation(evaluation, color=session.color, verbose=session.verbose)
    for job in evaluation.jobs:
        if job.failure:
            session.say(f"{job.name}: {job.failure} (all it said: {directory.path / job.log})")
    session.say(f"results: {directory.path / 'results.json'}")
    return int(exit_code_of(evaluation, strict=False))


def _refuse_absent(reached: tuple[Reached, ...]) -> None:
    from xpukit import __version__

    problems = [f"{one.host.name}: {one.problem}" for one in reached if one.problem]
    problems += [
        f"{one.host.name}: xpukit {one.version} there, {__version__} here"
        for one in reached
        if one.version not in ("", __version__)
    ]
    if problems:
        hint = "MPI needs all of them: leave a host out, or mend it (xpukit fleet preflight)"
        raise CouldNotJudgeError("; ".join(problems), hint=hint)


def _build_launcher(
    host: Host, settings: SshSettings, hosts: tuple[FleetHost, ...], named: str, per_host: int, device: str
) -> tuple[tuple[str, ...], dict[str, str], bool]:
    from xpukit.host.native.libraries import INSTALL_HINT, find_library_dir
    from xpukit.host.native.mpi import locate_mpiexec
    from xpukit.host.native.mpi_hosts import (
        build_hosts_environment,
        build_hosts_launcher,
        gives_input_to_all,
        read_flavour,
    )

    program = named or str(locate_mpiexec(find_library_dir()))
    flavour: Flavour = "intel"
    if named:
        said = host.run((named, "--version"), timeout_s=30)
        if not said.ok:
            raise CouldNotJudgeError(f"{named} --version: {said.failure or said.err_text.strip()[-200:]}")
        seen = read_flavour(said.text)
        if seen is None:
            raise CouldNotJudgeError(f"{named} is neither Intel MPI nor MPICH", hint="both have the launcher Hydra")
        flavour = seen
    elif not host.exists(program):
        raise CouldNotJudgeError("no mpiexec (impi-rt) beside this xpukit", hint=INSTALL_HINT)
    launcher = build_hosts_launcher(program, flavour, [one.ssh for one in hosts], per_host, interface=device)
    return launcher, build_hosts_environment(settings.argv), gives_input_to_all(flavour)


def _open_directory(out: Path | None, suite: str, only: list[str]) -> RunDirectory:
    from xpukit import __version__
    from xpukit.core.json_document import now_utc
    from xpukit.evaluate.run_directory import RunDirectory, RunOptions

    created = now_utc()
    options = RunOptions(xpukit_version=__version__, created=created, suite=suite, only=("collectives", *only))
    stamp = created.replace("-", "").replace(":", "").replace("T", "-").rstrip("Z")
    return RunDirectory.create(out or Path("xpukit-fleet") / f"{stamp}-collectives", options)
