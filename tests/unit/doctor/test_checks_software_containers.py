"""The checks of containers: what Docker and podman say, and what follows."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.doctor.software_patients import (
    GIB,
    find_ids,
    list_containers,
    look,
    make_container,
    make_gpu,
    make_machine,
    make_patient,
    say,
)
from xpukit.core.finding import Finding, Unchecked
from xpukit.core.machine import Machine, NumaNode, SoftwareItem
from xpukit.doctor.check import Patient
from xpukit.doctor.container_inspect import parse_inspect
from xpukit.doctor.containers import list_ids, list_ps_argv
from xpukit.facts.doctor_images import find_generation, split_image
from xpukit.host.answers import Ran, StatAnswer

CONTAINER_CHECKS = (
    "container_devices", "container_memory", "container_privileges", "container_groups", "container_cpus", "image_tag",
    "setvars", "docker_daemon",
)  # fmt: skip


def see(*containers: dict[str, Any], machine: Machine | None = None) -> Patient:
    return make_patient(machine or make_machine(2), commands=list_containers(containers))


def find_all(patient: Patient) -> dict[str, str]:
    return {key: value for name in CONTAINER_CHECKS for key, value in find_ids(name, patient).items()}


def test_good_container_has_no_finding() -> None:
    assert find_all(see(make_container())) == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"Devices": []}, {"XPK-CONTAINER-NO-GPU": "critical"}),
        ({"Devices": None}, {"XPK-CONTAINER-NO-GPU": "critical"}),
        ({"Mounts": []}, {"XPK-CONTAINER-NO-BY-PATH": "info"}),
        (
            {"Mounts": [], "CapAdd": None},
            {"XPK-CONTAINER-NO-BY-PATH": "warning", "XPK-CONTAINER-NO-PTRACE": "warning"},
        ),
        ({"CapAdd": None, "SecurityOpt": ["seccomp=unconfined"]}, {}),
        ({"CapAdd": ["CAP_SYS_PTRACE"]}, {}),
        ({"ShmSize": 64 << 20}, {"XPK-CONTAINER-SHM-SMALL": "warning"}),
        ({"ShmSize": 64 << 20, "IpcMode": "host"}, {}),
        ({"ShmSize": 64 << 20, "Tmpfs": {"/dev/shm": "size=8g"}}, {"XPK-CONTAINER-SHM-SMALL": "warning"}),
        ({"Memory": 8 * GIB}, {"XPK-CONTAINER-MEMORY-LIMIT": "warning"}),
        ({"Memory": 40 * GIB}, {"XPK-CONTAINER-MEMORY-LIMIT": "info"}),
        ({"Memory": 64 * GIB}, {}),
        ({"Privileged": True}, {"XPK-CONTAINER-PRIVILEGED": "info"}),
        ({"Image": "intel/llm-scaler-vllm:latest"}, {"XPK-IMAGE-LATEST": "warning"}),
        ({"Image": "host:5000/intel/llm-scaler-vllm"}, {"XPK-IMAGE-LATEST": "warning"}),
        ({"Image": "intel/llm-scaler-vllm@sha256:" + "a" * 64}, {}),
        ({"Image": "intel/llm-scaler-vllm:1.3"}, {"XPK-IMAGE-OLD": "info"}),
        (
            {"Image": "intel/llm-scaler-vllm:0.21.0-b3"},
            {"XPK-IMAGE-OLD": "info", "XPK-SETVARS-ABSENT": "warning"},
        ),
        ({"Image": "intel/llm-scaler-vllm:0.26.0-b2"}, {"XPK-IMAGE-KNOWN-PROBLEM": "warning"}),
        ({"Image": "vllm/vllm-openai:latest"}, {"XPK-IMAGE-LATEST": "info"}),
        ({"Cmd": ["vllm serve /m -tp=2"]}, {"XPK-SETVARS-MISSING": "warning"}),
        ({"OOMKilled": True}, {"XPK-CONTAINER-OOM-KILLED": "warning"}),
        ({"Devices": [{"PathOnHost": "/dev/dri/renderD135"}]}, {"XPK-CONTAINER-OTHER-GPU": "critical"}),
    ],
)  # fmt: skip
def test_one_change_gives_its_findings(changes: dict[str, Any], expected: dict[str, str]) -> None:
    container = make_container(**changes)
    if "Tmpfs" in changes:  # not a key of the plain sample: it lands at the top, where Docker does not have it
        assert find_all(see(container)) == expected
        container["HostConfig"]["Tmpfs"] = container.pop("Tmpfs")
        expected = {}
    assert find_all(see(container)) == expected


def test_one_gpu_needs_no_exchange_between_processes() -> None:
    command = ["source /opt/intel/oneapi/setvars.sh --force && vllm serve /m"]
    one = make_container(Mounts=[], CapAdd=None, Cmd=command, ShmSize=64 << 20)
    assert find_all(see(one)) == {"XPK-CONTAINER-SHM-SMALL": "info"}


def test_shell_with_one_node_sees_one_gpu() -> None:
    one = make_container(
        Devices=[{"PathOnHost": "/dev/dri/renderD128"}], Mounts=[], CapAdd=None, Entrypoint=["/bin/bash"], Cmd=None
    )
    assert find_all(see(one)) == {}
    assert "XPK-CONTAINER-NO-PTRACE" in find_all(see(make_container(CapAdd=None, Cmd=None, Entrypoint=["/bin/bash"])))


def test_nothing_of_command_and_environment_is_shown() -> None:
    bad = make_container(Devices=[], ShmSize=1 << 20, CapAdd=None, Image="intel/llm-scaler-vllm:latest", Mounts=[])
    patient = see(bad, make_container("other", Cmd=["vllm serve --api-key sk-x9 -tp 2"], Mounts=[]))
    said = [item for name in (*CONTAINER_CHECKS, "environment_variables") for item in look(name, patient)]
    text = msgspec.json.encode(said).decode()
    assert len(said) > 4
    assert "sk-x9" not in text
    assert "hf_secret" not in text
    assert "sk-x9" not in repr(parse_inspect(json.dumps([bad]).encode()))


def test_other_peoples_containers_are_left_alone() -> None:
    nvidia = make_container("a", Image="vllm/vllm-openai:latest", Devices=[], DeviceRequests=[{"Driver": "nvidia"}])
    runtime = make_container("b", Image="vllm/vllm-openai:latest", Devices=[], Runtime="nvidia")
    web = make_container("c", Image="nginx:latest", Cmd=["nginx"], Entrypoint=None, Devices=[])
    ended = make_container("d", Devices=[], State={"Status": "exited", "ExitCode": 0, "OOMKilled": False})
    patient = see(nvidia, runtime, web, ended)
    assert find_all(patient) == {}
    failed = make_container("e", Devices=[], State={"Status": "exited", "ExitCode": 1, "OOMKilled": False})
    assert find_all(see(failed)) == {"XPK-CONTAINER-NO-GPU": "critical"}


def test_machine_without_gpu_speaks_only_of_images_for_intel() -> None:
    none = make_machine(0)
    assert find_all(see(make_container(Image="vllm/vllm-openai:latest", Devices=[]), machine=none)) == {}
    assert find_all(see(make_container(Devices=[]), machine=none)) == {"XPK-CONTAINER-NO-GPU": "warning"}


def test_podmans_document() -> None:
    entry = make_container(
        Entrypoint="/usr/bin/bash",
        Devices=[{"PathOnHost": f"/dev/dri/{name}"} for name in ("card1", "renderD128", "renderD129")],
        Annotations={"run.oci.keep_original_groups": "1"},
        User="1000:1000",
        CapAdd=[],
        EffectiveCaps=["CAP_SYS_PTRACE"],
    )
    entry["Name"] = "serve"
    entry["Config"]["Annotations"] = entry.pop("Annotations")
    patient = make_patient(make_machine(2), commands=list_containers([entry], tool="podman"))
    assert find_all(patient) == {}
    shown = list(look("image_tag", patient))
    assert shown == []


def test_same_container_through_both_commands_is_one() -> None:
    bad = make_container(Devices=[])
    patient = make_patient(
        make_machine(2), commands={**list_containers([bad]), **list_containers([bad], tool="podman")}
    )
    assert len(look("container_devices", patient)) == 1


def test_cdi_hands_over_a_gpu() -> None:
    cdi = make_container(Devices=[], Mounts=[], DeviceRequests=[{"Driver": "cdi", "DeviceIDs": ["intel.com/gpu=all"]}])
    assert find_all(see(cdi)) == {}


def test_user_outside_the_nodes_group() -> None:
    machine = make_machine(2)
    stat = StatAnswer(kind="char", mode=0o660, uid=0, gid=992, owner="root", group="render")

    def see_as(**changes: Any) -> Patient:
        patient = see(make_container(User="1000:1000", **changes), machine=machine)
        for device in machine.devices:
            patient.host._answers["stat", device.render_node] = stat  # type: ignore[attr-defined]
        return patient

    assert find_ids("container_groups", see_as()) == {"XPK-CONTAINER-NO-GROUP": "warning"}
    assert find_ids("container_groups", see_as(GroupAdd=["992"])) == {}
    assert find_ids("container_groups", see_as(GroupAdd=["render"])) == {}
    (found,) = look("container_groups", see_as(GroupAdd=["44"]))
    assert isinstance(found, Finding)
    assert "--group-add 992" in found.remedy[0]


def test_processors_of_the_other_socket() -> None:
    numa = (NumaNode(node=0, cpus="0-31"), NumaNode(node=1, cpus="32-63"))
    machine = make_machine(0, devices=(make_gpu(0), make_gpu(1, numa_node=1)), numa=numa)
    first = [{"PathOnHost": "/dev/dri/renderD128"}]
    assert find_ids("container_cpus", see(make_container(CpusetCpus="32-47", Devices=first), machine=machine)) == {
        "XPK-CONTAINER-CPUS-REMOTE": "info"
    }
    for cpus in ("0-7", "30-33", "", "nonsense"):
        assert not look("container_cpus", see(make_container(CpusetCpus=cpus, Devices=first), machine=machine))
    assert not look("container_cpus", see(make_container(CpusetCpus="32-47"), machine=machine))


def test_daemon_that_refuses_or_rests() -> None:
    ps = list_ps_argv("docker")
    denied = say(*ps, rc=1, err="permission denied while trying to connect to the Docker daemon socket")
    said = look("docker_daemon", make_patient(make_machine(1), commands=denied))
    assert [type(item) for item in said] == [Finding, Unchecked]
    assert isinstance(said[0], Finding)
    assert said[0].commands == ('sudo usermod -aG docker "$USER"',)
    resting = say(*ps, rc=1, err="Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
    assert find_ids("docker_daemon", make_patient(make_machine(1), commands=resting)) == {
        "XPK-DOCKER-NOT-RUNNING": "info"
    }
    hanging = say(*ps, rc=-1, failure="timeout")
    assert [type(item) for item in look("docker_daemon", make_patient(make_machine(1), commands=hanging))] == [
        Unchecked
    ]
    for commands in (denied, resting, hanging, {}):
        assert look("docker_daemon", make_patient(make_machine(0), commands=commands)) == []
    assert look("docker_daemon", make_patient(make_machine(1))) == []


def test_old_recording_says_what_probe_heard() -> None:
    unrecorded = say(*list_ps_argv("docker"), rc=127, failure="UNRECORDED")
    rows = (
        SoftwareItem(name="Docker client", version="28.5.1"),
        SoftwareItem(name="Docker daemon", note="not running: sudo systemctl start docker"),
    )
    resting = make_patient(make_machine(1, software={}), commands=unrecorded)
    with_rows = msgspec.structs.replace(resting, machine=msgspec.structs.replace(resting.machine, software=rows))
    assert find_ids("docker_daemon", with_rows) == {"XPK-DOCKER-NOT-RUNNING": "info"}
    answering = msgspec.structs.replace(resting.machine, software=rows[:1])
    said = look("docker_daemon", msgspec.structs.replace(resting, machine=answering))
    assert [type(item) for item in said] == [Unchecked]


@pytest.mark.parametrize(
    ("reference", "setvars"),
    [
        ("intel/llm-scaler-vllm:0.14.0-b8.3", "needed"),
        ("host:5000/intel/llm-scaler-vllm:1.3", "needed"),
        ("intel/llm-scaler-vllm:0.21.0-b2", "absent"),
        ("intel/llm-scaler-vllm:0.26.0-b1@sha256:00", "entrypoint"),
        ("intel/llm-scaler-vllm:1.7", None),
        ("intel/llm-scaler-vllm:latest", None),
        ("vllm/vllm-openai:v0.20.1", None),
    ],
)
def test_generations(reference: str, setvars: str | None) -> None:
    generation = find_generation(split_image(reference))
    assert (generation.setvars if generation else None) == setvars


def test_split_image() -> None:
    image = split_image("localhost:5000/a/b:1.0@sha256:ff")
    assert (image.repository, image.tag, image.digest) == ("localhost:5000/a/b", "1.0", "sha256:ff")
    assert split_image("localhost:5000/a/b").tag == ""


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
_KEYS = tuple(
    (place, key)
    for place, part in (("", make_container()), *((k, make_container()[k]) for k in ("HostConfig", "Config", "State")))
    for key in part
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(_KEYS), _JSON), max_size=6))
def test_any_value_anywhere_is_survived(changes: list[tuple[tuple[str, str], Any]]) -> None:
    entry = make_container()
    for (place, key), value in changes:
        target = entry.get(place) if place else entry
        if isinstance(target, dict):
            target[key] = value
    commands = {**list_containers([make_container()])}
    inspect = next(argv for argv in commands if argv[1] == "inspect")
    commands[inspect] = Ran(argv=inspect, rc=0, out=json.dumps([entry, value_or(changes)]).encode())
    find_all(make_patient(make_machine(2), commands=commands))


def value_or(changes: list[tuple[tuple[str, str], Any]]) -> Any:
    return changes[0][1] if changes else None


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_survived(data: bytes) -> None:
    assert isinstance(parse_inspect(data), tuple)
    assert isinstance(list_ids(data), tuple)


@pytest.mark.parametrize("cut", range(0, 2000, 97))
def test_cut_documents_are_survived(cut: int) -> None:
    parse_inspect(json.dumps([make_container()], indent=1).encode()[:cut])
