"""Which matrix products are planned where, and that none is dropped silently."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from xpukit.core.errors import BadFactsError
from xpukit.core.measurement import Job, Method, Target
from xpukit.evaluate.benchmark import Scope
from xpukit.evaluate.benchmarks import gemm, gemm_ceiling
from xpukit.evaluate.embedded.gemm_cases import DATA_TYPES, Case
from xpukit.evaluate.embedded.gemm_plan import (
    estimate_cpu_rates,
    explain_unfit,
    list_cases,
    read_settings,
)
from xpukit.evaluate.embedded.protocol import Request
from xpukit.facts.suites import list_suites, load_suite
from xpukit.host.answers import FileAnswer
from xpukit.host.live import LiveHost
from xpukit.host.overlay import OverlayHost

CPU = Target(label="cpu", kind="cpu", name="a CPU")
GPU = Target(label="0000:03:00.0", kind="gpu", name="a GPU", level_zero_index=0, memory_bytes=24 << 30)
TILE = msgspec.structs.replace(GPU, label="0000:03:00.0/tile1", tile=1)
SPR = "fpu avx2 avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_bf16 amx_int8"


def make_scope(settings: dict[str, Any], *targets: Target, flags: str = SPR, **changes: Any) -> Scope:
    cpuinfo = f"processor\t: 0\nflags\t\t: {flags}\n".encode()
    values: dict[str, Any] = {
        "targets": targets,
        "settings": settings,
        "method": Method(),
        "host": OverlayHost(LiveHost(), {("read", "/proc/cpuinfo"): FileAnswer(data=cpuinfo)}),
        "numa_nodes": ((0, "0-1"),),
        "memory_bytes": 24 << 30,
    }
    return Scope(**(values | changes))


def read_request(job: Job) -> Request:
    return msgspec.json.decode(job.input, type=Request)


SMALL: dict[str, Any] = {"dtypes": ["fp32", "bf16"], "squares": [256, 512]}


@pytest.mark.parametrize("suite_name", list_suites())
@pytest.mark.parametrize("target", [CPU, GPU, TILE], ids=["cpu", "gpu", "tile"])
def test_shipped_suites_drop_nothing(suite_name: str, target: Target) -> None:
    suite = load_suite(suite_name)
    table = suite.benchmarks["gemm"]
    plan = gemm.plan(make_scope(table, target, method=suite.method))
    planned = [promise.key for job in plan.jobs for promise in job.promises] + [skip.key for skip in plan.skips]
    cases = list_cases(read_settings(table, cpu=target.kind == "cpu"))
    assert sorted(planned) == sorted(case.build_key("gemm", target.label) for case in cases)
    assert len(set(planned)) == len(planned)
    assert all(skip.reason for skip in plan.skips)


@pytest.mark.parametrize("suite_name", list_suites())
def test_cpu_squares_have_ceilings(suite_name: str) -> None:
    suite = load_suite(suite_name)
    method = suite.method
    squares = gemm.plan(make_scope(suite.benchmarks["gemm"], CPU, method=method))
    ceilings = gemm_ceiling.plan_with(make_scope(suite.benchmarks["gemm_ceiling"], CPU, method=method), mkl=True)
    wanted = {
        (params["dtype"], params["m"])
        for job in squares.jobs
        for promise in job.promises
        if (params := dict(promise.key.params))["shape"] == "square" and params["dtype"] in ("fp32", "bf16", "int8")
    }
    had = {
        (params["dtype"], params["m"])
        for job in ceilings.jobs
        for promise in job.promises
        if (params := dict(promise.key.params))
    }
    assert wanted <= had


def test_quick_and_standard_keep_their_time_on_two_cores() -> None:
    for name, most in (("quick", 24), ("standard", 140)):
        suite = load_suite(name)
        jobs = gemm.plan(make_scope(suite.benchmarks["gemm"], CPU, method=suite.method)).jobs
        jobs += gemm_ceiling.plan_with(
            make_scope(suite.benchmarks["gemm_ceiling"], CPU, method=suite.method), mkl=True
        ).jobs
        assert sum(job.estimate_s for job in jobs) <= most


def test_a_job_for_each_device_and_type() -> None:
    plan = gemm.plan(make_scope(SMALL, GPU, TILE))
    assert [job.name for job in plan.jobs] == [
        "gemm fp32 0000:03:00.0",
        "gemm bf16 0000:03:00.0",
        "gemm fp32 0000:03:00.0/tile1",
        "gemm bf16 0000:03:00.0/tile1",
    ]
    assert [job.env["ZE_AFFINITY_MASK"] for job in plan.jobs] == ["0", "0", "0.1", "0.1"]
    request = read_request(plan.jobs[0])
    assert request.kind == "gemm"
    assert {case["dtype"] for case in request.params["cases"]} == {"fp32"}
    assert "plant_error" not in request.params


def test_cpu_table_replaces_entries() -> None:
    table = {**SMALL, "cpu": {"squares": [128]}}
    assert read_settings(table, cpu=True).squares == (128,)
    assert read_settings(table, cpu=False).squares == (256, 512)


def test_llm_shapes_carry_their_names() -> None:
    table = {
        **SMALL,
        "dtypes": [],
        "llm_dtypes": ["int4_fp16"],
        "layers": [{"name": "X qkv", "k": 256, "n": 384}],
        "decode_rows": [1, 16],
        "prefill_rows": [512],
    }
    cases = list_cases(read_settings(table, cpu=False))
    assert [(case.shape, case.m, case.n, case.k) for case in cases] == [
        ("X qkv decode", 1, 384, 256),
        ("X qkv decode", 16, 384, 256),
        ("X qkv prefill", 512, 384, 256),
    ]


def test_what_takes_too_long_on_a_cpu_is_said() -> None:
    plan = gemm.plan(make_scope({"dtypes": ["fp8_e4m3"], "squares": [64, 4096], "shape_limit_s": 5}, CPU))
    assert [dict(promise.key.params)["m"] for promise in plan.jobs[0].promises] == [64]
    (skip,) = plan.skips
    assert "this suite allows 5 s per shape" in skip.reason


def test_what_does_not_fit_a_gpu_is_said() -> None:
    small = msgspec.structs.replace(GPU, memory_bytes=1 << 30)
    plan = gemm.plan(make_scope({"dtypes": ["fp32"], "squares": [1024, 16384]}, small))
    (skip,) = plan.skips
    assert "the device has 1 GiB" in skip.reason
    huge = Case(dtype="fp64", shape="square", m=32768, n=32768, k=32768)
    reason = explain_unfit(huge, rates={}, method=Method(), limit_s=1, memory_bytes=128 << 30, cpu=False)
    assert "4 GiB" in reason


def test_plant_error_reaches_the_worker() -> None:
    plan = gemm.plan(make_scope({**SMALL, "plant_error": True}, CPU))
    assert all(isinstance(read_request(job).params["plant_error"], int) for job in plan.jobs)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"dtypes": ["fp31"], "squares": [1]}, "fp31"),
        ({"dtypes": ["fp32"], "squares": "all"}, "squares"),
        ({"dtypes": ["fp32"], "squares": [1], "squraes_of": {}}, "squraes_of"),
        ({"dtypes": ["fp32"], "squares": [1], "cpu": {"sizes": [1]}}, "sizes"),
    ],
)
def test_bad_tables_are_refused(table: dict[str, Any], said: str) -> None:
    with pytest.raises(BadFactsError, match=said):
        read_settings(table, cpu=True)


def test_ceilings_only_for_the_cpu() -> None:
    table = {"dtypes": ["fp32", "bf16"], "squares": [256]}
    assert gemm_ceiling.plan_with(make_scope(table, GPU), mkl=True) == gemm_ceiling.Plan()
    assert len(gemm_ceiling.plan_with(make_scope(table, CPU), mkl=True).jobs) == 1


def test_ceilings_without_mkl_say_what_is_missing() -> None:
    table = {"dtypes": ["fp64", "fp32", "bf16", "tf32"], "squares": [256]}
    plan = gemm_ceiling.plan_with(make_scope(table, CPU), mkl=False)
    assert [dict(promise.key.params)["dtype"] for promise in plan.jobs[0].promises] == ["fp32"]
    assert {dict(skip.key.params)["dtype"] for skip in plan.skips} == {"fp64", "bf16"}
    assert all("pip package mkl" in skip.reason for skip in plan.skips)


def test_ceiling_is_never_what_gemm_itself_uses() -> None:
    assert "mkl" not in gemm_ceiling.choose_libraries(mkl=True)["fp64"]
    assert "fp64" not in gemm_ceiling.choose_libraries(mkl=False)


def test_rates_know_every_type_and_grow_with_instructions() -> None:
    plain, matrix = estimate_cpu_rates(["avx2"], 4), estimate_cpu_rates(SPR.split(), 4)
    assert set(plain) == set(DATA_TYPES)
    assert all(matrix[dtype] >= plain[dtype] for dtype in DATA_TYPES)
    assert estimate_cpu_rates([], 1)["fp32"] > 0
