"""What single collectors ask of made machines."""

from __future__ import annotations

import pytest

from tests.machines.dict_host import DictHost
from tests.unit.sysinfo.dict_asker import DictAsker
from tests.unit.sysinfo.test_collectors import make_rich_machine
from tests.unit.sysinfo.two_gpus import BMC, CHAINS, ROOTS, make_debugfs, make_pci
from xpukit.host.answers import Ran
from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.collectors.gpu_processes import group_open_files
from xpukit.sysinfo.collectors.limits import find_cgroups
from xpukit.sysinfo.collectors.xpu_smi_details import read_device_ids, read_generation
from xpukit.sysinfo.containers import IMAGES, PS, list_summary_images, make_template, parse_container, parse_running
from xpukit.sysinfo.gpu_places import find_gpus, list_chain
from xpukit.sysinfo.kernel_journal import make_pattern
from xpukit.sysinfo.registry import list_collectors

PCI = "/sys/bus/pci/devices"
PLACES = {path.rpartition("/")[2]: path for path in make_pci()[1].values() if path.startswith("/sys/devices/pci")}


def get(name: str) -> Collector:
    return next(collector for collector in list_collectors() if collector.name == name)


def ask(name: str, asker: DictAsker | None = None) -> DictAsker:
    asker = asker or make_rich_machine()
    get(name).collect(asker)
    return asker


def test_gpus_and_all_bridges_above_them() -> None:
    files, links = make_pci()
    gpus = find_gpus(DictAsker(files, links=links))
    assert {gpu.bdf: gpu.above for gpu in gpus} == CHAINS
    assert [gpu.cards for gpu in gpus] == [("card1",), ("card2",)]
    paths = list_chain(gpus)
    assert len(paths) == 8
    assert paths["0000:16:00.0"] == "/sys/devices/pci0000:15:00/0000:15:01.0/0000:16:00.0"
    assert all(path.endswith(f"/{bdf}") for bdf, path in paths.items())
    chain = list(paths)
    assert chain.index(ROOTS[0]) < chain.index("0000:17:01.0") < chain.index("0000:18:00.0")


@pytest.mark.parametrize("text", ["PCI_CLASS=30000\nPCI_ID=8086:E211", "PCI_CLASS=38000\nPCI_ID=8086:0BD5",
                                  "PCI_CLASS=120000\nPCI_ID=8086:7D1D"])  # fmt: skip
def test_a_gpu_without_a_driver_is_one(text: str) -> None:
    path = f"{PCI}/0000:18:00.0"
    (gpu,) = find_gpus(DictAsker({f"{path}/uevent": text}))
    assert (gpu.bdf, gpu.driver, gpu.above, gpu.cards) == ("0000:18:00.0", "", (), ())


@pytest.mark.parametrize(
    "text", ["PCI_CLASS=30000\nPCI_ID=10DE:2684", "PCI_CLASS=20000\nPCI_ID=8086:1572", "", "PCI_CLASS\n="]
)
def test_what_is_no_intel_gpu(text: str) -> None:
    assert find_gpus(DictAsker({f"{PCI}/0000:18:00.0/uevent": text, f"{PCI}/notes/uevent": text})) == ()


def test_pci_asks_link_aer_config_and_lspci_of_the_whole_chain() -> None:
    asker = ask("pci")
    whole = {*CHAINS, *(bdf for above in CHAINS.values() for bdf in above)}
    for bdf in whole:
        for name in ("config", "current_link_speed", "aer_dev_correctable"):
            assert f"{PLACES[bdf]}/{name}" in asker.paths_asked()
        assert f"{PLACES[bdf]}/iommu_group" in asker.paths_asked("link")
    verbose = [argv[-1] for argv in asker.commands_asked if argv[:5] == ("lspci", "-D", "-nn", "-vvv", "-s")]
    assert set(verbose) == whole
    assert BMC not in verbose
    assert len(verbose) == len(whole), "none twice"
    read = asker.paths_asked()
    assert not [path for path in read if path.endswith("link/l1_aspm")], "what sysfs does not list is not asked for"


def test_pci_without_lspci_or_gpus() -> None:
    files, links = make_pci()
    asker = ask("pci", DictAsker(files, links=links))
    assert not [argv for argv in asker.commands_asked if "-s" in argv]
    assert ask("pci", DictAsker()).notes == ["no Intel display or accelerator function on PCI"]


