"""One name and unit for what xpu-smi calls differently in `dump` and `stats`, 1.x and 2.x; and its error lines."""

from __future__ import annotations

import re

import msgspec

from xpukit.evaluate.parsers.lines import TEXT_LENGTH, Line, Problem, ProblemKind, Stream, find_problem


class SmiMetric(msgspec.Struct, frozen=True, kw_only=True):
    """`label` as printed without the unit; `metric` is our name for it, "" for one we do not know."""

    label: str
    unit: str = ""
    metric: str = ""


# Our name: (unit where none is printed, names of 1.x in lower case without a leading "gpu ", fields of 2.x). The
# fields are those that 2.x's own dump takes for 1.x's numeric ids (xpumanager ial/cmn/cmd_dump.cpp).
_NAMES: dict[str, tuple[str, tuple[str, ...]]] = {
    "gpu_utilization": ("%", ("utilization", "average % utilization of all gpu engines", "utilization.gpu")),
    "power": ("W", ("power", "power.draw")),
    "frequency": ("MHz", ("frequency", "clocks.current.graphics")),
    "core_temperature": ("C", ("core temperature", "temperature.gpu")),
    "memory_temperature": ("C", ("memory temperature", "temperature.memory")),
    "vr_temperature": ("C", ("vr temperature",)),
    "memory_utilization": ("%", ("memory utilization", "memory util", "utilization.memory")),
    "memory_read": ("kB/s", ("memory read", "memory.read.bandwidth")),
    "memory_write": ("kB/s", ("memory write", "memory.write.bandwidth")),
    "energy": ("J", ("energy consumed", "energy.consumed")),
    "eu_active": ("%", ("eu array active", "eu.active")),
    "eu_stall": ("%", ("eu array stall", "eu.stall")),
    "eu_idle": ("%", ("eu array idle", "eu.idle")),
    "resets": ("", ("reset counter", "reset", "ras.reset")),
    "programming_errors": ("", ("programming errors", "ras.programming.errors")),
    "driver_errors": ("", ("driver errors", "ras.driver.errors")),
    "cache_errors_correctable": ("", ("cache errors correctable", "ras.cache.errors.correctable")),
    "cache_errors_uncorrectable": ("", ("cache errors uncorrectable", "ras.cache.errors.uncorrectable")),
    "memory_errors_correctable": (
        "",
        ("memory errors correctable", "mem errors correctable", "ras.non_compute.errors.correctable"),
    ),
    "memory_errors_uncorrectable": (
        "",
        ("memory errors uncorrectable", "mem errors uncorrectable", "ras.non_compute.errors.uncorrectable"),
    ),
    "memory_bandwidth": ("%", ("memory bandwidth utilization", "memory bandwidth", "memory.bandwidth.utilization")),
    "memory_used": ("MiB", ("memory used", "memory.used")),
    "pcie_read": ("kB/s", ("pcie read", "pcie.rx.throughput.kbs")),
    "pcie_write": ("kB/s", ("pcie write", "pcie.tx.throughput.kbs")),
    "xe_link": ("kB/s", ("xe link throughput",)),
    "throttle_reason": ("", ("throttle reason", "clocks.throttle.reason")),
    "media_frequency": (
        "MHz",
        ("media engine frequency", "media engine freq", "media frequency", "clocks.current.media"),
    ),
    "fan_speed": ("%", ("fan speed", "fan.speed")),
    "compute_utilization": (
        "%",
        ("compute engine group utilization", "compute engines util", "utilization.compute"),
    ),
    "render_utilization": ("%", ("render engine group utilization", "render engines util", "utilization.render")),
    "media_utilization": (
        "%",
        ("media engine group utilization", "media engines util", "media engine util", "utilization.media"),
    ),
    "copy_utilization": ("%", ("copy engine group utilization", "copy engines util", "utilization.copy")),
    "three_d_utilization": ("%", ("3d engine group utilization", "3d engine util")),
    # `stats`: a group figure and then each engine
    "compute_engines": ("%", ("compute engine util",)),
    "render_engines": ("%", ("render engine util",)),
    "copy_engines": ("%", ("copy engine util",)),
    "decoder_engines": ("%", ("decoder engine util",)),
    "encoder_engines": ("%", ("encoder engine util",)),
    "media_em_engines": ("%", ("media em engine util",)),
    "elapsed": ("s", ("elapsed time",)),
    "offline_pages": ("", ("offline memory pages",)),
}
_METRICS = {name: metric for metric, (_, names) in _NAMES.items() for name in names}
_UNITS = {
    "celsius degree": "C", "degrees celsius": "C", "celsius": "C", "c": "C", "°c": "C",
    "%": "%", "w": "W", "mhz": "MHz", "j": "J", "mib": "MiB", "kb/s": "kB/s", "us": "us", "s": "s",
    "second": "s", "seconds": "s", "gb/s": "GB/s", "mb/s": "MB/s",
}  # fmt: skip
_LABEL = re.compile(r"([^()]*)(?:\(([^()]{1,24})\))?")


def name_metric(text: str) -> SmiMetric:
    """'GPU Power (W)' and 'power.draw' as label, unit and metric."""
    label = re.sub(r"\s+", " ", text.strip())[:120]
    match = _LABEL.fullmatch(label)
    unit = _UNITS.get(match[2].lower(), "") if match and match[2] else ""
    if match and (unit or not match[2]):
        label = match[1].strip()
    metric = _METRICS.get(label.lower().removeprefix("gpu "), "")
    return SmiMetric(label=label, unit=unit or (_NAMES[metric][0] if metric else ""), metric=metric)


_SIGNS: tuple[tuple[re.Pattern[str], ProblemKind], ...] = (
    (re.compile(r"arguments? (?:was|were) not expected|Run with --help|unknown? operation", re.IGNORECASE), "usage"),
    (re.compile(r"\b(?:no device|device not found|device handle not found)", re.IGNORECASE), "no-device"),
    (re.compile(r"metrics? .{1,40} (?:is|are) not supported|not supported on this", re.IGNORECASE), "unsupported"),
    (re.compile(r"^\[?(?:error|critical)\b\]?|^failed to\b|\binitialization error", re.IGNORECASE), "error"),
    (re.compile(r"\bpermission denied\b|privilege", re.IGNORECASE), "error"),
)  # fmt: skip


def find_smi_problem(line: Line, stream: Stream = "out") -> Problem | None:
    """The failure that a line of xpu-smi reports, if it does."""
    text = line.text.strip()
    for sign, kind in _SIGNS:
        if sign.search(text):
            return Problem(line=line.number, kind=kind, text=text[:TEXT_LENGTH], stream=stream)
    return find_problem(line, stream)
