"""All collectors have the right shape, survive any machine, and only look."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.sysinfo.dict_asker import DictAsker
from tests.unit.sysinfo.two_gpus import make_debugfs, make_pci
from xpukit.facts.sysinfo import list_inquiries, load_inquiry
from xpukit.sysinfo import collectors as collectors_package
from xpukit.sysinfo.collector import PRESETS, Collector, conform_error
from xpukit.sysinfo.registry import list_collectors

ALL = pytest.mark.parametrize("collector", list_collectors(), ids=lambda collector: collector.name)

# Words that change something, load a GPU, wait for a network or wake what sleeps.
DENIED_PROGRAMS = {
    "rm", "mv", "cp", "tee", "dd", "sh", "bash", "zsh", "eval", "xargs", "sudo", "su", "kill", "pkill", "reboot", "modprobe",
    "rmmod", "insmod", "setpci", "apt", "apt-get", "dnf", "yum", "curl", "wget", "ping", "ssh", "stress", "stress-ng",
    "ipmitool", "kubectl", "chmod", "chown", "mount", "umount", "swapoff", "sysctl", "cpupower", "numademo", "ze_peak",
    "ze_peer", "ze_bandwidth", "timedatectl", "hostnamectl", "iclg", "systemd-analyze", "powerprofilesctl",
}  # fmt: skip
DENIED_WORDS = {
    "diag", "update", "upgrade", "install", "remove", "purge", "set", "reset", "start", "stop", "restart", "enable", "disable",
    "prune", "pull", "push", "run", "exec", "updatefw", "amc", "crashlog", "--precheck-fix", "-w", "--write", "--clear",
    "-C", "-c/--clear", "--stress", "--flash", "--follow", "-delete", "-exec", "-execdir", "-ok", "-fprint", "-fprintf", "-fls",
    "refresh", "--reset", "--create", "--vacuum-size", "--rotate", "--flush", "--singletest",
}  # fmt: skip
# Paths whose reading acts on a device, blocks, or gives away secrets or memory.
DENIED_PATHS = re.compile(
    r"/(force_reset|force_reset_sync|forcewake\w*|i915_forcewake_user|i915_gpu_info|i915_drop_caches|guc_log|resource\d+|rom|vpd|"
    r"remove|rescan|reset|kmsg|mem|kcore|environ|shadow|gshadow|id_rsa|authorized_keys|auth\.conf|\.netrc|\.docker/config\.json|"
    r"product_serial|product_uuid|board_serial|chassis_serial|chassis_asset_tag|machine-id|token|\.git-credentials)$"
)


def make_rich_machine() -> DictAsker:
    """A machine on which most branches of most collectors have something to ask."""
    files, links = make_pci()
    files |= make_debugfs(tiles=True)
    files |= {
        "/proc/sys/kernel/osrelease": "6.17.0-41-generic\n",
        "/boot/config-6.17.0-41-generic": "CONFIG_DRM_XE=m\n",
        "/proc/self/cgroup": "0::/user.slice/session-1.scope\n",
        "/dev/dri/card0": "", "/dev/dri/card1": "", "/dev/dri/renderD128": "",
        "/lib/firmware/xe/bmg_guc_70.bin.zst": "x", "/lib/firmware/i915/bmg_dmc.bin": "x", "/lib/firmware/i915/skl_dmc.bin": "x",
        "/usr/lib64/libze_intel_gpu.so.1": "x",
        "/opt/intel/oneapi/compiler/latest/bin/sycl-ls": "x",
        "/opt/intel/oneapi/mpi/latest/bin/mpirun": "x",
        "/opt/intel/oneapi/ccl/latest/lib/libccl.so.1": "x",
        "/opt/venv/bin/python3": "x", "/opt/venv/lib/python3.12/site-packages/torch/version.py": "__version__ = '2.9'\n",
        "/work/xpukit-runs/20261121-standard/results.json": "{}",
        "/llm/models/one/config.json": "{}",
        "/sys/class/net/ens1/speed": "10000\n", "/sys/class/net/docker0/speed": "-1\n",
        "/sys/class/devcoredump/devcd1/data": "**** Xe Device Coredump ****\n",
        "/etc/apt/sources.list.d/intel.list": "deb x\n", "/var/log/kern.log": "xe\n", "/etc/docker/daemon.json": "{}",
    }  # fmt: skip
    programs = (
        "lspci", "getfacl", "fuser", "dpkg-query", "rpm", "apt-cache", "snap", "ethtool", "mokutil", "dkms", "icpx", "mpirun",
        "fi_info", "numastat", "fwupdmgr", "vulkaninfo", "vainfo", "udevadm", "lstopo-no-graphics", "python3",
    )  # fmt: skip
    commands = dict.fromkeys(programs, "") | {
        "modinfo -F firmware xe": "xe/bmg_guc_70.bin\ni915/bmg_dmc.bin\n",
        "xpu-smi -v": "CLI:\n    Version: 1.3.7.20250101\n",
        "xpu-smi discovery -j": '{"device_list": [{"device_id": 0}, {"device_id": 1}]}',
        "xpu-smi": "",
        "docker version": "{}",
        "docker ps": '{"ID":"abc123","State":"running"}\n',
        "docker inspect": '{"id":"abc123","name":"/srv","image":"intel/llm-scaler-vllm:1.4","devices":null,"privileged":false}\n',
        "docker": "",
        "find /proc": "/proc/77/fd/5\n/proc/77/fd/9\n",
    }
    return DictAsker(files, links=links, commands=commands, environment={"PWD": "/work", "HOME": "/root", "ZE_X": "1"})


@ALL
def test_shape(collector: Collector) -> None:
    assert conform_error(collector) == ""
    assert collector.preset in PRESETS
    assert len(collector.summary) <= 120


def test_names_are_the_files_and_unique() -> None:
    names = [collector.name for collector in list_collectors()]
    files = [path.stem for path in Path(collectors_package.__path__[0]).glob("*.py") if path.stem != "__init__"]
    assert sorted(names) == sorted(files)
    assert len(names) == len(set(names)) >= 40


def test_presets_come_in_order() -> None:
    """What an issue needs is asked first, so that a time-out costs the rest."""
    ranks = [PRESETS.index(collector.preset) for collector in list_collectors()]
    assert ranks == sorted(ranks)
    assert {collector.preset for collector in list_collectors()} == set(PRESETS)


@ALL
@pytest.mark.parametrize("refused", ["", "not-found", "denied", "timeout", "EIO"])
def test_a_machine_without_anything(collector: Collector, refused: str) -> None:
    asker = DictAsker(refused=refused)
    collector.collect(asker)
    assert asker.asked or collector.name in ("gpu_i915",)


@ALL
def test_rich_machine_is_asked_without_harm(collector: Collector) -> None:
    asker = make_rich_machine()
    collector.collect(asker)
    for argv in asker.commands_asked:
        assert argv[0].rpartition("/")[2] not in DENIED_PROGRAMS, argv
        found = DENIED_WORDS & set(argv[1:])
        assert not found, f"{argv}: {found}"
    for kind in ("read", "stat", "list", "link"):
        for path in asker.paths_asked(kind):
            assert path.startswith("/"), path
            assert kind != "read" or not DENIED_PATHS.search(path), path


@ALL
def test_each_command_has_a_limit_of_its_own(collector: Collector) -> None:
    asker = make_rich_machine()
    collector.collect(asker)
    assert all(0 < seconds <= 30 for seconds in asker.timeouts_s)
    assert all(0 < limit <= 4 << 20 for limit in asker.limits_bytes.values())
    if asker.timeouts_s:
        assert max(asker.timeouts_s) <= collector.timeout_s


@ALL
def test_rubbish_for_every_answer(collector: Collector) -> None:
    """Commands that say something quite different cost nothing but their own entry."""
    rubbish = '\x00{"device_list": 7, "id": []}\n/proc/x/fd/\n\ufffd[null]\n' * 3
    programs = (
        "xpu-smi",
        "docker",
        "podman",
        "find",
        "modinfo",
        "journalctl",
        "dmesg",
        "lspci",
        "python3",
        "sycl-ls",
        "ps",
    )
    files, links = make_pci("i915")
    files |= {"/proc/self/cgroup": rubbish, "/proc/sys/kernel/osrelease": "../../etc\n", "/lib/firmware/xe/x.bin": ""}
    collector.collect(DictAsker(files, links=links, commands=dict.fromkeys(programs, rubbish)))


def test_data_files_belong_to_collectors_and_name_their_sources() -> None:
    names = {collector.name for collector in list_collectors()}
    assert set(list_inquiries()) - names == {"kernel_log_files"}, "read by kernel_log_before"
    for name in list_inquiries():
        inquiry = load_inquiry(name)
        sources = [row.source for row in inquiry.paths] + [row.source for row in inquiry.commands]
        sources += [row.source for row in inquiry.lists.values()]
        sources += [part.source for part in (inquiry.env, inquiry.programs) if part.words]
        assert sources, name
        assert all(sources), name
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", inquiry.date)
        for paths in inquiry.paths:
            assert all(path.startswith("/") and "**" not in path for path in paths.paths), name
            assert len(set(paths.paths)) == len(paths.paths), name


def test_every_collector_is_in_the_table_of_docs(repo: Path) -> None:
    text = (repo / "docs" / "collectors.md").read_text(encoding="utf-8")
    for collector in list_collectors():
        assert f"| `{collector.name}` | {collector.preset} |" in text
