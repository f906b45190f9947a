from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.machines.dict_host import DictHost
from tests.machines.node_layout import CPU, write_allowed, write_aurora, write_cpus, write_nodes
from xpukit.core.units import parse_cpu_list
from xpukit.host.answers import FileAnswer
from xpukit.probe.allowance import (
    list_cgroup_dirs,
    parse_membership,
    parse_mounts,
    read_allowance,
)
from xpukit.probe.cpu import describe_mix, parse_size, read_cpu
from xpukit.probe.numa import read_nodes

V2_MOUNT = "31 24 0:27 {root} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "32 24 0:28 {root} /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "33 24 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "34 24 0:30 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


def read_layout(files: dict[str, str]):  # type: ignore[no-untyped-def]
    host = DictHost(files)
    nodes, _ = read_nodes(host)
    return read_cpu(host, nodes)


def test_aurora_layout() -> None:
    layout, unread = read_layout(write_aurora())
    assert layout.model == "Intel(R) Xeon(R) Made 9999"
    assert (layout.sockets, layout.cores, layout.threads_per_core) == (2, 104, 2)
    assert layout.siblings[:2] == ("0,104", "1,105")
    assert (layout.online, layout.offline, layout.allowed, layout.allowed_mems) == ("0-207", "", "0-207", "0-3")
    assert layout.sub_numa is False  # the HBM nodes have no CPUs
    assert {row.what.partition(" (")[0] for row in unread} == {"cgroup limits"}


def test_sub_numa_clusters_are_seen() -> None:
    layout, _ = read_layout(
        {
            **write_nodes({n: ((2 * n, 2 * n + 1), 1024, (10, 12, 21, 21)) for n in range(4)}),
            **write_cpus({0: (0, 1, 2, 3), 1: (4, 5, 6, 7)}, [(cpu,) for cpu in range(8)]),
        }
    )
    assert layout.sub_numa is True
    assert (layout.sockets, layout.cores, layout.threads_per_core) == (2, 8, 1)


def test_offline_threads_leave_single_thread_cores() -> None:
    files = {**write_cpus({0: (0, 1, 2)}, [(0,), (1, 2)], offline=(3,)), **write_allowed("0-3", "0")}
    layout, _ = read_layout(files)
    assert (layout.online, layout.offline, layout.allowed) == ("0-2", "3", "0-2")
    assert layout.siblings == ("0", "1-2")
    assert (layout.cores, layout.threads_per_core) == (2, 2)


def test_old_kernels_call_the_lists_otherwise() -> None:
    files = write_cpus({0: (0, 1), 3: (2, 3)}, [(0, 1), (2, 3)])
    for name, old in (("package_cpus_list", "core_siblings_list"), ("core_cpus_list", "thread_siblings_list")):
        files = {path.replace(name, old): text for path, text in files.items()}
    layout, _ = read_layout(files)
    assert (layout.sockets, layout.cores, layout.threads_per_core) == (2, 2, 2)


def test_without_topology_nothing_is_made_up() -> None:
    layout, unread = read_layout({f"{CPU}/online": "0-3"})
    assert (layout.online, layout.sockets, layout.cores, layout.siblings, layout.sub_numa) == (
        "0-3",
        None,
        None,
        (),
        None,
    )
    assert f"sockets and cores ({CPU}/cpu*/topology)" in [row.what for row in unread]


def test_clock_policy_and_caches() -> None:
    files = write_cpus({0: (0, 1), 1: (2, 3)}, [(0,), (1,), (2,), (3,)])
    for cpu in range(4):
        policy = f"{CPU}/cpufreq/policy{cpu}"
        files[f"{policy}/scaling_governor"] = "powersave\n" if cpu == 2 else "performance\n"
        files[f"{policy}/scaling_driver"] = "intel_pstate\n"
        files[f"{policy}/energy_performance_preference"] = "balance_performance\n"
        for index, (level, kind, size) in enumerate((("1", "Data", "48K"), ("3", "Unified", "105M"))):
            cache = f"{CPU}/cpu{cpu}/cache/index{index}"
            shared = str(cpu) if level == "1" else ("0-1" if cpu < 2 else "2-3")
            values = {
                "level": level,
                "type": kind,
                "size": size,
                "coherency_line_size": "64",
                "shared_cpu_list": shared,
            }
            files |= {f"{cache}/{name}": f"{value}\n" for name, value in values.items()}
    files[f"{CPU}/cpu0/power/energy_perf_bias"] = "6\n"
    layout, _ = read_layout(files)
    assert layout.governor == "performance (3), powersave (1)"
    assert (layout.frequency_driver, layout.energy_preference, layout.energy_bias) == (
        "intel_pstate",
        "balance_performance",
        6,
    )
    assert [(cache.level, cache.kind, cache.size_bytes, cache.instances) for cache in layout.caches] == [
        (1, "data", 48 << 10, None),
        (3, "unified", 105 << 20, 2),
    ]
    assert layout.last_level_cache_bytes == 210 << 20


