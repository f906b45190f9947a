from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.dict_host import Content, DictHost
from xpukit.core.machine import SoftwareItem
from xpukit.host.answers import FileAnswer, IdentityAnswer, Ran
from xpukit.probe import software, virtualization
from xpukit.probe.parsers import installed

NAMES = [name for part in software.PARTS for name in part.packages]
DPKG = ("dpkg-query", "-W", "-f", installed.DPKG_FORMAT, *NAMES)
RPM = ("rpm", "-q", "--qf", installed.RPM_FORMAT, *NAMES)
DOCKER = ("docker", "version", "--format", "{{json .}}")


def ask(host: DictHost) -> dict[str, SoftwareItem]:
    rows: tuple[SoftwareItem, ...] = software.read_machine(host, (), {})["software"]
    assert len({row.name for row in rows}) == len(rows)
    return {row.name: row for row in rows}


def test_an_empty_machine_has_every_row_with_its_reason() -> None:
    rows = ask(DictHost())
    expected = {part.name for part in software.PARTS} | {name for name, _ in software.PYTHON_PARTS}
    expected |= {name for _, name in software.ONEAPI_PARTS} | {"kernel", "distribution", "Docker client"}
    assert expected <= set(rows)
    for row in rows.values():
        assert row.version == ""
        assert row.note, row.name


def test_kernel_distribution_and_modules() -> None:
    files: dict[str, Content] = {
        "/proc/sys/kernel/osrelease": "6.17.0-41-generic\n",
        "/etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 25.10"\n# a comment\nbroken line\n',
        "/sys/module/xe/srcversion": "X",
        "/sys/module/i915/version": "I915_24.5.17_PSB\n",
    }
    rows = ask(DictHost(files))
    assert rows["kernel"].version == "6.17.0-41-generic"
    assert rows["distribution"].version == "Ubuntu 25.10"
    assert rows["kernel driver xe"].version == "6.17.0-41-generic"
    assert "kernel's own" in rows["kernel driver xe"].note
    assert rows["kernel driver i915"].version == "I915_24.5.17_PSB"


def test_packages_by_dpkg() -> None:
    out = (
        b"libze1\t1.24.1-1~25.10\tii \n"
        b"libze-intel-gpu1\t26.18.38646.7-0\thi \n"
        b"intel-level-zero-gpu\t1.3.1\trc \n"
        b"intel-opencl-icd\t\tun \n"
        b"linux-firmware\t20260101\tii \n"
    )
    # Exit 1: some of the names are unknown to dpkg, which is normal.
    rows = ask(DictHost(commands={DPKG: Ran(argv=DPKG, rc=1, out=out, err=b"no packages found matching libmd1")}))
    assert rows["Level Zero loader"].version == "1.24.1-1~25.10"
    assert rows["Level Zero loader"].source == "dpkg libze1"
    assert rows["Level Zero GPU driver"].version == "26.18.38646.7-0"
    assert rows["Level Zero GPU driver"].note == ""
    assert "not found" in rows["OpenCL GPU driver"].note
    assert rows["GPU firmware"].version == "20260101"


def test_packages_by_rpm_where_there_is_no_dpkg() -> None:
    out = b"package libze1 is not installed\noneapi-level-zero\t1.24.1-1.fc42\n"
    rows = ask(DictHost(commands={RPM: Ran(argv=RPM, rc=40, out=out)}))
    assert (rows["Level Zero loader"].version, rows["Level Zero loader"].source) == (
        "1.24.1-1.fc42",
        "rpm oneapi-level-zero",
    )


def test_a_wedged_package_manager_costs_its_rows_only() -> None:
    host = DictHost(commands={DPKG: Ran(argv=DPKG, rc=-15, failure="timeout", seconds=10.0)})
    answer = software.read_machine(host, (), {})
    assert "stopped after 10 s" in answer["unread"][0].why
    assert any(row.name == "Docker client" for row in answer["software"])


