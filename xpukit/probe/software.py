"""The software table: what is installed of the stack, and what was looked for and not found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from xpukit.core.machine import Device, SoftwareItem, Unread
from xpukit.host.door import Host
from xpukit.probe.parsers.installed import (
    DPKG_FORMAT,
    RPM_FORMAT,
    PackageListing,
    parse_docker_version,
    parse_dpkg,
    parse_os_release,
    parse_rpm,
    read_distributions,
    read_library_version,
)
from xpukit.probe.question import Question
from xpukit.probe.sighting import explain_run

PACKAGES_TIMEOUT_S = 10.0
DOCKER_TIMEOUT_S = 6.0
ONEAPI = "/opt/intel/oneapi"


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the stack: its packages under each name they ever had, else the library that proves it is there."""

    name: str
    packages: tuple[str, ...]
    library: str = ""


PARTS = (
    Part(
        name="Level Zero loader",
        packages=("libze1", "level-zero", "oneapi-level-zero", "libze_loader1"),
        library="libze_loader.so.1",
    ),
    Part(
        name="Level Zero GPU driver",
        packages=("libze-intel-gpu1", "intel-level-zero-gpu", "intel-level-zero", "level-zero-gpu"),
        library="libze_intel_gpu.so.1",
    ),
    Part(
        name="OpenCL GPU driver",
        packages=("intel-opencl-icd", "intel-opencl", "intel-compute-runtime"),
        library="intel-opencl/libigdrcl.so",
    ),
    Part(
        name="OpenCL loader",
        packages=("ocl-icd-libopencl1", "ocl-icd", "intel-oneapi-opencl-icd", "OpenCL-ICD-Loader"),
        library="libOpenCL.so.1",
    ),
    Part(name="graphics compiler", packages=("libigc2", "libigc1", "intel-igc-core-2", "intel-igc-core", "intel-igc")),
    Part(name="memory layout library", packages=("libigdgmm12", "intel-gmmlib"), library="libigdgmm.so.12"),
    Part(
        name="media driver",
        packages=("intel-media-va-driver-non-free", "intel-media-va-driver", "intel-media-driver", "intel-media"),
    ),
    Part(name="system controller library", packages=("libigsc0", "intel-gsc", "igsc"), library="libigsc.so.0"),
    Part(
        name="GPU firmware",
        packages=("firmware-intel-graphics", "linux-firmware", "firmware-misc-nonfree", "intel-gpu-firmware"),
    ),
    Part(name="out-of-tree kernel driver", packages=("intel-i915-dkms", "intel-xe-dkms", "xpu-i915-dkms")),
    Part(name="metrics library", packages=("intel-metrics-discovery", "libmd1", "intel-metrics-library")),
)

# Directories below /opt/intel/oneapi; each holds one directory per version and a link `latest`.
ONEAPI_PARTS = (
    ("compiler", "oneAPI compiler"),
    ("mkl", "oneMKL"),
    ("dnnl", "oneDNN"),
    ("ccl", "oneCCL"),
    ("mpi", "Intel MPI"),
    ("tbb", "oneTBB"),
    ("umf", "unified memory framework"),
)

# Projects looked for in Python environments, by normalised name: (name in the table, its names).
PYTHON_PARTS = (
    ("SYCL runtime (pip)", ("intel-sycl-rt", "dpcpp-cpp-rt")),
    ("OpenCL CPU driver (pip)", ("intel-opencl-rt",)),
    ("oneCCL (pip)", ("oneccl", "oneccl-devel")),
    ("oneCCL for PyTorch (pip)", ("oneccl-bind-pt", "oneccl-bind-for-pytorch")),
    ("oneDNN (pip)", ("onednn",)),
    ("Intel MPI (pip)", ("impi-rt",)),
    ("mpi4py", ("mpi4py",)),
    ("dpctl", ("dpctl",)),
    ("PyTorch", ("torch",)),
    ("Intel extension for PyTorch", ("intel-extension-for-pytorch",)),
    ("Triton for XPU", ("pytorch-triton-xpu", "triton-xpu", "triton")),
    ("vLLM", ("vllm", "vllm-xpu")),
    ("SGLang", ("sglang",)),
    ("LMDeploy", ("lmdeploy",)),
    ("OpenVINO", ("openvino",)),
    ("ipex-llm", ("ipex-llm",)),
    ("Ray", ("ray",)),
)
# Where images and installers of engines put their environment, beside ours and the active one.
PYTHON_PREFIXES = ("/opt/venv", "/opt/vllm", "/usr/local", "/usr")
LIBRARY_DIRS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/lib",
)


