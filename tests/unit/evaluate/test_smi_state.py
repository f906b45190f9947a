"""xpu-smi as the source of conditions where sysfs lacks them; its health and diagnostics as rows; sycl-ls."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.machines.dict_host import DictHost
from tests.unit.evaluate.memory_scopes import make_gpu, make_scope
from xpukit.core.machine import Device, Machine
from xpukit.core.measurement import Job, Promise, make_key
from xpukit.evaluate.benchmarks import sycl_ls, xpu_smi_health
from xpukit.evaluate.parsers.sycl_ls import parse_sycl_ls
from xpukit.evaluate.reference import Limits, ReferenceBook
from xpukit.evaluate.smi_state import SmiState, list_lacking
from xpukit.evaluate.tools.smi_devices import read_numbers, write_numbers
from xpukit.evaluate.verdict import judge_all
from xpukit.evaluate.watch import list_throttling, summarize_states
from xpukit.facts.suites import JudgeSettings
from xpukit.facts.tools import get_tool, load_tools, set_install_advice
from xpukit.host.answers import Ran

DATA = Path(__file__).resolve().parents[2] / "data"
BDFS = ("0000:18:00.0", "0000:3a:00.0")
MACHINE = Machine(
    devices=tuple(
        Device(index=i, bdf=bdf, vendor_id="8086", device_id="e211", name="B60", known=True, xpu_smi_index=i)
        for i, bdf in enumerate(BDFS)
    )
)
FULL = {"tile0/gt0 actual_mhz": 1, "tile0/gt0 throttled_by": [], "temp pkg [C]": 50.0, "energy card [J]": 1.0}


def ran(argv: tuple[str, ...], name: str, rc: int = 0) -> tuple[tuple[str, ...], Ran]:
    return argv, Ran(argv=argv, rc=rc, out=(DATA / "xpu-smi" / name).read_bytes())


def dump(form: int, device: int) -> tuple[str, ...]:
    words = load_tools().xpu_smi_dump.arguments[form]
    return ("xpu-smi", *(str(device) if word == "{device}" else word for word in words))


def test_what_sysfs_lacks() -> None:
    assert list_lacking(FULL) == set()
    assert list_lacking({}) == {"frequency", "throttling", "temperature", "power"}
    assert list_lacking({**FULL, "temp pkg [C]": 1, "power card max [W]": 5} | {}) == set()
    assert list_lacking({"temp pkg crit [C]": 105.0, "power card cap [W]": 1.0}) == {
        "frequency", "throttling", "temperature", "power",
    }  # fmt: skip


def test_1x_and_2x_fill_in_and_are_named() -> None:
    first = SmiState(
        DictHost(commands=dict([ran(dump(0, 0), "1.3.7-2xB60-dump.txt")])), MACHINE, lambda: {BDFS[1]: dict(FULL)}
    )
    state = first.read()
    assert state[BDFS[0]]["power, xpu-smi [W]"] == 118.90
    assert state[BDFS[0]]["frequency, xpu-smi [MHz]"] == 2350
    assert state[BDFS[1]] == FULL
    assert first.describe() == {"sampled_for": [BDFS[0]]}
    commands = dict([ran(dump(0, n), "2.0-dump-short-option.txt", 1) for n in (0, 1)] +
                    [ran(dump(1, n), "2.0-2xB60-dump.txt") for n in (0, 1)])  # fmt: skip
    second = SmiState(DictHost(commands=commands), MACHINE, dict)
    state = second.read()
    assert state[BDFS[0]]["temp core, xpu-smi [C]"] == 58.0
    assert state[BDFS[1]]["power, xpu-smi [W]"] == 22.15


def test_throttling_by_xpu_smi_is_listed() -> None:
    out = (DATA / "xpu-smi" / "1.3.7-2xB60-dump.txt").read_text(encoding="utf-8").splitlines()
    argv = dump(0, 1)
    answer = Ran(argv=argv, rc=0, out=("\n".join(out[:3]) + "\n").encode())
    host = DictHost(commands={argv: answer, dump(0, 0): answer})
    state = SmiState(host, MACHINE, dict).read()
    assert list_throttling(summarize_states([state])) == [f"{BDFS[1]}: Average Power Excursion"]


def test_a_missing_tool_is_asked_twice_and_never_again() -> None:
    host = DictHost()
    now = iter(range(0, 1000, 10))
    smi = SmiState(host, MACHINE, dict, clock=lambda: float(next(now)))
    for _ in range(6):
        assert smi.read() == {}
    assert len([question for question in host.asked if question[0] == "run"]) == 4
    assert "xpu-smi dump" in smi.describe()["problem"]


def health_job(metric: str, *arguments: str) -> Job:
    promises = tuple(Promise(key=make_key("health", metric, (bdf,)), unit="status") for bdf in BDFS)
    env = {"XPUKIT_SMI_DEVICES": write_numbers(dict(enumerate(BDFS)))}
    return Job(benchmark="xpu_smi_health", name="t", argv=("xpu-smi", *arguments), promises=promises, timeout_s=9,
               env=env, targets=BDFS)  # fmt: skip


def judge(output: object) -> dict[tuple[str, str], tuple[str, str]]:
    rows = judge_all(
        [("tools", m) for m in output.measurements],  # type: ignore[attr-defined]
        (), (), book=ReferenceBook((), ()), limits=Limits({}), settings=JudgeSettings(),
    )  # fmt: skip
    return {(row.devices[0], str(row.params.get("component", ""))): (row.verdict, row.reason) for row in rows}


def test_health_of_1x() -> None:
    output = xpu_smi_health.parse(health_job("health", "health", "-l"), ran(("xpu-smi",), "1.3.7-health-l.txt")[1])
    rows = judge(output)
    assert rows[BDFS[0], "core_temperature"] == ("pass", "")
    assert rows[BDFS[0], "power"][0] == "warn"
    assert rows[BDFS[1], "memory"][0] == "fail"
    assert "reduced memory" in rows[BDFS[1], ""][1]
    assert (BDFS[0], "xe_link") not in rows
    assert output.problem == ""


def test_health_of_2x() -> None:
    rows = judge(xpu_smi_health.parse(health_job("health", "health", "-l"), ran(("xpu-smi",), "2.0-health-l.txt")[1]))
    assert rows[BDFS[0], ""][0] == "warn"
    assert rows[BDFS[1], ""] == ("pass", "")


def test_diag_names_each_card() -> None:
    job = health_job("diag", "diag", "--precheck")
    numbers = {0: "0000:0e:00.0", 1: "0000:4e:00.0"}
    job = Job(
        **{**{f: getattr(job, f) for f in job.__struct_fields__}, "env": {"XPUKIT_SMI_DEVICES": write_numbers(numbers)}}
    )
    rows = judge(xpu_smi_health.parse(job, ran(("xpu-smi",), "1.3.7-diag-precheck.txt")[1]))
    assert rows["0000:0e:00.0", "GPU"] == ("pass", "")
    assert rows["0000:4e:00.0", "GPU"][0] == "fail"
    assert rows["0000:4e:00.0", "Driver"] == ("pass", "")


def test_2x_has_no_diag_and_says_so() -> None:
    commands = dict(
        [ran(("xpu-smi", "-v"), "2.0-v.txt"), ran(("xpu-smi", "discovery", "-j"), "2.0-4xB60-discovery-j.txt")]
    )
    gpu = make_gpu(0)
    plan = xpu_smi_health.plan(make_scope({}, gpu, host=DictHost(commands=commands)))
    assert [job.argv[1] for job in plan.jobs] == ["health"]
    assert any("2.x has no diag" in skip.reason for skip in plan.skips)
    old = dict(
        [ran(("xpu-smi", "-v"), "1.3.7-v.txt"), ran(("xpu-smi", "discovery", "-j"), "1.3.7-4xB60-discovery-j.txt")]
    )
    plan = xpu_smi_health.plan(make_scope({}, gpu, host=DictHost(commands=old)))
    assert [job.argv[1] for job in plan.jobs] == ["health", "diag"]


def test_numbers_travel() -> None:
    assert read_numbers(write_numbers({1: "b", 0: "a+c"})) == {0: "a+c", 1: "b"}
    assert read_numbers("") == read_numbers("x=y") == {}


@pytest.mark.parametrize(
    ("name", "count"),
    [("2021-no-names.txt", 1), ("2023-prefix.txt", 1), ("2026-4xB60.txt", 4), ("2026-4xB60-verbose.txt", 4)],
)
def test_sycl_ls_is_counted(name: str, count: int) -> None:
    assert len(parse_sycl_ls((DATA / "sycl-ls" / name).read_text(encoding="utf-8")).readings) == count


def test_sycl_must_see_what_is_measured() -> None:
    plan = sycl_ls.plan(make_scope({}, *(make_gpu(i) for i in range(4)), host=DictHost()))
    (job,) = plan.jobs
    four = Ran(argv=job.argv, rc=0, out=(DATA / "sycl-ls" / "2026-4xB60.txt").read_bytes())
    assert [v for v, _ in judge(sycl_ls.parse(job, four)).values()] == ["pass"]
    one = Ran(argv=job.argv, rc=0, out=(DATA / "sycl-ls" / "2023-prefix.txt").read_bytes())
    assert list(judge(sycl_ls.parse(job, one)).values()) == [
        ("fail", "SYCL sees 1 GPUs over Level Zero, 4 are measured")
    ]
    assert "sycl-ls is not installed" in sycl_ls.parse(job, Ran(argv=job.argv, rc=127, failure="not-found")).problem


def test_a_missing_tool_names_the_install_step_once_there_is_one() -> None:
    tool = get_tool("ze_peer")
    assert "xpukit install" not in tool.explain_missing()
    set_install_advice(lambda step: f"xpukit install apply --only {step}")
    try:
        assert tool.explain_missing().endswith("; or: xpukit install apply --only level-zero-tests")
        assert "xpukit install" not in get_tool("numactl").explain_missing()
    finally:
        set_install_advice(lambda step: "")
