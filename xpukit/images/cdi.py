"""An Intel CDI specification: how a container runtime gives a GPU by name (`--device intel.com/gpu=0`).

What a document may hold and from which version on is in facts/data/images/cdi.toml, after the CDI's SPEC.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xpukit.container.gpu_nodes import GpuNodes, list_gids
from xpukit.facts.cdi import Place, load_cdi_facts

# Bind mounts of the by-path links. Read-only is about the link's inode (no chmod of the host's node through it); a
# device node on a read-only mount still opens for writing.
_MOUNT_OPTIONS = ("ro", "nosuid", "bind")
# Names may begin with a digit from this version on: ours do.
_OLDEST = "0.5.0"


def build_cdi(gpus: Sequence[GpuNodes], *, groups: bool = True) -> dict[str, Any]:
    """The specification of the GPUs that have a render node: each by index and by address, and `all`.

    The same machine gives the same document: nothing of time or version is in it. Without `groups` it has no
    additionalGids and is of a version that old runtimes read; then the container's user must be given the groups.
    """
    usable = [gpu for gpu in gpus if not gpu.missing]
    devices = [{"name": str(gpu.index), "containerEdits": _edit([gpu], groups)} for gpu in usable]
    devices += [{"name": gpu.bdf, "containerEdits": _edit([gpu], groups)} for gpu in usable]
    if usable:
        devices.append({"name": "all", "containerEdits": _edit(usable, groups)})
    document = {"kind": load_cdi_facts().kind, "devices": devices}
    # A runtime refuses a file of a version it does not know: the oldest that has what we write.
    return {"cdiVersion": find_needed_version(document), **document}


def _edit(gpus: Sequence[GpuNodes], groups: bool) -> dict[str, Any]:
    edits: dict[str, Any] = {
        "deviceNodes": [{"path": node, "hostPath": node, "permissions": "rw"} for gpu in gpus for node in gpu.nodes]
    }
    links = [link for gpu in gpus for link in gpu.by_path]
    if links:
        edits["mounts"] = [{"hostPath": link, "containerPath": link, "options": list(_MOUNT_OPTIONS)} for link in links]
    gids = list_gids(gpus)
    if gids and groups:
        edits["additionalGids"] = list(gids)
    return edits


def find_needed_version(document: Mapping[str, Any]) -> str:
    """The oldest version of the specification that has all fields of the document."""
    present = {(place, key) for place, part, _ in _walk(document) for key in part}
    needed = [entry.version for entry in load_cdi_facts().since if (entry.place, entry.field) in present]
    return max([_OLDEST, *needed], key=_order)


def check_cdi(document: object) -> tuple[str, ...]:
    """What a runtime would refuse in a specification, in words; empty when nothing. Never raises."""
    if not isinstance(document, Mapping):
        return ("it is no JSON object",)
    facts = load_cdi_facts()
    wrong: list[str] = []
    version = str(document.get("cdiVersion", ""))
    if version not in facts.spec.versions:
        wrong.append(f"cdiVersion {version!r} is no released version")
    if not re.match(facts.spec.kind_pattern, str(document.get("kind", ""))):
        wrong.append("kind is not vendor/class")
    if not _list_mappings(document.get("devices")):
        wrong.append("it names no device")
    names: set[str] = set()
    for place, part, where in _walk(document):
        wrong += [f"{where}unknown field {key!r}" for key in part if key not in facts.fields[place]]
        if place == "device":
            name = str(part.get("name", ""))
            if not re.match(facts.spec.device_pattern, name):
                wrong.append(f"bad device name {name!r}")
            if name in names:
                wrong.append(f"device {name!r} is there twice")
            names.add(name)
            if not isinstance(part.get("containerEdits"), Mapping) or not part["containerEdits"]:
                wrong.append(f"device {name!r} has no containerEdits")
        else:
            wrong += [f"{where}{text}" for text in _check_part(place, part)]
    wrong += [
        f"{where}{entry.field} needs cdiVersion {entry.version} or newer"
        for place, part, where in _walk(document)
        for entry in facts.since
        if entry.place == place and entry.field in part and _order(version) < _order(entry.version)
    ]
    return tuple(dict.fromkeys(wrong))


def _walk(document: Mapping[str, Any]) -> Iterator[tuple[Place, Mapping[str, Any], str]]:
    """Every part of the document with its kind, and where it is, in words."""
    yield "document", document, ""
    yield from _walk_edits(document.get("containerEdits"), "")
    for device in _list_mappings(document.get("devices")):
        where = f"device {str(device.get('name', ''))!r}: "
        yield "device", device, where
        yield from _walk_edits(device.get("containerEdits"), where)


def _walk_edits(edits: object, where: str) -> Iterator[tuple[Place, Mapping[str, Any], str]]:
    if not isinstance(edits, Mapping):
        return
    yield "edits", edits, where
    parts: tuple[tuple[Place, str], ...] = (("node", "deviceNodes"), ("mount", "mounts"), ("hook", "hooks"))
    for place, key in parts:
        for part in _list_mappings(edits.get(key)):
            yield place, part, where


def _check_part(place: Place, part: Mapping[str, Any]) -> list[str]:
    wrong: list[str] = []
    if place == "node":
        if not str(part.get("path", "")).startswith("/"):
            wrong.append("a device node without a path")
        if set(str(part.get("permissions", ""))) - set("rwm"):
            wrong.append(f"permissions {part.get('permissions')!r}")
    elif place == "mount":
        if not all(str(part.get(key, "")).startswith("/") for key in ("hostPath", "containerPath")):
            wrong.append("a mount without hostPath and containerPath")
    elif place == "hook":
        if not part.get("hookName") or not str(part.get("path", "")).startswith("/"):
            wrong.append("a hook without hookName and path")
    elif place == "edits":
        gids = part.get("additionalGids", [])
        if not isinstance(gids, list) or not all(type(gid) is int and 0 <= gid < 1 << 32 for gid in gids):
            wrong.append("additionalGids are no group numbers")
    return wrong


def _list_mappings(value: object) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
