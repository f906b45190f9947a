"""The files of the monitoring stack: all that docker compose, Prometheus and Grafana read."""

from __future__ import annotations

import hashlib
import json

import msgspec

from xpukit.facts.exporter_engines import EngineMeaning, load_engine_meanings
from xpukit.operate.monitor.compose import PASSWORD_FILE, render_compose
from xpukit.operate.monitor.dashboards import DATASOURCE_UID, data_directory, load_dashboards, render_dashboard
from xpukit.operate.monitor.settings import MonitorSettings

COMPOSE_FILE = "compose.yaml"


class MonitorFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file by its path below the stack's directory."""

    path: str
    text: str
    mode: int = 0o644


def render_files(settings: MonitorSettings) -> tuple[MonitorFile, ...]:
    """Everything but the password, which is made once and kept."""
    rules = data_directory() / "rules"
    files = [
        MonitorFile(path="prometheus/prometheus.yml", text=render_prometheus(settings)),
        MonitorFile(path="prometheus/rules/names.yml", text=render_names(load_engine_meanings())),
        MonitorFile(path="prometheus/rules/settings.yml", text=render_limits(settings)),
        MonitorFile(path="grafana/provisioning/datasources/xpukit.yml", text=_render_datasource(settings)),
        MonitorFile(path="grafana/provisioning/dashboards/xpukit.yml", text=_PROVIDER),
        MonitorFile(path="xpukit-exporter.service", text=_UNIT.format(port=settings.exporter_port)),
        # So that nothing of the stack gets into a repository by accident.
        MonitorFile(path=".gitignore", text=f"data/\n{PASSWORD_FILE.rpartition('/')[0]}/\n"),
    ]
    for path in sorted(rules.glob("*.yml")):
        files.append(MonitorFile(path=f"prometheus/rules/{path.name}", text=path.read_text(encoding="utf-8")))
    digests = {
        "prometheus": _digest(files, "prometheus/"),
        "grafana": _digest(files, "grafana/provisioning/datasources/"),
    }
    files.append(MonitorFile(path=COMPOSE_FILE, text=render_compose(settings, **digests)))
    # Grafana looks for changed dashboards itself.
    for name, dashboard in load_dashboards().items():
        files.append(MonitorFile(path=f"grafana/dashboards/{name}.json", text=render_dashboard(dashboard)))
    return tuple(sorted(files, key=lambda file: file.path))


def _digest(files: list[MonitorFile], below: str) -> str:
    told = sorted((file.path, file.text) for file in files if file.path.startswith(below))
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def render_prometheus(settings: MonitorSettings) -> str:
    """prometheus.yml: the exporters (job xpukit), the engines (job engine, label engine), balancers, itself."""
    every = f"{settings.scrape_interval_s}s"
    lines = [
        "# Written by xpukit monitor.",
        "global:",
        f"  scrape_interval: {every}",
        f"  evaluation_interval: {every}",
        f"  scrape_timeout: {min(10, settings.scrape_interval_s)}s",
        "rule_files:",
        "  - rules/*.yml",
        "scrape_configs:",
        "  - job_name: xpukit",
        "    static_configs:",
        f"      - targets: {json.dumps(list(settings.exporters))}",
        "  - job_name: prometheus",
        "    static_configs:",
        f'      - targets: ["127.0.0.1:{settings.prometheus_port}"]',
    ]
    for number, (engine, address) in enumerate(settings.balancers):
        lines += _list_balancer(number, engine, address)
    if settings.engines:
        lines += ["  - job_name: engine", "    static_configs:"]
        for engine in sorted({name for name, _ in settings.engines}):
            targets = [address for name, address in settings.engines if name == engine]
            lines += [f"      - targets: {json.dumps(targets)}", f"        labels: {{engine: {engine}}}"]
    return "\n".join(lines) + "\n"


