"""Matrix products for real on this CPU: every type is right, planted errors are caught, missing parts are said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from xpukit.core.measurement import Method, Target
from xpukit.evaluate.embedded.environment import build_worker_environment
from xpukit.evaluate.embedded.gemm_cases import DATA_TYPES, Case
from xpukit.evaluate.embedded.protocol import WORKER_MODULE, Event, Request
from xpukit.host.native import blas, libraries

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
CPU = Target(label="cpu", kind="cpu", name="CPU")
QUICK = Method(warmup_limit_s=0.01, time_box_s=0.01, min_samples=3, max_samples=5)
CASES = [
    Case(dtype=dtype, shape="square", m=size, n=size, k=size)
    for dtype in DATA_TYPES
    for size in ([128] if dtype.startswith("fp8") else [128, 384])
]

needs_engine = pytest.mark.skipif(
    bool(libraries.describe_missing()), reason=f"not installed: {', '.join(libraries.describe_missing())}"
)
needs_mkl = pytest.mark.skipif(not blas.has_mkl(), reason="not installed: mkl")


def run_worker(
    kind: str, cases: list[Case], *, python: str = sys.executable, env: dict[str, str] | None = None, **params: Any
) -> list[Event]:
    request = Request(kind=kind, targets=(CPU,), method=QUICK, params={"cases": msgspec.to_builtins(cases), **params})
    ran = subprocess.run(
        [python, "-m", WORKER_MODULE],
        input=msgspec.json.encode(request),
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, **build_worker_environment([CPU]), **(env or {})},
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    events = [msgspec.json.decode(line, type=Event) for line in ran.stdout.splitlines()]
    assert events[-1].event == "done"
    return events


# oneDNN has these on every x86 processor; fp16, fp8 and int4 in fp16 only with AVX512-FP16 or AMX.
EVERYWHERE = {"fp64", "fp32", "tf32", "bf16", "int8", "int4_bf16"}


@pytest.fixture(scope="module")
def all_events() -> list[Event]:
    return run_worker("gemm", CASES)


@pytest.fixture(scope="module")
def here(all_events: list[Event]) -> list[str]:
    """The types that oneDNN has on this processor."""
    found = {dict(event.measurement.key.params)["dtype"] for event in all_events if event.measurement is not None}
    assert found >= EVERYWHERE
    return [dtype for dtype in DATA_TYPES if dtype in found]


@needs_engine
def test_every_type_is_measured_and_right(all_events: list[Event], here: list[str]) -> None:
    events = all_events
    measured = [event.measurement for event in events if event.measurement is not None]
    assert [m.key for m in measured] == [case.build_key("gemm", "cpu") for case in CASES if case.dtype in here]
    # The others are said to be impossible here, each with the reason: never left out.
    impossible = [event.key for event in events if event.event == "impossible"]
    assert impossible == [case.build_key("gemm", "cpu") for case in CASES if case.dtype not in here]
    assert all("not implemented" in event.text for event in events if event.event == "impossible")
    for measurement in measured:
        assert measurement.verified is True, f"{measurement.key}: {measurement.verify_detail}"
        assert all(sample > 0 for sample in measurement.samples)
    assert any(event.event == "note" and "oneDNN" in event.text for event in events)


@needs_engine
def test_note_says_what_tf32_and_fp8_really_were(here: list[str]) -> None:
    wanted = [case for case in CASES if case.m == 128 and case.dtype in ("tf32", "fp8_e4m3")]
    notes = {
        dict(event.measurement.key.params)["dtype"]: event.measurement.note
        for event in run_worker("gemm", wanted)
        if event.measurement is not None
    }
    assert "arithmetic by its error" in notes["tf32"]
    if "fp8_e4m3" in here:
        assert "reference code" in notes["fp8_e4m3"] or "ref" not in notes["fp8_e4m3"]


@needs_engine
@pytest.mark.parametrize("place", [0, 5000, 128 * 128 - 1])
def test_planted_error_is_caught_in_every_type(place: int, here: list[str]) -> None:
    cases = [case for case in CASES if case.m == 128]
    verdicts = {
        dict(event.measurement.key.params)["dtype"]: event.measurement.verified
        for event in run_worker("gemm", cases, plant_error=place)
        if event.measurement is not None
    }
    assert verdicts == dict.fromkeys(here, False)


@needs_engine
def test_llm_shapes_share_weights_and_are_right(here: list[str]) -> None:
    cases = [
        Case(dtype=dtype, shape=shape, m=m, n=384, k=256)
        for dtype in ("bf16", "int4_bf16", "int4_fp16", "int8")
        if dtype in here
        for shape, m in (("X qkv decode", 1), ("X qkv decode", 16), ("X qkv prefill", 96))
    ]
    measured = [e.measurement for e in run_worker("gemm", cases) if e.measurement is not None]
    assert len(measured) == len(cases)
    assert all(m.verified for m in measured), [m.verify_detail for m in measured if not m.verified]


@needs_engine
def test_shape_that_would_take_too_long_gives_its_reason() -> None:
    cases = [Case(dtype="fp32", shape="square", m=n, n=n, k=n) for n in (64, 4096)]
    events = run_worker("gemm", cases, shape_limit_s=0.1)
    assert [event.event for event in events] == ["note", "measurement", "missing", "done"]
    assert "this suite allows 0.1 s per shape" in events[2].text


def test_ceiling_by_numpy_is_right_and_its_check_bites() -> None:
    case = Case(dtype="fp32", shape="square", m=256, n=256, k=256)
    (right, _) = run_worker("gemm_ceiling", [case], libraries={"fp32": ["numpy"]})
    assert right.measurement is not None
    assert right.measurement.verified is True
    assert "openblas" in right.measurement.note
    (wrong, _) = run_worker("gemm_ceiling", [case], libraries={"fp32": ["numpy"]}, plant_error=777)
    assert wrong.measurement is not None
    assert wrong.measurement.verified is False


@needs_mkl
def test_ceilings_by_mkl_are_right() -> None:
    dtypes = list(blas.list_dtypes("mkl"))
    cases = [Case(dtype=dtype, shape="square", m=320, n=320, k=320) for dtype in dtypes]
    events = run_worker("gemm_ceiling", cases, libraries={dtype: ["mkl"] for dtype in dtypes})
    measured = [event.measurement for event in events if event.measurement is not None]
    assert [dict(m.key.params)["dtype"] for m in measured] == dtypes
    assert all(m.verified for m in measured), [m.verify_detail for m in measured if not m.verified]


def test_missing_engine_costs_its_rows_and_says_which_part(tmp_path: Path) -> None:
    """A real environment without the vendor wheels: numpy and msgspec only."""
    import msgspec as msgspec_package
    import numpy

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True, timeout=60)
    parts = tmp_path / "parts"
    parts.mkdir()
    site = Path(numpy.__file__).parents[1]
    for path in (Path(numpy.__file__).parent, site / "numpy.libs", Path(msgspec_package.__file__).parent):
        (parts / path.name).symlink_to(path)
    cases = [Case(dtype=dtype, shape="square", m=128, n=128, k=128) for dtype in ("bf16", "fp64")]
    events = run_worker("gemm", cases, python=str(tmp_path / "venv" / "bin" / "python"), env={"PYTHONPATH": str(parts)})
    by_event = {event.event: event for event in events}
    assert by_event["missing"].key == cases[0].build_key("gemm", "cpu")
    assert "dpctl" in by_event["missing"].text
    assert "onednn" in by_event["missing"].text
    measured = by_event["measurement"].measurement  # fp64 needs numpy only
    assert measured is not None
    assert measured.verified is True
    assert measured.note.startswith("numpy.matmul")
