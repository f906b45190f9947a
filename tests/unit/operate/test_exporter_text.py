"""The table of metrics, and the text that Prometheus reads."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import prometheus_client  # noqa: F401  (its import reads /proc, which a test may not)
import pytest
from prometheus_client.parser import text_string_to_metric_families

from xpukit.facts.exporter_engines import load_engine_meanings, load_monitor_images
from xpukit.facts.exporter_metrics import load_exporter_metrics, load_exporter_sources
from xpukit.operate.exporter.expose import render_text
from xpukit.operate.exporter.sample import Sample

METRICS = load_exporter_metrics()
# The suffix that a unit gets (OpenTelemetry's rules for Prometheus).
UNITS = {
    "hw.gpu.io": "bytes",
    "hw.gpu.utilization": "ratio",
    "hw.gpu.memory.limit": "bytes",
    "hw.gpu.memory.usage": "bytes",
    "hw.gpu.memory.utilization": "ratio",
    "hw.energy": "joules",
    "hw.power": "watts",
    "hw.temperature": "celsius",
    "hw.temperature.limit": "celsius",
    "hw.fan.speed": "rpm",
    "hw.voltage": "volts",
    "hw.status": "",
    "hw.errors": "",
}


@pytest.mark.parametrize("name", METRICS)
def test_names_follow_the_conventions(name: str) -> None:
    metric = METRICS[name]
    assert re.fullmatch(r"(hw|xpukit)_[a-z_]+", name)
    assert name.endswith("_total") == (metric.kind == "counter")
    assert list(metric.labels) == sorted(set(metric.labels), key=list(metric.labels).index)
    assert metric.help.endswith(".")
    if name.startswith("hw_"):
        assert {"hw_id", "hw_type"} <= set(metric.labels)
    if metric.otel:
        parts = [metric.otel.replace(".", "_"), UNITS[metric.otel], "total" if metric.kind == "counter" else ""]
        assert name == "_".join(part for part in parts if part)


def test_every_metric_that_the_code_makes_is_in_the_table_and_the_other_way_round(repo: Path) -> None:
    made = set()
    for path in (repo / "xpukit" / "operate" / "exporter").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        made |= {text for text in texts if re.fullmatch(r"(hw|xpukit)_[a-z_]{4,}", text)}
    labels = {label for metric in METRICS.values() for label in metric.labels} | {"hw_gpu_pcie_link_"}
    # These names are put together of "speed" and "width".
    composed = {name for name in METRICS if "_pcie_link_speed" in name or "_pcie_link_width" in name}
    passed_on = {name for name in METRICS if name.startswith("xpukit_rotation_")}
    assert made - labels == set(METRICS) - composed - passed_on


def test_text() -> None:
    text = render_text(
        [
            Sample("hw_energy_joules_total", (("hw_id", "a"), ("hw_type", "gpu")), 1.5),
            Sample("hw_gpu_process_clients", (("container", ""), ("hw_id", "a"), ("process", 'we"ird\n\\')), 1),
        ]
    )
    assert "# TYPE hw_energy_joules_total counter" in text
    assert 'hw_energy_joules_total{hw_id="a",hw_type="gpu"} 1.5' in text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["hw_gpu_process_clients"].samples[0].labels["process"] == 'we"ird\n\\'


def test_a_metric_that_is_not_in_the_table_is_a_defect() -> None:
    with pytest.raises(KeyError):
        render_text([Sample("hw_new_thing", (), 1)])


def test_facts_have_sources() -> None:
    sources = load_exporter_sources()
    parts = (sources.engines, sources.regions, sources.containers, sources.pid_namespace, sources.xpu_smi_dump)
    assert all(part.source for part in parts)
    images = load_monitor_images()
    for image in (images.prometheus, images.grafana):
        assert re.search(r":v?\d+\.\d+\.\d+$", image.image), "a tag of one release"
    for meaning in load_engine_meanings():
        assert re.fullmatch(r"engine:[a-z0-9_]+:(sum|ratio|total|bucket)", meaning.record)
        assert all(name.name.startswith(f"{name.engine}:") for name in meaning.names)