def test_version_2_limits_are_the_tightest_on_the_way_up() -> None:
    group = "/sys/fs/cgroup/kube/pod"
    files = {
        **write_allowed("0-7", "0-1"),
        "/proc/self/cgroup": "0::/kube/pod\n",
        "/proc/self/mountinfo": V2_MOUNT.format(root="/"),
        f"{group}/cpu.max": "800000 100000\n",
        "/sys/fs/cgroup/kube/cpu.max": "250000 100000\n",
        "/sys/fs/cgroup/kube/cpuset.cpus.effective": "0-3\n",
        "/sys/fs/cgroup/kube/cpuset.mems.effective": "0\n",
        f"{group}/memory.max": "max\n",
        "/sys/fs/cgroup/kube/memory.max": f"{8 << 30}\n",
    }
    allowed = read_allowance(DictHost(files), tuple(range(8)), (0, 1))
    assert allowed.cpus == (0, 1, 2, 3)
    assert allowed.memory_nodes == (0,)
    assert (allowed.cpu_limit, allowed.memory_limit_bytes) == (2.5, 8 << 30)
    assert allowed.limits == (
        "/sys/fs/cgroup/kube/cpuset.cpus.effective: CPUs 0-3 of 0-7",
        "/sys/fs/cgroup/kube/cpuset.mems.effective: nodes 0 of 0-1",
        "/sys/fs/cgroup/kube/cpu.max: quota of 2.5 CPUs",
        "/sys/fs/cgroup/kube/memory.max: memory limit of 8 GiB",
    )
    assert allowed.unread == ()


def test_version_1_in_a_container_without_a_cgroup_namespace() -> None:
    """The process is in /docker/abc, and that directory is what is mounted at the container's mount points."""
    files = {
        **write_allowed("0-7", "0"),
        "/proc/self/cgroup": "5:cpuset:/docker/abc\n4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n",
        "/proc/self/mountinfo": V1_MOUNTS.format(root="/docker/abc"),
        "/sys/fs/cgroup/cpuset/cpuset.cpus": "2-5\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    allowed = read_allowance(DictHost(files), tuple(range(8)), (0,))
    assert (allowed.cpus, allowed.cpu_limit, allowed.memory_limit_bytes) == ((2, 3, 4, 5), 1.5, None)


def test_affinity_alone_is_named() -> None:
    files = {
        **write_allowed("1,3", "0"),
        "/proc/self/cgroup": "0::/\n",
        "/proc/self/mountinfo": V2_MOUNT.format(root="/"),
    }
    allowed = read_allowance(DictHost(files), (0, 1, 2, 3), (0,))
    assert (allowed.cpus, allowed.limits) == ((1, 3), ("affinity: CPUs 1,3 of 0-3",))


def test_unreadable_proc_is_said_and_nothing_is_narrowed() -> None:
    files = {"/proc/self/status": FileAnswer(error="EACCES")}
    allowed = read_allowance(DictHost(files), (0, 1), (0,))
    assert allowed.cpus == (0, 1)
    assert [row.why for row in allowed.unread] == ["permission denied", "not there", "not there"]


def test_hybrid_hierarchies_ask_version_1_for_its_controllers() -> None:
    mounts = parse_mounts(
        V1_MOUNTS.format(root="/") + V2_MOUNT.format(root="/").replace("cgroup rw", "cgroup/unified rw")
    )
    membership = parse_membership("5:cpuset:/a/b\n1:name=systemd:/x\n0::/user\n")
    assert list_cgroup_dirs(mounts, membership, "cpuset") == (
        1,
        ("/sys/fs/cgroup/cpuset/a/b", "/sys/fs/cgroup/cpuset/a", "/sys/fs/cgroup/cpuset"),
    )
    assert list_cgroup_dirs(mounts, membership, "io") == (2, ("/sys/fs/cgroup/unified/user", "/sys/fs/cgroup/unified"))


def test_small_parsers() -> None:
    assert [parse_size(text) for text in ("48K", "2M", "1G", "512", "", "K", "x")] == [49152, 2 << 20, 1 << 30, 512] + [
        None
    ] * 3
    assert describe_mix(["a", "a", ""]) == "a"
    assert describe_mix([]) == ""


unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
garbage = st.one_of(
    st.text("0123456789,-: /\nmaxKMG", max_size=30),
    st.sampled_from(["0-3", "max", "-1", "0::/", "0::/../..", "cpuset:/a", V2_MOUNT.format(root="/x"), "1 0"]),
)


@unhurried
@given(
    st.dictionaries(
        st.sampled_from(
            ["/proc/self/status", "/proc/self/cgroup", "/proc/self/mountinfo", "/proc/cpuinfo"]
            + [f"/sys/fs/cgroup/{name}" for name in ("cpu.max", "cpuset.cpus.effective", "memory.max")]
            + [f"{CPU}/{name}" for name in ("online", "present", "cpufreq/policy0/scaling_governor")]
            + [f"{CPU}/cpu0/topology/{name}" for name in ("core_cpus_list", "package_cpus_list", "physical_package_id")]
            + [f"{CPU}/cpu0/cache/index0/{name}" for name in ("level", "size", "shared_cpu_list")]
        ),
        garbage,
    )
)
def test_any_files_give_a_layout(files: dict[str, str]) -> None:
    layout, _ = read_layout(files)
    online = set(parse_cpu_list(layout.online))
    if online:
        assert set(parse_cpu_list(layout.allowed)) <= online
    siblings = [cpu for core in layout.siblings for cpu in parse_cpu_list(core)]
    assert len(siblings) == len(set(siblings))
