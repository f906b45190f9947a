"""The containers on a machine that serve models, asked of Docker and podman once for all checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from xpukit.doctor.check import Patient
from xpukit.doctor.container_inspect import KEPT_NAMES, KEPT_PREFIXES, Container, load_documents, parse_inspect
from xpukit.host.answers import Ran

TOOLS = ("docker", "podman")
TIMEOUT_S = 15.0
# More than this many containers are a cluster's business; the newest come first.
CONTAINER_LIMIT = 60
_ALIVE = ("running", "created", "restarting", "paused", "initialized", "configured", "")


class ContainerView(msgspec.Struct, frozen=True, kw_only=True):
    """`serving` are the containers that the checks look at. `failures`: per tool, why it could not be asked."""

    serving: tuple[tuple[str, Container], ...] = ()
    failures: dict[str, str] = {}
    unrecorded: tuple[str, ...] = ()


def list_ps_argv(tool: str) -> list[str]:
    """All containers, one JSON object a line."""
    return [tool, "ps", "--all", "--no-trunc", "--format", "{{json .}}"]


def list_inspect_argv(tool: str, ids: Sequence[str]) -> list[str]:
    """Containers as one JSON object a line, in Docker's shape, with harmless variables only.

    A recording keeps the answer, so values of other variables are left out where they are asked for.
    """
    families = " ".join(f'"{name.rstrip("_")}"' for name in dict.fromkeys(p.partition("_")[0] for p in KEPT_PREFIXES))
    names = " ".join(f'"{name}"' for name in (*KEPT_NAMES, "NEOReadDebugKeys"))
    variables = (
        '[{{range .Config.Env}}{{$name := index (split . "=") 0}}{{$family := index (split $name "_") 0}}'
        f"{{{{if or (eq $family {families}) (eq $name {names})}}}}{{{{json .}}}},{{{{end}}}}{{{{end}}}}null]"
    )
    config = ("Image", "User", "Entrypoint", "Cmd", *(("Annotations",) if tool == "podman" else ()))
    parts = ",".join(f'"{name}":{{{{json .Config.{name}}}}}' for name in config)
    # Whole sections: a key that one version lacks would make the whole template fail.
    own = ("Name", "State", "Mounts", "HostConfig", *(("EffectiveCaps",) if tool == "podman" else ()))
    top = ",".join(f'"{name}":{{{{json .{name}}}}}' for name in own)
    key = ".ID" if tool == "podman" else ".Id"
    template = f'{{"Id":{{{{json {key}}}}},{top},"Config":{{{parts},"Env":{variables}}}}}'
    return [tool, "inspect", "--type", "container", "--format", template, *ids]


def look_at_containers(patient: Patient) -> ContainerView:
    """Ask both tools. A tool that is not installed is no failure: nothing runs in it."""
    serving: list[tuple[str, Container]] = []
    failures: dict[str, str] = {}
    unrecorded: list[str] = []
    for tool in TOOLS:
        ran = patient.host.run(list_ps_argv(tool), timeout_s=TIMEOUT_S)
        if ran.failure == "UNRECORDED":
            known = read_daemon_note(patient) if tool == "docker" else ""
            if known:
                failures[tool] = known
            else:
                unrecorded.append(tool)
            continue
        if ran.failure == "not-found":
            continue
        if not ran.ok:
            failures[tool] = describe_refusal(ran)
            continue
        ids = list_ids(ran.out)
        if not ids:
            continue
        inspected = patient.host.run(list_inspect_argv(tool, ids), timeout_s=TIMEOUT_S)
        if inspected.failure or not inspected.out.strip():
            failures[tool] = inspected.describe_failure()
        # Exit 1 says that one of them vanished meanwhile; the others are printed.
        serving += [(tool, found) for found in parse_inspect(inspected.out) if is_ours(found, patient)]
    # podman's docker command answers for both.
    once = {container.id or container.name: (tool, container) for tool, container in reversed(serving)}
    return ContainerView(serving=tuple(reversed(once.values())), failures=failures, unrecorded=tuple(unrecorded))


def read_daemon_note(patient: Patient) -> str:
    """What probe heard from Docker's daemon when it gave no version: "denied", "not running" or ""."""
    note = next((item.note for item in patient.machine.software if item.name == "Docker daemon"), "")
    return "denied" if "may not use" in note else "not running" if note.startswith("not running") else ""


def list_serving(patient: Patient) -> tuple[tuple[str, Container], ...]:
    """(tool, container) of every container that the checks look at."""
    return look_at_containers(patient).serving


def list_ids(data: bytes) -> tuple[str, ...]:
    """Ids of a `ps` listing, newest first, of containers worth a look."""
    found = []
    for entry in load_documents(data):
        name: Any = entry.get("ID") or entry.get("Id")
        if isinstance(name, str) and name and not name.startswith("-"):
            found.append(name)
    return tuple(dict.fromkeys(found))[:CONTAINER_LIMIT]


def is_ours(container: Container, patient: Patient) -> bool:
    """Whether it serves models on an Intel GPU, or should: not another vendor's, not one that ended well."""
    if not container.engine or container.other_vendor:
        return False
    ended_well = container.state not in _ALIVE and not container.oom_killed and container.exit_code in (0, None)
    return not ended_well and (container.for_intel or bool(patient.machine.devices))


def may_use_several(container: Container, patient: Patient) -> bool:
    """Whether its server runs, or may run, on more than one GPU."""
    if container.gpus is not None:
        return container.gpus > 1
    renders = [node for node in container.nodes if "renderD" in node]
    if not container.privileged and not container.has_cdi_gpu and renders and len(renders) == len(container.nodes):
        return len(renders) > 1
    return len(patient.machine.devices) > 1 or not patient.machine.devices


def describe_refusal(ran: Ran) -> str:
    """Why a tool did not list its containers: "denied", "not running", or its own words."""
    said = ran.err_text.lower()
    if "permission denied" in said:
        return "denied"
    if "cannot connect" in said or "daemon running" in said:
        return "not running"
    return ran.describe_failure()


def rewrite_run(container: Container, *options: str) -> str:
    """The remedy in words: a container's settings are fixed when it is made."""
    return f"make the container {container.name} again with {' '.join(options)} (docker run or the compose file)"
