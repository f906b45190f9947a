"""Which engine measures what: our own, the vendor's tools, or PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from xpukit.core.errors import UsageError
from xpukit.evaluate.benchmark import Benchmark
from xpukit.evaluate.run_directory import RunOptions
from xpukit.facts.suites import Suite
from xpukit.host import Host

Engine = Literal["auto", "embedded", "tools", "torch"]
ENGINES: tuple[str, ...] = get_args(Engine)


def choose_benchmarks(
    benchmarks: Sequence[Benchmark], suite: Suite, options: RunOptions, host: Host, *, has_gpu: bool
) -> list[Benchmark]:
    """The suite's benchmarks of the engine asked for, after --only and --skip.

    `auto`: the vendor's tools that are present, where there is a GPU for them; beside them, for the rows that no tool
    promises (plan_run leaves out what one does), the embedded engine, or PyTorch where that is not installed, as in
    a serving container. Raises UsageError for a name that no benchmark has.
    """
    if options.engine not in ENGINES:
        raise UsageError(f"no engine named {options.engine!r}", hint=f"one of {', '.join(ENGINES)}")
    names = {benchmark.row_name for benchmark in benchmarks} | {benchmark.name for benchmark in benchmarks}
    for wanted in (*options.only, *options.skip):
        if wanted not in names:
            raise UsageError(f"no benchmark named {wanted!r}", hint=f"one of {', '.join(sorted(names))}")
    unknown = set(suite.benchmarks) - names
    if unknown:
        raise UsageError(
            f"suite {suite.name}: no benchmark named {', '.join(sorted(unknown))}",
            hint=f"tables may be named {', '.join(sorted(names))}",
        )
    # What judges a chosen benchmark on the CPU comes along.
    wanted_names = {*options.only, *(f"{name}_ceiling" for name in options.only)}
    wanted_benchmarks = [
        benchmark
        for benchmark in benchmarks
        if benchmark.table in suite.benchmarks
        and (not options.only or wanted_names & {benchmark.name, benchmark.row_name})
        and not {benchmark.name, benchmark.row_name} & set(options.skip)
        # A self-check judges nothing: it needs no yardsticks.
        and not (options.plant_error and is_ceiling(benchmark))
    ]
    if options.engine != "auto":
        return [benchmark for benchmark in wanted_benchmarks if benchmark.engine == options.engine]
    return choose_automatically(wanted_benchmarks, host, has_gpu=has_gpu)


def is_ceiling(benchmark: Benchmark) -> bool:
    """Whether it only measures a yardstick for the CPU device."""
    return benchmark.name.endswith("_ceiling")


def choose_automatically(benchmarks: Sequence[Benchmark], host: Host, *, has_gpu: bool) -> list[Benchmark]:
    """For each kind of row: the tools that are present, and the embedded engine or else torch."""
    without_ours = _lacks_embedded(host)
    chosen: list[Benchmark] = []
    for row_name in dict.fromkeys(benchmark.row_name for benchmark in benchmarks):
        alike = [benchmark for benchmark in benchmarks if benchmark.row_name == row_name]
        tools = [b for b in alike if has_gpu and b.engine == "tools" and _is_present(b, host)]
        torch = [b for b in alike if b.engine == "torch" and _is_present(b, host)] if without_ours else []
        chosen += [*tools, *(torch or [b for b in alike if b.engine == "embedded"])]
    if any(benchmark.engine == "torch" for benchmark in chosen):
        # The yardsticks are for our own engine: another library's rate on a CPU is no fault of the machine.
        chosen = [benchmark for benchmark in chosen if not is_ceiling(benchmark)]
    return sorted(chosen, key=benchmarks.index)


def _is_present(benchmark: Benchmark, host: Host) -> bool:
    return benchmark.available is not None and not benchmark.available(host)


def _lacks_embedded(host: Host) -> bool:
    """Whether the embedded engine's first part is not installed beside us (its dist-info folder is not there)."""
    return not any(
        entry.startswith("dpctl-") and entry.endswith(".dist-info")
        for folder in host.identity().site_packages
        for entry in host.list(folder).names
    )
