"""oneAPI's setvars.sh: needed by some images, not there in others, and harmful over PyTorch's own libraries."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.container_inspect import Container, is_shell
from xpukit.doctor.containers import list_serving
from xpukit.doctor.versions import find_item, list_places
from xpukit.facts.doctor_images import Generation, find_generation
from xpukit.facts.doctor_tables import split_version

_SOURCE_IT = "source /opt/intel/oneapi/setvars.sh --force && exec vllm serve …"


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Containers by the generation of their image; this environment by what is in it."""
    for _, container in list_serving(patient):
        generation = find_generation(container.image)
        if generation is not None and container.starts_engine:
            yield from judge_container(container, generation)
    if patient.machine.devices:
        yield from judge_environment(patient)


def judge_container(container: Container, generation: Generation) -> Iterable[Finding]:
    """The command of a container against how its image makes its environment."""
    image = f"{container.image.repository}:{container.image.tag}"
    evidence = (
        Evidence(source=f"inspect {container.name}: Config.Image", value=image),
        Evidence(
            source=f"inspect {container.name}: Config.Entrypoint, Config.Cmd",
            value=f"entry point {container.entrypoint or 'none'}; setvars.sh "
            + ("in the command" if container.sources_setvars else "not in the command"),
        ),
        Evidence(source=generation.source, value=f"{generation.pattern} from {generation.since}: {generation.setvars}"),
    )
    # An image's own entry point sources the script inside `bash -c`: the command then holds its name.
    if generation.setvars in ("needed", "entrypoint") and not container.sources_setvars:
        yield Finding(
            id="XPK-SETVARS-MISSING",
            severity="warning",
            summary=f"container {container.name} starts its server without oneAPI's environment",
            evidence=evidence,
            explanation="Images of this generation set LD_LIBRARY_PATH in setvars.sh only. Without it the server "
            "finds other libraries: it needs more memory until it is killed, or is slower.",
            remedy=(f"let a shell start it: bash -c '{_SOURCE_IT}'",),
            links=(generation.link,),
            subject=container.name,
            concerns=f"{generation.pattern} from {generation.since}",
        )
    elif generation.setvars == "absent" and container.sources_setvars:
        shell = is_shell(container.entrypoint)
        yield Finding(
            id="XPK-SETVARS-ABSENT",
            severity="warning",
            summary=f"container {container.name} sources setvars.sh, which is not in its image",
            evidence=evidence,
            explanation="Images of this generation keep their libraries in /opt/venv; "
            + (
                "a command that goes on with && after the failed `source` never starts its server."
                if shell
                else "the missing file is an error at the start."
            ),
            remedy=("take `source /opt/intel/oneapi/setvars.sh --force &&` out of the command",),
            links=(generation.link,),
            subject=container.name,
            concerns=f"{generation.pattern} from {generation.since}",
        )


def judge_environment(patient: Patient) -> Iterable[Finding]:
    """oneAPI's variables set in a shell whose Python brings its own SYCL runtime."""
    done = patient.host.env("SETVARS_COMPLETED").value
    runtime, torch = find_item(patient, "SYCL runtime (pip)"), find_item(patient, "PyTorch")
    if not done or runtime is None or torch is None:
        return
    active = patient.host.env("VIRTUAL_ENV").value or patient.host.env("CONDA_PREFIX").value or ""
    places = {place for _, place in list_places(torch)} & {place for _, place in list_places(runtime)}
    places = {place for place in places if not active or place.startswith(f"{active.rstrip('/')}/")}
    compiler = patient.find_software("oneAPI compiler")
    if not places or not compiler or split_version(compiler)[:2] == split_version(runtime.version)[:2]:
        return
    yield Finding(
        id="XPK-SETVARS-OVER-PYTHON",
        severity="warning",
        summary=f"setvars.sh puts oneAPI {compiler} before PyTorch's own SYCL runtime {runtime.version}",
        evidence=(
            Evidence(source="$SETVARS_COMPLETED", value=done[:20]),
            Evidence(source="/opt/intel/oneapi/compiler/latest", value=compiler),
            Evidence(source=f"{runtime.source}: intel-sycl-rt", value=runtime.version),
        ),
        explanation="PyTorch for XPU brings the SYCL runtime it was built with. LD_LIBRARY_PATH goes before it, and "
        "a runtime of another version fails ('UR error') or finds no device.",
        remedy=("start PyTorch from a shell in which setvars.sh was not sourced",),
        links=("https://github.com/pytorch/pytorch/issues/149953",),
    )


CHECK = Check(
    name="setvars",
    summary="oneAPI's setvars.sh where it is needed, and only there",
    ids=("XPK-SETVARS-MISSING", "XPK-SETVARS-ABSENT", "XPK-SETVARS-OVER-PYTHON"),
    look=look,
    concerns="llm-scaler images; PyTorch for XPU from pip",
    order=530,
)