def test_libraries_without_packages_by_file_name() -> None:
    library = "/usr/lib64/libze_loader.so.1"
    rows = ask(
        DictHost({f"{library}.24.1": "", "/usr/lib64/libze_intel_gpu.so.1": ""}, links={library: f"{library}.24.1"})
    )
    assert (rows["Level Zero loader"].version, rows["Level Zero loader"].source) == ("1.24.1", f"{library}.24.1")
    assert rows["Level Zero GPU driver"].source == "/usr/lib64/libze_intel_gpu.so.1"
    assert rows["Level Zero GPU driver"].note == "version unknown"


def test_oneapi_versions_sort_as_numbers_and_latest_leads() -> None:
    files: dict[str, Content] = {
        f"/opt/intel/oneapi/compiler/{version}/bin/icx": "" for version in ("2025.9", "2025.10", "2024.2")
    }
    files |= {f"/opt/intel/oneapi/mkl/{version}/x": "" for version in ("2025.9", "2025.10")}
    rows = ask(DictHost(files, links={"/opt/intel/oneapi/compiler/latest": "2025.9"}))
    assert rows["oneAPI compiler"].version == "2025.9"
    assert rows["oneAPI compiler"].note == "also 2025.10, 2024.2"
    assert (rows["oneMKL"].version, rows["oneMKL"].note) == ("2025.10", "also 2025.9")
    assert rows["oneCCL"].note == "not found: no /opt/intel/oneapi/ccl"


def test_engines_by_dist_info_of_every_environment() -> None:
    files: dict[str, Content] = {
        "/opt/venv/lib/python3.12/site-packages/vllm-0.11.1.dist-info/METADATA": "",
        "/opt/venv/lib/python3.12/site-packages/torch-2.8.0+xpu.dist-info/METADATA": "",
        "/srv/x/lib/python3.11/site-packages/torch-2.9.0.dist-info/METADATA": "",
        "/home/u/lib/python3.11/site-packages/oneccl_bind_pt-2.8.0+xpu.dist-info/METADATA": "",
    }
    host = DictHost(
        files,
        environment={"VIRTUAL_ENV": "/srv/x"},
        answers={("identity",): IdentityAnswer(site_packages=("/home/u/lib/python3.11/site-packages",))},
    )
    rows = ask(host)
    assert rows["vLLM"].version == "0.11.1"
    assert rows["vLLM"].source == "/opt/venv/lib/python3.12/site-packages"
    assert rows["PyTorch"].version == "2.9.0"
    assert rows["PyTorch"].note == "also 2.8.0+xpu in /opt/venv/lib/python3.12/site-packages"
    assert rows["oneCCL for PyTorch (pip)"].version == "2.8.0+xpu"
    assert rows["SGLang"].note == "not found in 3 Python package directories"


@pytest.mark.parametrize(
    ("out", "err", "client", "server", "note"),
    [
        (b'{"Client":{"Version":"28.2.2"},"Server":{"Version":"28.2.1"}}\n', b"", "28.2.2", "28.2.1", ""),
        (
            b'{"Client":{"Version":"28.2.2"},"Server":null}\n',
            b"Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n",
            "28.2.2",
            "",
            "systemctl start docker",
        ),
        (
            b'{"Client":{"Version":"20.10.24"},"Server":null}\n',
            b"Got permission denied while trying to connect to the Docker daemon socket\n",
            "20.10.24",
            "",
            "usermod -aG docker",
        ),
        (b"rubbish\n", b"", "", "", "exit 1"),
    ],
)
def test_docker_client_and_daemon(out: bytes, err: bytes, client: str, server: str, note: str) -> None:
    rows = ask(DictHost(commands={DOCKER: Ran(argv=DOCKER, rc=0 if server else 1, out=out, err=err)}))
    assert rows["Docker client"].version == client
    assert rows["Docker daemon"].version == server
    assert note in rows["Docker daemon"].note


def test_opencl_vendors() -> None:
    rows = ask(DictHost({"/etc/OpenCL/vendors/intel.icd": "/usr/lib/intel-opencl/libigdrcl.so\n"}))
    assert rows["OpenCL driver intel"].note == "/usr/lib/intel-opencl/libigdrcl.so"
    assert "OpenCL drivers" not in rows


