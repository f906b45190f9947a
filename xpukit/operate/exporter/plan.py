"""Which files are read for each GPU: worked out once from what probe found, so that a scrape only reads."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from xpukit.core.machine import Device, Gt, LinkEnd, Machine, Sensor
from xpukit.host.door import Host
from xpukit.operate.exporter.sample import Labels, gpu_labels, make_labels

_SENSOR_FILE = re.compile(r"(temp|power|energy|fan|in)(\d+)_(\w+)")
_AER = ("correctable", "nonfatal", "fatal")
# Sensor kinds of hwmon: (metric of the reading, metric of limits, divisor).
_SENSOR_METRICS = {
    "temp": ("hw_temperature_celsius", "hw_temperature_limit_celsius", 1000),
    "power": ("hw_power_watts", "hw_power_limit_watts", 1_000_000),
    "energy": ("hw_energy_joules_total", "", 1_000_000),
    "fan": ("hw_fan_speed_rpm", "", 1),
    "in": ("hw_voltage_volts", "", 1000),
}
_TYPES = {"temp": "temperature", "fan": "fan", "in": "voltage"}
# xe of newer kernels: the reasons of one moment, separated by spaces, or "none".
_LISTED = "reasons"
_LIMITS = {"max": "max", "crit": "critical", "cap": "cap", "rated_max": "rated", "emergency": "emergency", "min": "min"}


class FileReading(msgspec.Struct, frozen=True, kw_only=True):
    """A file that holds a whole number: its value divided by `divisor`. A `counter` never runs backwards."""

    path: str
    metric: str
    labels: Labels
    divisor: float = 1.0
    counter: bool = False


class ThrottleReading(msgspec.Struct, frozen=True, kw_only=True):
    """Throttle reasons of a GT: `listed` is the file that names those that hold, "" where the driver has none such.

    Without it each has a file, read only while `status` says that there is one.
    """

    listed: str
    status: str
    reasons: tuple[tuple[str, str], ...]
    labels: Labels


class LinkReading(msgspec.Struct, frozen=True, kw_only=True):
    """The card's link to the machine. `paths` are its two ends in sysfs, the card's first."""

    port: str
    paths: tuple[str, ...]
    max_gts: float | None
    max_width: int | None


class ErrorReading(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a port's advanced error reporting."""

    path: str
    labels: Labels


class DevicePlan(msgspec.Struct, frozen=True, kw_only=True):
    """All that is read of one GPU: at `each` scrape, and `seldom`."""

    bdf: str
    sys_path: str
    info: Labels
    memory_bytes: int | None
    each: tuple[FileReading, ...]
    seldom: tuple[FileReading, ...]
    throttles: tuple[ThrottleReading, ...]
    link: LinkReading | None
    errors: tuple[ErrorReading, ...]


def plan_devices(host: Host, machine: Machine) -> tuple[DevicePlan, ...]:
    """A plan for each Intel GPU that probe found."""
    sys_paths = {device.sys_name: device.sys_path for device in host.udev("pci").devices}
    return tuple(_plan_device(host, device, sys_paths) for device in machine.devices)


def _plan_device(host: Host, device: Device, sys_paths: Mapping[str, str]) -> DevicePlan:
    sys_path = sys_paths.get(device.bdf, f"/sys/bus/pci/devices/{device.bdf}")
    each: list[FileReading] = []
    seldom: list[FileReading] = []
    throttles: list[ThrottleReading] = []
    for sensor in device.sensors:
        reading, often = _plan_sensor(device.bdf, sensor)
        if reading is not None:
            (each if often else seldom).append(reading)
    for gt in device.gts:
        often_read, seldom_read, throttle = _plan_gt(host, device, gt, sys_path)
        each += often_read
        seldom += seldom_read
        throttles += throttle
    return DevicePlan(
        bdf=device.bdf,
        sys_path=sys_path,
        info=_describe(device),
        memory_bytes=device.memory_bytes,
        each=tuple(each),
        seldom=tuple(seldom),
        throttles=tuple(throttles),
        link=_plan_link(device, sys_paths),
        errors=_plan_errors(device, sys_path, sys_paths),
    )


def _describe(device: Device) -> Labels:
    known = {
        "hw_name": device.name,
        "hw_vendor": "Intel",
        "hw_model": f"{device.vendor_id}:{device.device_id}",
        "driver": device.driver,
        "hw_driver_version": device.driver_version,
        "uuid": device.uuid,
        "index": str(device.index),
        "numa_node": "" if device.numa_node is None else str(device.numa_node),
    }
    return gpu_labels(device.bdf, **{name: value for name, value in known.items() if value})


def _plan_sensor(bdf: str, sensor: Sensor) -> tuple[FileReading | None, bool]:
    """(how to read it, whether at each scrape). The label is what probe's name has between kind and limit."""
    match = _SENSOR_FILE.fullmatch(sensor.source.rpartition("/")[2])
    if not match:
        return None, False
    kind, what = match[1], match[3]
    metric, limit_metric, divisor = _SENSOR_METRICS[kind]
    suffix = f" {what.replace('_', ' ')}"
    where = sensor.name.removeprefix(f"{kind} ").removesuffix(suffix)
    if kind in _TYPES:
        labels = {"hw_id": f"{bdf}/{kind}{match[2]}", "hw_type": _TYPES[kind], "hw_parent": bdf}
    else:
        labels = {"hw_id": bdf, "hw_type": "gpu"}
    labels["hw_sensor_location"] = where
    if what in ("input", "average"):
        counter = kind == "energy"
        return FileReading(
            path=sensor.source, metric=metric, labels=make_labels(**labels), divisor=divisor, counter=counter
        ), True
    if not limit_metric or what not in _LIMITS:
        return None, False
    labels["hw_limit_type"] = _LIMITS[what]
    return FileReading(path=sensor.source, metric=limit_metric, labels=make_labels(**labels), divisor=divisor), False


