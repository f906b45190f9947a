"""Patients for the software-side checks: a machine of values, and containers as Docker and podman describe them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tests.machines.dict_host import Content, DictHost
from xpukit.core.finding import Finding, Unchecked
from xpukit.core.machine import CpuLayout, Device, Machine, SoftwareItem
from xpukit.doctor.check import Patient
from xpukit.doctor.containers import list_inspect_argv, list_ps_argv
from xpukit.doctor.registry import list_checks
from xpukit.host.answers import Ran

GIB = 1 << 30
Commands = Mapping[tuple[str, ...], Ran]


def make_gpu(index: int, **changes: Any) -> Device:
    """An Arc Pro B60."""
    plain = Device(
        index=index,
        bdf=f"0000:{index + 3:02x}:00.0",
        vendor_id="8086",
        device_id="e211",
        name="Intel Arc Pro B60 Graphics",
        known=True,
        discrete=True,
        driver="xe",
        render_node=f"/dev/dri/renderD{128 + index}",
        card_node=f"/dev/dri/card{index + 1}",
        memory_bytes=24 * GIB,
        tiles=1,
        numa_node=0,
    )
    return msgspec.structs.replace(plain, **changes)


def make_machine(gpus: int = 2, *, software: Mapping[str, str] | None = None, **changes: Any) -> Machine:
    """A machine with so many GPUs and these rows of software (name: version)."""
    rows = tuple(SoftwareItem(name=name, version=version) for name, version in (software or {}).items())
    plain = Machine(devices=tuple(make_gpu(index) for index in range(gpus)), software=rows, cpu=CpuLayout())
    return msgspec.structs.replace(plain, **changes)


def say(*argv: str, out: str | bytes = "", err: str = "", rc: int = 0, failure: str = "") -> dict[tuple[str, ...], Ran]:
    """A command's answer, for DictHost."""
    data = out.encode() if isinstance(out, str) else out
    return {argv: Ran(argv=argv, rc=rc, out=data, err=err.encode(), failure=failure)}


def make_patient(
    machine: Machine,
    files: Mapping[str, Content] | None = None,
    *,
    commands: Commands | None = None,
    environment: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
) -> Patient:
    host = DictHost(files or {}, commands=commands or {}, environment=environment or {}, links=links or {})
    return Patient(machine=machine, host=host)


def look(name: str, patient: Patient) -> list[Finding | Unchecked]:
    """What one check says; its findings carry only ids that the check announces, and no empty fields that matter."""
    check = next(check for check in list_checks() if check.name == name)
    said = list(check.look(patient))
    for item in said:
        if isinstance(item, Finding):
            assert item.id in check.ids
            assert all((item.evidence, item.explanation, item.remedy)), item
    return said


def find_ids(name: str, patient: Patient) -> dict[str, str]:
    """{id: severity} of a check's findings."""
    return {item.id: item.severity for item in look(name, patient) if isinstance(item, Finding)}


def make_container(name: str = "serve", **changes: Any) -> dict[str, Any]:
    """`docker inspect` of a serving container in which all is well; changes go to HostConfig, Config or the top."""
    entry: dict[str, Any] = {
        "Id": (name.encode().hex() * 64)[:64],
        "Name": f"/{name}",
        "State": {"Status": "running", "ExitCode": 0, "OOMKilled": False},
        "Mounts": [
            {"Type": "bind", "Source": "/dev/dri/by-path", "Destination": "/dev/dri/by-path"},
            {"Type": "bind", "Source": "/models", "Destination": "/llm/models"},
        ],
        "HostConfig": {
            "Privileged": False,
            "ShmSize": 16 * GIB,
            "IpcMode": "private",
            "Devices": [{"PathOnHost": "/dev/dri", "PathInContainer": "/dev/dri", "CgroupPermissions": "rwm"}],
            "CapAdd": ["SYS_PTRACE"],
            "SecurityOpt": None,
            "GroupAdd": None,
            "Memory": 0,
            "CpusetCpus": "",
            "Runtime": "runc",
            "DeviceRequests": None,
        },
        "Config": {
            "User": "",
            "Image": "intel/llm-scaler-vllm:0.26.0-b1",
            "Entrypoint": ["bash", "-c"],
            "Cmd": [
                "source /opt/intel/oneapi/setvars.sh --force && exec vllm serve /llm/models/m -tp 2 --api-key sk-x9"
            ],
            "Env": ["PATH=/usr/bin", "HF_TOKEN=hf_secretsecretsecret"],
        },
    }
    for key, value in changes.items():
        place = next((entry[part] for part in ("HostConfig", "Config", "State") if key in entry[part]), entry)
        place[key] = value
    return entry


def list_containers(containers: Sequence[dict[str, Any]], *, tool: str = "docker") -> dict[tuple[str, ...], Ran]:
    """The answers of `ps` and `inspect` for these containers."""
    ids = [entry["Id"] for entry in containers]
    lines = "".join(json.dumps({"ID": entry["Id"], "Names": entry["Name"]}) + "\n" for entry in containers)
    return {
        **say(*list_ps_argv(tool), out=lines),
        **say(*list_inspect_argv(tool, ids), out="".join(json.dumps(entry) + "\n" for entry in containers)),
    }
