"""A run from plan to verdict, on a scripted host: what is kept, what is missing, what is judged."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.machines.dict_host import DictHost
from xpukit.core.errors import InterruptedRunError, OutputError, UsageError
from xpukit.core.machine import Machine
from xpukit.core.measurement import Job, Measurement, Method, Promise, Skip, Target, make_key
from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.embedded.protocol import Event, Request, build_job, parse_worker_output
from xpukit.evaluate.engines import choose_benchmarks
from xpukit.evaluate.reference import Limits, ReferenceBook
from xpukit.evaluate.result import Evaluation
from xpukit.evaluate.run import Evaluator
from xpukit.evaluate.run_directory import JobOutcome, RunDirectory, RunOptions
from xpukit.evaluate.run_plan import plan_run
from xpukit.facts.suites import JudgeSettings, Suite
from xpukit.host.answers import FileAnswer, IdentityAnswer, NamesAnswer, Ran
from xpukit.host.mediated import MediatedHost, Question
from xpukit.host.overlay import OverlayHost

CPU = Target(label="cpu", kind="cpu", name="Test CPU")
METHOD = Method()


class WorkerHost(MediatedHost):
    """Runs 'workers' that are functions of the request."""

    def __init__(self, worker: Callable[[Request], Ran]) -> None:
        super().__init__(None)
        self.worker = worker
        self.requests: list[Request] = []

    def mediate(self, question: Question, answer_type: type, ask: Callable[[], object]) -> Any:
        if question[0] == "read":
            return FileAnswer(error="ENOENT")
        assert question == ("identity",)
        return IdentityAnswer(hostname="h")

    def run(self, argv: Any, *, input: bytes = b"", log: Path | None = None, **rest: Any) -> Ran:  # type: ignore[override]
        request = msgspec.json.decode(input, type=Request)
        self.requests.append(request)
        ran = self.worker(request)
        if log is not None:
            log.write_bytes(ran.out + ran.err)
        return ran


class Quiet:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.finished: list[tuple[str, bool]] = []
        self.told: list[str] = []

    def planned(self, jobs: int, estimate_s: float) -> None: ...
    def job_started(self, position: int, name: str, estimate_s: float) -> None: ...
    def noticed(self, text: str) -> None:
        self.told.append(text)

    def job_finished(self, position: int, outcome: JobOutcome, *, resumed: bool) -> None:
        self.finished.append((outcome.record.name, resumed))


def key(name: str, **params: int) -> Any:
    return make_key("demo", name, ("cpu",), **params)


def make_benchmark(names: tuple[str, ...] = ("a", "b"), skips: tuple[Skip, ...] = ()) -> Benchmark:
    def plan(scope: Scope) -> Plan:
        jobs: list[Job] = [
            build_job(
                benchmark="demo",
                name=f"demo {name}",
                request=Request(
                    kind="demo", targets=scope.targets, method=scope.method, params={"name": name, **scope.settings}
                ),
                promises=(Promise(key=key(name), unit="GB/s"),),
                estimate_s=1,
                env={},
            )
            for name in names
        ]
        return Plan(jobs=tuple(jobs), skips=skips)

    return Benchmark(name="demo", summary="s", engine="embedded", plan=plan, parse=parse_worker_output)


def say(*events: Event, rc: int = 0, failure: str = "", err: bytes = b"") -> Ran:
    out = b"".join(msgspec.json.encode(event) + b"\n" for event in events)
    return Ran(argv=("w",), rc=rc, out=b"chatter of a library\n" + out, err=err, failure=failure, seconds=1.0)


def measured(name: str, *samples: float, verified: bool | None = True) -> Event:
    return Event(
        event="measurement",
        measurement=Measurement(key=key(name), unit="GB/s", samples=samples, verified=verified, verify_detail="x[3]"),
    )


DONE = Event(event="done", measuring_s=0.6, timing_us=0.1)


def evaluate(
    tmp_path: Path,
    worker: Callable[[Request], Ran],
    *,
    benchmark: Benchmark | None = None,
    options: RunOptions | None = None,
    directory: RunDirectory | None = None,
    observer: Quiet | None = None,
) -> tuple[Evaluation, RunDirectory]:
    options = options or RunOptions(suite="t")
    benchmark = benchmark or make_benchmark()
    suite = Suite(name="t", summary="", stated_limit_s=9, method=METHOD, judge=JudgeSettings(), benchmarks={"demo": {}})
    host = WorkerHost(worker)
    plan = plan_run([benchmark], suite, options, Scope(targets=(CPU,), settings={}, method=METHOD, host=host))
    directory = directory or RunDirectory.create(tmp_path / "run", options)
    evaluation = Evaluator(
        host=host,
        directory=directory,
        options=options,
        suite=suite,
        plan=plan,
        machine=Machine(),
        targets=(CPU,),
        book=ReferenceBook((), (CPU,)),
        limits=Limits({}),
        read_conditions=lambda: {"load_average": [0.0]},
        read_state=dict,
        observer=observer or Quiet(),
    ).run()
    return evaluation, directory


def rows_of(evaluation: Evaluation) -> dict[str, tuple[str, str]]:
    return {row.metric: (row.verdict, row.reason) for row in evaluation.results}


def test_all_went_well(tmp_path: Path) -> None:
    evaluation, directory = evaluate(
        tmp_path, lambda request: say(measured(request.params["name"], 1.0, 2.0, 3.0), DONE)
    )
    assert [row.value for row in evaluation.results] == [2.0, 2.0]
    assert evaluation.verdict == "no-baseline"
    assert evaluation.complete
    assert [(job.overhead_s, job.timing_us) for job in evaluation.jobs] == [(0.4, 0.1)] * 2
    document = json.loads((directory.path / "results.json").read_text(encoding="utf-8"))
    assert document["schema"] == "xpukit.evaluate/1"
    assert len(list((directory.path / "logs").iterdir())) == 2


@pytest.mark.parametrize(
    ("ran", "words"),
    [
        (say(rc=-11, failure="signal:11", err=b"boom"), "crashed (signal 11): boom"),
        (say(rc=-9, failure="timeout"), "hung"),
        (say(rc=127, failure="not-found"), "could not be started"),
        (say(rc=1, err=b"Traceback\nValueError: bad\n"), "exit 1): ValueError: bad"),
        (say(DONE), "does not hold this metric"),
        (say(Event(event="missing", key=key("a"), text="fp64 is not offered"), DONE), "fp64 is not offered"),
        (say(Event(event="failed", text="dpctl is not installed"), rc=3), "dpctl is not installed"),
        (say(), "ended early"),
        (Ran(argv=("w",), rc=0, out=b'{"event":"measurement","measurement":{"key":'), "ended early"),
    ],
)
def test_a_lost_worker_costs_its_own_rows_with_the_reason(tmp_path: Path, ran: Ran, words: str) -> None:
    evaluation, _ = evaluate(
        tmp_path, lambda request: ran if request.params["name"] == "a" else say(measured("b", 1.0, 1.0, 1.0), DONE)
    )
    rows = rows_of(evaluation)
    assert rows["a"][0] == "unknown"
    assert words in rows["a"][1]
    assert rows["b"][0] == "no-baseline"
    assert evaluation.verdict == "unknown"


def test_what_a_worker_said_before_it_died_is_kept(tmp_path: Path) -> None:
    evaluation, _ = evaluate(
        tmp_path,
        lambda request: say(measured(request.params["name"], 5.0, 5.0, 5.0), rc=-6, failure="signal:6"),
    )
    assert [row.value for row in evaluation.results] == [5.0, 5.0]
    assert all("signal 6" in job.failure for job in evaluation.jobs)


def test_wrong_data_fails(tmp_path: Path) -> None:
    evaluation, _ = evaluate(
        tmp_path, lambda request: say(measured(request.params["name"], 9.0, 9.0, 9.0, verified=False), DONE)
    )
    assert evaluation.verdict == "fail"
    assert rows_of(evaluation)["a"] == ("fail", "the data is wrong: x[3]")


def test_ctrl_c_keeps_what_is_done_and_resume_goes_on(tmp_path: Path) -> None:
    def interrupted(request: Request) -> Ran:
        if request.params["name"] == "b":
            raise KeyboardInterrupt
        return say(measured("a", 1.0, 1.0, 1.0), DONE)

    with pytest.raises(InterruptedRunError) as caught:
        evaluate(tmp_path, interrupted)
    assert f"--resume {tmp_path / 'run'}" in caught.value.hint
    partial = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert not partial["complete"]
    assert [row["metric"] for row in partial["results"]] == ["a"]

    directory, options = RunDirectory.reopen(tmp_path / "run")
    observer = Quiet()
    asked: list[str] = []

    def second(request: Request) -> Ran:
        asked.append(request.params["name"])
        return say(measured("b", 2.0, 2.0, 2.0), DONE)

    evaluation, _ = evaluate(tmp_path, second, options=options, directory=directory, observer=observer)
    assert asked == ["b"]
    assert [resumed for _, resumed in observer.finished] == [True, False]
    assert {row.metric: row.value for row in evaluation.results} == {"a": 1.0, "b": 2.0}
    assert evaluation.complete


def test_a_full_disk_is_told_and_what_is_done_is_kept(tmp_path: Path) -> None:
    calls: list[str] = []

    def worker(request: Request) -> Ran:
        calls.append("")
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return say(measured("a" if len(calls) == 1 else "b", 1.0))

    with pytest.raises(OutputError, match=r"logs/.*: cannot be written: No space left") as caught:
        evaluate(tmp_path, worker)
    assert f"--resume {tmp_path}" in caught.value.hint
    assert len(list((tmp_path / "run" / "jobs").iterdir())) == 1


def test_resume_tries_failed_jobs_again_and_ignores_damaged_ones(tmp_path: Path) -> None:
    evaluate(tmp_path, lambda request: say(rc=1))
    directory, options = RunDirectory.reopen(tmp_path / "run")
    first = next(iter(sorted((directory.path / "jobs").iterdir())))
    first.write_bytes(first.read_bytes()[:40])
    evaluation, _ = evaluate(
        tmp_path,
        lambda request: say(measured(request.params["name"], 1.0, 1.0, 1.0), DONE),
        options=options,
        directory=directory,
    )
    assert [row.value for row in evaluation.results] == [1.0, 1.0]


def test_a_job_of_another_request_is_not_taken_for_ours(tmp_path: Path) -> None:
    evaluate(tmp_path, lambda request: say(measured(request.params["name"], 1.0, 1.0, 1.0), DONE))
    directory, options = RunDirectory.reopen(tmp_path / "run")
    other = msgspec.structs.replace(options, plant_error=True)
    observer = Quiet()
    evaluate(tmp_path, lambda request: say(DONE), options=other, directory=directory, observer=observer)
    assert [resumed for _, resumed in observer.finished] == [False, False]


def test_repeats_are_pooled_and_shuffled_by_the_seed(tmp_path: Path) -> None:
    seen: list[str] = []

    def worker(request: Request) -> Ran:
        seen.append(request.params["name"])
        return say(measured(request.params["name"], float(len(seen)), verified=len(seen) != 5), DONE)

    evaluation, _ = evaluate(tmp_path, worker, options=RunOptions(suite="t", repeat=4, seed=3))
    assert sorted(seen) == ["a"] * 4 + ["b"] * 4
    assert seen != ["a", "b"] * 4
    assert [row.n for row in evaluation.results] == [4, 4]
    assert sum(row.verified is False for row in evaluation.results) == 1


def test_rows_that_cannot_apply_do_not_count(tmp_path: Path) -> None:
    skip = Skip(key=make_key("demo", "p2p", ("cpu",)), unit="GB/s", reason="one device")
    evaluation, _ = evaluate(tmp_path, lambda request: say(DONE), benchmark=make_benchmark((), (skip,)))
    assert rows_of(evaluation) == {"p2p": ("not-applicable", "one device")}
    assert evaluation.verdict == "not-applicable"


def test_the_same_input_gives_the_same_document(tmp_path: Path) -> None:
    def worker(request: Request) -> Ran:
        return say(measured(request.params["name"], 1.0, 2.0, 3.0), DONE)

    texts = []
    for name in ("one", "two"):
        _, directory = evaluate(tmp_path / name, worker)
        document = json.loads((directory.path / "results.json").read_text(encoding="utf-8"))
        document.pop("created"), document.pop("started"), document.pop("seconds")
        texts.append(json.dumps(document))
    assert texts[0] == texts[1]


def test_what_a_tool_promises_is_left_to_it_and_the_rest_is_filled_in(tmp_path: Path) -> None:
    """Our worker measures a and b in one job, a tool promises a: a is the tool's number, b ours, each once."""

    def plan_both(scope: Scope) -> Plan:
        request = Request(kind="demo", targets=scope.targets, params={"name": "both"})
        promises = tuple(Promise(key=key(name), unit="GB/s") for name in "ab")
        return Plan(
            jobs=(build_job(benchmark="demo", name="both", request=request, promises=promises, estimate_s=1, env={}),)
        )

    ours = msgspec.structs.replace(make_benchmark(), plan=plan_both)
    tool = msgspec.structs.replace(make_benchmark(("a",)), name="tool", engine="tools", rows="demo")
    suite = Suite(name="t", summary="", stated_limit_s=9, method=METHOD, judge=JudgeSettings(), benchmarks={"demo": {}})

    def worker(request: Request) -> Ran:
        value = 1.0 if request.params["name"] == "both" else 2.0
        names = ("a", "b") if request.params["name"] == "both" else ("a",)
        return say(*(measured(name, value, value, value) for name in names), DONE)

    host = WorkerHost(worker)
    scope = Scope(targets=(CPU,), settings={}, method=METHOD, host=host)
    plan = plan_run([ours, tool], suite, RunOptions(), scope)
    directory = RunDirectory.create(tmp_path / "run", RunOptions())
    evaluation = Evaluator(
        host=host, directory=directory, options=RunOptions(), suite=suite, plan=plan, machine=Machine(), targets=(CPU,),
        book=ReferenceBook((), (CPU,)), limits=Limits({}), read_conditions=dict, read_state=dict, observer=Quiet(),
    ).run()  # fmt: skip
    assert [(row.metric, row.engine, row.value) for row in evaluation.results] == [
        ("a", "tools", 2.0),
        ("b", "embedded", 1.0),
    ]
    only_a = plan_run([msgspec.structs.replace(ours, plan=tool.plan), tool], suite, RunOptions(), scope)
    assert [planned.benchmark.name for planned in only_a.jobs] == ["tool"]


