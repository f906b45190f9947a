"""The software of a described machine: packages, oneAPI, tools, Docker, and how Level Zero answers there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal

from tests.machines import driver_view
from tests.machines.umockdev_builder import MockMachine
from xpukit.host.answers import Ran
from xpukit.probe.parsers.installed import DPKG_FORMAT
from xpukit.probe.software import ONEAPI, PARTS
from xpukit.probe.sycl import ONEAPI_COMPILER

# Ubuntu 24.04 with Intel's package archive for graphics (versions in its manner).
_COMPUTE = "26.22.38646.4-1~24.04~ppa1"
PPA_24_04 = {
    "intel-media-va-driver-non-free": "26.2.2-1~24.04~ppa1",
    "intel-metrics-discovery": "1.14.184-1~24.04~ppa1",
    "intel-opencl-icd": _COMPUTE,
    "libigc2": "2.36.3-1~24.04~ppa1",
    "libigdgmm12": "22.10.0-1~24.04~ppa1",
    "libigsc0": "0.9.8-1~24.04~ppa1",
    "libze-intel-gpu1": _COMPUTE,
    "libze1": "1.28.2-1~24.04~ppa1",
    "linux-firmware": "20240318.git3b128b60-0ubuntu2.21",
    "ocl-icd-libopencl1": "2.3.2-1build1",
}
# What Ubuntu 24.04 itself offers: a loader and OpenCL, no Level Zero driver for newer cards installed.
UBUNTU_24_04 = {
    "libze1": "1.16.1-1",
    "linux-firmware": "20240318.git3b128b60-0ubuntu2.14",
    "ocl-icd-libopencl1": "2.3.2-1build1",
}
# Ubuntu 22.04 with Intel's data centre repository and its out-of-tree kernel driver.
DATA_CENTER_22_04 = {
    "intel-i915-dkms": "1.24.5.15.250105.22-1",
    "intel-level-zero-gpu": "1.6.33578.42-1146~22.04",
    "intel-opencl-icd": "25.18.33578.42-1146~22.04",
    "libigc1": "1.0.17791.18-1146~22.04",
    "libigdgmm12": "22.7.2-1146~22.04",
    "libze1": "1.21.9.0-1146~22.04",
    "linux-firmware": "20220329.git681281e4-0ubuntu3.39",
    "ocl-icd-libopencl1": "2.2.14-3",
}
_ONEAPI_VERSIONS = {
    "ccl": "2022.1", "compiler": "2026.1", "dnnl": "2026.1", "mkl": "2026.1", "mpi": "2021.18", "tbb": "2023.1",
    "umf": "1.2",
}  # fmt: skip
_ONEAPI_2025 = {"ccl": "2021.17", "compiler": "2025.3", "dnnl": "2025.3", "mkl": "2025.3", "mpi": "2021.17"}


@dataclass(frozen=True)
class Stack:
    """`order`: Level Zero's (see order_gpus). `build`: (API minor, driver's major.minor.build, hot-fix).

    `sycl_ls`: "path" when setvars.sh was sourced, "oneapi" when it was not. `docker`: client and daemon version, the
    daemon's "" when it does not run, "denied" when this user may not use it.
    """

    packages: dict[str, str] = field(default_factory=dict)
    level_zero: Literal["ok", "no-loader", "no-driver", "denied"] = "no-loader"
    loader: str = "1.28.2"
    order: tuple[int, ...] = ()
    build: tuple[int, tuple[int, int, int], int] = (14, (1, 3, 38646), 4)
    oneapi: dict[str, str] = field(default_factory=dict)
    older_oneapi: dict[str, str] = field(default_factory=dict)
    sycl_ls: Literal["", "path", "oneapi"] = ""
    xpu_smi: str = ""
    clinfo: bool = False
    docker: tuple[str, str] | None = None
    python: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def driver_version(self) -> int:
        """As zeDriverGetProperties packs it."""
        major, minor, build = self.build[1]
        return major << 24 | minor << 16 | build


# A server made for inference: everything is there, setvars.sh sourced, an environment with vLLM.
SERVER = Stack(
    packages=PPA_24_04,
    level_zero="ok",
    oneapi=_ONEAPI_VERSIONS,
    older_oneapi=_ONEAPI_2025,
    sycl_ls="path",
    xpu_smi="1.3.8.20260512",
    clinfo=True,
    docker=("28.5.1", "28.5.1"),
    python={
        "/opt/venv/lib/python3.12/site-packages": (
            "mpi4py-4.1.1", "oneccl-2022.1.2", "torch-2.12.0+xpu", "triton_xpu-3.7.0", "vllm-0.20.1",
        )
    },
)  # fmt: skip
# The newer xpu-smi, oneAPI installed but not sourced, Docker without a running daemon.
SERVER_XPU_SMI_2 = Stack(
    packages=PPA_24_04,
    level_zero="ok",
    order=(2, 0, 3, 1),
    oneapi=_ONEAPI_VERSIONS,
    sycl_ls="oneapi",
    xpu_smi="2.0.0.20260707",
    docker=("28.5.1", ""),
)
WORKSTATION = Stack(packages=PPA_24_04, level_zero="ok", oneapi=_ONEAPI_VERSIONS, sycl_ls="oneapi", clinfo=True)
PLAIN = Stack(packages=PPA_24_04, level_zero="ok")
DESKTOP_WITHOUT_GROUP = Stack(packages=PPA_24_04, level_zero="denied", docker=("28.5.1", "denied"))
SERVER_WITHOUT_GROUP = Stack(packages=PPA_24_04, level_zero="denied", oneapi=_ONEAPI_VERSIONS)
DATA_CENTER = Stack(
    packages=DATA_CENTER_22_04,
    level_zero="ok",
    loader="1.21.9",
    build=(6, (1, 6, 33578), 42),
    oneapi=_ONEAPI_2025,
    sycl_ls="path",
    xpu_smi="1.2.43.20260110",
)
GUEST = Stack(packages=UBUNTU_24_04, level_zero="no-driver", loader="1.16.1", docker=("28.5.1", "28.5.1"))
BARE = Stack(packages={"linux-firmware": UBUNTU_24_04["linux-firmware"]})


def _answer(*argv: str, out: str = "", err: str = "", rc: int = 0) -> dict[tuple[str, ...], Ran]:
    return {argv: Ran(argv=argv, rc=rc, out=out.encode(), err=err.encode())}


def list_commands(machine: MockMachine, stack: Stack) -> dict[tuple[str, ...], Ran]:
    """What probe runs on this machine, and what it gets; other programs are not there."""
    commands = {**_ask_dpkg(stack), **_ask_modinfo()}
    gpus = driver_view.list_gpus(machine)
    if stack.xpu_smi:
        commands |= _ask_xpu_smi(gpus, stack)
    if stack.clinfo:
        commands |= _answer("clinfo", "-l", "--raw", out=driver_view.write_clinfo(gpus, machine.cpu_model))
    if stack.sycl_ls == "path":
        # On PATH it is found by its own name's directory (DictHost: /usr/bin).
        commands |= _answer("sycl-ls", "--version")
        commands |= _answer("/usr/bin/sycl-ls", "--verbose", out=_write_sycl_ls(machine, stack))
    if stack.docker:
        commands |= _ask_docker(*stack.docker)
    return commands


def list_answers(machine: MockMachine, stack: Stack) -> dict[tuple[str, ...], Ran]:
    """Commands that are asked with settings of their own (environment variables), by their whole question."""
    if stack.sycl_ls != "oneapi":
        return {}
    program = f"{ONEAPI_COMPILER}/bin/sycl-ls"
    libraries = ":".join(f"{ONEAPI}/{part}/latest/lib" for part in ("compiler", "umf", "tcm"))
    ran = Ran(argv=(program, "--verbose"), rc=0, out=_write_sycl_ls(machine, stack).encode())
    return {("run", program, "--verbose", "\0", f"LD_LIBRARY_PATH={libraries}"): ran}


def _write_sycl_ls(machine: MockMachine, stack: Stack) -> str:
    api_minor, (_, _, build), fix = stack.build
    driver = f"1.{api_minor}.{build}+{fix}"
    gpus = driver_view.order_gpus(machine, stack.order)
    return driver_view.write_sycl_ls(gpus, driver=driver, api=f"1.{api_minor}", cpu=machine.cpu_model)


def _ask_dpkg(stack: Stack) -> dict[tuple[str, ...], Ran]:
    names = [name for part in PARTS for name in part.packages]
    out = "".join(f"{name}\t{stack.packages[name]}\tii \n" for name in names if name in stack.packages)
    absent = (name for name in names if name not in stack.packages)
    err = "".join(f"dpkg-query: no packages found matching {name}\n" for name in absent)
    return _answer("dpkg-query", "-W", "-f", DPKG_FORMAT, *names, out=out, err=err, rc=1)


def _ask_modinfo() -> dict[tuple[str, ...], Ran]:
    files = {
        "xe": ("xe/bmg_guc_70.bin", "xe/bmg_huc.bin", "xe/lnl_gsc_1.bin", "i915/bmg_dmc.bin"),
        "i915": ("i915/dg2_guc_70.bin", "i915/dg2_huc_gsc.bin", "i915/dg2_dmc_ver2_08.bin", "i915/tgl_guc_70.bin"),
    }
    commands: dict[tuple[str, ...], Ran] = {}
    for module, names in files.items():
        commands |= _answer("modinfo", "-F", "firmware", module, out="\n".join(names) + "\n")
    return commands


def _ask_xpu_smi(gpus: list[driver_view.Gpu], stack: Stack) -> dict[tuple[str, ...], Ran]:
    generation = int(stack.xpu_smi[0])
    commands = _answer("xpu-smi", "discovery", "-j", out=driver_view.write_discovery(gpus, generation=generation))
    commands |= _answer("xpu-smi", "-v", out=driver_view.write_xpu_smi_version(stack.xpu_smi, stack.loader))
    for index, gpu in enumerate(gpus):
        out = driver_view.write_details(index, gpu, generation=generation, driver_version=stack.driver_version)
        commands |= _answer("xpu-smi", "discovery", "-d", str(index), "-j", out=out)
    return commands


def _ask_docker(client: str, server: str) -> dict[tuple[str, ...], Ran]:
    command = ("docker", "version", "--format", "{{json .}}")
    about = {"Version": client, "ApiVersion": "1.51", "Os": "linux", "Arch": "amd64"}
    if server and server != "denied":
        return _answer(*command, out=json.dumps({"Client": about, "Server": {**about, "Version": server}}) + "\n")
    said = (
        "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock\n"
        if server
        else "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n"
    )
    return _answer(*command, out=json.dumps({"Client": about, "Server": None}) + "\n", err=said, rc=1)


def list_files(stack: Stack) -> tuple[dict[str, str], dict[str, str]]:
    """(files, links) of the software outside /sys and /dev, by whole path."""
    files: dict[str, str] = {}
    links: dict[str, str] = {}
    if "intel-opencl-icd" in stack.packages:
        files["/etc/OpenCL/vendors/intel.icd"] = "/usr/lib/x86_64-linux-gnu/intel-opencl/libigdrcl.so\n"
    for versions in (stack.older_oneapi, stack.oneapi):
        for part, version in versions.items():
            files[f"{ONEAPI}/{part}/{version}/env/vars.sh"] = ""
            links[f"{ONEAPI}/{part}/latest"] = version
    if stack.oneapi:
        files[f"{ONEAPI}/compiler/{stack.oneapi['compiler']}/bin/sycl-ls"] = ""
    for directory, names in stack.python.items():
        for name in names:
            files[f"{directory}/{name}.dist-info/METADATA"] = ""
    return files, links
