"""Use by process and container: fdinfo read, clients found, time added up."""

from __future__ import annotations

import prometheus_client  # noqa: F401  (its import reads /proc, which a test may not)
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.dict_host import DictHost
from tests.unit.operate.test_exporter_readings import BDF, UDEV, Clock, make_files, make_machine, pick
from tests.unit.operate.test_exporter_sysman import make_answer
from xpukit.host.answers import FileAnswer, NamesAnswer
from xpukit.host.level_zero.snapshot import EngineGroup, LevelZeroAnswer
from xpukit.operate.exporter.busy import BusyLedger
from xpukit.operate.exporter.collect import Exporter
from xpukit.operate.exporter.fdinfo import DrmClient, EngineUse, parse_fdinfo
from xpukit.operate.exporter.processes import ClientFinder, SeenClient, find_container

ID = "0123456789abcdef" * 4
HOST_NAMESPACE = "pid:[4026531836]"


def make_xe(cycles: int, total: int, *, client: int = 7, bdf: str = BDF) -> str:
    return (
        f"pos:\t0\nflags:\t0100002\ndrm-driver:\txe\ndrm-client-id:\t{client}\ndrm-pdev:\t{bdf}\n"
        "drm-total-vram0:\t40 MiB\ndrm-resident-vram0:\t32 MiB\ndrm-resident-gtt:\t64 KiB\ndrm-shared-vram0:\t16 MiB\n"
        f"drm-cycles-ccs:\t{cycles}\ndrm-total-cycles-ccs:\t{total}\ndrm-engine-capacity-ccs:\t4\n"
        "drm-cycles-bcs:\t0\ndrm-total-cycles-bcs:\t1000\n"
    )


def test_xe() -> None:
    client = parse_fdinfo(make_xe(250, 1000))
    assert client is not None
    assert (client.bdf, client.client_id, client.driver) == (BDF, "7", "xe")
    assert client.engines["compute"] == EngineUse(cycles=250, total_cycles=1000, capacity=4)
    assert client.memory_bytes == {"device": 32 << 20, "system": 64 << 10}


def test_i915() -> None:
    client = parse_fdinfo(
        "drm-driver: i915\ndrm-client-id: 12\ndrm-pdev: 0000:03:00.0\ndrm-engine-render: 9288864723 ns\n"
        "drm-engine-video: 0 ns\ndrm-engine-capacity-video: 2\ndrm-total-local0: 3 GiB\ndrm-total-system0: 12 KiB\n"
    )
    assert client is not None
    assert client.engines["render"] == EngineUse(busy_ns=9288864723)
    assert client.engines["video"].capacity == 2
    assert client.memory_bytes == {"device": 3 << 30, "system": 12 << 10}


@pytest.mark.parametrize("text", ["", "drm-driver: xe\n", "drm-pdev: 0000:03:00.0\n", "pos: 0\nflags: 02\n"])
def test_no_client(text: str) -> None:
    assert parse_fdinfo(text) is None


@given(st.text(max_size=400))
def test_anything_is_survived(text: str) -> None:
    parse_fdinfo(text)
    parse_fdinfo(f"drm-pdev: {BDF}\ndrm-client-id: 1\ndrm-cycles-ccs: {text}\ndrm-resident-vram0: {text}")


@pytest.mark.parametrize(
    ("cgroup", "container"),
    [
        (f"0::/system.slice/docker-{ID}.scope\n", ID[:12]),
        (f"12:memory:/docker/{ID}\n11:cpu:/docker/{ID}\n", ID[:12]),
        (f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope\n", ID[:12]),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", ID[:12]),
        (f"0::/docker/{'f' * 64}/docker/{ID}\n", ID[:12]),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", ""),
        (f"0::/system.slice/{ID[:63]}.service\n", ""),
        ("", ""),
    ],
)
def test_containers(cgroup: str, container: str) -> None:
    assert find_container(cgroup) == container