def _list_balancer(number: int, engine: str, address: str) -> list[str]:
    """A balancer, and its engines: it says which there are, and passes their metrics on wherever they run now."""
    return [
        f"  - job_name: balancer-{number}",
        "    static_configs:",
        f'      - {{targets: ["{address}"], labels: {{job: balancer, balancer: "{address}"}}}}',
        "    metric_relabel_configs:",
        f"      - {{source_labels: [__name__], regex: {'|'.join(_BALANCER_METRICS)}, action: keep}}",
        f"  - job_name: engines-{number}",
        f'    http_sd_configs: [{{url: "http://{address}/targets"}}]',
        "    relabel_configs:",
        "      - {source_labels: [__address__], target_label: server}",
        "      - {source_labels: [__address__], target_label: __metrics_path__, replacement: /engines/$1/metrics}",
        f'      - {{source_labels: [__address__], target_label: instance, replacement: "{address}/$1"}}',
        f'      - {{target_label: __address__, replacement: "{address}"}}',
        "      - {target_label: job, replacement: engine}",
        f"      - {{target_label: engine, replacement: {engine}}}",
        f'      - {{target_label: balancer, replacement: "{address}"}}',
    ]


# What alerts and dashboards ask of HAProxy; it has some hundred others.
_BALANCER_METRICS = ("haproxy_server_status", "haproxy_backend_active_servers", "haproxy_backend_current_queue")


def render_names(meanings: tuple[EngineMeaning, ...]) -> str:
    """Recording rules that give each meaning its one name; of several names the first that is there counts."""
    lines = [
        "# Written by xpukit monitor from facts/data/exporter/engine_metrics.toml: one name for what engines call",
        "# differently, and what versions renamed.",
        "groups:",
        "  - name: xpukit-engine-names",
        "    rules:",
    ]
    for meaning in meanings:
        suffix = "_bucket" if meaning.kind == "histogram" else ""
        names = " or ".join(f"{name.name}{suffix}" for name in meaning.names)
        lines += [f"      # {meaning.help}", f"      - record: {meaning.record}", f"        expr: {names}"]
    return "\n".join(lines) + "\n"


def render_limits(settings: MonitorSettings) -> str:
    """What alerts compare with and a user may choose."""
    return (
        "# Written by xpukit monitor: --ttft-sla-s.\n"
        "groups:\n"
        "  - name: xpukit-limits\n"
        "    rules:\n"
        "      - record: engine:ttft_sla:seconds\n"
        f"        expr: vector({settings.ttft_sla_s:g})\n"
    )


def _render_datasource(settings: MonitorSettings) -> str:
    return (
        "# Written by xpukit monitor.\n"
        "apiVersion: 1\n"
        "datasources:\n"
        "  - name: Prometheus\n"
        f"    uid: {DATASOURCE_UID}\n"
        "    type: prometheus\n"
        "    access: proxy\n"
        f"    url: http://127.0.0.1:{settings.prometheus_port}\n"
        "    isDefault: true\n"
        "    editable: false\n"
        f"    jsonData: {{timeInterval: {settings.scrape_interval_s}s}}\n"
    )


_PROVIDER = """# Written by xpukit monitor.
apiVersion: 1
providers:
  - name: xpukit
    type: file
    disableDeletion: true
    allowUiUpdates: false
    options: {path: /etc/grafana/dashboards}
"""

_UNIT = """# The exporter on the host, where it sees all processes: copy to /etc/systemd/system, then
#   systemctl enable --now xpukit-exporter
[Unit]
Description=Prometheus metrics of Intel GPUs (xpukit exporter)

[Service]
ExecStart=/usr/bin/env xpukit exporter --port {port} --text-files /var/lib/xpukit/metrics
Restart=on-failure
# Root reads what every process does on a GPU; it needs no other right of root.
CapabilityBoundingSet=CAP_SYS_PTRACE CAP_DAC_READ_SEARCH CAP_PERFMON
NoNewPrivileges=true
ProtectHome=read-only
ProtectSystem=strict
PrivateTmp=true

[Install]
WantedBy=multi-user.target
"""