def test_unknown_names_are_refused_with_the_choice() -> None:
    suite = Suite(name="t", summary="", stated_limit_s=1, method=METHOD, judge=JudgeSettings(), benchmarks={"demo": {}})
    with pytest.raises(UsageError, match="nope"):
        choose_benchmarks([make_benchmark()], suite, RunOptions(only=("nope",)), DictHost({}), has_gpu=True)
    strange = msgspec.structs.replace(suite, benchmarks={"demo": {}, "other": {}})
    with pytest.raises(UsageError, match="other"):
        choose_benchmarks([make_benchmark()], strange, RunOptions(), DictHost({}), has_gpu=True)


def test_run_directory_in_use_and_not_a_run(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(UsageError, match="not empty"):
        RunDirectory.create(tmp_path, RunOptions())
    with pytest.raises(UsageError, match="not a run directory"):
        RunDirectory.reopen(tmp_path)


def test_auto_prefers_present_tools_then_the_embedded_engine_then_torch() -> None:
    suite = Suite(
        name="t", summary="", stated_limit_s=1, method=METHOD, judge=JudgeSettings(), benchmarks={"demo": {}, "x": {}}
    )
    ours = make_benchmark()
    tool = msgspec.structs.replace(ours, name="ze_demo", engine="tools", rows="demo", available=lambda host: "")
    absent = msgspec.structs.replace(tool, name="ze_absent", available=lambda host: "not installed")
    torch = msgspec.structs.replace(ours, name="torch_demo", engine="torch", rows="demo", available=lambda host: "")
    other = msgspec.structs.replace(ours, name="x")
    everything = [ours, tool, absent, torch, other]
    ceiling = msgspec.structs.replace(ours, name="demo_ceiling", settings_of="demo")
    everything.append(ceiling)
    engine_here = OverlayHost(
        DictHost({}),
        {
            ("identity",): IdentityAnswer(site_packages=("/sp",)),
            ("list", "/sp"): NamesAnswer(names=("dpctl-0.22.1.dist-info",)),
        },
    )
    nothing = OverlayHost(DictHost({}), {("identity",): IdentityAnswer()})

    def names(
        engine: str, host: Any = engine_here, benchmarks: Any = everything, has_gpu: bool = True, **options: Any
    ) -> list[str]:
        chosen = choose_benchmarks(benchmarks, suite, RunOptions(engine=engine, **options), host, has_gpu=has_gpu)
        return [benchmark.name for benchmark in chosen]

    without_tools = [ours, absent, torch, other, ceiling]
    assert names("auto") == ["demo", "ze_demo", "x", "demo_ceiling"]
    assert names("auto", has_gpu=False) == ["demo", "x", "demo_ceiling"]
    assert names("auto", benchmarks=without_tools) == ["demo", "x", "demo_ceiling"]
    assert names("auto", host=nothing, benchmarks=without_tools) == ["torch_demo", "x"]
    assert names("embedded") == ["demo", "x", "demo_ceiling"]
    assert names("tools") == ["ze_demo", "ze_absent"]
    assert names("torch") == ["torch_demo"]
    assert names("auto", only=("demo",)) == ["demo", "ze_demo", "demo_ceiling"]
    assert names("embedded", skip=("demo",)) == ["x", "demo_ceiling"]
    assert names("embedded", plant_error=True) == ["demo", "x"]
    with pytest.raises(UsageError, match="engine"):
        names("cuda")


@pytest.mark.live
def test_the_real_worker_refuses_what_it_does_not_know() -> None:
    from xpukit.host.runner import run_process

    for request in (
        b"{",
        msgspec.json.encode(Request(kind="nope", targets=())),
        msgspec.json.encode(Request(kind="../x", targets=())),
    ):
        ran = run_process([sys.executable, "-m", "xpukit.evaluate.embedded.worker"], timeout_s=30, input=request)
        assert ran.rc == 2
        assert b"bad request" in ran.err
