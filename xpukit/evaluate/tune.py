"""Settings for repeatable numbers (what upstream's setup_perf.sh sets), and the way back.

CPU governor and energy bias to performance, the GPUs' lowest clock up to the highest. Before anything is written the
journal says what was there; `restore_tuning` puts back exactly that, also after a crash or a reboot in between.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import BadFactsError, ExternalError
from xpukit.core.json_document import BAD_JSON, encode_json, now_utc
from xpukit.host import Host
from xpukit.host.writable import WritableHost

SCHEMA = "xpukit.tuning/1"
_CPUS = "/sys/devices/system/cpu"


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One attribute: what it says now and what a measurement wants it to say."""

    path: str
    before: str
    wanted: str


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """What tuning changed. Written before the first change."""

    schema: str
    created: str
    boot_id: str
    settings: tuple[Setting, ...]


def plan_tuning(host: Host, gpu_paths: Sequence[str]) -> tuple[Setting, ...]:
    """What would be changed here: only attributes that exist and say something else. `gpu_paths`: PCI sysfs folders."""
    settings: list[Setting] = []
    for name in host.list(_CPUS).names:
        if not re.fullmatch(r"cpu\d+", name):
            continue
        frequency = f"{_CPUS}/{name}/cpufreq"
        offered = host.read(f"{frequency}/scaling_available_governors").text.split()
        if "performance" in offered:
            settings += _want(host, f"{frequency}/scaling_governor", "performance")
        settings += _want(host, f"{_CPUS}/{name}/power/energy_perf_bias", "0")
    for gpu in gpu_paths:
        settings += _plan_gpu(host, gpu)
    return tuple(settings)


def _plan_gpu(host: Host, gpu: str) -> list[Setting]:
    settings: list[Setting] = []
    for tile in host.list(gpu).names:
        if not re.fullmatch(r"tile\d+", tile):
            continue
        for gt in host.list(f"{gpu}/{tile}").names:
            clocks = f"{gpu}/{tile}/{gt}/freq0"
            highest = host.read(f"{clocks}/rp0_freq").text
            if re.fullmatch(r"gt\d+", gt) and highest.isdigit():
                settings += _want(host, f"{clocks}/max_freq", highest) + _want(host, f"{clocks}/min_freq", highest)
    for card in host.list(f"{gpu}/drm").names:
        highest = host.read(f"{gpu}/drm/{card}/gt_RP0_freq_mhz").text
        if card.startswith("card") and highest.isdigit():
            below = f"{gpu}/drm/{card}"
            settings += _want(host, f"{below}/gt_max_freq_mhz", highest)
            settings += _want(host, f"{below}/gt_min_freq_mhz", highest)
    return settings


def _want(host: Host, path: str, wanted: str) -> list[Setting]:
    answer = host.read(path)
    return [Setting(path=path, before=answer.text, wanted=wanted)] if answer.ok and answer.text != wanted else []


def apply_tuning(host: WritableHost, settings: Sequence[Setting], journal: Path) -> tuple[str, ...]:
    """Journal, then write each setting and read it back; returns what could not be set, in words.

    Raises ExternalError when a journal of an earlier tuning is still there: its values are the true ones, ours would
    overwrite them.
    """
    if journal.exists():
        raise ExternalError(
            f"{journal}: an earlier tuning was not taken back", hint="xpukit evaluate --restore-tuning, then again"
        )
    if not settings:
        return ()
    boot_id = host.read("/proc/sys/kernel/random/boot_id").text
    record = Journal(schema=SCHEMA, created=now_utc(), boot_id=boot_id, settings=tuple(settings))
    journal.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(journal, encode_json(record).encode(), mode=0o600)
    problems = []
    for setting in settings:
        error = host.write(setting.path, setting.wanted)
        now = host.read(setting.path).text
        if error or now != setting.wanted:
            problems.append(f"{setting.path}: {error or f'says {now!r} after {setting.wanted!r} was written'}")
    return tuple(problems)


def restore_tuning(host: WritableHost, journal: Path) -> tuple[str, ...]:
    """Put back what the journal says, in reverse, and remove it; returns what could not be put back, in words.

    A journal with something left to put back stays. After a reboot the kernel's own values are there already: nothing
    is written. Raises BadFactsError for a damaged journal.
    """
    try:
        record = msgspec.json.decode(journal.read_bytes(), type=Journal)
    except FileNotFoundError:
        return ()
    except (OSError, *BAD_JSON) as err:
        raise BadFactsError(
            f"{journal}: cannot be read: {err}",
            hint="put the settings back by hand (a reboot does), then remove the file",
        ) from err
    problems: list[str] = []
    rebooted = host.read("/proc/sys/kernel/random/boot_id").text != record.boot_id
    for setting in reversed(record.settings):
        now = host.read(setting.path)
        if rebooted or not now.ok or now.text == setting.before:
            continue  # a device that is gone has no setting to put back
        error = host.write(setting.path, setting.before)
        if error or host.read(setting.path).text != setting.before:
            problems.append(f"{setting.path}: {error or 'did not take'} (should say {setting.before!r})")
    if not problems:
        journal.unlink(missing_ok=True)
    return tuple(problems)
