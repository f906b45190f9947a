"""The software-side checks of the host: processors, libraries, limits, disks, environment, Python."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.machines.recorded_machines import open_loosely, read_machine
from tests.unit.doctor.software_patients import find_ids, look, make_gpu, make_machine, make_patient, say
from xpukit.core.finding import Finding
from xpukit.core.machine import CpuLayout, SoftwareItem
from xpukit.doctor.check import Patient, conform_error
from xpukit.doctor.checks.disk_space import find_mount, parse_df
from xpukit.doctor.checks.environment_variables import hides_gpus, list_mask
from xpukit.doctor.checks.huge_pages import read_meminfo
from xpukit.doctor.checks.limits import read_limits
from xpukit.doctor.checks.pending_reboot import find_newer
from xpukit.doctor.registry import list_checks
from xpukit.facts.doctor_environment import load_variables
from xpukit.facts.doctor_images import load_images
from xpukit.facts.doctor_limits import load_limits
from xpukit.facts.doctor_versions import bound_loader_api, load_versions
from xpukit.host.answers import FileAnswer

HOST_CHECKS = (
    "governor", "energy_bias", "kernel_version", "loader_conflicts", "driver_libraries", "oneccl_conflicts",
    "xpu_smi_version", "setvars", "docker_daemon", "huge_pages", "limits", "disk_space", "swap_and_memory",
    "pending_reboot", "environment_variables", "python_stack", "own_environment",
)  # fmt: skip
SITE = "/opt/venv/lib/python3.12/site-packages"
LIMITS = (
    "Limit                     Soft Limit           Hard Limit           Units     \n"
    "Max open files            1024                 {files}               files     \n"
    "Max locked memory         8388608              {locked}              bytes     \n"
)


def meminfo(total_gib: int, **more: int) -> str:
    lines = {"MemTotal": total_gib << 20, "SwapTotal": 0, "SwapFree": 0, "Hugepagesize": 2048} | more
    return "".join(
        f"{name}:   {number}{'' if name.startswith('HugePages') else ' kB'}\n" for name, number in lines.items()
    )


def test_all_checks_conform_and_ids_are_their_own() -> None:
    checks = [check for check in list_checks() if check.name in HOST_CHECKS]
    assert {check.name for check in checks} == set(HOST_CHECKS)
    assert [conform_error(check) for check in checks] == [""] * len(checks)
    ids = [name for check in list_checks() for name in check.ids]
    assert len(ids) == len(set(ids))


def test_every_fact_has_a_source() -> None:
    images = load_images()
    rows: list[Any] = [*load_limits().values(), *load_variables(), *load_versions().loader, *load_versions().removed]
    rows += [*images.image, *images.generation, *images.alias, *images.newest]
    assert all(row.source for row in rows)
    assert all(problem.link and problem.date for problem in images.problem)


def test_machine_without_gpu_is_quiet_and_not_questioned() -> None:
    cpu = CpuLayout(governor="powersave", energy_bias=15, energy_preference="power")
    machine = make_machine(0, software={"kernel": "5.4.0", "xpu-smi": "2.0.0", "PyTorch": "2.9.0"}, cpu=cpu)
    files = {"/run/reboot-required": "", "/proc/meminfo": meminfo(1, SwapTotal=100), "/proc/self/limits": LIMITS}
    patient = make_patient(machine, files, environment={"SYCL_DEVICE_FILTER": "cpu", "PYTHONPATH": "/x"})
    assert [item for name in HOST_CHECKS for item in look(name, patient)] == []
    asked = {question[1] for question in patient.host.asked if question[0] == "run"}  # type: ignore[attr-defined]
    assert asked <= {"docker", "podman"}


@pytest.mark.parametrize(
    ("governor", "driver", "severity"),
    [
        ("performance", "acpi-cpufreq", ""),
        ("", "", ""),
        ("powersave", "acpi-cpufreq", "warning"),
        ("powersave", "intel_pstate", "info"),
        ("schedutil", "intel_cpufreq", "info"),
        ("performance (31), powersave (1)", "acpi-cpufreq", "warning"),
    ],
)
def test_governor(governor: str, driver: str, severity: str) -> None:
    patient = make_patient(make_machine(1, cpu=CpuLayout(governor=governor, frequency_driver=driver)))
    assert find_ids("governor", patient) == ({"XPK-CPU-GOVERNOR": severity} if severity else {})


@pytest.mark.parametrize(
    ("bias", "preference", "severity"),
    [
        (None, "", ""),
        (0, "performance", ""),
        (6, "balance_performance", "info"),
        (8, "performance", "warning"),
        (0, "balance_power", "warning"),
    ],
)
def test_energy(bias: int | None, preference: str, severity: str) -> None:
    patient = make_patient(make_machine(1, cpu=CpuLayout(energy_bias=bias, energy_preference=preference)))
    assert find_ids("energy_bias", patient) == ({"XPK-CPU-ENERGY-BIAS": severity} if severity else {})


def test_kernel() -> None:
    def at(kernel: str) -> dict[str, str]:
        return find_ids("kernel_version", make_patient(make_machine(1, software={"kernel": kernel})))

    assert at("6.14.0-1011-intel") == {}
    assert at("6.17.0-9-generic") == {"XPK-KERNEL-UNTESTED": "info"}
    # An older one is the driver check's finding, a warning: one finding is enough.
    assert at("6.8.0-60-generic") == {}
    assert at("") == {}
    (found,) = look("kernel_version", make_patient(make_machine(1, software={"kernel": "6.17.0"})))
    assert isinstance(found, Finding)
    assert "6.14.0-1011-intel" in found.summary
    assert any("llm-scaler" in row.source for row in found.evidence)


LDCONFIG = """2 libs found in cache `/etc/ld.so.cache'
\tlibze_loader.so.1 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libze_loader.so.1
\tlibz.so.1 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libz.so.1
"""


def test_several_loaders() -> None:
    system = "/usr/lib/x86_64-linux-gnu/libze_loader.so.1"
    files = {f"{system}.28.2": "", "/opt/old/lib/libze_loader.so.1.16.1": ""}
    links = {system: "libze_loader.so.1.28.2", "/opt/old/lib/libze_loader.so.1": "libze_loader.so.1.16.1"}
    machine = make_machine(1)

    def see(search: str) -> dict[str, str]:
        environment = {"LD_LIBRARY_PATH": search}
        return find_ids(
            "loader_conflicts",
            make_patient(
                machine, files, commands=say("/sbin/ldconfig", "-p", out=LDCONFIG), environment=environment, links=links
            ),
        )

    assert see("") == {}
    assert see("/opt/empty:relative:/usr/lib/x86_64-linux-gnu/") == {}
    assert see("/opt/empty:/opt/old/lib") == {"XPK-LIBZE-SEVERAL": "warning"}


@pytest.mark.parametrize(
    ("loader", "api", "old"),
    [
        ("1.16.1", "1.14", True),
        ("1.21.9", "1.6", False),
        ("1.21.9", "1.15", False),
        ("1.28.2", "1.19", False),
        ("", "1.6", False),
    ],
)
def test_loader_older_than_its_driver(loader: str, api: str, old: bool) -> None:
    said = {"loader_version": loader, "drivers": ({"index": 0, "api_version": api},)}
    patient = make_patient(make_machine(1, level_zero=said))
    assert find_ids("loader_conflicts", patient) == ({"XPK-LIBZE-OLD": "warning"} if old else {})
    assert bound_loader_api("0.9") == ()


def test_driver_libraries_of_two_releases() -> None:
    same = {"Level Zero GPU driver": "26.22.38646.4-1~24.04~ppa1", "OpenCL GPU driver": "26.22.38646.4-1~24.04~ppa1"}
    assert find_ids("driver_libraries", make_patient(make_machine(1, software=same))) == {}
    dated = {"Level Zero GPU driver": "1.6.33578.42-1146~22.04", "OpenCL GPU driver": "25.18.33578.42-1146~22.04"}
    assert find_ids("driver_libraries", make_patient(make_machine(1, software=dated))) == {}
    mixed = same | {"OpenCL GPU driver": "24.35.30872.22-1"}
    assert find_ids("driver_libraries", make_patient(make_machine(1, software=mixed))) == {"XPK-NEO-MIXED": "warning"}
    other = same | {"Level Zero driver 0 (loaded)": "1.3.35563"}
    assert find_ids("driver_libraries", make_patient(make_machine(1, software=other))) == {
        "XPK-NEO-OTHER-LOADED": "warning"
    }


def test_two_oneccl() -> None:
    machine = make_machine(2, software={"oneCCL (pip)": "2022.1.2"})
    links = {"/opt/intel/oneapi/ccl/latest": "2021.15"}

    def see(path: str, gpus: int = 2) -> dict[str, str]:
        seen = machine if gpus == 2 else make_machine(gpus, software={"oneCCL (pip)": "2022.1.2"})
        return find_ids("oneccl_conflicts", make_patient(seen, environment={"LD_LIBRARY_PATH": path}, links=links))

    assert see("/opt/intel/oneapi/ccl/2021.15/lib") == {"XPK-ONECCL-SEVERAL": "warning"}
    assert see("/usr/lib:/opt/intel/oneapi/ccl/latest/lib") == {"XPK-ONECCL-SEVERAL": "warning"}
    assert see("/opt/intel/oneapi/ccl/2022.1/lib") == {}
    assert see("/opt/intel/oneapi/ccl/2021.15/lib", gpus=1) == {}
    assert see("/opt/ccl") == {}


def test_bindings_beside_own_backend() -> None:
    def see(torch: str, bindings: str, place: str = SITE) -> dict[str, str]:
        rows = (
            SoftwareItem(name="PyTorch", version=torch, source=SITE),
            SoftwareItem(name="oneCCL for PyTorch (pip)", version=bindings, source=place),
        )
        return find_ids("oneccl_conflicts", make_patient(_with(rows)))

    assert see("2.9.0+xpu", "2.8.0+xpu") == {"XPK-ONECCL-BINDINGS": "warning"}
    assert see("2.8.0+xpu", "2.8.0+xpu") == {"XPK-ONECCL-BINDINGS": "info"}
    assert see("2.5.1+cxx11.abi", "2.5.0+xpu") == {}
    assert see("2.9.0+xpu", "2.8.0+xpu", "/elsewhere") == {}


def _with(rows: tuple[SoftwareItem, ...], gpus: int = 2) -> Any:
    return msgspec.structs.replace(make_machine(gpus), software=rows)


def test_scripts_for_the_old_xpu_smi() -> None:
    scripts = {
        "/opt/intel/multi-arc/scripts/run.sh": "#!/bin/bash\n# xpu-smi diag -l 1\nxpu-smi dump -d 0 -m 0,1 -n 1 | tee x\n",
        "/usr/local/bin/watch.sh": "xpu-smi dump --metrics 0,1 --count 1\n",
        "/usr/local/bin/test.py": "run('xpu-smi diag -d 0 --precheck')\n",
    }
    new = make_machine(1, software={"xpu-smi": "2.0.0.20260707"})
    (found,) = look("xpu_smi_version", make_patient(new, scripts))
    assert isinstance(found, Finding)
    assert found.severity == "warning"
    assert [row.source for row in found.evidence[1:]] == [
        "/opt/intel/multi-arc/scripts/run.sh:3",
        "/usr/local/bin/test.py:1",
    ]
    assert find_ids("xpu_smi_version", make_patient(new)) == {"XPK-XPU-SMI-2": "info"}
    old = make_machine(1, software={"xpu-smi": "1.3.8"})
    assert find_ids("xpu_smi_version", make_patient(old, scripts)) == {}


def test_setvars_over_pytorchs_own_runtime() -> None:
    rows = (
        SoftwareItem(name="PyTorch", version="2.12.0+xpu", source=SITE),
        SoftwareItem(name="SYCL runtime (pip)", version="2025.3.1", source=SITE),
        SoftwareItem(name="oneAPI compiler", version="2026.1", source="/opt/intel/oneapi/compiler"),
    )

    def see(environment: dict[str, str], kept: tuple[SoftwareItem, ...] = rows) -> dict[str, str]:
        return find_ids("setvars", make_patient(_with(kept), environment=environment))

    active = {"SETVARS_COMPLETED": "1", "VIRTUAL_ENV": "/opt/venv"}
    assert see(active) == {"XPK-SETVARS-OVER-PYTHON": "warning"}
    assert see({"VIRTUAL_ENV": "/opt/venv"}) == {}
    assert see(active | {"VIRTUAL_ENV": "/home/u/other"}) == {}
    same = msgspec.structs.replace(rows[2], version="2025.3")
    assert see(active, (*rows[:2], same)) == {}


def test_memory_and_swap() -> None:
    machine = make_machine(4)

    def see(text: str) -> dict[str, str]:
        patient = make_patient(machine, {"/proc/meminfo": text})
        return {**find_ids("swap_and_memory", patient), **find_ids("huge_pages", patient)}

    assert see(meminfo(128)) == {}
    assert see(meminfo(64)) == {"XPK-MEMORY-SMALL": "info"}
    assert see(meminfo(128, SwapTotal=8 << 20, SwapFree=8 << 20)) == {}
    assert see(meminfo(128, SwapTotal=8 << 20, SwapFree=1 << 20)) == {"XPK-SWAP-USED": "info"}
    assert see(meminfo(128, HugePages_Total=32768, HugePages_Free=32768)) == {"XPK-HUGE-PAGES-IDLE": "warning"}
    assert see(meminfo(128, HugePages_Total=32768, HugePages_Free=10)) == {}
    assert see("nonsense") == {}


def test_limits() -> None:
    def see(files: str, locked: str, more: dict[str, str] | None = None) -> dict[str, str]:
        text = LIMITS.format(files=files, locked=locked)
        return find_ids("limits", make_patient(make_machine(1), {"/proc/self/limits": text, **(more or {})}))

    rdma = {"/sys/class/infiniband/mlx5_0/node_type": ""}
    assert see("1048576", "8388608") == {}
    assert see("unlimited", "unlimited", rdma) == {}
    assert see("4096", "unlimited") == {"XPK-LIMIT-OPEN-FILES": "info"}
    assert see("1048576", "8388608", rdma) == {"XPK-LIMIT-LOCKED-MEMORY": "warning"}
    denied = make_patient(make_machine(1), {"/proc/self/limits": FileAnswer(error="EACCES")})
    assert len(look("limits", denied)) == 1


DF = """Filesystem     Type     1024-blocks      Used Available Capacity Mounted on
udev           devtmpfs    65800000         0  65800000       0% /dev
/dev/nvme0n1p2 ext4       490691512 430000000  20000000      96% /
/dev/sdb1 my   xfs       9000000000 100000000 {data}       2% /data/my models
-              sysfs              0         0         0       - /sys/fs/x
"""
MOUNTINFO = """22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
51 22 0:44 / /data/my\\040models rw,relatime shared:30 - xfs /dev/sdb1 rw
60 22 0:51 / /mnt/nas rw,relatime shared:40 - nfs4 nas:/export rw
"""


def test_disks() -> None:
    machine = make_machine(4, software={"Docker client": "28.5.1"})

    def see(environment: dict[str, str], root: str = "", machine: Any = machine) -> dict[str, str]:
        commands = say("df", "-lPT", out=DF.format(data="8900000000"))
        mounts = {"/proc/self/mountinfo": MOUNTINFO}
        if root:
            commands |= say("docker", "info", "--format", "{{json .}}", out=f'{{"DockerRootDir":"{root}"}}\n')
        return find_ids("disk_space", make_patient(machine, mounts, commands=commands, environment=environment))

    large = {"HF_HOME": "/data/my models/hf"}
    assert see(large) == {"XPK-DISK-IMAGES": "warning"}
    assert see(large, root="/data/my models/docker") == {}
    assert see({"HOME": "/root"}, root="/data/my models/docker") == {"XPK-DISK-MODELS": "info"}
    assert see({}, machine=make_machine(4)) == {}
    # Nobody asked the network disk how much is free there.
    assert see({"HF_HOME": "/mnt/nas/hf"}, root="/data/my models/docker") == {}
    hanging = make_patient(machine, commands=say("df", "-lPT", rc=-1, failure="timeout"))
    assert len(look("disk_space", hanging)) == 1


def test_df_with_spaces_and_longest_mount() -> None:
    mounts = parse_df(DF.format(data="8900000000").encode())
    assert [mount.point for mount in mounts] == ["/dev", "/", "/data/my models", "/sys/fs/x"]
    found = find_mount(mounts, "/data/my models/x")
    assert found is not None
    assert found.free_bytes == 8900000000 << 10
    found = find_mount(mounts, "/data/my modelsx")
    assert found is not None
    assert found.point == "/"


def test_pending_reboot() -> None:
    machine = make_machine(1, software={"kernel": "6.14.0-1006-intel"})

    def see(files: dict[str, str], machine: Any = machine) -> dict[str, str]:
        return find_ids("pending_reboot", make_patient(machine, files))

    assert see({"/boot/vmlinuz-6.14.0-1006-intel": "", "/boot/vmlinuz-6.17.0-9-generic": ""}) == {}
    assert see({"/boot/vmlinuz-6.14.0-1011-intel": ""}) == {"XPK-PENDING-REBOOT": "warning"}
    mark = {"/run/reboot-required": "", "/run/reboot-required.pkgs": "libc6\n"}
    assert see(mark) == {"XPK-PENDING-REBOOT": "info"}
    assert see(mark | {"/run/reboot-required.pkgs": "linux-image-intel\n"}) == {"XPK-PENDING-REBOOT": "warning"}
    inside = msgspec.structs.replace(machine, platform={"container": "docker"})
    assert see(mark, inside) == {}
    assert find_newer("6.1.0-9-amd64", ["vmlinuz-6.1.0-10-amd64", "vmlinuz-6.1.0-9-amd64"]) == "6.1.0-10-amd64"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {}),
        ({"SYCL_DEVICE_FILTER": "level_zero"}, {"XPK-ENV-OUTDATED": "info"}),
        ({"RenderCompressedBuffersEnabled": "0"}, {}),
        ({"RenderCompressedBuffersEnabled": "0", "NEOReadDebugKeys": "1"}, {"XPK-ENV-MEASURING": "info"}),
        ({"CCL_ZE_IPC_EXCHANGE": "sockets"}, {"XPK-ENV-HARMFUL": "warning"}),
        ({"CCL_ZE_IPC_EXCHANGE": "pidfd"}, {}),
        ({"CCL_TOPO_P2P_ACCESS": "1"}, {}),
        ({"VLLM_OFFLOAD_WEIGHTS_BEFORE_QUANT": "1"}, {}),
        ({"ZE_AFFINITY_MASK": "0,1"}, {}),
        ({"ZE_AFFINITY_MASK": "0,5"}, {"XPK-ENV-MASK-MISSING": "warning"}),
        ({"ZE_AFFINITY_MASK": "7"}, {"XPK-ENV-MASK-MISSING": "critical"}),
        ({"ONEAPI_DEVICE_SELECTOR": "opencl:cpu"}, {"XPK-ENV-HIDES-GPUS": "critical"}),
        ({"ONEAPI_DEVICE_SELECTOR": "level_zero:gpu"}, {}),
    ],
)
def test_environment(environment: dict[str, str], expected: dict[str, str]) -> None:
    assert find_ids("environment_variables", make_patient(make_machine(2), environment=environment)) == expected


def test_environment_by_machine_and_software() -> None:
    guest = make_machine(2, platform={"vm": True})
    p2p = {"CCL_TOPO_P2P_ACCESS": "1"}
    assert find_ids("environment_variables", make_patient(guest, environment=p2p)) == {"XPK-ENV-HARMFUL": "warning"}
    offload = {"VLLM_OFFLOAD_WEIGHTS_BEFORE_QUANT": "1"}
    for version, expected in (("0.26.0", {"XPK-ENV-OUTDATED": "info"}), ("0.21.0", {})):
        machine = make_machine(1, software={"vLLM": version})
        assert find_ids("environment_variables", make_patient(machine, environment=offload)) == expected
    tiles = make_machine(0, devices=(make_gpu(0, tiles=2), make_gpu(1, tiles=2)))
    mask = {"ZE_AFFINITY_MASK": "3"}
    assert find_ids("environment_variables", make_patient(tiles, environment=mask)) == {}


@pytest.mark.parametrize(
    ("selector", "hidden"),
    [
        ("level_zero:*", False), ("*:gpu", False), ("opencl:cpu", True), ("*:cpu;level_zero:0", False),
        ("native_cpu:*", True), ("cuda:gpu", True), ("!level_zero:*", True), ("!opencl:*", False), ("level_zero:0.1", False),
        ("strange", False), ("", False),
    ],
)  # fmt: skip
def test_selectors(selector: str, hidden: bool) -> None:
    assert hides_gpus(selector) is hidden


def _see_python(*names: str, torch: str) -> dict[str, str]:
    files = {f"{SITE}/{name}.dist-info/METADATA": "" for name in (*names, f"torch-{torch}")}
    row = SoftwareItem(name="PyTorch", version=torch, source=SITE)
    return find_ids("python_stack", make_patient(_with((row,)), files))


def test_python_packages() -> None:
    assert _see_python("vllm-0.20.1", "triton_xpu-3.7.0", torch="2.12.0+xpu") == {}
    assert _see_python("numpy-2.0", torch="2.9.0+cpu") == {}
    assert _see_python("triton_xpu-3.7.0", torch="2.12.0+cpu") == {"XPK-PYTHON-TORCH-BUILD": "critical"}
    assert _see_python("vllm-0.26.1+xpu", torch="2.12.0") == {"XPK-PYTHON-TORCH-BUILD": "critical"}
    assert _see_python("intel_extension_for_pytorch-2.8.10+xpu", torch="2.8.0+xpu") == {}
    assert _see_python("intel_extension_for_pytorch-2.1.20+xpu", torch="2.1.0.post2+cxx11.abi") == {}
    assert _see_python("intel_extension_for_pytorch-2.8.10+xpu", torch="2.9.0+xpu") == {
        "XPK-PYTHON-IPEX-MISMATCH": "critical"
    }
    assert _see_python("triton-3.5.0", "triton_xpu-3.7.0", torch="2.12.0+xpu") == {"XPK-PYTHON-TWO-TRITONS": "warning"}
    assert _see_python("triton-3.7.2+xpu", "triton_xpu-3.7.2", torch="2.12.0+xpu") == {}


def test_every_environment_of_the_row_is_looked_at() -> None:
    other = "/usr/local/lib/python3.12/dist-packages"
    row = SoftwareItem(name="PyTorch", version="2.12.0+xpu", source=SITE, note=f"also 2.9.0 in {other}")
    files = {f"{SITE}/x-1.dist-info/M": "", f"{other}/triton_xpu-3.7.0.dist-info/M": ""}
    (found,) = look("python_stack", make_patient(_with((row,)), files))
    assert isinstance(found, Finding)
    assert found.subject == other
    assert found.commands == (
        "uv pip install --python /usr/local/bin/python --torch-backend xpu --reinstall-package torch 'torch==2.9.0'",
    )


def test_own_environment() -> None:
    patient = make_patient(make_machine(1), environment={"PYTHONPATH": "/opt/other"})
    assert find_ids("own_environment", patient) == {"XPK-SELF-PYTHON-PATH": "info"}


@pytest.mark.parametrize("name", ["b60x4_bmc", "b60x8_2s", "a770", "max1550", "unbound", "vm", "sriov", "dual_card"])
def test_recorded_machines_raise_nothing(name: str) -> None:
    """What these recordings do not hold is answered UNRECORDED: no check makes a fault of that."""
    patient = Patient(machine=read_machine(name), host=open_loosely(name))
    said = [item for check in HOST_CHECKS for item in look(check, patient)]
    ids = {item.id for item in said if isinstance(item, Finding)}
    assert ids <= {"XPK-KERNEL-UNTESTED", "XPK-XPU-SMI-2", "XPK-DOCKER-NOT-RUNNING", "XPK-DOCKER-DENIED"}
    assert ("XPK-XPU-SMI-2" in ids) == (name == "b60x4_bmc")


@settings(max_examples=120, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_survived(text: str) -> None:
    parse_df(text.encode("utf-8", "surrogatepass"))
    read_meminfo(text)
    read_limits(text)
    list_mask(text)
    hides_gpus(text)
    find_newer(text, [f"vmlinuz-{text}", text])


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_any_version_and_value_is_survived(version: str, value: str, output: str) -> None:
    names = (
        "kernel",
        "xpu-smi",
        "PyTorch",
        "oneCCL (pip)",
        "Level Zero GPU driver",
        "OpenCL GPU driver",
        "Docker client",
    )
    machine = make_machine(
        2, software=dict.fromkeys(names, version), level_zero={"loader_version": value, "drivers": [{}]}
    )
    environment = dict.fromkeys(("LD_LIBRARY_PATH", "ZE_AFFINITY_MASK", "ONEAPI_DEVICE_SELECTOR", "HF_HOME"), value)
    commands = {**say("/sbin/ldconfig", "-p", out=output), **say("df", "-lPT", out=output)}
    files = {"/proc/self/limits": output, "/proc/meminfo": output}
    patient = make_patient(machine, files, commands=commands, environment=environment)
    for name in HOST_CHECKS:
        look(name, patient)
