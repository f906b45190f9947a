"""Tuning and the way back, on real files: a host whose /sys is a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xpukit.core.errors import BadFactsError, ExternalError
from xpukit.evaluate.tune import apply_tuning, plan_tuning, restore_tuning
from xpukit.host.answers import FileAnswer, NamesAnswer
from xpukit.host.writable import WritableHost

GPU = "/sys/devices/pci0000:00/0000:03:00.0"
I915 = "/sys/devices/pci0000:00/0000:04:00.0"
FILES = {
    "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave",
    "/sys/devices/system/cpu/cpu0/cpufreq/scaling_available_governors": "performance powersave",
    "/sys/devices/system/cpu/cpu0/power/energy_perf_bias": "6",
    "/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance",
    "/sys/devices/system/cpu/cpu1/cpufreq/scaling_available_governors": "performance powersave",
    "/sys/devices/system/cpu/cpufreq/boost": "1",
    f"{GPU}/tile0/gt0/freq0/rp0_freq": "2400",
    f"{GPU}/tile0/gt0/freq0/max_freq": "2400",
    f"{GPU}/tile0/gt0/freq0/min_freq": "300",
    f"{I915}/drm/card1/gt_RP0_freq_mhz": "2050",
    f"{I915}/drm/card1/gt_min_freq_mhz": "300",
    f"{I915}/drm/card1/gt_max_freq_mhz": "1800",
    "/proc/sys/kernel/random/boot_id": "boot-1",
}


class FolderHost(WritableHost):
    """Reads and writes below a folder; nothing outside it."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self.refuse: set[str] = set()
        for path, text in FILES.items():
            (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            (root / path.lstrip("/")).write_text(text + "\n")

    def read(self, path: str, **rest: object) -> FileAnswer:  # type: ignore[override]
        return super().read(str(self.root / path.lstrip("/")))

    def list(self, path: str, **rest: object) -> NamesAnswer:  # type: ignore[override]
        return super().list(str(self.root / path.lstrip("/")))

    def write(self, path: str, text: str) -> str:
        if path in self.refuse:
            return "EPERM"
        target = self.root / path.lstrip("/")
        if target.exists():
            target.write_text("")  # an attribute is replaced by what is written, a file would keep its end
        return super().write(str(target), text + "\n")

    def everything(self) -> dict[str, str]:
        return {path: self.read(path).text for path in FILES}


@pytest.fixture
def host(tmp_path: Path) -> FolderHost:
    return FolderHost(tmp_path / "root")


def test_only_what_differs_is_planned(host: FolderHost) -> None:
    planned = {setting.path: (setting.before, setting.wanted) for setting in plan_tuning(host, [GPU, I915])}
    assert planned == {
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": ("powersave", "performance"),
        "/sys/devices/system/cpu/cpu0/power/energy_perf_bias": ("6", "0"),
        f"{GPU}/tile0/gt0/freq0/min_freq": ("300", "2400"),
        f"{I915}/drm/card1/gt_max_freq_mhz": ("1800", "2050"),
        f"{I915}/drm/card1/gt_min_freq_mhz": ("300", "2050"),
    }


def test_apply_and_restore_is_the_identity(host: FolderHost, tmp_path: Path) -> None:
    before = host.everything()
    journal = tmp_path / "state" / "tuning.json"
    assert apply_tuning(host, plan_tuning(host, [GPU, I915]), journal) == ()
    assert host.read(f"{GPU}/tile0/gt0/freq0/min_freq").text == "2400"
    assert plan_tuning(host, [GPU, I915]) == ()
    assert journal.stat().st_mode & 0o777 == 0o600
    assert restore_tuning(host, journal) == ()
    assert host.everything() == before
    assert not journal.exists()
    assert restore_tuning(host, journal) == ()


def test_a_crash_between_leaves_a_journal_that_is_not_overwritten(host: FolderHost, tmp_path: Path) -> None:
    before = host.everything()
    journal = tmp_path / "tuning.json"
    settings = plan_tuning(host, [GPU])
    apply_tuning(host, settings, journal)
    with pytest.raises(ExternalError, match="not taken back"):
        apply_tuning(host, settings, journal)
    assert restore_tuning(host, journal) == ()
    assert host.everything() == before


def test_what_cannot_be_set_or_put_back_is_said_and_kept(host: FolderHost, tmp_path: Path) -> None:
    path = "/sys/devices/system/cpu/cpu0/power/energy_perf_bias"
    journal = tmp_path / "tuning.json"
    host.refuse = {path}
    assert apply_tuning(host, plan_tuning(host, [GPU]), journal) == (f"{path}: EPERM",)
    host.refuse = {"/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"}
    problems = restore_tuning(host, journal)
    assert len(problems) == 1
    assert "powersave" in problems[0]
    assert journal.exists()
    host.refuse = set()
    assert restore_tuning(host, journal) == ()


def test_after_a_reboot_nothing_is_written(host: FolderHost, tmp_path: Path) -> None:
    journal = tmp_path / "tuning.json"
    apply_tuning(host, plan_tuning(host, [GPU]), journal)
    (host.root / "proc/sys/kernel/random/boot_id").write_text("boot-2\n")
    assert restore_tuning(host, journal) == ()
    assert host.read(f"{GPU}/tile0/gt0/freq0/min_freq").text == "2400"
    assert not journal.exists()


def test_a_damaged_journal_is_an_error_with_a_way_out(host: FolderHost, tmp_path: Path) -> None:
    journal = tmp_path / "tuning.json"
    apply_tuning(host, plan_tuning(host, [GPU]), journal)
    journal.write_text(json.dumps({"schema": "x"}))
    with pytest.raises(BadFactsError) as caught:
        restore_tuning(host, journal)
    assert "by hand" in caught.value.hint


def test_writing_never_creates_a_file(tmp_path: Path) -> None:
    assert WritableHost().write(str(tmp_path / "none"), "x") == "ENOENT"
    assert not (tmp_path / "none").exists()