CPUINFO = "processor\t: 0\nflags\t\t: fpu vme{}\n\nprocessor\t: 1\nflags\t\t: fpu\n"


@pytest.mark.parametrize(
    ("files", "vm", "hypervisor"),
    [
        ({"/proc/cpuinfo": CPUINFO.format("")}, False, ""),
        ({"/proc/cpuinfo": CPUINFO.format(" hypervisor")}, True, "unknown"),
        (
            {"/proc/cpuinfo": CPUINFO.format(" hypervisor"), "/sys/class/dmi/id/sys_vendor": "QEMU\n"},
            True,
            "QEMU/KVM",
        ),
        # A bare-metal cloud machine carries the vendor's name without being a VM.
        ({"/proc/cpuinfo": CPUINFO.format(""), "/sys/class/dmi/id/sys_vendor": "Amazon EC2\n"}, False, ""),
        ({"/sys/hypervisor/type": "xen\n"}, True, "xen"),
        ({"/sys/class/dmi/id/product_name": "VMware Virtual Platform\n"}, True, "VMware"),
        ({"/proc/sys/kernel/osrelease": "6.6.87.2-microsoft-standard-WSL2\n"}, True, "WSL"),
        ({"/sys/class/dmi/id/sys_vendor": FileAnswer(error="EACCES")}, None, ""),
    ],
)
def test_virtual_machines(files: dict[str, Content], vm: bool | None, hypervisor: str) -> None:
    platform = virtualization.read_machine(DictHost(files), (), {})["platform"]
    assert (platform["vm"], platform["hypervisor"]) == (vm, hypervisor)
    assert bool(platform["vm_evidence"]) == (vm is not None)


@pytest.mark.parametrize(
    ("files", "environment", "container"),
    [
        ({}, {}, ""),
        ({"/.dockerenv": ""}, {}, "docker"),
        ({"/run/.containerenv": "engine=podman\n"}, {}, "podman"),
        ({"/run/systemd/container": "lxc\n"}, {}, "lxc"),
        ({"/proc/1/cgroup": "0::/kubepods.slice/x\n"}, {}, "kubernetes"),
        ({"/.dockerenv": ""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
    ],
)
def test_containers(files: dict[str, Content], environment: dict[str, str], container: str) -> None:
    platform = virtualization.read_machine(DictHost(files, environment=environment), (), {})["platform"]
    assert platform["container"] == container
    assert bool(platform["container_evidence"]) == bool(container)


PIECES = st.sampled_from(
    [
        b"libze1\t1\tii \n",
        b"a\tb\n",
        b"\t\t\n",
        b'{"Client":',
        b"NAME=",
        b'"',
        b"{" * 2000,
        b"[" * 2000,
        b"\x1b[1m",
        b"\r\n",
    ]
)
SOUP = st.lists(st.one_of(PIECES, st.binary(max_size=40)), max_size=20).map(b"".join)


@given(SOUP)
def test_parsers_take_any_bytes(data: bytes) -> None:
    for listing in (installed.parse_dpkg(data), installed.parse_rpm(data)):
        assert all(listing.versions.values())
    assert all(key.isidentifier() for key in installed.parse_os_release(data))
    installed.parse_docker_version(data)


@given(st.lists(st.text(max_size=30)))
def test_any_directory_names(names: list[str]) -> None:
    installed.read_distributions(names)
    for name in names:
        installed.read_library_version(name)


def test_names_of_distributions_and_libraries() -> None:
    found = installed.read_distributions(["oneccl_bind_pt-2.8.0+xpu.dist-info", "x.py", "Foo.Bar-1.0.egg-info"])
    assert found == {"oneccl-bind-pt": "2.8.0+xpu", "foo-bar": "1.0"}
    assert installed.read_library_version("/usr/lib/libze_loader.so.1.24.1") == "1.24.1"
    assert installed.read_library_version("/usr/lib/libze_loader.so.1") == ""
