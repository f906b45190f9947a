"""Other users of the GPUs: found, told, and what is measured beside them cannot fail."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.dict_host import DictHost
from xpukit.core.machine import Device, Machine
from xpukit.core.measurement import Measurement, Target, make_key
from xpukit.evaluate.gpu_users import GpuUser, UserLookout, describe_users, find_gpu_users, name_disturbing
from xpukit.evaluate.parsers.xpu_smi_ps import parse_ps
from xpukit.evaluate.reference import Limits, ReferenceBook
from xpukit.evaluate.report_markdown import write_markdown
from xpukit.evaluate.result import Evaluation
from xpukit.evaluate.summary import describe_other_users
from xpukit.evaluate.verdict import judge_all
from xpukit.facts.references import parse_reference_csv
from xpukit.facts.suites import JudgeSettings
from xpukit.host.answers import FileAnswer, ProcessEntry, ProcessesAnswer, Ran

BDF = "0000:18:00.0"
MACHINE = Machine(
    devices=(Device(index=0, bdf=BDF, vendor_id="8086", device_id="e211", name="B60", known=True, xpu_smi_index=0),)
)
PS = "PID       Command             DeviceID       SHR            MEM\n99        ./train            0              0              1966\n98  xpu-smi 0 0 12\n"


class Growing(DictHost):
    """A process whose engines have worked more at each reading."""

    def __init__(self, fields: str, *, work: int = 0, ps: str = "") -> None:
        commands = {("xpu-smi", "ps"): Ran(argv=("xpu-smi", "ps"), rc=0, out=ps.encode())} if ps else {}
        super().__init__(
            {"/proc/4711/fd/3": "", "/proc/4711/fd/9": ""},
            links={"/proc/4711/fd/7": "/dev/dri/renderD128", "/proc/4711/fd/8": "/dev/dri/renderD128"},
            commands=commands,
            answers={("processes",): ProcessesAnswer(processes=(ProcessEntry(pid=4711, name="python3"),))},
        )
        self._fields = fields
        self._work = work
        self._count = itertools.count()

    def read(self, path: str, **rest: object) -> FileAnswer:  # type: ignore[override]
        if path.startswith("/proc/4711/fdinfo/"):
            cycles = 1000 + self._work * next(self._count)
            return FileAnswer(
                data=f"drm-pdev:\t{BDF}\ndrm-client-id:\t5\n{self._fields}drm-cycles-ccs:\t{cycles}\n".encode()
            )
        return super().read(path)


@pytest.mark.parametrize(
    ("fields", "work", "words", "disturbs"),
    [
        ("drm-resident-vram0:\t22020096 KiB\n", 50, "python3 (4711): busy, 21 GiB (fdinfo)", True),
        ("drm-total-vram0:\t2097152 KiB\n", 0, "python3 (4711): idle, 2 GiB (fdinfo)", True),
        ("drm-total-system:\t99 GiB\n", 0, "python3 (4711): idle (fdinfo)", False),
        ("drm-memory-vram:\tmany\n", 0, "python3 (4711): idle (fdinfo)", False),
    ],
)
def test_a_client_is_told_with_what_it_does(fields: str, work: int, words: str, disturbs: bool) -> None:
    (user,) = find_gpu_users(Growing(fields, work=work), MACHINE, sleep=lambda _: None)
    assert describe_users([user]) == {BDF: [words]}
    assert user.disturbs is disturbs
    assert name_disturbing([user]) == ({BDF: ["python3 (4711)"]} if disturbs else {})


def test_xpu_smi_knows_processes_that_fdinfo_does_not_show() -> None:
    users = find_gpu_users(Growing("", ps=PS), MACHINE, sleep=lambda _: None)
    assert [user.describe() for user in users] == [
        "./train (99): holds the device (xpu-smi ps)",
        "python3 (4711): idle (fdinfo)",
    ]
    assert find_gpu_users(Growing("", ps=PS), Machine()) == ()


def test_the_list_of_processes() -> None:
    rows = parse_ps(PS).readings
    assert [(row.pid, row.command, row.device, row.memory) for row in rows] == [
        (99, "./train", 0, 1966),
        (98, "xpu-smi", 0, 12),
    ]
    assert parse_ps("[Error] The following argument was not expected: ps\n").problems[0].kind == "usage"
    assert parse_ps("").notes


@given(st.text(max_size=300) | st.just(PS).flatmap(lambda text: st.integers(0, len(text)).map(lambda at: text[:at])))
def test_any_text_is_read(text: str) -> None:
    assert {row.pid for row in parse_ps(text, text).readings} <= {99, 98} or "PID" in text


def test_the_lookout_looks_seldom_where_looking_is_slow() -> None:
    now = [0.0]
    asked = []

    def find() -> tuple[GpuUser, ...]:
        asked.append(now[0])
        now[0] += 1.0
        return (GpuUser(bdf=BDF, process=f"p ({len(asked)})", busy=True),)

    lookout = UserLookout(find, clock=lambda: now[0])
    for _ in range(40):
        lookout.look()
        now[0] += 1.0
    assert asked == [0.0, 21.0]
    assert lookout.describe() == {BDF: ["p (1): busy (fdinfo)", "p (2): busy (fdinfo)"]}


def test_beside_another_user_a_shortfall_only_warns_and_wrong_data_fails() -> None:
    gpu = Target(label=BDF, kind="gpu", name="B60", bdf=BDF, device_id="e211")
    text = (
        "device,benchmark,metric,params,value,unit,direction,kind,tolerance,source,date\n"
        "8086:e211,memory,peak_bandwidth,op=read,400,GB/s,higher,measured,0.1,lab,2026-01-01\n"
    )
    metric = make_key("memory", "peak_bandwidth", (BDF,), op="read")
    book = ReferenceBook(parse_reference_csv(text, origin="t.csv"), (gpu,))
    for verified, disturbed, verdict in ((True, {}, "fail"), (True, {metric: "python3 (4711)"}, "warn"),
                                         (False, {metric: "python3 (4711)"}, "fail")):  # fmt: skip
        measurement = Measurement(key=metric, unit="GB/s", samples=(100.0,) * 5, verified=verified)
        (row,) = judge_all([("embedded", measurement)], (), (), book=book, limits=Limits({}),
                           settings=JudgeSettings(), disturbed=disturbed)  # fmt: skip
        assert row.verdict == verdict
        assert row.disturbed == disturbed.get(metric, "")


def test_the_report_says_it_first() -> None:
    run = Evaluation(
        engine="auto", suite="quick", devices=(), results=(), verdict="unknown", complete=True,
        conditions={"other_users": {BDF: ["python3 (4711): busy, 21 GiB (fdinfo)"]}},
    )  # fmt: skip
    assert describe_other_users(run) == (f"{BDF}: python3 (4711): busy, 21 GiB (fdinfo)",)
    text = write_markdown(run, MACHINE, "h")
    assert text.index("Other processes used the devices") < text.index("## Devices")