def test_iommu_groups_of_the_chain() -> None:
    asker = ask("iommu")
    assert "/sys/kernel/iommu_groups/41/type" in asker.paths_asked()
    assert "/sys/kernel/iommu_groups/42/devices" in asker.paths_asked("list")


def test_drivers_are_kept_apart() -> None:
    xe = ask("gpu_xe").paths_asked()
    assert f"{PLACES['0000:18:00.0']}/tile0/gt0/freq0/act_freq" in xe
    assert f"{PLACES['0000:3a:00.0']}/tile0/gt0/freq0/throttle/reason_pl1" in xe
    assert f"{PLACES['0000:18:00.0']}/hwmon/hwmon1/power1_cap" in xe
    files, links = make_pci("i915")
    asker = DictAsker(files, links=links)
    assert "/sys/class/drm/card2/gt/gt0/rps_act_freq_mhz" in ask("gpu_i915", asker).paths_asked()
    assert not [path for path in ask("gpu_xe", DictAsker(files, links=links)).paths_asked() if "freq0" in path]


@pytest.mark.parametrize("tiles", [False, True])
def test_debugfs_reads_only_what_is_harmless(tiles: bool) -> None:
    files, links = make_pci()
    everything: dict[str, str | bytes] = {**files, **make_debugfs(tiles=tiles)}
    for name in ("gpu_debugfs", "gpu_debugfs_full"):
        read = [path for path in ask(name, DictAsker(everything, links=links)).paths_asked() if "/debug/" in path]
        assert read
        assert all("/0000:" in path for path in read), "each card once, by its address"
        assert not [path for path in read if "force" in path or path.endswith(("guc_log", "i915_gpu_info"))]
        wanted = "uc/guc_info" if name == "gpu_debugfs" else "hw_engines"
        assert len([path for path in read if path.endswith(wanted)]) == len(CHAINS)


def test_debugfs_by_card_number_and_closed() -> None:
    files, links = make_pci("i915")
    files["/sys/kernel/debug/dri/2/gt0/uc/guc_info"] = "GuC\n"
    asker = ask("gpu_debugfs", DictAsker(files, links=links))
    assert "/sys/kernel/debug/dri/2/gt0/uc/guc_info" in asker.paths_asked()
    assert asker.notes == ["/sys/kernel/debug/dri has no directory for 0000:18:00.0"]
    assert "root" in ask("gpu_debugfs", DictAsker(refused="EACCES")).notes[0]


def test_kernel_log_asks_both_ways_and_filters_the_journal() -> None:
    asker = ask("kernel_log")
    assert ("dmesg",) in asker.commands_asked
    (journal,) = [argv for argv in asker.commands_asked if argv[0] == "journalctl"]
    assert journal[1:4] == ("-k", "-b", "0")
    assert journal[-2:] == ("--grep", make_pattern())
    assert make_pattern() == make_pattern().lower(), "journalctl takes either case only then"
    before = ask("kernel_log_before")
    assert [argv[3] for argv in before.commands_asked if argv[:3] == ("journalctl", "-k", "-b")] == ["-1"]
    assert ("grep", "-aiE", make_pattern(), "/var/log/kern.log") in before.commands_asked


def test_firmware_checksums_only_what_the_drivers_want() -> None:
    (argv,) = [argv for argv in ask("firmware").commands_asked if argv[0] == "sha256sum"]
    assert argv[1:] == ("/lib/firmware/xe/bmg_guc_70.bin.zst", "/lib/firmware/i915/bmg_dmc.bin")


def test_kernel_options_come_from_the_running_kernels_file() -> None:
    asker = ask("kernel")
    (argv,) = [argv for argv in asker.commands_asked if argv[0] == "grep"]
    assert argv[-1] == "/boot/config-6.17.0-41-generic"
    assert "DRM_XE" in argv[2]


V1 = "CLI:\n    Version: 1.3.7.20250101\n    Build ID: 0\nService:\n    Version: 1.3.7\n"
V2 = "CLI:\n  Version: 2.0.0.20250225\n  Build ID: 8389eee7\n"
TWO = '{"device_list": [{"device_id": 0}, {"device_id": 1}]}'


