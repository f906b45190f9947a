"""Several oneCCL libraries of different versions that a serving process may load."""

from __future__ import annotations

import re
from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.versions import find_item, list_places
from xpukit.facts.doctor_tables import split_version

_LINK = "https://github.com/intel/llm-scaler/pull/567"


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """oneAPI's oneCCL on the search path beside the one that PyTorch brought."""
    if len(patient.machine.devices) < 2:
        return
    pip, bindings = find_item(patient, "oneCCL (pip)"), find_item(patient, "oneCCL for PyTorch (pip)")
    search = patient.host.env("LD_LIBRARY_PATH").value or ""
    preload = patient.host.env("LD_PRELOAD").value or ""
    root = patient.host.env("CCL_ROOT").value or ""
    on_path = [part for part in f"{search}:{preload}:{root}".split(":") if re.search(r"/ccl/|/ccl$|libccl", part)]
    if pip is not None and on_path:
        version = read_path_version(on_path[0], patient)
        if version and split_version(version)[:2] != split_version(pip.version)[:2]:
            yield Finding(
                id="XPK-ONECCL-SEVERAL",
                severity="warning",
                summary=f"two oneCCL libraries: {pip.version} beside PyTorch and {version} on the search path",
                evidence=(
                    Evidence(source=f"{pip.source}: oneccl", value=pip.version),
                    Evidence(source="LD_LIBRARY_PATH, LD_PRELOAD, CCL_ROOT", value=on_path[0]),
                ),
                explanation="libtorch_xpu loads whichever libccl.so.1 it finds first, and a worker may find another "
                "one than its parent; the library and the kernels file it reads have to be of one version.",
                remedy=(
                    "decide for one: start PyTorch without oneAPI's setvars.sh (it brings its own libraries)",
                    "or point all of them to one library, as the llm-scaler image does",
                ),
                commands=("env -u LD_PRELOAD -u CCL_ROOT LD_LIBRARY_PATH= python -c 'import torch'",),
                links=(_LINK,),
            )
    torch = find_item(patient, "PyTorch")
    if bindings is not None and torch is not None:
        directories = {place for _, place in list_places(torch)}
        for version, place in list_places(bindings):
            own = next((found for found, where in list_places(torch) if where == place), "")
            if place in directories and split_version(own)[:2] >= (2, 8) and "+xpu" in own:
                same = split_version(version)[:2] == split_version(own)[:2]
                yield Finding(
                    id="XPK-ONECCL-BINDINGS",
                    severity="info" if same else "warning",
                    summary=f"oneccl_bindings_for_pytorch {version} beside PyTorch {own}, which has its own backend",
                    evidence=(
                        Evidence(source=f"{place}: oneccl-bind-pt", value=version),
                        Evidence(source=f"{place}: torch", value=own),
                    ),
                    explanation="Since PyTorch 2.8 the backend is torch's own xccl. The bindings register another one "
                    "(ccl) with a oneCCL of their own; of another version than torch they fail to load.",
                    remedy=("use backend xccl and take the bindings out of this environment",),
                    commands=(f"{_name_python(place)} -m pip uninstall oneccl_bind_pt",),
                    links=(
                        "https://pytorch.org/blog/"
                        "pytorch-2-8-brings-native-xccl-support-to-intel-gpus-case-studies-from-argonne-national-laboratory/",
                    ),
                    subject=place,
                )


def read_path_version(path: str, patient: Patient) -> str:
    """'2021.15' of '/opt/intel/oneapi/ccl/2021.15/lib'; `latest` is followed."""
    match = re.search(r"(.*/ccl)/([^/:]+)", path)
    if match is None:
        return ""
    name = match.group(2)
    if not split_version(name):
        name = patient.host.link(f"{match.group(1)}/{name}").target.rstrip("/").rpartition("/")[2]
    return name if split_version(name) else ""


def _name_python(site_packages: str) -> str:
    prefix = re.sub(r"/lib/python[^/]*/[^/]*$", "", site_packages)
    return f"{prefix}/bin/python" if prefix != site_packages else "python3"


CHECK = Check(
    name="oneccl_conflicts",
    summary="one oneCCL for the processes that serve",
    ids=("XPK-ONECCL-SEVERAL", "XPK-ONECCL-BINDINGS"),
    look=look,
    concerns="machines with several Intel GPUs",
    order=522,
)
