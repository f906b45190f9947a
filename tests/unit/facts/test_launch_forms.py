"""What the forms rest on: every row says who says so, and Quadlet's keys are those of its first version."""

from __future__ import annotations

from pathlib import Path

import pytest

from xpukit.core.errors import BadFactsError
from xpukit.facts import launch_forms, tables


def test_the_file_is_read() -> None:
    facts = launch_forms.load_launch_forms()
    assert facts.health.path.startswith("/")
    assert facts.health.start_s > facts.health.interval_s > facts.health.timeout_s
    assert facts.ray.join_s > facts.ray.poll_s
    assert all(row.source for row in facts.kubernetes)
    assert all((facts.health.source, facts.ray.source, facts.stop.source, facts.quadlet.source))
    assert len(set(facts.quadlet.keys)) == len(facts.quadlet.keys)


@pytest.mark.parametrize(
    ("vendor", "driver", "resource"),
    [("intel", "xe", "gpu.intel.com/xe"), ("intel", "i915", "gpu.intel.com/i915"), ("nvidia", "any", "nvidia.com/gpu")],
)
def test_kubernetes_names(vendor: str, driver: str, resource: str) -> None:
    row = launch_forms.find_kubernetes_row(vendor, driver)
    assert row is not None
    assert row.resource == resource


def test_an_unknown_driver_has_no_name() -> None:
    assert launch_forms.find_kubernetes_row("intel", "vfio-pci") is None


@pytest.mark.parametrize("text", ['schema = "other/1"', "schema = 1"])
def test_a_damaged_file_says_so(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "launch"
    folder.mkdir()
    (folder / "forms.toml").write_text(text)
    monkeypatch.setattr(tables, "data_dir", lambda: tmp_path)
    launch_forms.load_launch_forms.cache_clear()
    try:
        with pytest.raises(BadFactsError):
            launch_forms.load_launch_forms()
    finally:
        launch_forms.load_launch_forms.cache_clear()