@pytest.mark.parametrize(("version", "asked", "not_asked"), [
    (V1, ["dump -m 0,1,2,3,5,6,7,8,18 -i 1 -n 1 -d 0,1", "config -d 0", "config -d 1"], ["--list-gpus", ""]),
    (V2, ["dump --metrics 0,1,2,3,5,6,7,8,18 --interval 1 --number 1 --device 0,1", "--list-gpus", ""], ["config -d 0"]),
    ("nothing", ["dump -m 0,1,2,3,5,6,7,8,18 -i 1 -n 1 -d 0,1"], ["--list-gpus"]),
])  # fmt: skip
def test_xpu_smi_in_the_words_of_its_generation(version: str, asked: list[str], not_asked: list[str]) -> None:
    commands = {"xpu-smi -v": version, "xpu-smi discovery -j": TWO, "xpu-smi": ""}
    lines = [" ".join(argv[1:]) for argv in ask("xpu_smi_details", DictAsker(commands=commands)).commands_asked]
    for line in (*asked, "topology -m", "health -l", "ps", "stats -d 1", "vgpu -l -d 0"):
        assert line in lines
    assert not set(not_asked) & set(lines)


def test_xpu_smi_without_devices_or_without_itself() -> None:
    lines = ask("xpu_smi_details", DictAsker(commands={"xpu-smi": ""})).commands_asked
    assert not [argv for argv in lines if "-d" in argv]
    assert ask("xpu_smi_details", DictAsker()).commands_asked == [("xpu-smi", "-v")]


@pytest.mark.parametrize(("text", "number"), [(V1, 1), (V2, 2), ("", 0), ("Version: unknown", 0), ("Build 2.0", 0)])
def test_generation(text: str, number: int) -> None:
    assert read_generation(text) == number


@pytest.mark.parametrize(("out", "ids"), [
    (TWO, ("0", "1")), ("[Error] x\n" + TWO, ("0", "1")), ("", ()), ("{}", ()), ("[]", ()), ('{"device_list": 3}', ()),
    ('{"device_list": [7, {"device_id": "x; rm"}, {"device_id": 4}]}', ("4",)), ("{" * 9, ()),
])  # fmt: skip
def test_device_ids(out: str, ids: tuple[str, ...]) -> None:
    assert read_device_ids(out.encode()) == ids


def test_sycl_ls_with_its_libraries_where_setvars_was_not_sourced() -> None:
    asker = ask("sycl")
    program = "/opt/intel/oneapi/compiler/latest/bin/sycl-ls"
    assert asker.commands_asked == [(program,), (program, "--verbose")]
    assert "/opt/intel/oneapi/umf/latest/lib" in asker.environments[(program,)]["LD_LIBRARY_PATH"]
    on_path = ask("sycl", DictAsker(commands={"sycl-ls": ""}))
    assert on_path.commands_asked[0] == ("/usr/bin/sycl-ls",)
    assert on_path.environments[("/usr/bin/sycl-ls",)] == {}


def test_docker_without_its_daemon_is_asked_once() -> None:
    asker = DictAsker(commands={"docker x": ""})
    ask("docker", asker)
    assert asker.commands_asked == [("docker", "version", "--format", "{{json .}}")]
    assert asker.notes[0].startswith("docker: ")


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_template_gives_values_of_known_variables_only(engine: str) -> None:
    template = make_template(engine)
    assert template.count("{{") == template.count("}}")
    assert '(eq $family "ZE")' in template
    assert "HF" not in template
    assert ".Config.Env}}{{$name" in template, "the whole environment is never printed"
    # Podman 4 has neither `.Id` nor device requests, and a field that is not there fails the whole template.
    assert ("{{json .ID}}" in template) == (engine == "podman")
    assert ("DeviceRequests" in template) == (engine == "docker")


LINE = '{"id":"%s","name":"/%s","image":"%s","devices":%s,"privileged":%s,"env":[null]}'


