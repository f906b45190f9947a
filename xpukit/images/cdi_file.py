"""The CDI file on disk: written whole, compared with the machine, and kept true by systemd and udev."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import OutputError
from xpukit.core.json_document import BAD_JSON, encode_json
from xpukit.facts.cdi import load_cdi_facts
from xpukit.host.door import Host
from xpukit.images.cdi import check_cdi

FILE_NAME = "intel.com-gpu.json"
UNIT_NAME = "xpukit-cdi.service"
_READ_LIMIT_BYTES = 4 << 20


def default_path(*, dynamic: bool = False) -> Path:
    """Where runtimes look by default; the dynamic directory is for what a service makes anew at each boot."""
    facts = load_cdi_facts()
    return Path(facts.dynamic_dir if dynamic else facts.static_dir) / FILE_NAME


class CdiState(msgspec.Struct, frozen=True, kw_only=True):
    """How a file compares with the machine. `differences` say in words what is no longer true."""

    path: str
    state: Literal["current", "stale", "missing", "unreadable"]
    differences: tuple[str, ...] = ()


def encode_cdi(document: Mapping[str, Any]) -> bytes:
    """The file's content."""
    return encode_json(document).encode()


def write_cdi(document: Mapping[str, Any], path: Path) -> None:
    """Write the file whole or not at all, readable by all. Raises OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputError(f"{path.parent}: cannot be made: {err.strerror}", hint="run with sudo") from err
    write_atomic(path, encode_cdi(document))


def compare_cdi(
    host: Host, path: str, wanted: Mapping[str, Any], *, also: Sequence[Mapping[str, Any]] = ()
) -> CdiState:
    """Read the file through the host and compare it with what the machine has now.

    `also` are other forms of the same document that are as true (without groups). Differences are from `wanted`, or
    from the form that has the file's version.
    """
    answer = host.read(path, limit_bytes=_READ_LIMIT_BYTES)
    if answer.error == "ENOENT":
        return CdiState(path=path, state="missing", differences=("the file is not there",))
    if answer.error:
        return CdiState(path=path, state="unreadable", differences=(f"cannot be read: {answer.error}",))
    try:
        found = json.loads(answer.data)
    except BAD_JSON as err:
        return CdiState(path=path, state="stale", differences=(f"not JSON: {err}",))
    if found in (wanted, *also):
        return CdiState(path=path, state="current")
    if isinstance(found, Mapping):
        same = (form for form in (wanted, *also) if form.get("cdiVersion") == found.get("cdiVersion"))
        wanted = next(same, wanted)
    return CdiState(path=path, state="stale", differences=(*check_cdi(found), *_list_differences(found, wanted)))


def _list_differences(found: object, wanted: Mapping[str, Any]) -> tuple[str, ...]:
    if not isinstance(found, Mapping):
        return ()
    said = [
        f"{key}: {found.get(key)!r} in the file, {wanted.get(key)!r} now"
        for key in ("cdiVersion", "kind")
        if found.get(key) != wanted.get(key)
    ]
    old, new = _index_devices(found), _index_devices(wanted)
    said += [f"device {name} is in the file and no longer in the machine" for name in old if name not in new]
    said += [f"device {name} is in the machine and not in the file" for name in new if name not in old]
    for name in old:
        if name in new and old[name] != new[name]:
            said += [f"device {name}: {text}" for text in _compare_edits(old[name], new[name])]
    return tuple(said) or ("written in another form or order",)


def _index_devices(document: Mapping[str, Any]) -> dict[str, Any]:
    devices = document.get("devices")
    if not isinstance(devices, list):
        return {}
    return {str(entry.get("name")): entry.get("containerEdits") for entry in devices if isinstance(entry, Mapping)}


def _compare_edits(old: object, new: object) -> list[str]:
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return ["has other contents"]
    return [
        f"{key} was {_shorten(old.get(key))}, is {_shorten(new.get(key))}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]


def _shorten(value: object) -> str:
    if isinstance(value, list):
        words = [
            str(entry.get("path") or entry.get("hostPath")) if isinstance(entry, Mapping) else str(entry)
            for entry in value
        ]
        return ", ".join(words) or "none"
    return "none" if value is None else str(value)


def render_systemd(program: str, path: str, *, groups: bool = True) -> str:
    """A unit that writes the file at boot and the udev rule that starts it when a GPU comes, goes or is renamed.

    `program` is the absolute path of xpukit.
    """
    more = "" if groups else " --no-groups"
    return f"""\
# /etc/systemd/system/{UNIT_NAME}
[Unit]
Description=Write the CDI specification of the Intel GPUs ({load_cdi_facts().kind})
# Nodes and their groups exist once udev has settled; a runtime that starts a container reads the file anew.
After=systemd-udev-settle.service
Wants=systemd-udev-settle.service
Before=docker.service podman.service containerd.service

[Service]
Type=oneshot
ExecStart={program} cdi --write{more} --output {path}
# Only the directory of the file may be written.
ProtectSystem=strict
ReadWritePaths=-{Path(path).parent}
ExecStartPre=+/usr/bin/mkdir -p {Path(path).parent}
ProtectHome=read-only
NoNewPrivileges=yes
TimeoutStartSec=120

[Install]
WantedBy=multi-user.target

# /etc/udev/rules.d/99-xpukit-cdi.rules
# A render node of an Intel GPU was made, removed or changed: refresh the file, without waiting for it.
ACTION=="add|remove|change", SUBSYSTEM=="drm", KERNEL=="renderD*", \\
  RUN+="/usr/bin/systemctl --no-block restart {UNIT_NAME}"

# Put both files in their places, then:
#   systemctl daemon-reload && systemctl enable --now {UNIT_NAME} && udevadm control --reload
"""
