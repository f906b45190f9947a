"""Everything that is found by directory scan has the right shape; layers point one way."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import xpukit
from xpukit.core.measurement import Method, Target
from xpukit.evaluate import benchmarks as benchmarks_package
from xpukit.evaluate.benchmark import Benchmark, Plan, Scope
from xpukit.evaluate.embedded import kinds as kinds_package
from xpukit.evaluate.embedded.worker import load_kind
from xpukit.evaluate.registry import list_benchmarks
from xpukit.facts.references import load_references
from xpukit.facts.suites import list_suites, load_suite
from xpukit.host.live import LiveHost
from xpukit.probe.question import conform_error
from xpukit.probe.registry import list_questions

CPU = Target(label="cpu", kind="cpu", name="CPU", memory_bytes=8 << 30)
GPUS = tuple(
    Target(
        label=f"0000:{bus:02x}:00.0", kind="gpu", name="Arc Pro B60", bdf=f"0000:{bus:02x}:00.0", device_id="e211",
        level_zero_index=index, numa_node=index // 2, memory_bytes=24 << 30,
    )
    for index, bus in enumerate((3, 0x18, 0x83, 0x98))
)  # fmt: skip
TILES = tuple(
    Target(
        label=f"0000:18:00.0/tile{tile}", kind="gpu", name="Max 1550", bdf="0000:18:00.0", device_id="0bd5",
        level_zero_index=0, tile=tile, numa_node=0, memory_bytes=64 << 30,
    )
    for tile in range(2)
)  # fmt: skip


@pytest.mark.parametrize("question", list_questions(), ids=lambda question: question.name)
def test_probe_questions(question: object) -> None:
    assert conform_error(question) == ""  # type: ignore[arg-type]


def test_question_and_benchmark_names_are_unique() -> None:
    names = [question.name for question in list_questions()]
    assert len(names) == len(set(names)) > 10
    benchmark_names = [benchmark.name for benchmark in list_benchmarks()]
    assert len(benchmark_names) == len(set(benchmark_names)) > 5


def test_every_benchmark_file_is_a_benchmark() -> None:
    files = [info.name for info in pkgutil.iter_modules(benchmarks_package.__path__)]
    assert files == sorted(benchmark.name for benchmark in list_benchmarks())


@pytest.mark.parametrize("info", list(pkgutil.iter_modules(kinds_package.__path__)), ids=lambda info: info.name)
def test_every_kind_measures(info: pkgutil.ModuleInfo) -> None:
    assert callable(load_kind(info.name))


@pytest.mark.live  # a plan may ask the host what is installed
@pytest.mark.parametrize("targets", [(CPU,), GPUS[:1], GPUS, TILES], ids=["cpu", "gpu", "gpus", "tiles"])
@pytest.mark.parametrize("suite_name", list_suites())
@pytest.mark.parametrize("benchmark", list_benchmarks(), ids=lambda benchmark: benchmark.name)
def test_every_benchmark_plans_on_every_kind_of_machine(
    benchmark: Benchmark, suite_name: str, targets: tuple[Target, ...]
) -> None:
    suite = load_suite(suite_name)
    if benchmark.table not in suite.benchmarks:
        pytest.skip(f"suite {suite_name} does not run it")
    scope = Scope(
        targets=targets,
        settings=suite.benchmarks[benchmark.table],
        method=Method(),
        host=LiveHost(),
        numa_nodes=((0, "0-1"),),
        memory_bytes=8 << 30,
    )
    plan = benchmark.plan(scope)
    assert isinstance(plan, Plan)
    labels = {target.label for target in targets} | {"cpu"}
    keys = [promise.key for job in plan.jobs for promise in job.promises] + [skip.key for skip in plan.skips]
    assert len(keys) == len(set(keys)), "a metric is promised twice"
    for key in keys:
        assert key.benchmark == benchmark.row_name
        assert set(key.devices) <= labels
        assert key.params == tuple(sorted(key.params))
    for job in plan.jobs:
        assert job.promises
        assert job.benchmark in (benchmark.name, benchmark.row_name)
        assert job.timeout_s > job.estimate_s > 0
    assert all(skip.reason for skip in plan.skips)
    assert benchmark.plan(scope) == plan, "the same scope gives the same plan"


@pytest.mark.parametrize("name", list_suites())
def test_suites_name_real_benchmarks_and_fit_their_limit(name: str) -> None:
    suite = load_suite(name)
    assert set(suite.benchmarks) <= {benchmark.name for benchmark in list_benchmarks()}
    assert suite.summary


def test_reference_rows_load_and_name_known_benchmarks() -> None:
    rows = load_references()
    assert rows
    assert {row.benchmark for row in rows} <= {benchmark.row_name for benchmark in list_benchmarks()}


def list_modules() -> list[str]:
    return [info.name for info in pkgutil.walk_packages(xpukit.__path__, "xpukit.") if "__main__" not in info.name]


@pytest.mark.parametrize("name", list_modules())
def test_importing_does_nothing(name: str) -> None:
    """The tripwire is armed: a module that looks at the machine when imported fails here."""
    importlib.import_module(name)


def test_modules_are_small_and_well_named(repo: Path) -> None:
    for path in (repo / "xpukit").rglob("*.py"):
        lines = path.read_text(encoding="utf-8").count("\n")
        assert lines <= 500, f"{path}: {lines} lines"
        assert path.stem not in ("utils", "common", "helpers"), path


def test_public_functions_have_annotations(repo: Path) -> None:
    for path in (repo / "xpukit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                assert node.returns is not None, f"{path}:{node.lineno} {node.name}"