@pytest.mark.parametrize(("name", "image", "devices", "privileged", "wanted"), [
    ("srv", "intel/llm-scaler-vllm:1.4", "null", "false", True),
    ("my-sglang", "ubuntu", "[]", "false", True),
    ("x", "ubuntu", '[{"PathOnHost":"/dev/dri","PathInContainer":"/dev/dri"}]', "false", True),
    ("x", "ubuntu", "null", "true", True),
    ("db", "postgres:17", '[{"PathOnHost":"/dev/fuse"}, 3]', "false", False),
])  # fmt: skip
def test_logs_of_serving_containers_only(name: str, image: str, devices: str, privileged: str, wanted: bool) -> None:
    commands = {
        "docker ps": '{"ID":"abc","State":"running"}\n{"ID":"old","State":"exited"}\n',
        "docker inspect": LINE % ("abc", name, image, devices, privileged),
        "docker": "",
    }
    asker = ask("container_logs", DictAsker(commands=commands))
    logs = [argv for argv in asker.commands_asked if argv[1] == "logs"]
    assert logs == ([("docker", "logs", "--timestamps", "--tail", "400", "abc")] if wanted else [])


@pytest.mark.parametrize("line", ["", "null", "[]", "{}", '{"id": 4}', "{", '{"id":"a","devices":{"x":1}}'])
def test_a_line_of_inspect_that_is_something_else(line: str) -> None:
    container = parse_container(line)
    assert container is None or container.devices == ()


@pytest.mark.parametrize(("text", "ids"), [
    ('{"ID":"a1","State":"running"}\n{"ID":"b2","State":"exited"}\n', ("a1",)),  # docker: an object a line
    ('[\n {"Id":"a1","State":"running"},\n {"Id":"b2","State":"created"}\n]\n', ("a1",)),  # podman: one list
    ('{"ID":"-x","State":"running"}\n{"ID":3,"State":"running"}\nrubbish\n[]\n', ()),
    ("[]\n", ()),
    ("", ()),
])  # fmt: skip
def test_running_containers_of_both_engines(text: str, ids: tuple[str, ...]) -> None:
    assert parse_running(text) == ids


def test_labels_are_asked_of_running_and_serving_images() -> None:
    images = (
        '{"Repository":"intel/llm-scaler-vllm","Tag":"1.4"}\n{"Repository":"postgres","Tag":"17"}\n'
        '{"Repository":"vllm","Tag":"<none>"}\n'
    )
    commands = {
        "docker ps": '{"ID":"abc","State":"running"}\n',
        "docker inspect": LINE % ("abc", "srv", "ubuntu:24.04", "null", "false"),
        "docker images": images,
        "docker": "",
    }
    asker = ask("docker", DictAsker(commands=commands))
    (argv,) = [argv for argv in asker.commands_asked if argv[1:3] == ("image", "inspect")]
    assert argv[5:] == ("ubuntu:24.04", "intel/llm-scaler-vllm:1.4")


def test_images_of_a_summary() -> None:
    answers = {
        ("docker", *PS): '{"ID":"abc","State":"running","Image":"intel/vllm:1"}\n{"State":"exited","Image":"old:1"}\n',
        ("docker", *IMAGES): '{"Repository":"intel/vllm","Tag":"1"}\n{"Repository":"intel/vllm","Tag":"0"}\n',
        ("podman", *IMAGES): '[{"Names":["localhost/sglang:2"],"RepoTags":null},{"Names":null}]',
    }
    host = DictHost(commands={argv: Ran(argv=argv, rc=0, out=out.encode()) for argv, out in answers.items()})
    assert list_summary_images(host) == ("intel/vllm:1 (running)", "intel/vllm:0", "localhost/sglang:2")


def test_many_containers_are_limited_and_said() -> None:
    lines = "\n".join(LINE % (f"c{n}", "vllm", "x", "null", "false") for n in range(20))
    asker = DictAsker(
        commands={
            "docker ps": "\n".join(f'{{"ID":"c{n}","State":"running"}}' for n in range(20)),
            "docker inspect": lines,
            "docker": "",
        }
    )
    ask("container_logs", asker)
    assert len([argv for argv in asker.commands_asked if argv[1] == "logs"]) == 8
    assert asker.notes == ["docker: logs of 8 of 20 serving containers"]