def make_host(fdinfo: str, *, namespace: str = HOST_NAMESPACE, denied: bool = False) -> DictHost:
    files = {
        **make_files(),
        "/proc/50/comm": "vllm\n",
        "/proc/50/cgroup": f"0::/docker/{ID}\n",
        "/proc/50/fdinfo/4": fdinfo,
        "/proc/50/fdinfo/5": fdinfo,
        "/proc/60/comm": "bash\n",
        "/proc/61/comm": "gone\n",
    }
    links = {
        "/proc/50/fd/3": "/dev/null",
        "/proc/50/fd/4": "/dev/dri/renderD128",
        "/proc/50/fd/5": "/dev/dri/card0",
        "/proc/60/fd/0": "/dev/pts/0",
        "/proc/self/ns/pid": namespace,
    }
    answers = {("list", "/proc/60/fd"): NamesAnswer(error="EACCES")} if denied else {}
    return DictHost(files, udev=UDEV, links=links, answers=answers)


def test_a_client_with_two_descriptors_counts_once() -> None:
    finder = ClientFinder(make_host(make_xe(1, 2)))
    finder.scan()
    assert [(file.process, file.container) for file in finder.files] == [("vllm", ID[:12])]
    assert finder.complete is True


@pytest.mark.parametrize(
    ("namespace", "denied", "complete"),
    [
        (HOST_NAMESPACE, False, True),
        ("pid:[4026532201]", False, False),
        (HOST_NAMESPACE, True, False),
        ("", False, False),
    ],
)
def test_whether_all_processes_can_be_seen(namespace: str, denied: bool, complete: bool) -> None:
    finder = ClientFinder(make_host(make_xe(1, 2), namespace=namespace, denied=denied))
    finder.scan()
    assert finder.complete is complete


def test_a_second_scan_asks_only_for_what_is_new() -> None:
    host = make_host(make_xe(1, 2))
    finder = ClientFinder(host)
    finder.scan()
    host.asked.clear()
    host._links["/proc/60/fd/9"] = "/dev/dri/renderD128"
    host._files["/proc/60/fdinfo/9"] = make_xe(1, 2, client=8)
    finder.scan()
    assert [question for question in host.asked if question[0] == "link" and "/fd/" in question[1]] == [
        ("link", "/proc/60/fd/9")
    ]
    assert sorted(file.process for file in finder.files) == ["bash", "vllm"]


def make_exporter(host: DictHost, clock: Clock) -> Exporter:
    found = Exporter(host, make_machine, clock=clock, level_zero=False)
    found.refresh()
    found.scan()
    return found


def test_use_of_the_device_and_of_the_container() -> None:
    host, clock = make_host(make_xe(0, 1000)), Clock()
    found = make_exporter(host, clock)
    first = found.collect()
    assert pick(first, "hw_gpu_utilization_ratio") == [], "one reading is no share"
    assert pick(first, "hw_gpu_process_memory_bytes", container=ID[:12], process="vllm", region="device") == [32 << 20]
    assert pick(first, "hw_gpu_memory_usage_bytes", source="fdinfo") == [32 << 20]
    clock.now_s += 10
    # Half of 4 engines' time: 2 of 4 work, 20 seconds in 10.
    host._files["/proc/50/fdinfo/4"] = make_xe(2000, 2000)
    second = found.collect()
    assert pick(second, "hw_gpu_utilization_ratio", engine_class="compute") == [0.5]
    assert pick(second, "hw_gpu_utilization_ratio", engine_class="copy") == [0.0]
    assert pick(second, "hw_gpu_engine_busy_seconds_total", engine_class="compute") == [20.0]
    assert pick(second, "hw_gpu_process_busy_seconds_total", process="vllm", engine_class="compute") == [20.0]
    assert pick(second, "hw_gpu_clients") == [1]


def test_level_zero_tells_of_classes_and_tiles_that_no_process_does() -> None:
    """Nothing is known of an idle GPU from processes, of what guests do with its virtual functions, and of tiles."""
    host, clock = make_host(make_xe(0, 1000)), Clock()

    def answer(seconds: int) -> LevelZeroAnswer:
        groups = [
            EngineGroup(kind=kind, tile=tile, active_us=seconds * share, clock_us=seconds * 1_000_000)
            for kind, tile, share in (
                ("compute", None, 900_000),
                ("media-codec", None, 250_000),
                ("compute", 0, 800_000),
                ("compute", 1, 100_000),
            )
        ]
        return make_answer(engines=tuple(groups))

    host._answers[("level-zero",)] = answer(10)
    found = Exporter(host, make_machine, clock=clock)
    found.refresh()
    found.scan()
    found.collect()
    clock.now_s += 10
    host._answers[("level-zero",)] = answer(20)
    host._files["/proc/50/fdinfo/4"] = make_xe(2000, 2000)
    found.refresh()
    told = {
        (dict(sample.labels)["engine_class"], dict(sample.labels).get("tile")): sample.value
        for sample in found.collect()
        if sample.name == "hw_gpu_utilization_ratio"
    }
    assert told[("compute", None)] == 0.5, "what processes say is newer"
    assert told[("video", None)] == 0.25
    assert (told[("compute", "0")], told[("compute", "1")]) == (0.8, 0.1)


