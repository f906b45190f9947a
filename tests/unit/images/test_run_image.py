"""The docker command of an image: least privilege, on recorded machines."""

from __future__ import annotations

import msgspec
import pytest

from tests.machines.recorded_machines import list_machines, open_machine, read_machine
from xpukit.container.gpu_nodes import GpuNodes, NodeGroup, choose_gpus, find_gpu_nodes, join_lists, list_gids
from xpukit.container.run_options import RunPlan, RunRequest, plan_run
from xpukit.core.errors import UsageError


def gpus_of(name: str) -> tuple[GpuNodes, ...]:
    return find_gpu_nodes(open_machine(name), read_machine(name))


def plan(name: str, asked: str = "", **more: object) -> RunPlan:
    machine = read_machine(name)
    request = RunRequest(
        image="x:1",
        gpus=choose_gpus(gpus_of(name), asked),
        numa_nodes=len(machine.numa),
        memory_bytes=machine.memory_bytes,
        image_user="serving",
    )
    return plan_run(msgspec.structs.replace(request, **more))


def values(found: RunPlan, option: str) -> list[str]:
    return [found.argv[index + 1] for index, word in enumerate(found.argv) if word == option]


@pytest.mark.parametrize("name", [name for name in list_machines() if name != "unbound"])
@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_no_machine_gives_more_than_its_gpus(name: str, engine: str) -> None:
    found = plan(name, "all", engine=engine)
    assert "--privileged" not in found.argv
    assert values(found, "--cap-drop") == ["ALL"]
    assert set(values(found, "--cap-add")) <= {"SYS_PTRACE"}
    assert values(found, "--security-opt") == ["no-new-privileges"]
    assert "/dev/dri" not in [device.partition(":")[0] for device in values(found, "--device")]
    assert all(device.endswith(":rw") for device in values(found, "--device"))
    assert "host" not in values(found, "--ipc")
    assert all(option.reason for option in found.options)
    assert found.argv[:2] == (engine, "run")


def test_one_gpu_of_eight_gets_its_own_nodes_links_groups_and_numa_node() -> None:
    found = plan("b60x8_2s", "5", arguments=("serve", "/m"))
    assert values(found, "--device") == [
        "/dev/dri/renderD133:/dev/dri/renderD133:rw",
        "/dev/dri/card6:/dev/dri/card6:rw",
    ]
    assert all("0000:ab:00.0" in mount and mount.endswith(",readonly") for mount in values(found, "--mount"))
    assert values(found, "--group-add") == ["44", "992"]
    assert values(found, "--cap-add") == []
    device = read_machine("b60x8_2s").devices[5]
    assert values(found, "--cpuset-mems") == [str(device.numa_node)] == ["1"]
    node = next(node for node in read_machine("b60x8_2s").numa if node.node == 1)
    assert values(found, "--cpuset-cpus") == [node.allowed_cpus or node.cpus]
    assert found.argv[-3:] == ("x:1", "serve", "/m")


def test_two_gpus_may_open_each_others_buffers() -> None:
    found = plan("b60x8_2s", "0,1")
    assert values(found, "--cap-add") == ["SYS_PTRACE"]
    assert any("ptrace_scope" in note for note in found.notes)  # the image's user is not root


def test_a_card_of_two_tiles_is_two_ranks() -> None:
    assert values(plan("max1550", "1"), "--cap-add") == ["SYS_PTRACE"]


def test_gpus_on_all_nodes_are_not_pinned() -> None:
    found = plan("b60x8_2s", "0,5")
    assert values(found, "--cpuset-cpus") == []
    assert any("all NUMA nodes" in note for note in found.notes)


def test_pinning_can_be_left_out_and_is_not_guessed() -> None:
    assert values(plan("b60x8_2s", "5", pin=False), "--cpuset-cpus") == []
    gpus = tuple(msgspec.structs.replace(gpu, numa_node=None, cpus="", mems="") for gpu in gpus_of("b60x8_2s")[:1])
    found = plan("b60x8_2s", "5", gpus=gpus)
    assert values(found, "--cpuset-cpus") == []
    assert any("firmware does not say" in note for note in found.notes)


@pytest.mark.parametrize(
    ("port", "published"),
    [
        ("8000", "127.0.0.1:8000:8000"),
        ("8080:8000", "127.0.0.1:8080:8000"),
        ("0.0.0.0:80:8000", "0.0.0.0:80:8000"),
        ("[::1]:8000", "[::1]:8000:8000"),
    ],
)
def test_ports_are_on_loopback_unless_an_address_is_given(port: str, published: str) -> None:
    assert values(plan("b580", ports=(port,)), "--publish") == [published]


