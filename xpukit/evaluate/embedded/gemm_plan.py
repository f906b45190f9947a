"""Which products a suite asks for, how long each takes, and which do not fit: shared by `gemm` and `gemm_ceiling`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.core.measurement import Method, Target
from xpukit.core.units import format_bytes, parse_cpu_list
from xpukit.evaluate.benchmark import Scope
from xpukit.evaluate.device_rates import estimate_gpu_rates
from xpukit.evaluate.embedded.gemm_cases import DATA_TYPES, INT4_GROUP, Case
from xpukit.host.native.onednn import bytes_of

RUNS_BESIDE_SAMPLES = 3  # first touch, calibration, at least one warm-up
START_UP_S = 0.5
# Drawing, converting and checking on the host, per element of the three matrices (seen: 10 to 30 ns on one core).
_HOST_S_PER_ELEMENT = 25e-9
_CASE_OVERHEAD_S = 0.03
# A single allocation beyond 4 GiB needs options that not every GPU driver has.
_LARGEST_ALLOCATION = 4 << 30
_MEMORY_SHARE = 0.8


class Layer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A linear layer of a known model: activations [rows, k] x weights [k, n]."""

    name: str
    k: int
    n: int


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A suite's [gemm] (or [gemm_ceiling]) table.

    `squares_of`: other sizes for some types. `shape_limit_s` bounds one shape's runs. `plant_error`: make a result
    wrong before it is checked (xpukit's test of itself).
    """

    dtypes: tuple[str, ...]
    squares: tuple[int, ...]
    squares_of: dict[str, tuple[int, ...]] = {}
    llm_dtypes: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()
    decode_rows: tuple[int, ...] = ()
    prefill_rows: tuple[int, ...] = ()
    shape_limit_s: float = 60.0
    plant_error: bool = False


def read_settings(table: dict[str, Any], *, cpu: bool) -> Settings:
    """A table of the suite; its own table `cpu` replaces entries where the device is the CPU.

    Raises BadFactsError when the table breaks the schema.
    """
    merged = {name: value for name, value in table.items() if name != "cpu"}
    if cpu:
        merged |= table.get("cpu", {})
    try:
        settings = msgspec.convert(merged, Settings)
    except msgspec.ValidationError as err:
        raise BadFactsError(f"the suite's gemm settings: {err}", hint="see docs/evaluate.md") from err
    unknown = {*settings.dtypes, *settings.llm_dtypes, *settings.squares_of} - set(DATA_TYPES)
    if unknown:
        raise BadFactsError(
            f"the suite's gemm settings: no such type: {', '.join(sorted(unknown))}",
            hint=f"known are {', '.join(DATA_TYPES)}",
        )
    return settings


def list_cases(settings: Settings) -> tuple[Case, ...]:
    """All products, type by type; those with the same weights stand together, small ones first."""
    found: list[Case] = []
    for dtype in dict.fromkeys((*settings.dtypes, *settings.llm_dtypes)):
        if dtype in settings.dtypes:
            sizes = settings.squares_of.get(dtype, settings.squares)
            found += [Case(dtype=dtype, shape="square", m=size, n=size, k=size) for size in sizes]
        if dtype in settings.llm_dtypes:
            for layer in settings.layers:
                rows = [(m, "decode") for m in settings.decode_rows]
                rows += [(m, "prefill") for m in settings.prefill_rows]
                found += [
                    Case(dtype=dtype, shape=f"{layer.name} {phase}", m=m, n=layer.n, k=layer.k) for m, phase in rows
                ]
    return tuple(found)


# Operations per second and core by the best instruction set that a CPU has, from oneDNN 3.13 on a Sapphire Rapids
# core (2.1 GHz base) and scaled by vector width and instruction for the others. They decide only what is too long to
# start; the worker corrects them by what it sees.
_CORE_RATES: tuple[tuple[str, dict[str, float]], ...] = (
    ("", {"fp32": 15e9, "fp16": 4e9, "bf16": 8e9, "int8": 15e9, "fp64": 7e9}),
    ("avx2", {"fp32": 55e9, "fp16": 15e9, "bf16": 30e9, "int8": 60e9, "fp64": 27e9}),
    ("avx512f", {"fp32": 120e9, "fp16": 30e9, "bf16": 80e9, "int8": 120e9, "fp64": 60e9}),
    ("avx512_vnni", {"int8": 350e9}),
    ("avx512_bf16", {"bf16": 200e9}),
    ("avx512_fp16", {"fp16": 130e9, "fp32": 130e9}),
    ("amx_int8", {"int8": 1500e9}),
    ("amx_bf16", {"bf16": 700e9}),
)
_REFERENCE_CODE_RATE = 55e6  # oneDNN's reference code, which is all that a CPU has for fp8


def estimate_cpu_rates(flags: Iterable[str], cores: int) -> dict[str, float]:
    """Operations per second of a CPU for each type, roughly."""
    have = {"", *flags}
    rates: dict[str, float] = {}
    for flag, known in _CORE_RATES:
        if flag in have:
            rates |= known
    rates = {dtype: rate * cores for dtype, rate in rates.items()}
    rates["tf32"] = rates["fp32"]
    rates["int4_fp16"] = 0.7 * rates["fp16"]
    rates["int4_bf16"] = 0.5 * rates["bf16"]
    rates["fp8_e4m3"] = rates["fp8_e5m2"] = _REFERENCE_CODE_RATE * cores
    return rates


# What the slowest supported GPUs do at least; for estimates only.
_GPU_RATES = dict.fromkeys(DATA_TYPES, 1e12) | {"fp64": 0.1e12, "fp32": 3e12, "tf32": 3e12}


def read_rates(scope: Scope, *, cpu: bool, target: Target | None = None) -> dict[str, float]:
    """Rough rates of the device, in operations per second."""
    if not cpu:
        return estimate_gpu_rates(target, _GPU_RATES)
    info = scope.host.read("/proc/cpuinfo").text
    flags = next((line.partition(":")[2].split() for line in info.splitlines() if line.startswith("flags")), [])
    cores = sum(len(parse_cpu_list(cpus)) for _, cpus in scope.numa_nodes)
    cores = cores or sum(line.startswith("processor") for line in info.splitlines()) or 1
    return estimate_cpu_rates(flags, cores)


def count_bytes(case: Case) -> tuple[int, ...]:
    """Device memory of a product: activations, weights twice (as given and packed), result, scales."""
    kind = DATA_TYPES[case.dtype]
    weights = bytes_of(kind.weights, case.k * case.n)
    scales = bytes_of(kind.scale, case.k // INT4_GROUP * case.n) if kind.scale else 0
    return (
        bytes_of(kind.src, case.m * case.k),
        weights,
        weights,
        bytes_of(kind.dst, case.m * case.n),
        scales,
    )


def explain_unfit(
    case: Case, *, rates: dict[str, float], method: Method, limit_s: float, memory_bytes: int | None, cpu: bool
) -> str:
    """Why a product is not to be measured here, "" when it is."""
    sizes = count_bytes(case)
    # On a CPU the inputs exist once more on the host, and the check needs weights as float64 (column by column sums).
    needed = sum(sizes) * (2 if cpu else 1)
    if memory_bytes is not None and needed > _MEMORY_SHARE * memory_bytes:
        return f"needs {format_bytes(needed)}; the device has {format_bytes(memory_bytes)}"
    if max(sizes) > _LARGEST_ALLOCATION:
        return f"a matrix of {format_bytes(max(sizes))}: single allocations beyond 4 GiB are not made"
    if not cpu:
        return ""
    runs = method.min_samples + RUNS_BESIDE_SAMPLES
    seconds = case.operations / rates[case.dtype] * runs
    if seconds <= limit_s:
        return ""
    return (
        f"would take about {seconds:.0f} s on this CPU ({runs} runs at about {rates[case.dtype] / 1e12:.2g} "
        f"{case.unit}); this suite allows {limit_s:g} s per shape"
    )


def estimate_seconds(cases: Sequence[Case], *, rates: dict[str, float], method: Method) -> float:
    """Seconds that a worker needs for these cases, start-up and verification included."""
    total = START_UP_S
    weights_seen: set[tuple[int, int]] = set()
    for case in cases:
        run_s = case.operations / rates[case.dtype]
        total += max(method.warmup_limit_s, run_s) + max(method.time_box_s, method.min_samples * run_s) + 2 * run_s
        elements = case.m * case.k + case.m * case.n
        if (case.k, case.n) not in weights_seen:
            weights_seen.add((case.k, case.n))
            elements += case.k * case.n
        total += elements * _HOST_S_PER_ELEMENT + _CASE_OVERHEAD_S
    return total