def test_two_who_scrape_at_once_hear_the_same_use() -> None:
    host, clock = make_host(make_xe(0, 1000)), Clock()
    found = make_exporter(host, clock)
    found.collect()
    clock.now_s += 10
    host._files["/proc/50/fdinfo/4"] = make_xe(2000, 2000)
    first = found.collect()
    clock.now_s += 0.004
    second = found.collect()
    for samples in (first, second):
        assert pick(samples, "hw_gpu_utilization_ratio", engine_class="compute") == [0.5]
    clock.now_s += 9.996
    host._files["/proc/50/fdinfo/4"] = make_xe(3000, 3000)
    [share] = pick(found.collect(), "hw_gpu_utilization_ratio", engine_class="compute")
    assert share == pytest.approx(0.25, rel=0.001), "the window is that since the reading that counted"


def test_nothing_is_said_of_the_device_where_not_all_processes_are_seen() -> None:
    host, clock = make_host(make_xe(0, 1000), denied=True), Clock()
    found = make_exporter(host, clock)
    found.collect()
    clock.now_s += 10
    samples = found.collect()
    for name in ("hw_gpu_utilization_ratio", "hw_gpu_memory_usage_bytes", "hw_gpu_clients"):
        assert pick(samples, name) == [], name
    assert pick(samples, "hw_gpu_process_memory_bytes", process="vllm", region="device") == [32 << 20]
    assert pick(samples, "xpukit_exporter_all_processes_visible") == [0.0]


def test_time_of_a_process_that_ended_stays_counted() -> None:
    host, clock = make_host(make_xe(0, 1000)), Clock()
    found = make_exporter(host, clock)
    found.collect()
    clock.now_s += 10
    host._files["/proc/50/fdinfo/4"] = make_xe(1000, 2000)
    before = pick(found.collect(), "hw_gpu_engine_busy_seconds_total", engine_class="compute")
    clock.now_s += 10
    host._files["/proc/50/fdinfo/4"] = FileAnswer(error="ENOENT")
    host._files["/proc/50/fdinfo/5"] = FileAnswer(error="ENOENT")
    samples = found.collect()
    assert pick(samples, "hw_gpu_engine_busy_seconds_total", engine_class="compute") == before == [10.0]
    assert pick(samples, "hw_gpu_utilization_ratio", engine_class="compute") == [0.0], "nobody uses it: that is known"
    assert pick(samples, "hw_gpu_clients") == [0]


def seen(busy_ns: int, client: str = "1") -> SeenClient:
    use = EngineUse(busy_ns=busy_ns)
    return SeenClient(client=DrmClient(bdf=BDF, client_id=client, engines={"render": use}), process="p", container="")


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10**12)), max_size=4), max_size=12))
def test_busy_time_only_grows(moments: list[list[tuple[str, int]]]) -> None:
    ledger, now_s, before = BusyLedger(), 0.0, 0.0
    for moment in moments:
        now_s += 1
        ledger.advance(now_s, [seen(busy, client) for client, busy in dict(moment).items()])
        samples = ledger.list_samples(complete=True)
        total = sum(pick(samples, "hw_gpu_engine_busy_seconds_total"))
        assert total >= before
        assert all(0 <= share <= 1 for share in pick(samples, "hw_gpu_utilization_ratio"))
        before = total


def test_owners_that_are_long_gone_are_forgotten_and_the_device_total_is_not() -> None:
    ledger = BusyLedger()
    ledger.advance(0, [seen(0)])
    ledger.advance(1, [seen(10**9)])
    ledger.advance(4000, [])
    samples = ledger.list_samples(complete=True)
    assert pick(samples, "hw_gpu_process_busy_seconds_total") == []
    assert pick(samples, "hw_gpu_engine_busy_seconds_total") == [1.0]