def test_python_is_isolated_and_imports_nothing_big() -> None:
    asker = ask("python")
    for argv in asker.commands_asked:
        assert argv[1] == "-I", argv
    assert "/opt/venv/lib/python3.12/site-packages/torch/version.py" in asker.paths_asked()
    assert "/opt/venv/lib/python3.12/site-packages" in asker.paths_asked("list"), "pip did not answer"
    torch = ask("torch")
    assert [argv[0] for argv in torch.commands_asked] == ["/opt/venv/bin/python3"], "only where torch is"


def test_processes_by_what_has_a_gpu_open() -> None:
    asker = ask("gpu_processes")
    for path in ("/proc/77/cmdline", "/proc/77/fdinfo/5", "/proc/77/fdinfo/9"):
        assert path in asker.paths_asked()
    assert ("fuser", "-v", "/dev/dri/card0", "/dev/dri/card1", "/dev/dri/renderD128") in asker.commands_asked
    assert "/proc/77/environ" not in asker.paths_asked()


def test_open_files() -> None:
    text = "/proc/12/fd/3\n/proc/12/fd/4\nfind: /proc/9/fd/1 denied\n/proc/x/fd/1\n/proc/13/fd/0"
    assert group_open_files(text) == {"12": ["3", "4"], "13": ["0"]}


@pytest.mark.parametrize(("text", "groups"), [
    ("0::/\n", ("/sys/fs/cgroup",)),
    ("0::/a/b\n", ("/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup")),
    ("0::/../../x\n", ("/sys/fs/cgroup/x", "/sys/fs/cgroup")),
    ("12:memory:/docker/abc\n", ()), ("", ()), ("0::\n", ()),
])  # fmt: skip
def test_cgroups(text: str, groups: tuple[str, ...]) -> None:
    assert find_cgroups(text) == groups


def test_runs_are_the_last_ones() -> None:
    files = {f"/work/xpukit-runs/2026112{day}-standard/results.json": "{}" for day in range(9)}
    asker = ask("runs", DictAsker(files, environment={"PWD": "/work", "PWDX": "/no", "HOME": "relative"}))
    read = asker.paths_asked()
    assert len(read) == 5
    assert all(path.split("/")[3] >= "20261124" for path in read)


def test_network_and_disks() -> None:
    assert [argv for argv in ask("network").commands_asked if argv[0] == "ethtool"] == [("ethtool", "-i", "ens1")]
    assert ("findmnt", "--target", "/llm/models", "-o", "TARGET,FSTYPE,SIZE,AVAIL,OPTIONS") in ask(
        "disks"
    ).commands_asked


def test_environment_does_not_ask_for_everything() -> None:
    asker = DictAsker(environment={"HF_TOKEN": "x", "AWS_SECRET_ACCESS_KEY": "y", "ZE_AFFINITY_MASK": "0"})
    prefixes = [question[1] for question in ask("environment", asker).asked if question[0] == "env"]
    assert not [prefix for prefix in prefixes if "HF_TOKEN".startswith(prefix) or "AWS_".startswith(prefix)]
    for prefix in ("ZE_", "CCL_", "ONEAPI_", "SYCL_", "UR_", "VLLM_", "I_MPI_", "FI_", "NEO"):
        assert prefix in prefixes


def test_models_are_known_without_their_weights() -> None:
    hub = "/root/.cache/huggingface/hub/models--Qwen--Qwen3-8B/snapshots/abc"
    files = {
        "/llm/models/one/config.json": "{}",
        "/llm/models/one/model-00001.safetensors": "x",
        "/llm/models/one/tokenizer.json": "{}",
        "/llm/models/not-a-model/readme": "x",
        f"{hub}/config.json": "{}",
        f"{hub}/model.safetensors.index.json": "{}",
    }
    asker = ask("models", DictAsker(files, environment={"HOME": "/root"}))
    assert asker.paths_asked("read") == [
        "/llm/models/one/config.json",
        f"{hub}/config.json",
        f"{hub}/model.safetensors.index.json",
    ]
    assert "/llm/models/one/model-00001.safetensors" in asker.paths_asked("stat")
    assert asker.notes == []


def test_results_of_runs_are_whole_and_corrections_come_along() -> None:
    asker = ask("runs")
    results = "/work/xpukit-runs/20261121-standard/results.json"
    assert asker.limits_bytes[("read", results)] == 4 << 20
    assert asker.paths_asked("read")[-1] == "/root/.local/state/xpukit/serve/corrections.json"