def read_machine(host: Host, devices: tuple[Device, ...], so_far: Mapping[str, Any]) -> dict[str, Any]:
    """All rows; a part that is missing is a row with the reason."""
    packages, package_source, unread = read_packages(host)
    rows = [
        *read_system(host),
        *(_read_module(host, name) for name in ("xe", "i915")),
        *(read_part(host, part, packages, package_source) for part in PARTS),
        *read_opencl_vendors(host),
        *read_oneapi(host),
        *read_python(host),
        *read_docker(host),
    ]
    return {"software": tuple(rows), "unread": unread}


def read_system(host: Host) -> Iterable[SoftwareItem]:
    """Kernel and distribution."""
    path = "/proc/sys/kernel/osrelease"
    kernel = host.read(path)
    yield SoftwareItem(name="kernel", version=kernel.text, source=path, note=kernel.error)
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        answer = host.read(path)
        release = parse_os_release(answer.data)
        name = release.get("PRETTY_NAME") or " ".join(filter(None, (release.get("NAME"), release.get("VERSION"))))
        if name:
            yield SoftwareItem(name="distribution", version=name, source=path)
            return
    yield SoftwareItem(name="distribution", source="/etc/os-release", note=answer.error or "names no distribution")


def _read_module(host: Host, name: str) -> SoftwareItem:
    module = f"/sys/module/{name}"
    label = f"kernel driver {name}"
    if host.stat(module).error:
        return SoftwareItem(name=label, source=module, note="not loaded")
    version = host.read(f"{module}/version").text
    if version:
        return SoftwareItem(name=label, version=version, source=f"{module}/version")
    kernel = host.read("/proc/sys/kernel/osrelease").text
    return SoftwareItem(name=label, version=kernel, source=module, note="loaded; the kernel's own", found=True)


def read_packages(host: Host) -> tuple[PackageListing, str, tuple[Unread, ...]]:
    """(versions, who said so, problems) of all packages of PARTS, from dpkg, else from rpm."""
    names = [name for part in PARTS for name in part.packages]
    ran = host.run(["dpkg-query", "-W", "-f", DPKG_FORMAT, *names], timeout_s=PACKAGES_TIMEOUT_S)
    # Exit 1 says that one of the names is not there.
    if ran.failure == "" and ran.rc in (0, 1):
        return parse_dpkg(ran.out), "dpkg", ()
    rpm = host.run(["rpm", "-q", "--qf", RPM_FORMAT, *names], timeout_s=PACKAGES_TIMEOUT_S)
    if rpm.failure == "":
        return parse_rpm(rpm.out), "rpm", ()
    if ran.failure == rpm.failure == "not-found":
        return PackageListing(), "", (Unread(what="packages", why="neither dpkg nor rpm is on this machine"),)
    worse = ran if ran.failure != "not-found" else rpm
    return PackageListing(), "", (explain_run("packages", worse, install=""),)


def read_part(host: Host, part: Part, packages: PackageListing, package_source: str) -> SoftwareItem:
    """One row: by package, else by the library file."""
    installed = [name for name in part.packages if name in packages.versions]
    if installed:
        versions = " ".join(packages.versions[name] for name in installed[:1])
        others = f"also {', '.join(installed[1:])}" if installed[1:] else ""
        return SoftwareItem(name=part.name, version=versions, source=f"{package_source} {installed[0]}", note=others)
    for directory in LIBRARY_DIRS if part.library else ():
        found = host.resolve(f"{directory}/{part.library}")
        if not found.error:
            version = read_library_version(found.target)
            return SoftwareItem(
                name=part.name, version=version, source=found.target, note="" if version else "version unknown"
            )
    where = f"no {package_source} package" if package_source else "no package manager"
    library = f", no {part.library} in the library directories" if part.library else ""
    wanted = f" ({', '.join(part.packages[:2])})" if package_source else ""
    return SoftwareItem(name=part.name, source=package_source, note=f"not found: {where}{wanted}{library}")