@pytest.mark.parametrize("port", ["", "http", "0", "70000", "1:2:3:4", "80:99999"])
def test_bad_ports_are_refused(port: str) -> None:
    with pytest.raises(UsageError, match="--port"):
        plan("b580", ports=(port,))


def test_models_are_read_only() -> None:
    found = plan("b580", models=("/data/models:/models", "/m"))
    assert "type=bind,source=/data/models,target=/models,readonly" in values(found, "--mount")
    assert "type=bind,source=/m,target=/m,readonly" in values(found, "--mount")
    for bad in ("models", "/a:b", "/a,readonly=false"):
        with pytest.raises(UsageError, match="--model-dir"):
            plan("b580", models=(bad,))


def test_shared_memory_is_the_guides_and_never_more_than_half() -> None:
    assert values(plan("b60x4_bmc"), "--shm-size") == ["32g"]
    assert values(plan("b60x4_bmc", memory_bytes=16 << 30), "--shm-size") == ["8g"]
    assert values(plan("b60x4_bmc", memory_bytes=(3 << 30)), "--shm-size") == ["1536m"]
    assert values(plan("b60x4_bmc", shm_bytes=4 << 30), "--shm-size") == ["4g"]


def test_cdi_replaces_nodes_and_links() -> None:
    found = plan("b60x4_bmc", "0,2", cdi=True)
    assert values(found, "--device") == ["intel.com/gpu=0000:18:00.0", "intel.com/gpu=0000:5c:00.0"]
    assert values(found, "--mount") == []
    assert values(found, "--group-add") == ["44", "992"]  # a file for older runtimes has no groups


def test_rootless_podman_keeps_the_users_groups() -> None:
    found = plan("b580", engine="podman", rootless=True)
    assert values(found, "--group-add") == ["keep-groups"]


def test_unknown_and_root_groups_are_said() -> None:
    gpu = gpus_of("b580")[0]
    groups = (NodeGroup(node="/dev/dri/renderD128", gid=0, name="root"), NodeGroup(node="/dev/dri/card0"))
    found = plan("b580", gpus=(msgspec.structs.replace(gpu, groups=groups),))
    assert values(found, "--group-add") == []
    assert sum("group" in note for note in found.notes) == 2


def test_detached_containers_keep_their_log() -> None:
    assert "--rm" in plan("b580").argv
    found = plan("b580", detach=True)
    assert "--rm" not in found.argv
    assert "--detach" in found.argv


def test_the_printed_command_is_the_argv() -> None:
    import shlex

    found = plan("b60x4_bmc", "all", arguments=("serve", "a b"), env=("A=b c",))
    assert tuple(shlex.split(found.command.replace("\\\n", " "))) == found.argv


def test_choosing() -> None:
    gpus = gpus_of("a770")
    assert [gpu.index for gpu in choose_gpus(gpus, "")] == [1]  # the discrete one
    assert [gpu.index for gpu in choose_gpus(gpus, "all")] == [0, 1]
    assert [gpu.bdf for gpu in choose_gpus(gpus, "03:00.0")] == ["0000:03:00.0"]
    assert [gpu.index for gpu in choose_gpus(gpus, "1,0")] == [1, 0]
    assert choose_gpus(gpus, "none") == ()


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("a770", "7", "no GPU '7'"),
        ("a770", "x", "no GPU 'x'"),
        ("a770", "0,0", "twice"),
        ("a770", "1,03:00.0", "twice"),
        ("unbound", "", "no GPU that a container could use"),
        ("unbound", "0", "no driver is bound"),
        ("unbound", "1", "vfio-pci"),
        ("sriov", "2", "virtual machines"),
    ],
)
def test_what_cannot_be_chosen_is_said(name: str, asked: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        choose_gpus(gpus_of(name), asked)


def test_lists_join() -> None:
    assert join_lists(["0-3", "2-5,8"]) == "0-5,8"
    assert join_lists(["0-3", ""]) == ""
    assert join_lists([]) == ""


def test_groups_are_numbers_without_root() -> None:
    gpu = GpuNodes(index=0, bdf="a", name="b", groups=(NodeGroup(node="n", gid=0), NodeGroup(node="m", gid=5)))
    assert list_gids([gpu]) == (5,)
