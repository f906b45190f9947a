"""What `serve` reads beside the model: the probe, the last evaluation, device nodes, the image's own flags."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from xpukit.serve.sizing import FindCorrection

_CONFIG_LIMIT_BYTES = 4 << 20


def find_model(session: Session, request: ServeRequest) -> Model:
    """The model that is asked for; a file that is named is this machine's, whatever machine is planned for."""
    from xpukit.host.live import LiveHost
    from xpukit.serve.model import resolve_model

    files = LiveHost() if request.config_file and session.source is not None else session.open_host()
    return resolve_model(request.model, files, request.config_file or None)


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

    own_engine, own_flags = _read_image(session, request)
    if request.platform:
        from xpukit.serve.platforms import parse_platform

        platform = parse_platform(request.platform)
        return Surroundings(machine=platform.machine, platform=platform, own_engine=own_engine, own_flags=own_flags)
    if known is not None:
        finder = _make_finder(session.open_state(), known.host, model)
        return msgspec.structs.replace(known, own_engine=own_engine, own_flags=own_flags, find_correction=finder)
    from xpukit.container.gpu_nodes import find_gpu_nodes
    from xpukit.probe.machine import probe_machine

    machine = probe_machine(host)
    state = session.open_state()
    run = _find_run(state if not evaluation else host, evaluation)
    hostname = host.identity().hostname
    return Surroundings(
        machine=machine,
        host=hostname,
        evaluation=run.document if run is not None else None,
        measured=read_measurements(run) if run is not None else None,
        access=find_gpu_nodes(host, machine),
        own_engine=own_engine,
        own_flags=own_flags,
        find_correction=_make_finder(state, hostname, model),
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


def _make_finder(host: Host, hostname: str, model: Model) -> FindCorrection:
    from xpukit.serve.calibrate import find_correction, load_corrections, make_model_key

    kept = load_corrections(host)

    def find(engine: str, quantization: str, division: Parallelism) -> Correction | None:
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


def _read_image(session: Session, request: ServeRequest) -> tuple[str, EngineSchema | None]:
    """What an image that xpukit built says of itself: "vllm:0.21.0", and what its own parser accepts.

    Nothing where it is not in this machine's Docker, or a recorded machine is planned for. Raises UsageError for an
    image without an engine that we know.
    """
    if not request.image or session.source is not None:
        return "", None
    from xpukit.facts.engine_versions import find_engine
    from xpukit.facts.engines import read_flags_document
    from xpukit.host.docker_daemon import DockerDaemon
    from xpukit.images.build import LABEL_ENGINE, LABEL_ENGINE_VERSION
    from xpukit.images.engine_flags import encode_flags, read_label

    daemon = DockerDaemon()
    if not daemon.check().ok:
        return "", None
    try:
        info = daemon.inspect_image(request.image)
    except ExternalError as err:
        session.warn(f"{err.message}: flags are checked against those we know of this version")
        return "", None
    if info is None:
        return "", None
    said, version = info.labels.get(LABEL_ENGINE, ""), info.labels.get(LABEL_ENGINE_VERSION, "")
    engine = find_engine(said) if said else None
    if said and engine is None:
        text = f"{request.image} has no engine that launches are planned for (its label says {said})"
        if not request.engine:
            raise UsageError(text, hint="another --image; or --engine NAME:VERSION says what it holds")
        session.warn(f"{text}: taken as {request.engine}")
        return "", None
    flags = None if request.schema_file else read_label(info.labels)
    schema = read_flags_document(encode_flags(flags), source=f"{request.image}'s own parser") if flags else None
    return ":".join(filter(None, (engine, version))) if engine else "", schema


def read_config_files(request: ServeRequest) -> dict[str, Any]:
    """What `-- --config FILE` names, parsed; a file that is not on this machine is left out (it may be in the image).

    Raises UsageError for one that cannot be read, or is no YAML.
    """
    from xpukit.serve.extras_file import list_config_paths

    found: dict[str, Any] = {}
    for path in list_config_paths(request.extras):
        if not Path(path).is_file():
            continue
        try:
            import yaml  # type: ignore[import-untyped, unused-ignore]
        except ModuleNotFoundError as err:
            hint = "pip install pyyaml; or write its settings as flags after --"
            raise UsageError(f"--config {path}: YAML needs PyYAML", hint=hint) from err
        try:
            with Path(path).open("rb") as file:
                found[path] = yaml.safe_load(file.read(_CONFIG_LIMIT_BYTES)) or {}
        except OSError as err:
            raise UsageError(f"{path}: {err.strerror or err}", hint="the file of settings after --config") from err
        except (yaml.YAMLError, ValueError, RecursionError) as err:
            # (A date that is none, as 2026-13-01, is a ValueError of the YAML reader.)
            raise UsageError(f"{path}: not valid YAML: {err}", hint="correct the file at the named line") from err
    return found