def read_opencl_vendors(host: Host) -> Iterable[SoftwareItem]:
    """The drivers that OpenCL's loader will try."""
    directory = "/etc/OpenCL/vendors"
    listing = host.list(directory)
    files = [name for name in listing.names if name.endswith(".icd")]
    for name in files:
        path = f"{directory}/{name}"
        library = (host.read(path).text.splitlines() or ["empty"])[0]
        yield SoftwareItem(name=f"OpenCL driver {name.removesuffix('.icd')}", source=path, note=library, found=True)
    if not files:
        why = "no such directory" if listing.error == "ENOENT" else listing.error or "no .icd file"
        yield SoftwareItem(name="OpenCL drivers", source=directory, note=f"none: {why}")


def read_oneapi(host: Host) -> Iterable[SoftwareItem]:
    """oneAPI components with all installed versions, the current one first."""
    root = host.list(ONEAPI)
    for directory, name in ONEAPI_PARTS:
        path = f"{ONEAPI}/{directory}"
        if directory not in root.names:
            note = f"not found: no {ONEAPI}" if root.error else f"not found: no {path}"
            yield SoftwareItem(name=name, source=path, note=note)
            continue
        versions = [entry for entry in host.list(path).names if re.fullmatch(r"\d+(\.\d+)*", entry)]
        current = host.link(f"{path}/latest").target.rstrip("/").rpartition("/")[2]
        ordered = sorted(versions, key=lambda version: [int(part) for part in version.split(".")], reverse=True)
        version = current if current in versions else (ordered or [""])[0]
        others = [other for other in ordered if other != version]
        note = f"also {', '.join(others)}" if others else "" if version else "no version directory"
        yield SoftwareItem(name=name, version=version, source=path, note=note)


def list_site_packages(host: Host) -> tuple[str, ...]:
    """Package directories of the Python that runs us, of the active environment and of usual places; each once."""
    identity = host.identity()
    found = list(identity.site_packages)
    active = [value for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if (value := host.env(name).value)]
    for prefix in dict.fromkeys((*active, *PYTHON_PREFIXES)):
        for name in host.list(f"{prefix}/lib").names:
            if re.fullmatch(r"python3(\.\d+)?", name):
                kinds = ("dist-packages",) if prefix == "/usr" else ("site-packages", "dist-packages")
                found += [f"{prefix}/lib/{name}/{kind}" for kind in kinds]
    return tuple(dict.fromkeys(found))


def read_python(host: Host) -> Iterable[SoftwareItem]:
    """Engines and runtimes by their *.dist-info directories; nothing is imported."""
    environments = [
        (directory, read_distributions(listing.names))
        for directory in list_site_packages(host)
        if not (listing := host.list(directory)).error
    ]
    for name, projects in PYTHON_PARTS:
        hits = [
            (directory, installed[project])
            for directory, installed in environments
            for project in projects
            if project in installed
        ]
        if not hits:
            note = f"not found in {len(environments)} Python package directories"
            yield SoftwareItem(name=name, source="dist-info", note=note)
            continue
        directory, version = hits[0]
        others = [f"{other} in {where}" for where, other in hits[1:] if where != directory]
        yield SoftwareItem(
            name=name, version=version, source=directory, note=f"also {', '.join(others)}" if others else ""
        )


def read_docker(host: Host) -> Iterable[SoftwareItem]:
    """Docker's client, and whether its daemon answers this user."""
    ran = host.run(["docker", "version", "--format", "{{json .}}"], timeout_s=DOCKER_TIMEOUT_S)
    version = parse_docker_version(ran.out)
    if ran.failure == "not-found":
        yield SoftwareItem(name="Docker client", source="PATH", note="not installed")
        yield SoftwareItem(name="Docker daemon", source="PATH", note="not asked: no client")
        return
    client_note = "" if version.client else ran.describe_failure()
    yield SoftwareItem(name="Docker client", version=version.client, source="docker version", note=client_note)
    note = "" if version.server else _explain_daemon(ran.err_text, ran.describe_failure())
    yield SoftwareItem(name="Docker daemon", version=version.server, source="docker version", note=note)


def _explain_daemon(said: str, failure: str) -> str:
    if "permission denied" in said.lower():
        return "this user may not use it: sudo usermod -aG docker $USER, then log in again"
    if "cannot connect" in said.lower() or "daemon running" in said.lower():
        return "not running: sudo systemctl start docker"
    return failure


QUESTION = Question(
    name="software",
    scope="machine",
    order=110,
    summary="kernel, drivers, runtimes, libraries, Docker and engines with their versions",
    read_machine=read_machine,
)