def _plan_gt(
    host: Host, device: Device, gt: Gt, sys_path: str
) -> tuple[list[FileReading], list[FileReading], list[ThrottleReading]]:
    labels = {"hw_id": device.bdf, "hw_type": "gpu", "tile": str(gt.tile), "gt": str(gt.gt), "gt_kind": gt.kind}
    places = _find_xe_gt(sys_path, gt) if device.driver == "xe" else _find_i915_gt(host, device, gt, sys_path)
    mhz = 1e-6  # of what is written in MHz, hertz are a million times as many

    def clock(path: str, metric: str, **more: str) -> FileReading:
        return FileReading(path=path, metric=metric, labels=make_labels(**labels, **more), divisor=mhz)

    each = [clock(places["actual"], "hw_gpu_speed_hertz"), clock(places["current"], "hw_gpu_speed_requested_hertz")]
    if places["idle"]:
        idle = FileReading(
            path=places["idle"],
            metric="hw_gpu_idle_seconds_total",
            labels=make_labels(**labels),
            divisor=1000,
            counter=True,
        )
        each.append(idle)
    seldom = [
        clock(places[limit], "hw_gpu_speed_limit_hertz", hw_limit_type=limit) for limit in ("min", "max")
    ]  # fmt: skip
    directory, prefix = places["throttle"], places["prefix"]
    status = f"{directory}/{places['status']}"
    names = host.list(directory).names if directory else ()
    reasons = tuple(
        (name.removeprefix(prefix), f"{directory}/{name}")
        for name in names
        if name.startswith(prefix) and f"{directory}/{name}" != status
    )
    listed = f"{directory}/{_LISTED}" if _LISTED in names else ""
    throttle = [ThrottleReading(listed=listed, status=status, reasons=reasons, labels=make_labels(**labels))]
    throttle = throttle if reasons else []
    return each, seldom, throttle


def _find_xe_gt(sys_path: str, gt: Gt) -> dict[str, str]:
    below = f"{sys_path}/tile{gt.tile}/gt{gt.gt}"
    frequency = f"{below}/freq0"
    return {
        "actual": f"{frequency}/act_freq",
        "current": f"{frequency}/cur_freq",
        "min": f"{frequency}/min_freq",
        "max": f"{frequency}/max_freq",
        "idle": f"{below}/gtidle/idle_residency_ms",
        "throttle": f"{frequency}/throttle",
        "prefix": "reason_",
        "status": "status",
    }


def _find_i915_gt(host: Host, device: Device, gt: Gt, sys_path: str) -> dict[str, str]:
    card = f"{sys_path}/drm/card{device.card_index}"
    below = f"{card}/gt/gt{gt.gt}"
    if host.read(f"{below}/rps_act_freq_mhz").ok:
        names = {limit: f"{below}/rps_{name}_freq_mhz" for limit, name in _I915_CLOCKS}
        return {
            **names,
            "idle": f"{below}/rc6_residency_ms",
            "throttle": below,
            "prefix": "throttle_reason_",
            "status": "throttle_reason_status",
        }
    # Kernels before 5.18: one set of files for the whole card.
    names = {limit: f"{card}/gt_{name}_freq_mhz" for limit, name in _I915_CLOCKS}
    return {**names, "idle": f"{card}/power/rc6_residency_ms", "throttle": "", "prefix": "", "status": ""}


_I915_CLOCKS = (
    ("actual", "act"),
    ("current", "cur"),
    ("min", "min"),
    ("max", "max"),
)


def _plan_link(device: Device, sys_paths: Mapping[str, str]) -> LinkReading | None:
    link = device.link
    if link is None or not link.read_at or link.read_at not in sys_paths:
        return None
    ends: tuple[LinkEnd, ...] = tuple(hop for hop in link.hops if hop.partner_bdf == link.read_at)
    above = tuple(sys_paths[hop.bdf] for hop in ends if hop.bdf in sys_paths)
    return LinkReading(
        port=link.read_at,
        paths=(sys_paths[link.read_at], *above[:1]),
        max_gts=link.max_speed_gts,
        max_width=link.max_width,
    )


def _plan_errors(device: Device, sys_path: str, sys_paths: Mapping[str, str]) -> tuple[ErrorReading, ...]:
    ports = {device.bdf: sys_path} | {bdf: sys_paths[bdf] for bdf in device.path if bdf in sys_paths}
    return tuple(
        ErrorReading(
            path=f"{path}/aer_dev_{severity}",
            labels=gpu_labels(device.bdf, error_type=f"pcie_{severity}", port=bdf),
        )
        for bdf, path in ports.items()
        for severity in _AER
    )
