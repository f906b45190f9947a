"""Python packages of an environment for Intel GPUs that do not belong together."""

from __future__ import annotations

import re
from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.versions import find_item, list_places
from xpukit.facts.doctor_tables import split_version

# Parts that only an environment for Intel GPUs has.
_INTEL_PARTS = {
    "intel-extension-for-pytorch": "Intel extension for PyTorch",
    "triton-xpu": "Triton for XPU",
    "pytorch-triton-xpu": "Triton for XPU",
    "vllm-xpu-kernels": "vLLM's XPU kernels",
    "oneccl-bind-pt": "oneCCL for PyTorch",
}


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Each directory that holds PyTorch."""
    torch = find_item(patient, "PyTorch")
    if not patient.machine.devices or torch is None:
        return
    for version, place in list_places(torch):
        installed = read_projects(patient.host.list(place).names)
        yield from judge_build(version, place, installed)
        yield from judge_extension(version, place, installed)
        yield from judge_triton(place, installed)


def judge_build(version: str, place: str, installed: dict[str, str]) -> Iterable[Finding]:
    """A build of PyTorch for something else in an environment made for XPU."""
    parts = [name for name in _INTEL_PARTS if name in installed]
    vllm = installed.get("vllm", "")
    if "+xpu" in version or not (parts or "xpu" in vllm):
        return
    # The extension of 2.x brought XPU to PyTorch builds of before 2.5, which carried marks such as +cxx11.abi.
    if "intel-extension-for-pytorch" in installed and ("cxx11" in version or split_version(version)[:2] < (2, 9)):
        return
    evidence = [f"{name} {installed[name]}" for name in parts] + ([f"vllm {vllm}"] if "xpu" in vllm else [])
    yield Finding(
        id="XPK-PYTHON-TORCH-BUILD",
        severity="critical",
        summary=f"PyTorch {version} in {place} is not built for Intel GPUs",
        evidence=(
            Evidence(source=f"{place}: torch", value=version),
            Evidence(source=f"{place}: made for XPU", value=", ".join(evidence)),
        ),
        explanation="pip replaces the XPU build by the default one when a package that is installed later asks for "
        "torch and pip does not know the XPU index. torch.xpu.is_available() is then False.",
        remedy=(
            "install the XPU build again (here with uv; the linked page has the form for pip), and give later installs "
            "the same index",
        ),
        commands=(
            f"uv pip install --python {name_python(place)} --torch-backend xpu --reinstall-package torch "
            f"'torch=={version.partition('+')[0]}'",
        ),
        links=("https://docs.pytorch.org/docs/stable/notes/get_start_xpu.html",),
        subject=place,
    )


def judge_extension(version: str, place: str, installed: dict[str, str]) -> Iterable[Finding]:
    """Intel's extension works with the PyTorch of its own number only, and ended with 2.8."""
    extension = installed.get("intel-extension-for-pytorch", "")
    if not extension or split_version(extension)[:2] == split_version(version)[:2]:
        return
    newer = split_version(version)[:2] > (2, 8)
    yield Finding(
        id="XPK-PYTHON-IPEX-MISMATCH",
        severity="critical",
        summary=f"intel-extension-for-pytorch {extension} does not go with PyTorch {version}",
        evidence=(
            Evidence(source=f"{place}: intel-extension-for-pytorch", value=extension),
            Evidence(source=f"{place}: torch", value=version),
        ),
        explanation="Each release of the extension is built for one PyTorch, the one with its first two numbers; with "
        "another it stops at the import." + (" 2.8 was its last." if newer else ""),
        remedy=(
            "PyTorch drives Intel GPUs by itself now: take the extension out"
            if newer
            else f"install PyTorch {'.'.join(map(str, split_version(extension)[:2]))}, or take the extension out",
        ),
        commands=(f"{name_python(place)} -m pip uninstall intel-extension-for-pytorch",) if newer else (),
        links=("https://github.com/intel/intel-extension-for-pytorch/issues/867",),
        subject=place,
    )


def judge_triton(place: str, installed: dict[str, str]) -> Iterable[Finding]:
    """Two packages that both install the directory `triton`."""
    names = [name for name in ("triton", "triton-xpu", "pytorch-triton-xpu") if name in installed]
    xpu = [name for name in names if name != "triton"]
    # vLLM publishes a package triton with a version +xpu that is only a pointer to triton-xpu.
    if len(names) < 2 or not xpu or "+xpu" in installed.get("triton", ""):
        return
    yield Finding(
        id="XPK-PYTHON-TWO-TRITONS",
        severity="warning",
        summary=f"{' and '.join(names)} are installed over each other in {place}",
        evidence=tuple(Evidence(source=f"{place}: {name}", value=installed[name]) for name in names),
        explanation="All of them write the directory triton; the files of the one installed last are there. With the "
        "default one kernels for Intel GPUs do not compile.",
        remedy=(
            f"take all out: {name_python(place)} -m pip uninstall {' '.join(names)}",
            f"then install {xpu[0]}=={installed[xpu[0]]} alone, with --no-deps, from PyTorch's index for XPU",
        ),
        links=("https://github.com/intel/llm-scaler/blob/main/vllm/docker/Dockerfile",),
        subject=place,
    )


def read_projects(names: Iterable[str]) -> dict[str, str]:
    """Version by normalised project name, from the names of *.dist-info directories."""
    found: dict[str, str] = {}
    for name in names:
        match = re.fullmatch(r"(.+?)-([^-]+)\.(?:dist|egg)-info", name)
        if match:
            found.setdefault(re.sub(r"[-_.]+", "-", match.group(1)).lower(), match.group(2))
    return found


def name_python(site_packages: str) -> str:
    """The interpreter of an environment."""
    prefix = re.sub(r"/lib/python[^/]*/[^/]*$", "", site_packages)
    return f"{prefix}/bin/python" if prefix not in (site_packages, "/usr") else "python3"


CHECK = Check(
    name="python_stack",
    summary="Python packages that belong together",
    ids=("XPK-PYTHON-TORCH-BUILD", "XPK-PYTHON-IPEX-MISMATCH", "XPK-PYTHON-TWO-TRITONS"),
    look=look,
    concerns="PyTorch environments for Intel GPUs",
    order=561,
)
