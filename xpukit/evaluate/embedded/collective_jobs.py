"""Which ranks run which collectives: plans shared by `collectives` and `collectives_ceiling`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.core.measurement import Job, Method, ParsedOutput, Promise, Skip, Target
from xpukit.evaluate.allowed_cpus import count_allowed_cpus
from xpukit.evaluate.benchmark import Plan, Scope
from xpukit.evaluate.embedded.collective_maths import COLLECTIVES, ITEM_BYTES, round_bytes
from xpukit.evaluate.embedded.environment import build_worker_environment
from xpukit.evaluate.embedded.protocol import Request, build_job, parse_worker_output
from xpukit.evaluate.embedded.ranks import UNITS, Case, RankParams, key_of
from xpukit.host.answers import Ran
from xpukit.host.level_zero.snapshot import LevelZeroDevice
from xpukit.host.native import mpi, oneccl
from xpukit.host.native.libraries import find_library_dir

_MOST_CPU_RANKS = 4
_START_S = 1.3  # mpiexec, Python and the communicator, measured with two ranks


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The suite's table.

    `ranks`: "max" (all GPUs, or min(4, processors) on the CPU), "powers" (2, 4, ... and all) or "all" (2, 3, ...).
    `split`: one job per "ranks" count, or also per "collective", so that a crash costs less and starting up more.
    `latency_bytes`: the size at which latency is measured; 0: not at all. `cpu_environment`: oneCCL's settings on
    the CPU; one that the user set stands. `warmup_limit_s`, `time_box_s`: instead of the suite's method.
    """

    collectives: tuple[str, ...] = COLLECTIVES
    sizes: tuple[int, ...] = (1 << 20,)
    latency_bytes: int = 64
    dtypes: tuple[str, ...] = ("fp32",)
    ranks: str = "max"
    modes: tuple[str, ...] = ("p2p", "usm")
    split: str = "ranks"
    warmup_limit_s: float | None = None
    time_box_s: float | None = None
    cpu_environment: dict[str, str] = {}
    plant_error: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (("ranks", ("max", "powers", "all")), ("split", ("ranks", "collective"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}")
        for name, values, known in (
            ("collectives", self.collectives, COLLECTIVES),
            ("dtypes", self.dtypes, tuple(ITEM_BYTES)),
            ("modes", self.modes, ("p2p", "usm")),
        ):
            odd = [value for value in values if value not in known]
            if odd:
                raise ValueError(f"{name}: {', '.join(odd)} is none of {', '.join(known)}")


def read_settings(raw: dict[str, Any], table: str) -> Settings:
    """A suite's table. Raises BadFactsError for what it may not hold."""
    try:
        return msgspec.convert(raw, Settings)
    except msgspec.ValidationError as err:
        raise BadFactsError(f"suite table [{table}]: {err}") from err


def choose_rank_counts(most: int, rule: str) -> tuple[int, ...]:
    """Rank counts from 2 to `most` by the suite's rule; () when there are not two."""
    if most < 2:
        return ()
    if rule == "max":
        return (most,)
    if rule == "all":
        return tuple(range(2, most + 1))
    powers = [1 << exponent for exponent in range(1, most.bit_length()) if 1 << exponent <= most]
    return tuple(sorted({*powers, most}))


def list_cases(settings: Settings, collectives: Sequence[str], ranks: int, dtypes: Sequence[str]) -> tuple[Case, ...]:
    """Every collective at every size and type, latency first."""
    cases: list[Case] = []
    for collective in collectives:
        for dtype in dtypes:
            if settings.latency_bytes:
                size = round_bytes(settings.latency_bytes, ranks)
                cases.append(Case(collective=collective, size_bytes=size, dtype=dtype, metrics=("latency",)))
            for size in dict.fromkeys(round_bytes(size, ranks) for size in settings.sizes):
                metrics = ("algbw", "busbw")
                cases.append(Case(collective=collective, size_bytes=size, dtype=dtype, metrics=metrics))
    return tuple(cases)


def plan_collectives(scope: Scope) -> Plan:
    """oneCCL on the GPUs of the scope (modes p2p and usm), or on the CPU."""
    settings = read_settings(scope.settings, "collectives")
    gpus = sort_gpus([target for target in scope.targets if target.kind == "gpu"])
    cpus = [target for target in scope.targets if target.kind == "cpu"]
    jobs: list[Job] = []
    skips: list[Skip] = []
    if gpus:
        counts = choose_rank_counts(len(gpus), settings.ranks)
        for ranks in counts:
            for mode in settings.modes:
                env = {
                    **oneccl.build_environment(find_library_dir(), mode),
                    **build_gpu_environment(gpus[:ranks], scope),
                }
                jobs += _build_jobs(scope, settings, "collectives", gpus[:ranks], ranks, mode, env)
        if not counts:
            reason = "one GPU (or tile): a collective needs two"
            skips += [skip for mode in settings.modes for skip in _skip_all(settings, gpus, mode, reason)]
    for cpu in cpus:
        counts = choose_rank_counts(min(_MOST_CPU_RANKS, count_allowed_cpus(scope)), settings.ranks)
        env = {**oneccl.build_environment(find_library_dir(), "cpu"), **_choices(scope, settings.cpu_environment)}
        for ranks in counts:
            jobs += _build_jobs(scope, settings, "collectives", [cpu], ranks, "cpu", env)
        if not counts:
            reason = "only one processor may be used: two ranks would wait for each other's turn"
            skips += _skip_all(settings, [cpu], "cpu", reason)
    return Plan(jobs=tuple(jobs), skips=tuple(skips))


def plan_ceiling(scope: Scope) -> Plan:
    """mpi4py on the CPU, fp32, for the rank counts and sizes of its own table; nothing on GPUs."""
    settings = read_settings(scope.settings, "collectives_ceiling")
    settings = msgspec.structs.replace(settings, dtypes=("fp32",), plant_error=False)
    jobs: list[Job] = []
    for cpu in (target for target in scope.targets if target.kind == "cpu"):
        for ranks in choose_rank_counts(min(_MOST_CPU_RANKS, count_allowed_cpus(scope)), settings.ranks):
            jobs += _build_jobs(scope, settings, "collectives_ceiling", [cpu], ranks, "cpu", {})
    return Plan(jobs=tuple(jobs))


def parse_rank_output(job: Job, ran: Ran) -> ParsedOutput:
    """Rank 0's lines; when the run failed, why, from what mpiexec and the ranks said."""
    parsed = parse_worker_output(job, ran)
    if not parsed.problem:
        return parsed
    return msgspec.structs.replace(parsed, problem=explain_failure(ran) or parsed.problem)


def explain_failure(ran: Ran) -> str:
    """What ended a run under mpiexec; '' when its output does not tell."""
    said = f"{ran.err_text}\n{ran.text}"
    own = re.findall(rf"{mpi.RANK_MESSAGE}(\d+): (.+)", said)
    if own:
        return "; ".join(dict.fromkeys(f"rank {rank}: {reason.strip()}" for rank, reason in own))
    if ran.failure == "timeout":
        return f"no end within {ran.seconds:.0f} s: a rank hangs or waits for one that does"
    # mpiexec ends the survivors with signal 9 or 15 and lists them too: the first is the one that died.
    ended = re.search(r"RANK (\d+) PID \d+ RUNNING AT \S+\s*\n=\s+(KILLED BY SIGNAL|EXIT STATUS): ([^\n]+)", said)
    if ended:
        how = "was killed by signal" if ended.group(2) == "KILLED BY SIGNAL" else "ended with status"
        return f"rank {ended.group(1)} {how} {ended.group(3).strip()}"
    return ""


def sort_gpus(targets: Sequence[Target]) -> list[Target]:
    """Rank order: that of the devices which every rank sees."""
    return sorted(targets, key=lambda target: (target.level_zero_index or 0, target.tile or 0))


def build_gpu_environment(gpus: Sequence[Target], scope: Scope) -> dict[str, str]:
    """All ranks see the same devices in rank order; onecclSetDevice knows whole devices only, so tiles become some."""
    env = build_worker_environment(gpus)
    if any(target.tile is not None for target in gpus):
        seen = scope.host.level_zero().devices
        flat = [_name_flat(target, gpus, seen) for target in gpus]
        env |= {"ZE_FLAT_DEVICE_HIERARCHY": "FLAT", "ZE_AFFINITY_MASK": ",".join(str(number) for number in flat)}
    return env


def _name_flat(target: Target, gpus: Sequence[Target], seen: Sequence[LevelZeroDevice]) -> int:
    """The number of a tile under FLAT: as Level Zero says, else all cards are taken to have as many tiles as these."""
    for device in seen:
        if device.index == target.level_zero_index and device.bdf in (None, target.bdf):
            parts = device.tiles if target.tile is not None else (device,)
            if len(parts) > (target.tile or 0) and parts[target.tile or 0].masks_flat:
                return int(parts[target.tile or 0].masks_flat[0])
    tiles = 1 + max(other.tile or 0 for other in gpus)
    return (target.level_zero_index or 0) * tiles + (target.tile or 0)


def _choices(scope: Scope, wanted: dict[str, str]) -> dict[str, str]:
    """Settings that are ours to choose: one that the user set in the environment stands."""
    return {name: value for name, value in wanted.items() if scope.host.env(name).value is None}


def _build_jobs(
    scope: Scope,
    settings: Settings,
    benchmark: str,
    targets: Sequence[Target],
    ranks: int,
    mode: str,
    env: dict[str, str],
) -> list[Job]:
    folder = find_library_dir()
    # Without mpiexec the worker runs alone: it then says what is not installed.
    there = scope.host.exists(str(mpi.locate_mpiexec(folder)))
    launcher = mpi.build_launcher(folder, ranks) if there else ()
    library_path = scope.host.env("LD_LIBRARY_PATH").value or ""
    whole = {
        **(build_worker_environment(targets) if mode == "cpu" else {}),
        **mpi.build_environment(folder, library_path=library_path),
        **_choices(scope, mpi.FABRICS),
        **env,
    }
    method = _own_method(scope.method, settings)
    groups = [[one] for one in settings.collectives] if settings.split == "collective" else [settings.collectives]
    jobs: list[Job] = []
    for collectives in groups:
        cases = list_cases(settings, collectives, ranks, settings.dtypes)
        params = RankParams(
            benchmark=benchmark,
            ranks=ranks,
            mode=mode,
            devices=tuple(target.label for target in targets),
            cases=cases,
            plant_error={"rank": ranks - 1} if settings.plant_error else None,
        )
        kind = "collectives" if benchmark == "collectives" else "mpi_collectives"
        promises = [
            Promise(key=key_of(params, case, metric), unit=UNITS[metric], higher_is_better=metric != "latency")
            for case in cases
            for metric in case.metrics
        ]
        name = "-".join((benchmark, collectives[0] if len(groups) > 1 else "all", mode, f"{ranks}ranks"))
        jobs.append(
            build_job(
                benchmark=benchmark,
                name=name,
                request=Request(kind=kind, targets=tuple(targets), method=method, params=_as_plain(params)),
                promises=promises,
                estimate_s=_START_S + sum(_estimate_case(case, method) for case in cases),
                env=whole,
                launcher=launcher,
            )
        )
    return jobs


def _estimate_case(case: Case, method: Method) -> float:
    # Making and checking the data passes over it about ten times; at large sizes the least number of samples counts.
    data_s = 10 * case.size_bytes / 2e9
    return data_s + method.warmup_limit_s + max(method.time_box_s, method.min_samples * case.size_bytes / 3e9)


def _as_plain(params: RankParams) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(params)
    return plain


def _own_method(method: Method, settings: Settings) -> Method:
    own = {
        name: value
        for name, value in (("warmup_limit_s", settings.warmup_limit_s), ("time_box_s", settings.time_box_s))
        if value is not None
    }
    return msgspec.structs.replace(method, **own)


def _skip_all(settings: Settings, targets: Sequence[Target], mode: str, reason: str) -> list[Skip]:
    params = RankParams(
        benchmark="collectives", ranks=2, mode=mode, devices=tuple(target.label for target in targets), cases=()
    )
    return [
        Skip(key=key_of(params, case, metric), unit=UNITS[metric], reason=reason)
        for case in list_cases(settings, settings.collectives, 2, settings.dtypes)
        for metric in case.metrics
    ]
