"""Environment variables, here and in serving containers, that do harm, hide all GPUs or no longer do anything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from xpukit.core.finding import Evidence, Finding, Severity, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.containers import list_serving
from xpukit.facts.doctor_environment import KnownVariable, load_variables
from xpukit.facts.doctor_images import resolve_tag
from xpukit.facts.doctor_tables import split_version

_SEVERITY: dict[str, Severity] = {"outdated": "info", "measuring": "info", "harmful": "warning"}
_MASKS = ("ZE_AFFINITY_MASK", "ONEAPI_DEVICE_SELECTOR")


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """This process's environment, then each serving container's."""
    if patient.machine.devices:
        names = (*(row.name for row in load_variables()), *_MASKS, "NEOReadDebugKeys", "ZE_FLAT_DEVICE_HIERARCHY")
        own = {name: value for name in dict.fromkeys(names) if (value := patient.host.env(name).value)}
        versions = {"vLLM": patient.find_software("vLLM")}
        yield from judge(own, patient, where="this environment", source="$", versions=versions)
    for tool, container in list_serving(patient):
        yield from judge(
            container.environment,
            patient,
            where=f"container {container.name}",
            source=f"{tool} inspect {container.name}: Config.Env ",
            versions={"vLLM": resolve_tag(container.image)},
            subject=container.name,
        )


def judge(
    environment: Mapping[str, str],
    patient: Patient,
    *,
    where: str,
    source: str,
    versions: Mapping[str, str],
    subject: str = "",
) -> Iterable[Finding]:
    """Findings about one set of variables. `source` goes before a variable's name in the evidence."""
    for row in load_variables():
        value = environment.get(row.name)
        if value is None or not applies(row, value, patient, versions):
            continue
        if row.kind == "measuring" and environment.get("NEOReadDebugKeys") != "1":
            continue
        unset = f"unset {row.name}"
        instead = (f"use {row.instead} instead",) if row.instead else ()
        yield Finding(
            id=f"XPK-ENV-{row.kind.upper()}",
            severity=_SEVERITY[row.kind],
            summary=f"{where}: {row.summary}",
            evidence=(Evidence(source=f"{source}{row.name}", value=value[:120]),),
            explanation=f"Source: {row.source}.",
            remedy=(unset, *instead) if not subject else (f"take {row.name} out of the container's settings", *instead),
            commands=(unset,) if not subject else (),
            links=(row.link,),
            subject=f"{subject}:{row.name}" if subject else row.name,
        )
    yield from judge_masks(environment, patient, where=where, source=source, subject=subject)


def applies(row: KnownVariable, value: str, patient: Patient, versions: Mapping[str, str]) -> bool:
    """Whether a row is about this value, this software and this machine."""
    if row.values and value not in row.values:
        return False
    if row.with_software:
        version = split_version(versions.get(row.with_software, ""))
        if not version or (version >= (1,) and row.since.startswith("0.")) or version < split_version(row.since):
            return False
    # Without a card-to-card path known to be missing, P2P is not judged here: measuring it is evaluate's work.
    return row.p2p is None or row.p2p or bool(patient.machine.platform.get("vm"))


def judge_masks(
    environment: Mapping[str, str], patient: Patient, *, where: str, source: str, subject: str
) -> Iterable[Finding]:
    """A mask that names devices which are not there; a selector that leaves no GPU."""
    said = patient.machine.level_zero
    seen = said.get("devices")
    count = len(seen) if isinstance(seen, list | tuple) else 0
    # Level Zero counted behind this very mask if it is our own: then only the number on the bus is sure.
    total = max(count, sum(1 for device in patient.machine.devices if device.driver in ("xe", "i915", "")))
    tiles = sum(device.tiles or 1 for device in patient.machine.devices)
    mask = environment.get("ZE_AFFINITY_MASK", "")
    missing = [number for number in list_mask(mask) if number >= max(total, tiles)]
    if mask and patient.machine.devices and missing:
        everything = len(missing) == len(list_mask(mask))
        yield Finding(
            id="XPK-ENV-MASK-MISSING",
            severity="critical" if everything else "warning",
            summary=f"{where}: ZE_AFFINITY_MASK={mask[:60]} names devices that are not there",
            evidence=(
                Evidence(source=f"{source}ZE_AFFINITY_MASK", value=mask[:120]),
                Evidence(source="Intel GPUs on the bus", value=str(len(patient.machine.devices))),
            ),
            explanation="Level Zero leaves out what it does not find: the program sees fewer devices than it was "
            "given, or none, and says so late or never.",
            remedy=(f"numbers go from 0 to {max(total, tiles) - 1}; see the column affinity of: xpukit probe",),
            links=("https://oneapi-src.github.io/level-zero-spec/level-zero/latest/core/PROG.html#affinity-mask",),
            subject=f"{subject}:ZE_AFFINITY_MASK" if subject else "ZE_AFFINITY_MASK",
        )
    selector = environment.get("ONEAPI_DEVICE_SELECTOR", "")
    if selector and patient.machine.devices and hides_gpus(selector):
        yield Finding(
            id="XPK-ENV-HIDES-GPUS",
            severity="critical",
            summary=f"{where}: ONEAPI_DEVICE_SELECTOR={selector[:60]} hides every GPU from SYCL programs",
            evidence=(Evidence(source=f"{source}ONEAPI_DEVICE_SELECTOR", value=selector[:120]),),
            explanation="Only devices that a term accepts are seen; no term here accepts a GPU.",
            remedy=("use level_zero:gpu, or unset it",),
            commands=("unset ONEAPI_DEVICE_SELECTOR",) if not subject else (),
            links=("https://github.com/intel/llvm/blob/sycl/sycl/doc/EnvironmentVariables.md",),
            subject=f"{subject}:ONEAPI_DEVICE_SELECTOR" if subject else "ONEAPI_DEVICE_SELECTOR",
        )


def list_mask(mask: str) -> tuple[int, ...]:
    """Device numbers of an affinity mask ('0,1.0,3' is 0, 1, 3); what is not one is left out."""
    return tuple(
        int(match.group(1)) for part in mask.split(",") if (match := re.fullmatch(r"\s*(\d{1,6})(?:\.\d+)*\s*", part))
    )


def hides_gpus(selector: str) -> bool:
    """Whether no term accepts a GPU. Terms we do not understand count as accepting one."""
    accepting = False
    discarding_all = False
    for term in filter(None, (part.strip().lower() for part in selector.split(";"))):
        discard = term.startswith("!")
        backend, colon, devices = term.lstrip("!").partition(":")
        names = {name.strip() for name in devices.split(",")} if colon else {"*"}
        only_others = bool(names) and names <= {"cpu", "fpga", "acc"}
        gpu_backend = backend not in ("native_cpu", "cuda", "hip")
        if discard:
            discarding_all |= backend in ("*", "level_zero") and bool(names & {"*", "gpu"})
        elif gpu_backend and not only_others:
            accepting = True
    has_accepting_terms = any(not part.strip().startswith("!") for part in selector.split(";") if part.strip())
    return (has_accepting_terms and not accepting) or discarding_all


CHECK = Check(
    name="environment_variables",
    summary="environment variables that do harm or nothing",
    ids=(
        "XPK-ENV-OUTDATED",
        "XPK-ENV-HARMFUL",
        "XPK-ENV-MEASURING",
        "XPK-ENV-MASK-MISSING",
        "XPK-ENV-HIDES-GPUS",
    ),
    look=look,
    concerns="machines with an Intel GPU, and containers of serving engines",
    order=560,
)
