"""What `serve` reads beside the model: the probe, the last evaluation, device nodes, the image's own flags."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from xpukit.core.errors import ExternalError, UsageError

if TYPE_CHECKING:
    from xpukit.cli.session import Session
    from xpukit.facts.engines import EngineSchema
    from xpukit.host import Host
    from xpukit.serve.last_run import LastRun
    from xpukit.serve.memory_types import Correction
    from xpukit.serve.model_types import Model
    from xpukit.serve.parallelism import Parallelism
    from xpukit.serve.planner import Surroundings
    from xpukit.serve.request import ServeRequest

    FindCorrection = Callable[[str, Parallelism], "Correction | None"]


def read_surroundings(
    session: Session,
    host: Host,
    request: ServeRequest,
    model: Model,
    *,
    evaluation: str = "",
    known: Surroundings | None = None,
) -> Surroundings:
    """Everything that `make_plan` is given. With --platform the machine at hand is not looked at.

    `known`: an answer of before for the same machine; what is not of the request or the model is taken from it.
    """
    from xpukit.serve.last_run import read_measurements
    from xpukit.serve.planner import Surroundings

    own_flags = _read_own_flags(session, request)
    if request.platform:
        from xpukit.serve.platforms import parse_platform

        platform = parse_platform(request.platform)
        return Surroundings(machine=platform.machine, platform=platform, own_flags=own_flags)
    if known is not None:
        finder = _make_finder(host, known.host, request, model)
        return msgspec.structs.replace(known, own_flags=own_flags, find_correction=finder)
    from xpukit.container.gpu_nodes import find_gpu_nodes
    from xpukit.probe.machine import probe_machine

    machine = probe_machine(host)
    run = _find_run(host, evaluation)
    hostname = host.identity().hostname
    return Surroundings(
        machine=machine,
        host=hostname,
        evaluation=run.document if run is not None else None,
        measured=read_measurements(run) if run is not None else None,
        access=find_gpu_nodes(host, machine),
        own_flags=own_flags,
        find_correction=_make_finder(host, hostname, request, model),
    )


def _find_run(host: Host, evaluation: str) -> LastRun | None:
    from xpukit.serve.last_run import LastRun, find_last_run, read_run

    if not evaluation:
        return find_last_run(host)
    for path in (f"{evaluation.rstrip('/')}/results.json", evaluation):
        document = read_run(host, path)
        if document is not None:
            return LastRun(path=path, document=document)
    raise UsageError(f"--evaluation {evaluation}: no results of an evaluation", hint="the directory that evaluate made")


def _make_finder(host: Host, hostname: str, request: ServeRequest, model: Model) -> FindCorrection:
    from xpukit.facts.engines import resolve_engine
    from xpukit.serve.calibrate import find_correction, load_corrections, make_model_key

    kept = load_corrections(host)
    asked = request.image or request.engine

    def find(quantization: str, division: Parallelism) -> Correction | None:
        if not kept:
            return None
        engine = resolve_engine(asked).engine if asked else kept[-1].engine
        return find_correction(
            kept,
            host_key=hostname,
            model_key=make_model_key(model),
            quantization=quantization,
            engine=engine,
            tp=division.tp,
            pp=division.pp,
        )

    return find


def _read_own_flags(session: Session, request: ServeRequest) -> EngineSchema | None:
    """What the image's own parser accepts, where the image is here and says so in its labels."""
    if not request.image or request.schema_file or session.source is not None:
        return None
    from xpukit.facts.engines import read_flags_document
    from xpukit.host.docker_daemon import DockerDaemon
    from xpukit.images.engine_flags import encode_flags, read_label

    daemon = DockerDaemon()
    if not daemon.check().ok:
        return None
    try:
        info = daemon.inspect_image(request.image)
    except ExternalError as err:
        session.warn(f"{err.message}: flags are checked against those we know of this version")
        return None
    flags = read_label(info.labels) if info is not None else None
    return read_flags_document(encode_flags(flags), source=f"{request.image}'s own parser") if flags else None
